#include "services/ingress/token.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include "lib/buffer.h"
#include "lib/file.h"
#include "lib/log.h"

enum { TOKEN_BYTES = 32, TOKEN_FILE_MAX = 4096 };

void token_random(char *out, size_t bytes)
{
    uint8_t raw[64];
    if (bytes > sizeof raw || getrandom(raw, bytes, 0) != (ssize_t)bytes)
        log_abort("token", "no random bytes");
    for (size_t i = 0; i < bytes; i++)
        snprintf(out + 2 * i, 3, "%02x", raw[i]);
}

/* The first line of the file; "" where there is none yet (or a crash left it empty). */
static char *read_token(const char *path, char *fault, size_t size)
{
    size_t length;
    char *text = file_read(path, TOKEN_FILE_MAX, &length);
    if (text)
        text[strcspn(text, "\r\n")] = '\0';
    else if (errno == ENOENT)
        text = xstrdup("");
    else
        snprintf(fault, size, "%s: %s", path, strerror(errno));
    return text;
}

static char *make_token(const char *path, char *fault, size_t size)
{
    char made[2 * TOKEN_BYTES + 2];
    token_random(made, TOKEN_BYTES);
    strcat(made, "\n");
    if (file_write_durable(path, made, strlen(made), 0600) == 0)
        return read_token(path, fault, size);
    snprintf(fault, size, "%s: %s", path, strerror(errno));
    return NULL;
}

/* Whoever can read it can approve. */
static void close_to_others(const char *path)
{
    struct stat file;
    if (stat(path, &file) < 0 || (file.st_mode & 077) == 0)
        return;
    if (chmod(path, 0600) == 0)
        log_warn("token", "%s could be read by others; it is closed to them now", path);
    else
        log_error("token", "%s can be read by others: %s", path, strerror(errno));
}

char *token_load(const struct config *config, char *fault, size_t size)
{
    if (*config->http_operator_token)
        return xstrdup(config->http_operator_token);
    char *path = config_home_path(config, "operator_token");
    char *token = read_token(path, fault, size);
    if (token && !*token) {
        free(token);
        token = make_token(path, fault, size);
    }
    close_to_others(path);
    free(path);
    return token;
}
