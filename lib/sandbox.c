#include "lib/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/landlock.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What newer kernels know and the headers of Debian 12 do not: the number says since which ABI. */
enum { ABI_REFER = 2, ABI_TRUNCATE = 3, ABI_IOCTL = 5, ABI_SCOPE = 6 };
#define ACCESS_TRUNCATE (1ULL << 14)
#define ACCESS_IOCTL    (1ULL << 15)
#define SCOPE_ABSTRACT  (1ULL << 0)
#define SCOPE_SIGNAL    (1ULL << 1)

#define READS                                                                                      \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)
/* a device file of its own would lead to the disk beneath all files */
#define DEVICES (LANDLOCK_ACCESS_FS_MAKE_CHAR | LANDLOCK_ACCESS_FS_MAKE_BLOCK)
#define OF_FILES                                                                                   \
    (LANDLOCK_ACCESS_FS_EXECUTE | LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |   \
     ACCESS_TRUNCATE | ACCESS_IOCTL)

struct ruleset { /* as the kernel of ABI 6 reads it */
    uint64_t files, net, scoped;
};

int sandbox_abi(void)
{
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    return abi > 0 ? (int)abi : 0;
}

static uint64_t all_rights(int abi)
{
    uint64_t rights = (1ULL << 13) - 1; /* ABI 1 */
    if (abi >= ABI_REFER)
        rights |= LANDLOCK_ACCESS_FS_REFER;
    if (abi >= ABI_TRUNCATE)
        rights |= ACCESS_TRUNCATE;
    if (abi >= ABI_IOCTL)
        rights |= ACCESS_IOCTL;
    return rights;
}

static int allow(int ruleset, const char *path, uint64_t rights)
{
    struct stat about;
    struct landlock_path_beneath_attr rule = {.allowed_access = rights};
    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return 0; /* not there, or closed to this user: nothing to allow */
    if (fstat(rule.parent_fd, &about) == 0 && !S_ISDIR(about.st_mode))
        rule.allowed_access &= OF_FILES;
    long result = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    int saved = errno;
    close(rule.parent_fd);
    errno = saved;
    return result < 0 ? -1 : 0;
}

static int restrict_to(int ruleset, char *const *read, char *const *write, uint64_t all)
{
    for (; *read; read++) {
        if (allow(ruleset, *read, READS) < 0)
            return -1;
    }
    for (; *write; write++) {
        if (allow(ruleset, *write, all & ~DEVICES) < 0)
            return -1;
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -1;
    return syscall(SYS_landlock_restrict_self, ruleset, 0) < 0 ? -1 : 0;
}

int sandbox_enter(char *const *read, char *const *write)
{
    int abi = sandbox_abi();
    struct ruleset rules = {.files = all_rights(abi),
                            .scoped = abi >= ABI_SCOPE ? SCOPE_ABSTRACT | SCOPE_SIGNAL : 0};
    if (abi == 0) {
        errno = EOPNOTSUPP;
        return -1;
    }
    size_t size = abi >= ABI_SCOPE ? sizeof rules : sizeof rules.files;
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &rules, size, 0);
    if (ruleset < 0)
        return -1;
    int result = restrict_to(ruleset, read, write, rules.files), saved = errno;
    close(ruleset);
    errno = saved;
    return result;
}
