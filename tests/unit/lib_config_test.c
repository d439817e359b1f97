/* The configuration: the example, every kind of override, every kind of fault. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>
#include "lib/buffer.h"
#include "lib/clock.h"
#include "lib/config.h"
#include "lib/config_table.h"
#include "lib/config_yaml.h"
#include "lib/file.h"

#define EXAMPLE "tests/fixtures/config/orchestrator.example.yaml"
#define LOCAL   "projects: [{key: A, repo: r, tracker: local, forge: local}]\n"

static char dir[64], file[96];

static int make_dir(void **state)
{
    (void)state;
    snprintf(dir, sizeof dir, "/tmp/config-test-XXXXXX");
    if (!mkdtemp(dir))
        return -1;
    snprintf(file, sizeof file, "%s/o.yaml", dir);
    for (char **at = environ; *at;) { /* what started us must not configure us */
        char *name = strndup(*at, strcspn(*at, "="));
        bool ours = strncmp(name, "ORCH_", 5) == 0;
        if (ours)
            unsetenv(name);
        else
            at++;
        free(name);
    }
    return 0;
}

static int drop_dir(void **state)
{
    (void)state;
    return file_remove_tree(dir);
}

static void write_text(const char *path, const char *text)
{
    assert_int_equal(file_write_atomic(path, text, strlen(text), 0600), 0);
}

static struct config *load(const char *text)
{
    char *faults, *warnings;
    write_text(file, text);
    struct config *config = config_load(file, &faults, &warnings);
    if (!config)
        fail_msg("%s", faults);
    assert_null(faults);
    assert_null(warnings);
    return config;
}

/* All faults, a line each, without the file's path before the line number. Caller frees. */
static char *faults_of(const char *text)
{
    char *faults, *warnings;
    write_text(file, text);
    struct config *config = config_load(file, &faults, &warnings);
    assert_null(config);
    assert_non_null(faults);
    free(warnings);
    struct buffer out = {0};
    char *rest = faults;
    for (char *line; (line = strsep(&rest, "\n"));) {
        if (strncmp(line, file, strlen(file)) == 0)
            line += strlen(file) + 1;
        buffer_format(&out, "%s\n", line + strspn(line, " "));
    }
    free(faults);
    return buffer_take(&out);
}

static void fault_is(const char *text, const char *expected)
{
    char *faults = faults_of(text);
    assert_string_equal(faults, expected);
    free(faults);
}

/* The example with its secrets in files of ours. Caller frees. */
static char *example_text(void)
{
    static const char *const secrets[] = {"operator_token", "plane_token",    "plane_webhook",
                                          "plane_analyst",  "plane_stream",   "gitea_token",
                                          "gitea_webhook",  "telegram_token", NULL};
    char *text = file_read(EXAMPLE, 1 << 20, NULL), *rest = text;
    assert_non_null(text);
    struct buffer out = {0};
    for (char *at; (at = strstr(rest, "/run/secrets")); rest = at + strlen("/run/secrets")) {
        buffer_add(&out, rest, (size_t)(at - rest));
        buffer_text(&out, dir);
    }
    buffer_text(&out, rest);
    free(text);
    for (const char *const *at = secrets; *at; at++) {
        char *path = xformat("%s/%s", dir, *at), *content = xformat("secret-%s\n", *at);
        write_text(path, content);
        free(path);
        free(content);
    }
    return buffer_take(&out);
}

static void test_example_loads_and_means_what_it_says(void **state)
{
    (void)state;
    char *text = example_text();
    struct config *config = load(text);
    free(text);
    assert_string_equal(config->home, "/var/lib/orchestrator");
    assert_string_equal(config->http_operator_token, "secret-operator_token");
    assert_string_equal(config->plane_webhook_secret, "secret-plane_webhook");
    assert_string_equal(json_string_value(json_object_get(config->plane_tokens, "analyst")),
                        "secret-plane_analyst");
    assert_string_equal(json_string_value(json_object_get(config->plane_tokens, "stream")),
                        "secret-plane_stream");
    assert_string_equal(config->telegram_chat_id, "-1001234567890");
    assert_string_equal(config->telegram_webhook_secret, "");
    assert_int_equal(config->project_count, 1);
    const struct project *shop = config_project(config, "SHOP");
    assert_non_null(shop);
    assert_null(config_project(config, "OTHER"));
    assert_string_equal(shop->repo, "acme/shop");
    assert_string_equal(shop->test_command, "make test");
    assert_int_equal(shop->target_port, 8080);
    assert_string_equal(shop->plane_project, "6f1c0b8e-5c43-4b5f-9d1a-8a7d8f0f7b11");
    config_free(config);
}

