/* PURE: no I/O */
#include "protocol/blocks.h"

#include <string.h>

static const struct block_words table[] = {
#define BLOCK(code, first, then) {code, first, then},
#include "protocol/blocks.def"
#undef BLOCK
};

const struct block_words *block_words_of(const char *reason)
{
    const char *text = reason ? reason : "";
    size_t size = strcspn(text, ":");
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        if (strlen(table[i].code) == size && strncmp(table[i].code, text, size) == 0)
            return &table[i];
    }
    return NULL;
}
