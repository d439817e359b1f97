/* Mutations tried, each red: the case heeded; text behind the list taken for keys; a key twice; the
 * words in the middle of a line; a circle found for whoever only leads into one. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include "services/scheduler/dependencies.h"

static void what_is_a_dependency(void **state)
{
    (void)state;
    static const struct {
        const char *text, *keys; /* NULL: none */
    } table[] = {
        {"", NULL},
        {"Depends-On: SHOP-1", "[\"SHOP-1\"]"},
        {"As a reader\n\ndepends-on:SHOP-1,SHOP-2 , SHOP_3\nmore",
         "[\"SHOP-1\",\"SHOP-2\",\"SHOP_3\"]"},
        {"- **Depends-On:** SHOP-1", "[\"SHOP-1\"]"},
        {"Depends-On: `SHOP-1`\r\nDEPENDS-ON: SHOP-2, SHOP-1\r\n", "[\"SHOP-1\",\"SHOP-2\"]"},
        {"It depends-on: SHOP-1", NULL},
        {"Depends-On: (see SHOP-1)", NULL},
        {"Depends-On: SHOP-1; SHOP-2", "[\"SHOP-1\"]"},
        {"Depends-On:\nSHOP-1", NULL},
        {"Depends-On: ä", NULL},
        {"Depends: SHOP-1", NULL},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        json_t *keys = dependencies_parse(table[i].text);
        char *text = keys ? json_dumps(keys, JSON_COMPACT) : NULL;
        if (!table[i].keys && text)
            fail_msg("%s: %s", table[i].text, text);
        if (table[i].keys && (!text || strcmp(text, table[i].keys) != 0))
            fail_msg("%s: %s", table[i].text, text ? text : "none");
        free(text);
        json_decref(keys);
    }
    assert_null(dependencies_parse(NULL));
}

static void without_end(void **state)
{
    (void)state;
    char text[4096] = "Depends-On: ";
    for (int i = 0; i < 500; i++)
        strcat(text, "A1, ");
    json_t *keys = dependencies_parse(text);
    assert_int_equal(json_array_size(keys), 1);
    json_decref(keys);
    memset(text + 12, 'x', 200);
    text[212] = '\0';
    assert_null(dependencies_parse(text)); /* no key is that long */
    strcpy(text, "Depends-On: ");
    for (int i = 0; i < 99; i++)
        sprintf(text + strlen(text), "K-%d,", i);
    keys = dependencies_parse(text);
    assert_int_equal(json_array_size(keys), DEPENDENCIES_MAX);
    json_decref(keys);
}

static void circles(void **state)
{
    (void)state;
    static const char *const depends[] = {"[\"B\"]", "[\"X\",\"C\"]", "[\"A\",\"B\"]", "[\"A\"]",
                                          "[\"E\"]"};
    static const char *const keys[] = {"A", "B", "C", "D", "E"};
    static const char *const ways[] = {"A → B → C → A", "B → C → B", "C → B → C", NULL, "E → E"};
    struct dependency_node nodes[5];
    for (size_t i = 0; i < 5; i++)
        nodes[i] = (struct dependency_node){(int64_t)i, keys[i], json_loads(depends[i], 0, NULL)};
    for (size_t i = 0; i < 5; i++) {
        char *way = dependencies_circle(nodes, 5, i);
        if (!ways[i] && way)
            fail_msg("%s: %s", keys[i], way);
        if (ways[i])
            assert_string_equal(way ? way : "none", ways[i]);
        free(way);
    }
    for (size_t i = 0; i < 5; i++)
        json_decref((json_t *)(uintptr_t)nodes[i].depends);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_a_dependency),
        cmocka_unit_test(without_end),
        cmocka_unit_test(circles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