static const struct yaml_tree *member(const struct yaml_tree *map, const char *name)
{
    const struct yaml_tree *at = map ? map->child : NULL;
    while (at && strcmp(at->name, name) != 0)
        at = at->next;
    return at;
}

static bool has_key(const struct yaml_tree *map, const struct config_key *key)
{
    char *twin = xformat("%s_file", key->name);
    bool found = member(map, key->name) || ((key->flags & CONFIG_SECRET) && member(map, twin));
    free(twin);
    return found;
}

/* Each key of the tables stands in the example, and (loading it proved) each of its keys in the
 * tables. */
static void test_every_key_is_in_the_example(void **state)
{
    (void)state;
    char *fault, *text = file_read(EXAMPLE, 1 << 20, NULL);
    struct yaml_tree *tree = yaml_tree_parse(text, strlen(text), &fault);
    free(text);
    assert_non_null(tree);
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        const struct yaml_tree *map = *key->section ? member(tree, key->section) : tree;
        if (!has_key(map, key))
            fail_msg("%s.%s is not in the example", key->section, key->name);
    }
    for (size_t i = 0; i < project_key_count; i++) {
        if (!has_key(member(tree, "projects")->child, &project_keys[i]))
            fail_msg("project key %s is not in the example", project_keys[i].name);
    }
    yaml_tree_free(tree);
}

/* Paths, URLs, secrets: what the example gives beyond the defaults. */
static bool is_own_value(const char *section, const char *name)
{
    static const char *const own[] = {".home",
                                      "http.operator_token",
                                      "plane.base_url",
                                      "plane.token",
                                      "plane.webhook_secret",
                                      "plane.tokens",
                                      "gitea.base_url",
                                      "gitea.public_url",
                                      "gitea.token",
                                      "gitea.webhook_secret",
                                      "telegram.token",
                                      "telegram.chat_id",
                                      "plane.status_names"};
    char *full = xformat("%s.%s", section, name);
    bool found = false;
    for (size_t i = 0; i < sizeof own / sizeof *own; i++)
        found |= strcmp(own[i], full) == 0;
    free(full);
    return found;
}

/* The values of the example are the defaults: line by line of what is shown.
 * Mutation: any default of config_keys.def changed. */
static void test_defaults_equal_the_example(void **state)
{
    (void)state;
    char *text = example_text();
    struct config *example = load(text), *bare = load("home: /x\n");
    free(text);
    char *a = config_show(example), *b = config_show(bare), *rest_a = a, *rest_b = b;
    char section[64] = "";
    int same = 0;
    for (;;) {
        char *line_a = strsep(&rest_a, "\n"), *line_b = strsep(&rest_b, "\n");
        if (strncmp(line_a, "projects:", 9) == 0)
            break;
        assert_non_null(line_b);
        if (line_a[0] != ' ' && line_a[strlen(line_a) - 1] == ':')
            snprintf(section, sizeof section, "%.*s", (int)strlen(line_a) - 1, line_a);
        char *name =
            strndup(line_a + strspn(line_a, " "), strcspn(line_a + strspn(line_a, " "), ":"));
        if (!is_own_value(line_a[0] == ' ' ? section : "", name)) {
            assert_string_equal(line_a, line_b);
            same++;
        }
        free(name);
    }
    assert_true(same > 100);
    free(a);
    free(b);
    /* And of a project, those that are no paths or URLs. */
    struct config *local = load("home: /x\n" LOCAL);
    const struct project *x = &example->projects[0], *y = &local->projects[0];
    assert_string_equal(y->default_branch, x->default_branch);
    assert_int_equal(y->test_timeout_s, x->test_timeout_s);
    assert_string_equal(y->ci, x->ci);
    assert_string_equal(y->agent, x->agent);
    assert_string_equal(y->merge_style, x->merge_style);
    assert_int_equal(y->confirm_deploy, x->confirm_deploy);
    assert_int_equal(y->max_concurrency, x->max_concurrency);
    assert_int_equal(y->self_hosting, x->self_hosting);
    config_free(local);
    config_free(example);
    config_free(bare);
}

