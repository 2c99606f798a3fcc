/* A folder that becomes read-only under a process that has files open in it, as a file system does after an error of its
 * disk. A remount cannot do that here: the kernel refuses one while a file is open for writing.
 *
 * While the file READONLY_WHEN exists, whatever would change something below READONLY_BELOW ends with EROFS. To be
 * preloaded; knows the calls that SQLite and Rust's standard library make. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

static int is_below(const char *path) {
    const char *below = getenv("READONLY_BELOW");
    return below && strncmp(path, below, strlen(below)) == 0 && path[strlen(below)] == '/';
}

static int is_on(void) {
    const char *when = getenv("READONLY_WHEN");
    int before = errno;
    int on = when && access(when, F_OK) == 0;
    errno = before;
    return on;
}

static int refuses_path(const char *path) {
    if (!is_on() || !is_below(path)) return 0;
    errno = EROFS;
    return 1;
}

static int refuses(int fd) {
    if (!is_on()) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length <= 0) return 0;
    path[length] = 0;
    if (!is_below(path)) return 0;
    errno = EROFS;
    return 1;
}

#define REAL(name)                                                                                                        \
    static __typeof__(name) *real;                                                                                        \
    if (!real) real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)

#define ON_FD(result, name, parameters, ...)                                                                              \
    result name parameters {                                                                                              \
        REAL(name);                                                                                                       \
        return refuses(fd) ? -1 : real(__VA_ARGS__);                                                                      \
    }

ON_FD(ssize_t, write, (int fd, const void *bytes, size_t count), fd, bytes, count)
ON_FD(ssize_t, writev, (int fd, const struct iovec *parts, int count), fd, parts, count)
ON_FD(ssize_t, pwrite, (int fd, const void *bytes, size_t count, off_t at), fd, bytes, count, at)
ON_FD(ssize_t, pwrite64, (int fd, const void *bytes, size_t count, off64_t at), fd, bytes, count, at)
ON_FD(int, ftruncate, (int fd, off_t length), fd, length)
ON_FD(int, ftruncate64, (int fd, off64_t length), fd, length)

#define ON_PATH(name, parameters, ...)                                                                                    \
    int name parameters {                                                                                                 \
        REAL(name);                                                                                                       \
        return refuses_path(path) ? -1 : real(__VA_ARGS__);                                                               \
    }

ON_PATH(unlink, (const char *path), path)
ON_PATH(rename, (const char *path, const char *to), path, to)
ON_PATH(mkdir, (const char *path, mode_t mode), path, mode)

#define OPEN(name)                                                                                                        \
    int name(const char *path, int flags, ...) {                                                                          \
        REAL(name);                                                                                                       \
        va_list rest;                                                                                                     \
        va_start(rest, flags);                                                                                            \
        mode_t mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, mode_t) : 0;                                           \
        va_end(rest);                                                                                                     \
        int changes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));                                   \
        return changes && refuses_path(path) ? -1 : real(path, flags, mode);                                              \
    }

OPEN(open)
OPEN(open64)
