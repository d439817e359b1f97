#include "services/ingress/inbox_checkpoint.h"

#include <pthread.h>
#include <stdlib.h>
#include "lib/buffer.h"
#include "lib/log.h"
#include "services/ingress/inbox_db.h"

enum {
    FEW_PAGES = 128, /* of 8 KiB: moved by the writer between two batches */
    TRIES = 4,       /* the writer adds pages meanwhile */
};

struct checkpointer {
    char *path;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t work;
    bool wanted, left_few, stop;
    uint64_t passes;
};

/* A connection for each pass: one that stays would hold a file that was replaced meanwhile. True
 * where few pages are left. */
static bool move_pages(const char *path)
{
    sqlite3 *db = inbox_db_open_checkpointer(path);
    int rest = -1;
    for (int i = 0; db && i < TRIES; i++) {
        rest = inbox_db_checkpoint(db);
        if (rest < FEW_PAGES)
            break;
    }
    sqlite3_close_v2(db);
    return rest >= 0;
}

static void *run(void *context)
{
    struct checkpointer *checkpointer = context;
    pthread_mutex_lock(&checkpointer->lock);
    while (!checkpointer->stop) {
        if (!checkpointer->wanted) {
            pthread_cond_wait(&checkpointer->work, &checkpointer->lock);
            continue;
        }
        checkpointer->wanted = false;
        pthread_mutex_unlock(&checkpointer->lock);
        bool moved = move_pages(checkpointer->path);
        pthread_mutex_lock(&checkpointer->lock);
        checkpointer->left_few |= moved;
        checkpointer->passes += moved;
    }
    pthread_mutex_unlock(&checkpointer->lock);
    return NULL;
}

struct checkpointer *checkpointer_start(const char *path)
{
    struct checkpointer *checkpointer = xcalloc(1, sizeof *checkpointer);
    checkpointer->path = xstrdup(path);
    pthread_mutex_init(&checkpointer->lock, NULL);
    pthread_cond_init(&checkpointer->work, NULL);
    if (pthread_create(&checkpointer->thread, NULL, run, checkpointer) != 0)
        log_abort("inbox", "cannot start a thread");
    return checkpointer;
}

void checkpointer_want(struct checkpointer *checkpointer)
{
    pthread_mutex_lock(&checkpointer->lock);
    checkpointer->wanted = true;
    pthread_cond_signal(&checkpointer->work);
    pthread_mutex_unlock(&checkpointer->lock);
}

bool checkpointer_left_few(struct checkpointer *checkpointer)
{
    pthread_mutex_lock(&checkpointer->lock);
    bool few = checkpointer->left_few;
    checkpointer->left_few = false;
    pthread_mutex_unlock(&checkpointer->lock);
    return few;
}

uint64_t checkpointer_passes(struct checkpointer *checkpointer)
{
    pthread_mutex_lock(&checkpointer->lock);
    uint64_t passes = checkpointer->passes;
    pthread_mutex_unlock(&checkpointer->lock);
    return passes;
}

void checkpointer_stop(struct checkpointer *checkpointer)
{
    pthread_mutex_lock(&checkpointer->lock);
    checkpointer->stop = true;
    pthread_cond_signal(&checkpointer->work);
    pthread_mutex_unlock(&checkpointer->lock);
    pthread_join(checkpointer->thread, NULL);
}

void checkpointer_free(struct checkpointer *checkpointer)
{
    free(checkpointer->path);
    free(checkpointer);
}