/* What is shown is a configuration again, with the same meaning; and no secret is in it. */
static void test_show(void **state)
{
    (void)state;
    char *text = example_text();
    struct config *config = load(text);
    free(text);
    char *shown = config_show(config);
    assert_null(strstr(shown, "secret-"));
    assert_non_null(strstr(shown, "  token: \"***\"\n"));
    assert_non_null(strstr(shown, "{\"analyst\": \"***\", \"stream\": \"***\"}"));
    struct config *again = load(shown);
    json_t *changed = config_changed_sections(config, again);
    char *names = json_dumps(changed, 0);
    /* Only those with secrets, which are masked. Mutation: a value shown unquoted. */
    assert_string_equal(names, "[\"http\", \"plane\", \"gitea\", \"telegram\"]");
    free(names);
    json_decref(changed);
    free(shown);
    config_free(again);
    config_free(config);
}

static void test_changed_sections(void **state)
{
    (void)state;
    struct config *a = load("home: /x\n" LOCAL);
    struct config *b =
        load("home: /x\nmax_attempts: 4\nreaper: {ping_s: 6, dead_ticks: 3}\n"
             "agent: {model: {tester: m}}\n"
             "projects: [{key: A, repo: r, tracker: local, forge: local, ci: none}]\n");
    json_t *changed = config_changed_sections(a, b), *none = config_changed_sections(a, a);
    char *names = json_dumps(changed, 0);
    assert_string_equal(names, "[\"\", \"agent\", \"reaper\", \"projects\"]");
    assert_int_equal(json_array_size(none), 0);
    free(names);
    json_decref(changed);
    json_decref(none);
    config_free(a);
    config_free(b);
}

static void set(const char *name, const char *value)
{
    setenv(name, value, 1);
}

/* "c" of "a | b | c; words". Caller frees. */
static char *last_choice(const char *doc)
{
    const char *end = doc + strcspn(doc, ";"), *at = end;
    while (at > doc && at[-1] != ' ')
        at--;
    return xstrndup(at, (size_t)(end - at));
}

/* Every key of the table by its variable, with another value than its default. */
static void test_every_key_by_its_variable(void **state)
{
    (void)state;
    struct config *bare = load("home: /x\n");
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        static const char *const values[] = {"/elsewhere", "7777", "0.75", "x", "[\"q\"]", ""};
        char *name = config_env_name(key), *first = NULL;
        const char *value = values[key->type == CONFIG_LIST ? 4 : 0];
        if (key->type == CONFIG_INT)
            value = first = xformat("%lld", strtoll(key->fallback, NULL, 10) + 1);
        else if (key->type == CONFIG_REAL)
            value = values[2];
        else if (key->type == CONFIG_BOOL)
            value = strcmp(key->fallback, "true") == 0 ? "false" : "true";
        else if (key->type == CONFIG_MAP)
            value = key->flags & CONFIG_STATUS_ENTRIES  ? "{\"done\": \"D\"}"
                    : key->flags & CONFIG_KNOWN_ENTRIES ? "{\"memory_mb\": 5}"
                    : key->flags & CONFIG_NUMBER_VALUES ? "{\"tester\": 5}"
                                                        : "{\"tester\": \"t\"}";
        else if (key->flags & CONFIG_ONE_OF)
            value = first = last_choice(key->doc);
        else if (strcmp(name, "ORCH_HTTP_LISTEN") == 0)
            value = "0.0.0.0:1";
        set(name, value);
        struct config *config = load("home: /x\n");
        unsetenv(name);
        json_t *changed = config_changed_sections(bare, config);
        if (json_array_size(changed) != 1 ||
            strcmp(json_string_value(json_array_get(changed, 0)), key->section) != 0)
            fail_msg("%s=%s changed nothing", name, value);
        json_decref(changed);
        config_free(config);
        free(first);
        free(name);
    }
    config_free(bare);
}

