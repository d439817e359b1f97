/* Bodies of the built-in tracker and of operators: each refusal names its field.
 * Mutations tried, each turns a test red: no check of the actor; labels of any type; the delivery's
 * length unchecked; a comment without text accepted; "reason" of a freeze not passed on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>
#include <jansson.h>
#include "services/ingress/command.h"

static void refused(const char *body, const char *field)
{
    char delivery[DELIVERY_MAX + 1];
    struct command_fault fault = {0};
    if (local_event_check(body, strlen(body), delivery, &fault))
        fail_msg("accepted: %s", body);
    assert_string_equal(fault.field, field);
    assert_true(fault.text[0] != '\0');
}

static void accepted(const char *body, const char *id)
{
    char delivery[DELIVERY_MAX + 1];
    struct command_fault fault = {0};
    if (!local_event_check(body, strlen(body), delivery, &fault))
        fail_msg("%s: %s %s", body, fault.field, fault.text);
    assert_string_equal(delivery, id);
}

static void local_events(void **context)
{
    (void)context;
    accepted("{\"delivery\":\"1\",\"kind\":\"issue\",\"issue\":\"SHOP-1\",\"title\":\"t\"}", "1");
    accepted("{\"delivery\":\"a b\",\"kind\":\"status\",\"issue\":\"SHOP-1\",\"status\":\"STOP\","
             "\"actor\":\"ada\",\"announce\":false,\"labels\":null}",
             "a b");
    accepted("{\"delivery\":\"2\",\"kind\":\"comment\",\"issue\":\"A-1\",\"body\":\"x\"}", "2");
    accepted("{\"delivery\":\"3\",\"kind\":\"label\",\"issue\":\"A-1\",\"labels\":[]}", "3");
    accepted("{\"delivery\":\"3\",\"kind\":\"label\",\"issue\":\"A-1\",\"labels\":[\"x\"],"
             "\"more\":{}}",
             "3");
    accepted("{\"delivery\":\"4\",\"kind\":\"issue\",\"issue\":\"A-1\",\"title\":\"t\","
             "\"priority\":\"urgent\"}",
             "4");
}

static void local_refusals(void **context)
{
    (void)context;
    refused("", "");
    refused("[]", "");
    refused("{\"delivery\":\"1\"", "");
    refused("{\"delivery\":\"1\",\"delivery\":\"2\"}", "");
    refused("{\"kind\":\"issue\",\"issue\":\"A-1\",\"title\":\"t\"}", "delivery");
    refused("{\"delivery\":1,\"kind\":\"issue\",\"issue\":\"A-1\",\"title\":\"t\"}", "delivery");
    refused("{\"delivery\":\"\",\"kind\":\"issue\",\"issue\":\"A-1\",\"title\":\"t\"}", "delivery");
    refused("{\"delivery\":\"1\",\"kind\":\"issues\",\"issue\":\"A-1\",\"title\":\"t\"}", "kind");
    refused("{\"delivery\":\"1\",\"kind\":\"issue\",\"title\":\"t\"}", "issue");
    refused("{\"delivery\":\"1\",\"kind\":\"issue\",\"issue\":\"../A-1\",\"title\":\"t\"}",
            "issue");
    refused("{\"delivery\":\"1\",\"kind\":\"issue\",\"issue\":\"A1\",\"title\":\"t\"}", "issue");
    refused("{\"delivery\":\"1\",\"kind\":\"issue\",\"issue\":\"A-1\",\"title\":\"t\","
            "\"priority\":\"Urgent\"}",
            "priority");
    refused("{\"delivery\":\"1\",\"kind\":\"issue\",\"issue\":\"A-1\"}", "title");
    refused("{\"delivery\":\"1\",\"kind\":\"status\",\"issue\":\"A-1\"}", "status");
    refused("{\"delivery\":\"1\",\"kind\":\"comment\",\"issue\":\"A-1\",\"body\":\"\"}", "body");
    refused("{\"delivery\":\"1\",\"kind\":\"label\",\"issue\":\"A-1\"}", "labels");
    refused("{\"delivery\":\"1\",\"kind\":\"label\",\"issue\":\"A-1\",\"labels\":\"x\"}", "labels");
    refused("{\"delivery\":\"1\",\"kind\":\"label\",\"issue\":\"A-1\",\"labels\":[1]}", "labels");
    refused("{\"delivery\":\"1\",\"kind\":\"status\",\"issue\":\"A-1\",\"status\":\"x\","
            "\"announce\":1}",
            "announce");
    refused("{\"delivery\":\"1\",\"kind\":\"status\",\"issue\":\"A-1\",\"status\":\"x\","
            "\"actor\":[]}",
            "actor");
}

static void reserved_actors(void **context)
{
    static const char *const roles[] = {"analyst", "architect", "developer", "reviewer",
                                        "tester",  "deployer",  "stream"};
    (void)context;
    for (size_t i = 0; i < sizeof roles / sizeof *roles; i++) {
        char body[200];
        struct command_fault fault = {0};
        snprintf(
            body, sizeof body,
            "{\"delivery\":\"1\",\"kind\":\"status\",\"issue\":\"A-1\",\"status\":\"Approved\","
            "\"actor\":\"%s\"}",
            roles[i]);
        refused(body, "actor");
        snprintf(body, sizeof body, "{\"actor\":\"%s\"}", roles[i]);
        assert_null(command_body(COMMAND_APPROVE, "A-1", body, strlen(body), &fault));
        assert_string_equal(fault.field, "actor");
    }
}

static void long_delivery(void **context)
{
    char body[400], id[DELIVERY_MAX + 2];
    (void)context;
    memset(id, 'x', sizeof id);
    id[DELIVERY_MAX] = '\0';
    snprintf(body, sizeof body,
             "{\"delivery\":\"%s\",\"kind\":\"comment\",\"issue\":\"A-1\",\"body\":\"x\"}", id);
    accepted(body, id);
    id[DELIVERY_MAX] = 'x';
    snprintf(body, sizeof body,
             "{\"delivery\":\"%.201s\",\"kind\":\"comment\",\"issue\":\"A-1\",\"body\":\"x\"}", id);
    refused(body, "delivery");
}

static json_t *made(enum command command, const char *task, const char *body)
{
    struct command_fault fault = {0};
    char *text = command_body(command, task, body, strlen(body), &fault);
    if (!text)
        fail_msg("%s: %s %s", body, fault.field, fault.text);
    json_t *event = json_loads(text, 0, NULL);
    assert_non_null(event);
    assert_int_equal(json_object_size(event), 6);
    free(text);
    return event;
}

static void assert_field(json_t *event, const char *field, const char *value)
{
    json_t *found = json_object_get(event, field);
    assert_non_null(found);
    if (value)
        assert_string_equal(json_string_value(found), value);
    else
        assert_true(json_is_null(found));
}

static void commands(void **context)
{
    (void)context;
    json_t *event = made(COMMAND_APPROVE, "A-1", "");
    assert_field(event, "command", "approve");
    assert_field(event, "task", "A-1");
    assert_field(event, "actor", "operator");
    assert_field(event, "text", NULL);
    assert_field(event, "repo", NULL);
    assert_field(event, "project", NULL);
    json_decref(event);
    event = made(COMMAND_COMMENT, "A-1", "{\"actor\":\"ada\",\"text\":\"mind the \\\"gap\\\"\"}");
    assert_field(event, "actor", "ada");
    assert_field(event, "text", "mind the \"gap\"");
    json_decref(event);
    event = made(COMMAND_FREEZE, NULL, "{\"repo\":\"acme/shop\",\"reason\":\"hot\"}");
    assert_field(event, "task", NULL);
    assert_field(event, "repo", "acme/shop");
    assert_field(event, "text", "hot");
    json_decref(event);
    event = made(COMMAND_PAUSE, NULL, "{\"project\":\"SHOP\"}");
    assert_field(event, "command", "pause");
    assert_field(event, "project", "SHOP");
    json_decref(event);
}

static void command_refused(enum command command, const char *body, const char *field)
{
    struct command_fault fault = {0};
    assert_null(command_body(command, NULL, body, strlen(body), &fault));
    assert_string_equal(fault.field, field);
}

static void command_refusals(void **context)
{
    (void)context;
    command_refused(COMMAND_STOP, "nonsense", "");
    command_refused(COMMAND_STOP, "[]", "");
    command_refused(COMMAND_STOP, "{\"actor\":1}", "actor");
    command_refused(COMMAND_COMMENT, "{}", "text");
    command_refused(COMMAND_FREEZE, "{\"reason\":\"x\"}", "repo");
    command_refused(COMMAND_FREEZE, "{\"repo\":\"r\"}", "reason");
    command_refused(COMMAND_UNFREEZE, "", "repo");
    command_refused(COMMAND_PAUSE, "{\"project\":{}}", "project");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(local_events),    cmocka_unit_test(local_refusals),
        cmocka_unit_test(reserved_actors), cmocka_unit_test(long_delivery),
        cmocka_unit_test(commands),        cmocka_unit_test(command_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
