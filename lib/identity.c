#include "lib/identity.h"

#include <errno.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lib/log.h"

static const int wanted[] = {CAP_SETUID, CAP_SETGID, CAP_CHOWN, CAP_KILL};

int identity_find(const char *name, struct identity *identity)
{
    struct passwd entry, *found = NULL;
    char text[4096];
    int error = getpwnam_r(name, &entry, text, sizeof text, &found);
    if (!found) {
        errno = error ? error : ENOENT;
        return -1;
    }
    *identity = (struct identity){.uid = found->pw_uid, .gid = found->pw_gid};
    snprintf(identity->name, sizeof identity->name, "%s", name);
    return 0;
}

static int read_capabilities(struct __user_cap_data_struct data[2])
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    return (int)syscall(SYS_capget, &header, data);
}

bool identity_may_change(void)
{
    struct __user_cap_data_struct data[2];
    if (read_capabilities(data) < 0)
        return false;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        if (!(data[0].effective & (1U << wanted[i])))
            return false;
    }
    return true;
}

void identity_keep(void)
{
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
}

/* One that is not ours to lend fails, and what is started says so when it wants to change users. */
void identity_lend(void)
{
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, wanted[i], 0, 0);
}

void identity_drop(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[2] = {{0}};
    if (geteuid() != 0)
        syscall(SYS_capset, &header, none);
}

static void take(uid_t uid, gid_t gid)
{
    setfsgid(gid);
    setfsuid(uid);
    /* they say what was before, and nothing else; -1 changes nothing */
    if ((uid_t)setfsuid((uid_t)-1) != uid || (gid_t)setfsgid((gid_t)-1) != gid)
        log_abort("identity", "files cannot be touched as user %u", (unsigned)uid);
}

void identity_enter(const struct identity *identity)
{
    if (identity)
        take(identity->uid, identity->gid);
}

void identity_leave(const struct identity *identity)
{
    if (identity) {
        int saved = errno;
        take(geteuid(), getegid());
        errno = saved;
    }
}

int identity_renounce(void)
{
    identity_drop();
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int identity_strip(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[2] = {{0}};
    /* what is bounded away comes back with no program, root's neither; who may not drop it has none
     */
    for (int number = 0; prctl(PR_CAPBSET_READ, number, 0, 0, 0) >= 0; number++)
        prctl(PR_CAPBSET_DROP, number, 0, 0, 0);
    if (syscall(SYS_capset, &header, none) < 0)
        return -1;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

int identity_become(uid_t uid, gid_t gid)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const struct __user_cap_data_struct none[2] = {{0}};
    if (syscall(SYS_setgroups, (size_t)0, NULL) < 0 || syscall(SYS_setresgid, gid, gid, gid) < 0 ||
        syscall(SYS_setresuid, uid, uid, uid) < 0)
        return -1;
    if (syscall(SYS_capset, &header, none) < 0) /* ambient ones go with the permitted */
        return -1;
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}
