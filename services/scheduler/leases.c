#include "services/scheduler/leases.h"

static void say(struct scheduler *scheduler, const struct task *task, const char *state,
                const char *why)
{
    journal_add(&scheduler->journal, scheduler->store, scheduler->now_ms,
                &(struct journal_about){
                    .event = "lease", .task = task->key, .stage = stage_table[task->stage].name},
                json_pack("{ss ss ss*}", "state", state, "repo", task->repo, "reason", why));
}

bool lease_take(struct scheduler *scheduler, const struct task *task)
{
    if (store_run(scheduler->store,
                  "INSERT INTO leases (repo, task, since) VALUES (?1, ?2, ?3)"
                  " ON CONFLICT (repo) DO NOTHING",
                  "sii", task->repo, task->id, scheduler->now_ms) > 0) {
        say(scheduler, task, "taken", NULL);
        return true;
    }
    return store_number(scheduler->store, 0, "SELECT task FROM leases WHERE repo = ?1", "s",
                        task->repo) == task->id;
}

void lease_use(struct scheduler *scheduler, const struct task *task, const char *run, bool merge)
{
    store_run(scheduler->store, "UPDATE leases SET used_by_run = ?3 WHERE repo = ?1 AND task = ?2",
              "sis", task->repo, task->id, run);
    if (merge)
        store_run(scheduler->store,
                  "UPDATE leases SET intent_head = new_head, intent_run = ?3, intent_at = ?4"
                  " WHERE repo = ?1 AND task = ?2",
                  "sisi", task->repo, task->id, run, scheduler->now_ms);
}

void lease_rest(struct scheduler *scheduler, const char *run)
{
    store_run(scheduler->store, "UPDATE leases SET used_by_run = NULL WHERE used_by_run = ?1", "s",
              run);
}

void lease_judged(struct scheduler *scheduler, const struct task *task, const json_t *detail)
{
    store_run(scheduler->store,
              "UPDATE leases SET old_head = ?3, new_head = ?4, base = ?5"
              " WHERE repo = ?1 AND task = ?2",
              "sisss", task->repo, task->id, message_text(detail, "old_head", NULL),
              message_text(detail, "new_head", NULL), message_text(detail, "base", NULL));
}

bool lease_release(struct scheduler *scheduler, const struct task *task, const char *why)
{
    if (store_run(scheduler->store, "DELETE FROM leases WHERE repo = ?1 AND task = ?2", "si",
                  task->repo, task->id) <= 0)
        return false;
    say(scheduler, task, "released", why);
    return true;
}
