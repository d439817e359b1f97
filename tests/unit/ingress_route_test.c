/* The table of paths. Mutation tried: an unknown method on a known path taken as 404. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <cmocka.h>
#include "services/ingress/route.h"

static char key[ROUTE_KEY_MAX + 1];
static bool known;

static void finds_every_row(void **context)
{
    (void)context;
    for (int i = 0; i < ROUTE_COUNT; i++) {
        char path[100];
        const char *hole = strstr(route_table[i].path, "{key}");
        if (hole)
            snprintf(path, sizeof path, "%.*sSHOP-12%s", (int)(hole - route_table[i].path),
                     route_table[i].path, hole + 5);
        else
            snprintf(path, sizeof path, "%s", route_table[i].path);
        assert_ptr_equal(route_find(route_table[i].method, path, key, &known), &route_table[i]);
        assert_string_equal(key, hole ? "SHOP-12" : "");
    }
}

static void only_these_are_open(void **context)
{
    static const char *const open[] = {"/webhook/plane", "/webhook/gitea", "/health", "/metrics"};
    int count = 0;
    (void)context;
    for (int i = 0; i < ROUTE_COUNT; i++) {
        if (!route_table[i].open)
            continue;
        assert_string_equal(route_table[i].path, open[count++]);
    }
    assert_int_equal(count, 4);
}

static void not_found(void **context)
{
    static const char *const paths[] = {
        "/",        "/task", "/tasks/", "/tasks/A-1/", "/tasks//stop", "/tasks/A-1/approve/x",
        "/health/", ""};
    (void)context;
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++) {
        assert_null(route_find("GET", paths[i], key, &known));
        assert_false(known);
    }
    assert_null(route_find("GET", "/webhook/plane", key, &known));
    assert_true(known);
    assert_null(route_find("DELETE", "/tasks/A-1", key, &known));
    assert_true(known);
    assert_non_null(route_find("HEAD", "/health", key, &known));
}

static void long_keys(void **context)
{
    char path[200] = "/tasks/";
    (void)context;
    memset(path + 7, 'x', ROUTE_KEY_MAX);
    assert_non_null(route_find("GET", path, key, &known));
    memset(path + 7, 'x', ROUTE_KEY_MAX + 1);
    assert_null(route_find("GET", path, key, &known));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_every_row),
        cmocka_unit_test(only_these_are_open),
        cmocka_unit_test(not_found),
        cmocka_unit_test(long_keys),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
