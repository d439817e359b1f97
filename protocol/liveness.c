/* PURE: no I/O */
#include "protocol/liveness.h"

#include <string.h>

/* TAI64 label of 1970-01-01T00:00:10 TAI, as runit writes it. */
static const uint64_t TAI_OF_1970 = UINT64_C(4611686018427387914);

struct liveness_record liveness_record_read(const unsigned char *bytes, size_t size)
{
    struct liveness_record record = {0};
    if (size != LIVENESS_RECORD_SIZE)
        return record;
    uint64_t seconds = 0, nanoseconds = 0;
    for (int i = 0; i < 8; i++)
        seconds = seconds << 8 | bytes[i];
    for (int i = 8; i < 12; i++)
        nanoseconds = nanoseconds << 8 | bytes[i];
    record.known = true;
    record.pid = (int)((uint32_t)bytes[12] | (uint32_t)bytes[13] << 8 | (uint32_t)bytes[14] << 16 |
                       (uint32_t)bytes[15] << 24);
    record.runs = record.pid != 0 && bytes[19] == 1 && bytes[16] == 0;
    record.changed_ms = (int64_t)(seconds - TAI_OF_1970) * 1000 + (int64_t)(nanoseconds / 1000000);
    return record;
}

enum liveness_label liveness_label_by_name(const char *state)
{
    if (!state)
        return LIVENESS_LABEL_NONE;
    if (strcmp(state, "ready") == 0)
        return LIVENESS_LABEL_READY;
    return strcmp(state, "failed") == 0 ? LIVENESS_LABEL_FAILED : LIVENESS_LABEL_STARTING;
}

/* A clock that was set back makes an old process look young: only a small age counts as young. */
static bool is_young(const struct liveness_record *record, int64_t wall_ms)
{
    int64_t age = wall_ms - record->changed_ms;
    return age >= 0 && age < LIVENESS_SETTLE_MS;
}

bool liveness_may_ping(const struct liveness_record *record, enum liveness_label label,
                       int64_t wall_ms)
{
    if (!record->known || !record->runs)
        return false;
    if (label == LIVENESS_LABEL_STARTING || label == LIVENESS_LABEL_FAILED)
        return false;
    /* Our own supervisor knows readiness; under plain runit age stands in for it. */
    return label == LIVENESS_LABEL_READY || !is_young(record, wall_ms);
}

static bool is_one_process(const struct liveness_look *look)
{
    return look->before.known && look->after.known && look->before.runs && look->after.runs &&
           look->before.pid == look->after.pid;
}

static enum liveness_verdict judge_label(struct liveness *liveness, enum liveness_label label)
{
    if (label == LIVENESS_LABEL_FAILED && !liveness->said_failed) {
        liveness->said_failed = true;
        return LIVENESS_FAILED;
    }
    return LIVENESS_NOTHING;
}

enum liveness_verdict liveness_judge(struct liveness *liveness, const struct liveness_look *look,
                                     int misses_allowed)
{
    enum liveness_verdict verdict = judge_label(liveness, look->label);
    if (verdict != LIVENESS_NOTHING)
        return verdict;
    if (look->before.pid != liveness->pid) {
        liveness->pid = look->before.pid;
        liveness->misses = 0;
    }
    if (look->ping == LIVENESS_ANSWERED) {
        bool announced = liveness->said_failed || liveness->said_hung;
        liveness->misses = 0;
        liveness->said_failed = liveness->said_hung = false;
        return announced ? LIVENESS_RECOVERED : LIVENESS_NOTHING;
    }
    if (look->ping == LIVENESS_NOT_TOLD || !is_one_process(look) ||
        !liveness_may_ping(&look->after, look->label, look->wall_ms))
        return LIVENESS_NOTHING;
    if (++liveness->misses < misses_allowed)
        return LIVENESS_NOTHING;
    liveness->misses = 0;
    liveness->said_hung = true;
    return LIVENESS_KILL;
}
