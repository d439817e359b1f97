#include "protocol/silence.h"

void silence_answered(struct silence *silence)
{
    silence->misses = 0;
}

static int64_t patience_ms(int doubts)
{
    int64_t patience = SILENCE_FIRST_MS;
    while (doubts-- > 0 && patience < SILENCE_LONGEST_MS)
        patience *= 2;
    return patience < SILENCE_LONGEST_MS ? patience : SILENCE_LONGEST_MS;
}

bool silence_missed(struct silence *silence, int64_t asked_ms, int64_t now_ms)
{
    if (silence->misses++ == 0)
        silence->since_ms = asked_ms;
    int64_t patience = patience_ms(silence->doubts);
    return (silence->misses >= SILENCE_MISSES || now_ms - asked_ms >= patience) &&
           now_ms - silence->since_ms >= patience;
}

void silence_renewed(struct silence *silence)
{
    silence->misses = 0;
    silence->doubts++;
}
