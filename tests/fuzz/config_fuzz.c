/* The configuration: what is accepted can be shown and read again, what is refused has its faults.
 */
#include <sys/mman.h>
#include <unistd.h>
#include <jansson.h>
#include "lib/config.h"
#include "lib/config_yaml.h"
#include "tests/fuzz/fuzz.h"

static struct config *load(const char *text, size_t size, char **faults)
{
    char path[64], *warnings;
    int fd = memfd_create("config", MFD_CLOEXEC);
    REQUIRE(fd >= 0 && write(fd, text, size) == (ssize_t)size);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    struct config *config = config_load(path, faults, &warnings);
    free(warnings);
    close(fd);
    return config;
}

/* The secrets are masked in what is shown, so only its form is read again. */
static void check_shown(const struct config *config)
{
    char *shown = config_show(config), *fault = NULL;
    REQUIRE(shown);
    struct yaml_tree *tree = yaml_tree_parse(shown, strlen(shown), &fault);
    REQUIRE(tree && !fault);
    yaml_tree_free(tree);
    free(shown);
    json_t *changed = config_changed_sections(config, config);
    REQUIRE(json_array_size(changed) == 0);
    json_decref(changed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size), *faults = NULL, *fault = NULL;
    struct yaml_tree *tree = yaml_tree_parse(text, size, &fault);
    REQUIRE(!tree == !!fault);
    yaml_tree_free(tree);
    free(fault);
    /* no file of secrets is opened: what it holds is not ours to find */
    struct config *config = strstr(text, "_file") ? NULL : load(text, size, &faults);
    if (config)
        check_shown(config);
    REQUIRE(!config || !faults);
    config_free(config);
    free(faults);
    free(text);
    return 0;
}
