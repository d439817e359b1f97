/* A trivial service: says ready, says that it lives on the FIFO named by BENCH_FIFO, and waits. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

int main(void)
{
    const char *notify = getenv("ORCH_NOTIFY_FD");
    const char *fifo = getenv("BENCH_FIFO");
    int beat = fifo ? open(fifo, O_WRONLY | O_NONBLOCK | O_CLOEXEC) : -1;
    if (beat >= 0 && write(beat, "b", 1) != 1)
        return 1;
    if (notify && write(atoi(notify), "\n", 1) != 1)
        return 1;
    for (;;)
        pause();
}