static void test_environment_over_file(void **state)
{
    (void)state;
    set("ORCH_REAPER_INTERVAL_S", "7");
    set("ORCH_AGENT_MODEL_DEVELOPER", "big");
    set("ORCH_AGENT_MODEL", "{\"tester\": \"small\"}");
    set("ORCH_AGENT_TIMEOUT_OVERRIDES_JSON", "{\"tester\": 5}");
    set("ORCH_PLANE_APPROVERS", "[\"a@b\", \"c\"]");
    set("ORCH_PROJECTS_JSON",
        "[{\"key\": \"Z\", \"repo\": \"z\", \"tracker\": \"local\", \"forge\": \"local\"}]");
    struct config *config = load("home: /x\nreaper: {interval_s: 5}\n"
                                 "agent: {model: {default: d, developer: e}}\n" LOCAL);
    assert_int_equal(config->reaper_interval_s, 7);
    char *model = json_dumps(config->agent_model, JSON_SORT_KEYS);
    assert_string_equal(model,
                        "{\"default\": \"d\", \"developer\": \"big\", \"tester\": \"small\"}");
    free(model);
    char *overrides = json_dumps(config->agent_timeout_overrides, JSON_SORT_KEYS);
    assert_string_equal(overrides, "{\"reviewer\": 3600, \"tester\": 5}");
    free(overrides);
    assert_int_equal(json_array_size(config->plane_approvers), 2);
    assert_int_equal(config->project_count, 1);
    assert_string_equal(config->projects[0].key, "Z");
    config_free(config);
    unsetenv("ORCH_REAPER_INTERVAL_S");
    unsetenv("ORCH_AGENT_MODEL_DEVELOPER");
    unsetenv("ORCH_AGENT_MODEL");
    unsetenv("ORCH_AGENT_TIMEOUT_OVERRIDES_JSON");
    unsetenv("ORCH_PLANE_APPROVERS");
    unsetenv("ORCH_PROJECTS_JSON");
}

static void test_maps_can_be_emptied(void **state)
{
    (void)state;
    struct config *config = load("home: /x\nagent: {timeout_overrides: {}, max_concurrency: "
                                 "{developer: null, tester: 1}}\n");
    assert_int_equal(json_object_size(config->agent_timeout_overrides), 0);
    char *limits = json_dumps(config->agent_max_concurrency, JSON_SORT_KEYS);
    assert_string_equal(limits, "{\"tester\": 1}");
    free(limits);
    config_free(config);
}

static void test_unknown_variable_is_a_warning(void **state)
{
    (void)state;
    char *faults, *warnings;
    static const char *const known[] = {"ORCH_CONFIG",   "ORCH_SV_DIR",       "ORCH_NOTIFY_FD",
                                        "ORCH_PID1",     "ORCH_URL",          "ORCH_CRASH_DIR",
                                        "ORCH_TEST_BIN", "ORCH_STORM_ROUNDS", "ORCH_ROLE"};
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        set(known[i], "1");
    set("ORCH_REAPER_INTERVAL", "7");
    set("ORCH_TESTS", "7");
    write_text(file, "home: /x\n");
    struct config *config = config_load(file, &faults, &warnings);
    assert_non_null(config);
    assert_non_null(strstr(warnings, "ORCH_REAPER_INTERVAL: unknown"));
    assert_non_null(strstr(warnings, "ORCH_TESTS: unknown"));
    assert_int_equal(strlen(warnings), 2 * strlen("ORCH_TESTS: unknown variable, ignored") +
                                           strlen("REAPER_INTERVAL") - strlen("TESTS") + 1);
    free(warnings);
    config_free(config);
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        unsetenv(known[i]);
    unsetenv("ORCH_REAPER_INTERVAL");
    unsetenv("ORCH_TESTS");
}

static char *secret_file(const char *content)
{
    char *path = xformat("%s/secret", dir);
    write_text(path, content);
    return path;
}

