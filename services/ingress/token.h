/* The operator's token: configured, or made at the first start and kept in home/operator_token. */
#ifndef ORCH_INGRESS_TOKEN_H
#define ORCH_INGRESS_TOKEN_H

#include <stddef.h>
#include "lib/config.h"

/* Caller frees. NULL and a text in fault. */
char *token_load(const struct config *config, char *fault, size_t size);

/* 2 * bytes hex digits from the kernel's random source. */
void token_random(char *out, size_t bytes);

#endif
