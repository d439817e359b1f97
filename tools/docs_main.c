/* docs configuration | protocol: prints the generated document.
 * docs --check: two keys of the configuration with one environment name fail the build. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lib/config.h"
#include "lib/config_table.h"
#include "protocol/document.h"

/* Every name that means something, once: keys, twins of secrets, what is read elsewhere. */
static int add_name(char names[][128], int count, const char *name, const char *suffix)
{
    snprintf(names[count], sizeof names[count], "%s%s", name, suffix);
    return count + 1;
}

static int check_names(void)
{
    enum { NAMES_MAX = 1024 };
    static char names[NAMES_MAX][128];
    int count = 0, clashes = 0;
    for (size_t i = 0; i < config_key_count && count < NAMES_MAX - 64; i++) {
        char *name = config_env_name(&config_keys[i]);
        count = add_name(names, count, name, "");
        if (config_keys[i].flags & CONFIG_SECRET)
            count = add_name(names, count, name, "_FILE");
        free(name);
    }
    count = add_name(names, count, "ORCH_PROJECTS", "");
    count = add_name(names, count, "ORCH_PROJECTS_JSON", "");
    count = add_name(names, count, "ORCH_AGENT_TIMEOUT_OVERRIDES_JSON", "");
    for (const char *const *at = config_other_variables; *at && count < NAMES_MAX; at++)
        count = add_name(names, count, *at, "");
    for (int i = 0; i < count; i++) {
        for (int j = 0; j < i; j++) {
            if (strcmp(names[i], names[j]) == 0) {
                fprintf(stderr, "two keys have one variable: %s\n", names[i]);
                clashes++;
            }
        }
    }
    return clashes ? 1 : 0;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "--check") == 0)
        return check_names();
    char *text = NULL;
    if (argc == 2 && strcmp(argv[1], "configuration") == 0)
        text = config_document();
    else if (argc == 2 && strcmp(argv[1], "protocol") == 0)
        text = message_document();
    if (!text) {
        fprintf(stderr, "usage: docs configuration | protocol | --check\n");
        return 2;
    }
    fputs(text, stdout);
    free(text);
    return 0;
}