static void test_secrets_in_files(void **state)
{
    (void)state;
    char *path = secret_file("of the file\n");
    char *text = xformat("home: /x\ngitea: {token_file: %s}\nplane: {tokens: {tester_file: %s}}\n",
                         path, path);
    struct config *config = load(text);
    assert_string_equal(config->gitea_token, "of the file");
    assert_string_equal(json_string_value(json_object_get(config->plane_tokens, "tester")),
                        "of the file");
    config_free(config);
    /* The variable over the file's key, which is then not opened. Mutation: read while loading. */
    unlink(path);
    set("ORCH_GITEA_TOKEN", "given");
    set("ORCH_PLANE_TOKENS_TESTER", "given too");
    config = load(text);
    assert_string_equal(config->gitea_token, "given");
    assert_string_equal(json_string_value(json_object_get(config->plane_tokens, "tester")),
                        "given too");
    config_free(config);
    unsetenv("ORCH_GITEA_TOKEN");
    unsetenv("ORCH_PLANE_TOKENS_TESTER");
    free(path);
    free(text);
    path = secret_file("x\r\n\n");
    set("ORCH_GITEA_TOKEN_FILE", path);
    set("ORCH_PLANE_TOKENS_STREAM_FILE", path);
    config = load("home: /x\ngitea: {token: y}\n");
    assert_string_equal(config->gitea_token, "x");
    assert_string_equal(json_string_value(json_object_get(config->plane_tokens, "stream")), "x");
    config_free(config);
    unsetenv("ORCH_GITEA_TOKEN_FILE");
    unsetenv("ORCH_PLANE_TOKENS_STREAM_FILE");
    free(path);
}

static void test_faults_of_secrets(void **state)
{
    (void)state;
    fault_is("home: /x\ngitea: {token: a, token_file: /b}\n",
             "2: gitea.token_file: given beside token; only one of the two\n");
    fault_is("home: /x\nplane: {tokens: {tester: a, tester_file: /b}}\n",
             "2: plane.tokens.tester_file: given beside its value; only one of the two\n");
    fault_is("home: /x\ngitea:\n  token_file: /nonexistent\n",
             "3: gitea.token_file: cannot read /nonexistent: No such file or directory\n");
    char *path = secret_file("\n"), *text = xformat("home: /x\ngitea: {token_file: %s}\n", path);
    char *expected = xformat("2: gitea.token_file: %s is empty\n", path);
    fault_is(text, expected);
    free(expected);
    free(text);
    free(path);
    set("ORCH_GITEA_TOKEN", "a");
    set("ORCH_GITEA_TOKEN_FILE", "/dev/null/none");
    char *faults = faults_of("home: /x\n");
    assert_non_null(strstr(faults, "ORCH_GITEA_TOKEN: gitea.token: given beside "
                                   "ORCH_GITEA_TOKEN_FILE; only one of the two\n"));
    free(faults);
    unsetenv("ORCH_GITEA_TOKEN");
    unsetenv("ORCH_GITEA_TOKEN_FILE");
}

