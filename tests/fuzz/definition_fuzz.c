/* service.yaml and run scripts of sv/, and lines that services write to their log. */
#include <jansson.h>
#include "supervisor/definitions.h"
#include "supervisor/text.h"
#include "tests/fuzz/fuzz.h"

static void check_definition(const char *text)
{
    struct definition *definition = calloc(1, sizeof *definition);
    char fault[512] = "";
    REQUIRE(definition);
    snprintf(definition->name, sizeof definition->name, "thing");
    snprintf(definition->folder, sizeof definition->folder, "/sv/thing");
    if (definition_parse(definition, text, fault, sizeof fault) != 0) {
        REQUIRE(fault[0]);
    } else {
        REQUIRE(definition->after_count <= AFTER_MAX && definition->limit_count <= LIMITS_MAX);
        REQUIRE(definition->section_count <= SECTIONS_MAX);
        REQUIRE(definition->stop_ms >= 1000 && definition->stop_ms <= 86400000);
        REQUIRE(definition->notify_fd == -1 || definition->notify_fd >= 3);
    }
    free(definition);
}

static void check_line(const char *line, size_t size)
{
    char out[256], inside[64], name[32];
    size_t used =
        log_wrap("thing", "2026-01-01T00:00:00.000Z", line, size, size % 2, out, sizeof out);
    REQUIRE(used <= sizeof out && out[used - 1] == '\n');
    REQUIRE(log_is_object(out, used - 1));
    json_t *object = json_loadb(out, used, JSON_ALLOW_NUL, NULL);
    REQUIRE(json_is_object(object));
    json_decref(object);
    REQUIRE(json_escape(line, size, inside, sizeof inside) == strlen(inside));
    if (log_is_object(line, size)) {
        object = json_loadb(line, size, JSON_ALLOW_NUL, NULL);
        json_decref(object);
    }
    if (strlen(line) == size && script_execs(line, name, sizeof name))
        REQUIRE(name[0] && strstr(line, name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text = fuzz_text(data, size);
    if (size < YAML_SIZE)
        check_definition(text);
    check_line(text, size);
    free(text);
    return 0;
}
