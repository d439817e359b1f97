/* PURE: no I/O */
#include "services/reaper/judge.h"

#include <string.h>
#include "protocol/vocabulary.h"

static void begin_age(struct judge_age *age, int64_t since_wall, struct judge_now now)
{
    if (age->known)
        return;
    age->known = true;
    age->mono_ms = now.mono_ms;
    age->before_ms = since_wall > 0 && now.wall_ms > since_wall ? now.wall_ms - since_wall : 0;
}

static bool is_older(const struct judge_age *age, int64_t limit_ms, struct judge_now now)
{
    return age->known && age->before_ms + now.mono_ms - age->mono_ms >= limit_ms;
}

static void remember(struct judge_memory *memory, const struct judge_traces *traces,
                     int64_t since_ms, struct judge_now now)
{
    bool gone = traces->accepted && traces->spec == JUDGE_FILE_NONE;
    bool dead = (traces->started == JUDGE_FILE_THERE || gone) && traces->lock == JUDGE_LOCK_FREE &&
                traces->status == JUDGE_FILE_NONE;
    bool ended = traces->status == JUDGE_FILE_THERE && traces->exit_known;
    begin_age(&memory->running, since_ms, now);
    memory->dead = dead ? memory->dead + 1 : 0;
    if (ended)
        begin_age(&memory->over, traces->ended_ms, now);
    else
        memory->over.known = false;
    memory->ended = ended ? memory->ended + 1 : 0;
}

enum judge_verdict judge_run(struct judge_memory *memory, const struct judge_traces *traces,
                             int64_t since_ms, const struct judge_limits *limits,
                             struct judge_now now)
{
    remember(memory, traces, since_ms, now);
    if (memory->dead >= limits->dead_ticks)
        return JUDGE_DEAD;
    if (memory->ended >= limits->dead_ticks &&
        is_older(&memory->over, limits->finalize_grace_ms, now))
        return JUDGE_ENDED;
    if (is_older(&memory->running, limits->max_running_ms, now))
        return JUDGE_OVERDUE;
    return JUDGE_LEAVE;
}

const char *judge_lease(const struct judge_lease *lease, int *unused, int dead_ticks,
                        int64_t ttl_ms, int64_t wall_ms)
{
    enum stage stage = stage_by_name(lease->stage);
    *unused = lease->used && !lease->user_runs ? *unused + 1 : 0;
    if (lease->terminal)
        return "terminal: the task that holds it has ended";
    if (stage != STAGE_DEPLOY_STAGING && stage != STAGE_DEPLOY)
        return "wrong-stage: the task that holds it is in no stage that merges";
    if (*unused >= dead_ticks)
        return "lost: the job that used it is gone";
    if (!lease->used && lease->wanted && wall_ms - lease->since_ms >= ttl_ms)
        return "ttl: nothing uses it and another task waits";
    return NULL;
}