/* Each kind of fault alone: file, line, key. */
static void test_each_fault(void **state)
{
    (void)state;
    static const struct {
        const char *text, *expected;
    } cases[] = {
        {"", "home: missing\n"},
        {"run_dir: /r\n", "home: missing\n"},
        {"home: rel\n", "1: home: must be an absolute path\n"},
        {"home: /x\nrun_dir: r\n", "2: run_dir: must be an absolute path\n"},
        {"home: /x\nbogus: 1\n", "2: bogus: unknown key\n"},
        {"home: /x\nreaper:\n  bogus: 1\n", "3: reaper.bogus: unknown key\n"},
        {"home: /x\nreaper_interval_s: 1\n", "2: reaper_interval_s: unknown key\n"},
        {"home: /x\nhome: /y\n", "2: home: given twice\n"},
        {"home: /x\nreaper:\n  ping_s: 1\n  ping_s: 1\n", "4: reaper.ping_s: given twice\n"},
        {"home: /x\nreaper: 5\n", "2: reaper: must be a map of keys\n"},
        {"home: /x\nreaper: {interval_s: abc}\n", "2: reaper.interval_s: \"abc\" is no integer\n"},
        {"home: /x\nreaper: {interval_s: 1.5}\n", "2: reaper.interval_s: \"1.5\" is no integer\n"},
        {"home: /x\nreaper: {interval_s: \"5\"}\n", "2: reaper.interval_s: \"5\" is no integer\n"},
        {"home: /x\nreaper: {interval_s: [5]}\n",
         "2: reaper.interval_s: must be of type integer\n"},
        {"home: /x\nreaper: {interval_s: 0}\n",
         "2: reaper.interval_s: 0 is out of range 1 to 604800\n"},
        {"home: /x\nreaper: {interval_s: 99999999999999999999}\n",
         "2: reaper.interval_s: \"99999999999999999999\" is no integer\n"},
        {"home: /x\nreaper: {enabled: maybe}\n",
         "2: reaper.enabled: \"maybe\" is neither true nor false\n"},
        {"home: /x\nplane: {read_share: 2}\n",
         "2: plane.read_share: 2 is out of range 0.01 to 1\n"},
        {"home: /x\nplane: {read_share: .nan}\n", "2: plane.read_share: \".nan\" is no number\n"},
        {"home: /x\nplane: {approvers: me}\n", "2: plane.approvers: must be of type list\n"},
        {"home: /x\nplane: {approvers: [[me]]}\n", "2: plane.approvers: must be a list of words\n"},
        {"home: /x\nagent: {model: big}\n", "2: agent.model: must be of type map\n"},
        {"home: /x\nagent: {model: {boss: x}}\n", "2: agent.model.boss: unknown key\n"},
        {"home: /x\nagent: {model: {stream: x}}\n", "2: agent.model.stream: unknown key\n"},
        {"home: /x\nagent:\n  limits:\n    memory_gb: 4\n",
         "4: agent.limits.memory_gb: unknown key\n"},
        {"home: /x\nagent: {timeout_overrides: {tester: 0}}\n",
         "2: agent.timeout_overrides.tester: 0 is out of range 1 to 604800\n"},
        {"home: /x\nplane: {status_names: {finished: x}}\n",
         "2: plane.status_names.finished: unknown key\n"},
        {"home: /x\nagent: {sandbox: full}\n",
         "2: agent.sandbox: \"full\" is none of auto | landlock | namespaces | none\n"},
        {"home: /x\nhttp: {listen: \"8500\"}\n", "2: http.listen: must be address:port\n"},
        {"home: /x\nhttp: {listen: \"a:99999\"}\n", "2: http.listen: must be address:port\n"},
        {"home: /x\nretry: {base_s: 9, max_s: 8}\n", "2: retry.max_s: is less than retry.base_s\n"},
        {"home: /x\nprojects: {key: A}\n", "2: projects: must be a list of projects\n"},
        {"home: /x\nprojects:\n  - {repo: r, tracker: local, forge: local}\n",
         "3: projects[0]: key is missing\n"},
        {"home: /x\nprojects:\n  - {key: A, tracker: local, forge: local}\n",
         "3: projects[0]: repo is missing\n"},
        {"home: /x\nprojects:\n  - {key: A-B, repo: r, tracker: local, forge: local}\n",
         "3: projects[0]: key \"A-B\" has other characters than letters, digits and _\n"},
        {"home: /x\nprojects:\n  - {key: A, repo: r, tracker: jira, forge: local}\n",
         "3: projects[0].tracker: \"jira\" is none of plane | local\n"
         "3: projects[0]: plane.base_url is missing (tracker: plane)\n"
         "3: projects[0]: plane_workspace or plane_project is missing (tracker: plane)\n"},
        {"home: /x\nprojects:\n  - {key: A, repo: r, tracker: local}\n",
         "3: projects[0]: gitea.base_url is missing (forge: gitea)\n"},
        {"home: /x\nprojects:\n  - {key: A, repo: r, tracker: local, forge: local, agent: "
         "command}\n",
         "3: projects[0]: agent_command is missing (agent: command)\n"},
        {"home: /x\nprojects:\n  - &a {key: A, repo: r, tracker: local, forge: local}\n  - *a\n",
         "3: projects[1]: key A is given to another project too\n"},
        {"home: /x\n---\nhome: /y\n", "3: a second document\n"},
        {"- a\n", "1: (file): must be a map of keys\nhome: missing\n"},
        {"home: /x\n? [a]\n: b\n", "2: a key must be a word\n"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        fault_is(cases[i].text, cases[i].expected);
}

/* Mutation: return at the first fault. */
static void test_all_faults_at_once(void **state)
{
    (void)state;
    set("ORCH_MAX_ATTEMPTS", "none");
    fault_is("home: /x\nhome: /y\nbogus: 1\nreaper: {ping_s: 0, what: 1}\n",
             "2: home: given twice\n3: bogus: unknown key\n"
             "4: reaper.ping_s: 0 is out of range 1 to 86400\n4: reaper.what: unknown key\n"
             "ORCH_MAX_ATTEMPTS: max_attempts: \"none\" is no integer\n");
    unsetenv("ORCH_MAX_ATTEMPTS");
}

static void test_unreadable(void **state)
{
    (void)state;
    char *faults, *warnings;
    assert_null(config_load("/nonexistent.yaml", &faults, &warnings));
    assert_string_equal(faults, "/nonexistent.yaml: (file): cannot be read: No such file or "
                                "directory");
    free(faults);
    char *text = faults_of("home: [\n");
    assert_int_equal(text[0], '2');
    free(text);
    text = faults_of("a: &x [*x]\n"); /* an alias within itself ends */
    assert_non_null(text);
    free(text);
}

static void test_features(void **state)
{
    (void)state;
    static char words[][16] = {"SHOP", "acme/shop", "SELF", "o/o"};
    struct project shop = {.key = words[0], .repo = words[1]};
    struct project self = {.key = words[2], .repo = words[3], .self_hosting = true};
    assert_false(config_feature_applies(false, "*", &self));
    assert_true(config_feature_applies(true, "", &self));
    assert_true(config_feature_applies(true, " , ", &self));
    assert_false(config_feature_applies(true, "", &shop));
    assert_true(config_feature_applies(true, "*", &shop));
    assert_true(config_feature_applies(true, "a/b, SHOP ,c", &shop));
    assert_true(config_feature_applies(true, "acme/shop", &shop));
    /* A list says who: self-hosting is then none of its own. */
    assert_false(config_feature_applies(true, "acme/shop", &self));
    assert_false(config_feature_applies(true, "acme/shopping,SHO,acme", &shop));
}

static void test_look_ups(void **state)
{
    (void)state;
    struct config *config = load("home: /x\nplane: {status_names: {approved: Freigegeben}}\n");
    assert_string_equal(config_status_name(config, "approved"), "Freigegeben");
    assert_string_equal(config_status_name(config, "done"), "Done");
    char *path = config_home_path(config, "runs/%s", "r1");
    assert_string_equal(path, "/x/runs/r1");
    free(path);
    config_free(config);
    assert_string_equal(config_path("/given"), "/given");
    set("ORCH_CONFIG", "/named");
    assert_string_equal(config_path(NULL), "/named");
    assert_string_equal(config_path("/given"), "/given");
    unsetenv("ORCH_CONFIG");
    assert_non_null(strstr(config_path(NULL), "/etc/orchestrator/orchestrator.yaml"));
}

/* A service is ready in a few milliseconds: reading the example is a fraction of one. */
static void test_cheap(void **state)
{
    (void)state;
    char *text = example_text();
    int64_t best = INT64_MAX;
    for (int i = 0; i < 20; i++) {
        int64_t from = clock_mono_us();
        config_free(load(text));
        int64_t took = clock_mono_us() - from;
        best = took < best ? took : best;
    }
    free(text);
    print_message("the example loads in %lld us\n", (long long)best);
    assert_true(best < 20000); /* sanitizers included */
}

/* make docs. Started from the root of the tree. */
static void test_document_is_current(void **state)
{
    (void)state;
    char *committed = file_read("docs/configuration.md", 1 << 20, NULL);
    char *generated = config_document();
    assert_non_null(committed);
    assert_string_equal(committed, generated);
    free(committed);
    free(generated);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_example_loads_and_means_what_it_says),
        cmocka_unit_test(test_every_key_is_in_the_example),
        cmocka_unit_test(test_defaults_equal_the_example),
        cmocka_unit_test(test_show),
        cmocka_unit_test(test_changed_sections),
        cmocka_unit_test(test_every_key_by_its_variable),
        cmocka_unit_test(test_environment_over_file),
        cmocka_unit_test(test_maps_can_be_emptied),
        cmocka_unit_test(test_unknown_variable_is_a_warning),
        cmocka_unit_test(test_secrets_in_files),
        cmocka_unit_test(test_faults_of_secrets),
        cmocka_unit_test(test_each_fault),
        cmocka_unit_test(test_all_faults_at_once),
        cmocka_unit_test(test_unreadable),
        cmocka_unit_test(test_features),
        cmocka_unit_test(test_look_ups),
        cmocka_unit_test(test_cheap),
        cmocka_unit_test(test_document_is_current),
    };
    return cmocka_run_group_tests(tests, make_dir, drop_dir);
}
