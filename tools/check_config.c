/* check-config: works on a system that does not run. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "tools/orchctl.h"

static json_t *lines_of(const char *text)
{
    json_t *lines = json_array();
    while (text && *text) {
        size_t length = strcspn(text, "\n");
        if (length)
            json_array_append_new(lines, json_stringn(text, length));
        text += length + (text[length] == '\n');
    }
    return lines;
}

enum ctl_exit ctl_check_config(struct ctl *ctl)
{
    char *faults = NULL, *warnings = NULL;
    const char *path = config_path(ctl->request.config);
    struct config *config = config_load(path, &faults, &warnings);
    char *shown = config ? config_show(config) : NULL;
    if (ctl->request.json) {
        print_json(json_pack("{s:s,s:b,s:o,s:o,s:s?}", "file", path, "valid", config != NULL,
                             "faults", lines_of(faults), "warnings", lines_of(warnings),
                             "effective", shown));
    } else {
        if (warnings)
            fprintf(stderr, "%s\n", warnings);
        if (faults)
            fprintf(stderr, "%s\n", faults);
        if (shown)
            fputs(shown, stdout);
    }
    free(shown);
    free(faults);
    free(warnings);
    ctl->config = config;
    return config ? CTL_DONE : CTL_REFUSED;
}
