#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "lib/file.h"
#include "lib/lock.h"
#include "tools/orchctl.h"

enum { TOKEN_MAX = 4096, STATE_MAX = 1024 * 1024 };

struct config *instance_config(struct ctl *ctl)
{
    char *faults = NULL, *warnings = NULL;
    if (ctl->config)
        return ctl->config;
    ctl->config = config_load(config_path(ctl->request.config), &faults, &warnings);
    if (!ctl->config)
        complain("%s", faults);
    free(faults);
    free(warnings);
    return ctl->config;
}

static char *first_line(char *text)
{
    text[strcspn(text, "\r\n")] = '\0';
    return text;
}

/* As ingress does: configured, else what ingress made at its first start. */
static char *find_token(struct ctl *ctl)
{
    const char *given = getenv("ORCH_OPERATOR_TOKEN");
    if (given && *given)
        return xstrdup(given);
    struct config *config = ctl->config;
    if (!config)
        return xstrdup("");
    if (*config->http_operator_token)
        return xstrdup(config->http_operator_token);
    char *path = config_home_path(config, "operator_token");
    char *text = file_read(path, TOKEN_MAX, NULL);
    if (!text && errno != ENOENT)
        complain("cannot read the operator token %s: %s", path, strerror(errno));
    free(path);
    return text ? first_line(text) : xstrdup("");
}

/* "http://host:port" of http.listen; an address that means "all" is reached on loopback. */
static char *url_of(const char *listen)
{
    static const char *const all[] = {"0.0.0.0:", "*:", "[::]:"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strncmp(listen, all[i], strlen(all[i])) == 0)
            return xformat("http://127.0.0.1:%s", listen + strlen(all[i]));
    }
    return xformat("http://%s", listen);
}

enum ctl_exit instance_find(struct ctl *ctl)
{
    const char *url = getenv("ORCH_URL");
    bool named = ctl->request.config || getenv("ORCH_CONFIG");
    if (url && *url) {
        ctl->url = xstrdup(url);
        for (size_t n = strlen(ctl->url); n && ctl->url[n - 1] == '/'; n--)
            ctl->url[n - 1] = '\0';
        if (named)
            instance_config(ctl);
    } else {
        if (!instance_config(ctl))
            return CTL_NOT_REACHABLE;
        ctl->url = url_of(ctl->config->http_listen);
    }
    ctl->token = find_token(ctl);
    return CTL_DONE;
}

char *instance_supervise(const struct ctl *ctl, const char *service, const char *file)
{
    char *path = xformat("%s/sv/%s/supervise/%s", ctl->config->run_dir, service, file);
    const char *folder = getenv("SVDIR");
    if (!file_exists(path) && folder && *folder) { /* under plain runsvdir */
        free(path);
        path = xformat("%s/%s/supervise/%s", folder, service, file);
    }
    return path;
}

/* The file outlives a killed supervisor, whose pid may be anybody's by now: who holds the lock
 * lives. */
static bool is_supervised(const struct ctl *ctl)
{
    char *path = xformat("%s/supervisor.lock", ctl->config->run_dir);
    enum lock_state state = lock_ask(path);
    free(path);
    return state != LOCK_FREE;
}

json_t *instance_supervisor(const struct ctl *ctl)
{
    if (!is_supervised(ctl))
        return NULL;
    char *path = xformat("%s/supervisor.json", ctl->config->run_dir);
    size_t size = 0;
    char *text = file_read(path, STATE_MAX, &size);
    json_t *state = text ? json_loadb(text, size, 0, NULL) : NULL;
    free(text);
    free(path);
    return state;
}
