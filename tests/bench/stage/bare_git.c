/* Runs programs one after the other, as bare as it goes: posix_spawn, wait, next. Reads a JSON array
 * of {"argv": [], "env": [], "cwd": "" or null, "input": "" or null} from standard input and prints
 * the microseconds that all of them took, then those of each. */
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <jansson.h>

enum { STRINGS_MAX = 100 };

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000 + now.tv_nsec / 1000;
}

static void fill(const json_t *list, char **out)
{
    size_t index;
    const json_t *text;
    json_array_foreach(list, index, text)
    {
        if (index == STRINGS_MAX - 1)
            break;
        out[index] = strdup(json_string_value(text));
    }
}

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void run(const json_t *command)
{
    char *argv[STRINGS_MAX] = {0}, *env[STRINGS_MAX] = {0};
    const char *input = json_string_value(json_object_get(command, "input"));
    const char *cwd = json_string_value(json_object_get(command, "cwd"));
    posix_spawn_file_actions_t actions;
    int ends[2] = {-1, -1}, status;
    pid_t pid;
    fill(json_object_get(command, "argv"), argv);
    fill(json_object_get(command, "env"), env);
    posix_spawn_file_actions_init(&actions);
    if (input && pipe2(ends, O_CLOEXEC) < 0)
        fail("pipe");
    if (input)
        posix_spawn_file_actions_adddup2(&actions, ends[0], STDIN_FILENO);
    else
        posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    if (cwd)
        posix_spawn_file_actions_addchdir_np(&actions, cwd);
    if (posix_spawnp(&pid, argv[0], &actions, NULL, argv, env) != 0)
        fail(argv[0]);
    if (input) {
        size_t size = json_string_length(json_object_get(command, "input"));
        close(ends[0]);
        if (write(ends[1], input, size) != (ssize_t)size)
            fail("write");
        close(ends[1]);
    }
    if (waitpid(pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
        fprintf(stderr, "bare_git: %s %s failed\n", argv[0], argv[1]);
        exit(1);
    }
    posix_spawn_file_actions_destroy(&actions);
}

int main(void)
{
    json_t *commands = json_loadf(stdin, JSON_ALLOW_NUL, NULL);
    int64_t each[STRINGS_MAX], begin = now_us(), at = begin;
    size_t index, count = json_array_size(commands);
    const json_t *command;
    if (count == 0 || count > STRINGS_MAX)
        return 2;
    json_array_foreach(commands, index, command)
    {
        run(command);
        each[index] = now_us() - at;
        at += each[index];
    }
    printf("%lld", (long long)(at - begin));
    for (size_t i = 0; i < count; i++)
        printf(" %lld", (long long)each[i]);
    putchar('\n');
    return 0;
}
