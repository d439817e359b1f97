/* An agent that costs next to nothing: notes when it began, writes an approving review, notes when it
 * ended. Usage: stage_agent FILE; lines "<run> begin|end <microseconds, monotonic>" are appended. */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static void note(const char *path, const char *what)
{
    struct timespec now;
    char line[300];
    clock_gettime(CLOCK_MONOTONIC, &now);
    int size = snprintf(line, sizeof line, "%s %s %lld\n", getenv("ORCH_RUN"), what,
                        (long long)now.tv_sec * 1000000 + now.tv_nsec / 1000);
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND, 0644);
    if (fd < 0 || write(fd, line, (size_t)size) != size)
        exit(1);
    close(fd);
}

int main(int argc, char **argv)
{
    char path[300];
    if (argc != 2 || !getenv("ORCH_RUN"))
        return 2;
    note(argv[1], "begin");
    snprintf(path, sizeof path, "docs/work-items/%s", getenv("ORCH_TASK"));
    mkdir("docs", 0755);
    mkdir("docs/work-items", 0755);
    mkdir(path, 0755);
    strncat(path, "/12-review.md", sizeof path - strlen(path) - 1);
    FILE *file = fopen(path, "w");
    if (!file)
        return 1;
    fprintf(file, "---\nverdict: APPROVED\n---\n\n%s\n", getenv("ORCH_RUN"));
    fclose(file);
    note(argv[1], "end");
    return 0;
}
