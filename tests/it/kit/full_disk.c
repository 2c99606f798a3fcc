/* A disk that is full for one file, or for all in one folder: what is written there by one process fails with ENOSPC.
   The file that FULL_DISK_FILE names holds the path; without it there is room. What stands behind the path in a name (`.tmp`,
   `-wal`) is full too. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static ssize_t (*real_write(void))(int, const void *, size_t)
{
    static ssize_t (*real)(int, const void *, size_t);
    if (!real)
        real = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    return real;
}

static int is_full(int fd)
{
    const char *control = getenv("FULL_DISK_FILE");
    if (!control)
        return 0;
    int before = errno;
    int file = open(control, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        errno = before;
        return 0;
    }
    char full[PATH_MAX] = {0}, link[64], path[PATH_MAX] = {0};
    ssize_t length = read(file, full, sizeof full - 1);
    close(file);
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    int is_known = readlink(link, path, sizeof path - 1) > 0;
    errno = before;
    return length > 0 && is_known && strncmp(path, full, (size_t)length) == 0;
}

#define REFUSE_IF_FULL(fd)       \
    if (is_full(fd)) {           \
        errno = ENOSPC;          \
        return -1;               \
    }

ssize_t write(int fd, const void *bytes, size_t count)
{
    REFUSE_IF_FULL(fd)
    return real_write()(fd, bytes, count);
}

ssize_t writev(int fd, const struct iovec *parts, int count)
{
    static ssize_t (*real)(int, const struct iovec *, int);
    REFUSE_IF_FULL(fd)
    if (!real)
        real = (ssize_t (*)(int, const struct iovec *, int))dlsym(RTLD_NEXT, "writev");
    return real(fd, parts, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off_t);
    REFUSE_IF_FULL(fd)
    if (!real)
        real = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, "pwrite");
    return real(fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t at)
{
    static ssize_t (*real)(int, const void *, size_t, off64_t);
    REFUSE_IF_FULL(fd)
    if (!real)
        real = (ssize_t (*)(int, const void *, size_t, off64_t))dlsym(RTLD_NEXT, "pwrite64");
    return real(fd, bytes, count, at);
}

ssize_t copy_file_range(int from, off64_t *from_at, int to, off64_t *to_at, size_t count, unsigned flags)
{
    static ssize_t (*real)(int, off64_t *, int, off64_t *, size_t, unsigned);
    REFUSE_IF_FULL(to)
    if (!real)
        real = (ssize_t (*)(int, off64_t *, int, off64_t *, size_t, unsigned))dlsym(RTLD_NEXT, "copy_file_range");
    return real(from, from_at, to, to_at, count, flags);
}
