/* Secrets that are known must not be said: their values are replaced wherever a text leaves us. The
 * set is built once, before there are other threads, and read by all of them afterwards. */
#ifndef ORCH_MASK_H
#define ORCH_MASK_H

#include <stdbool.h>
#include <stddef.h>
#include <jansson.h>

struct config;

/* A value of fewer characters is no secret that could be told from a word. */
enum { MASK_LEAST_BYTES = 8 };

/* One more value, copied; a short one, or NULL, is left out. */
void mask_add(const char *value);

/* Every secret of the configuration, and what agents are given by agent.env_allow under a name that
 * says KEY, TOKEN, SECRET or PASSWORD. token: the operators', where the configuration has none; may
 * be NULL. */
void mask_add_config(const struct config *config, const char *token);

/* Whether a variable's name says that its value is a secret. Pure. */
bool mask_is_secret_name(const char *name);

/* Replaces each known value in text by "***", where it stands: a replacement is shorter. The length
 * afterwards. */
size_t mask_text(char *text);

/* The same in every string of a JSON value, keys not looked at. Changes value. */
void mask_json(json_t *value);

/* Forgets all; for tests. */
void mask_forget(void);

#endif
