/* A file system that can be asked what a power cut would have left.
 *
 * Loaded with LD_PRELOAD into a test's child process. For files below SHIM_DIR it
 *  - writes down every change before it is made, with what was there before, and every sync after
 *    it; the journal is SHIM_LOG/journal, and the test undoes from it what was not synced;
 *  - refuses to give room (ENOSPC) while the file SHIM_FULL exists: a write, truncation or
 *    allocation that would make a file larger fails, one inside a file does not;
 *  - fails every sync (EIO) while the file SHIM_BROKEN exists.
 * With SHIM_SYNC_US a sync takes that long. It does not reach the disk: the test kills the process
 * and not the machine, so what was written stays in the page cache until the test undoes it.
 *
 * Files that end in -shm are left alone: SQLite maps them and makes them anew after a crash. What
 * it cannot write down (a shared writable mapping, a rename) ends the process loudly.
 * The journal is read by unsynced.rs; keep the two together. Linux with glibc only.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE = 1, TRUNCATE, CREATE, UNLINK, SYNC, SYNC_FOLDER };

/* One line of the journal; the path, the old bytes and the new bytes follow it. */
struct record {
    uint32_t magic, kind;
    uint64_t inode;
    int64_t offset, old_size;
    uint32_t path_length, old_length, new_length, number;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static const char *folder, *log_folder, *full_flag, *broken_flag;
static size_t folder_length;
static int journal = -1;
static useconds_t sync_us;
static uint32_t unlinked;

#define REAL(result, name, ...) static result (*real_##name)(__VA_ARGS__)
REAL(int, open, const char *, int, ...);
REAL(int, openat, int, const char *, int, ...);
REAL(ssize_t, write, int, const void *, size_t);
REAL(ssize_t, writev, int, const struct iovec *, int);
REAL(ssize_t, pwrite, int, const void *, size_t, off_t);
REAL(int, ftruncate, int, off_t);
REAL(int, posix_fallocate, int, off_t, off_t);
REAL(int, fallocate, int, int, off_t, off_t);
REAL(int, unlink, const char *);
REAL(int, unlinkat, int, const char *, int);
REAL(int, rename, const char *, const char *);
REAL(int, fsync, int);
REAL(void *, mmap, void *, size_t, int, int, int, off_t);

static void stop(const char *why) {
    fprintf(stderr, "portico_shim: %s\n", why);
    abort();
}

/* A copy: PostgreSQL writes its process title over the environment. */
static const char *setting(const char *name) {
    const char *value = getenv(name);
    return value ? strdup(value) : NULL;
}

__attribute__((constructor)) static void start(void) {
#define FIND(name) *(void **)&real_##name = dlsym(RTLD_NEXT, #name)
    FIND(open); FIND(openat); FIND(write); FIND(writev); FIND(pwrite); FIND(ftruncate); FIND(posix_fallocate);
    FIND(fallocate); FIND(unlink); FIND(unlinkat); FIND(rename); FIND(fsync); FIND(mmap);
    if (folder) return;
    folder = setting("SHIM_DIR");
    log_folder = setting("SHIM_LOG");
    full_flag = setting("SHIM_FULL");
    broken_flag = setting("SHIM_BROKEN");
    if (getenv("SHIM_SYNC_US")) sync_us = (useconds_t)atoi(getenv("SHIM_SYNC_US"));
    if (!folder) return;
    folder_length = strlen(folder);
    if (log_folder) {
        char path[PATH_MAX];
        snprintf(path, sizeof path, "%s/journal", log_folder);
        journal = real_open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
        if (journal < 0) stop("cannot open the journal");
    }
}

/* Other libraries' constructors may come before ours. */
static void started(void) {
    if (!real_mmap) start();
}

static int below(const char *path) {
    size_t length = strlen(path);
    if (!folder || strncmp(path, folder, folder_length) || path[folder_length] != '/') return 0;
    return length < 4 || strcmp(path + length - 4, "-shm");
}

/* Says whether the open file is one of ours, and gives its path and what is known of it. */
static int ours(int file, char *path, struct stat *known) {
    char link[64];
    if (!folder) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return below(path) && !fstat(file, known) && S_ISREG(known->st_mode);
}

static int is_set(const char *flag) { return flag && !access(flag, F_OK); }

static void note(struct record record, const char *path, const void *old, const void *new) {
    if (journal < 0) return;
    record.magic = 0x4d494853;
    record.path_length = (uint32_t)strlen(path);
    struct iovec parts[] = {
        {&record, sizeof record}, {(void *)path, record.path_length},
        {(void *)old, record.old_length}, {(void *)new, record.new_length},
    };
    size_t all = sizeof record + record.path_length + record.old_length + record.new_length;
    if (real_writev(journal, parts, 4) != (ssize_t)all) stop("cannot write the journal");
}

/* Notes that bytes from `offset` on will change: what is there now, and what is to be there. */
static void note_change(int kind, int file, const char *path, const struct stat *known, const void *new,
                        size_t length, off_t offset) {
    if (journal < 0) return;
    off_t end = kind == WRITE ? offset + (off_t)length : known->st_size;
    if (end > known->st_size) end = known->st_size;
    size_t kept = end > offset ? (size_t)(end - offset) : 0;
    char *old = malloc(kept + 1);
    /* Through the same descriptor: closing another one would drop SQLite's locks on the file. */
    if (kept && pread(file, old, kept, offset) != (ssize_t)kept) stop("cannot read what was there");
    struct record record = {
        .kind = (uint32_t)kind, .inode = known->st_ino, .offset = offset, .old_size = known->st_size,
        .old_length = (uint32_t)kept, .new_length = kind == WRITE ? (uint32_t)length : 0,
    };
    note(record, path, old, new);
    free(old);
}

static ssize_t change(int file, const void *bytes, size_t length, off_t offset, int at) {
    char path[PATH_MAX];
    struct stat known;
    started();
    if (!ours(file, path, &known)) {
        return at ? real_pwrite(file, bytes, length, offset) : real_write(file, bytes, length);
    }
    pthread_mutex_lock(&lock);
    fstat(file, &known);
    if (!at) offset = fcntl(file, F_GETFL) & O_APPEND ? known.st_size : lseek(file, 0, SEEK_CUR);
    ssize_t done = -1;
    if (offset + (off_t)length > known.st_size && is_set(full_flag)) {
        errno = ENOSPC;
    } else {
        note_change(WRITE, file, path, &known, bytes, length, offset);
        done = at ? real_pwrite(file, bytes, length, offset) : real_write(file, bytes, length);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

static ssize_t change_many(int file, const struct iovec *parts, int count, off_t offset, int at) {
    size_t length = 0, filled = 0;
    for (int part = 0; part < count; part++) length += parts[part].iov_len;
    char *bytes = malloc(length + 1);
    for (int part = 0; part < count; filled += parts[part++].iov_len) {
        memcpy(bytes + filled, parts[part].iov_base, parts[part].iov_len);
    }
    ssize_t done = change(file, bytes, length, offset, at);
    free(bytes);
    return done;
}

ssize_t write(int file, const void *bytes, size_t length) { return change(file, bytes, length, 0, 0); }
ssize_t writev(int file, const struct iovec *parts, int count) { return change_many(file, parts, count, 0, 0); }
ssize_t pwrite(int file, const void *bytes, size_t length, off_t at) { return change(file, bytes, length, at, 1); }
ssize_t pwrite64(int file, const void *bytes, size_t length, off_t at) { return change(file, bytes, length, at, 1); }
ssize_t pwritev(int file, const struct iovec *parts, int count, off_t at) { return change_many(file, parts, count, at, 1); }
ssize_t pwritev64(int file, const struct iovec *parts, int count, off_t at) { return change_many(file, parts, count, at, 1); }

static int resize(int file, off_t size) {
    char path[PATH_MAX];
    struct stat known;
    started();
    if (!ours(file, path, &known)) return real_ftruncate(file, size);
    pthread_mutex_lock(&lock);
    fstat(file, &known);
    int done = -1;
    if (size > known.st_size && is_set(full_flag)) {
        errno = ENOSPC;
    } else {
        note_change(TRUNCATE, file, path, &known, NULL, 0, size);
        done = real_ftruncate(file, size);
    }
    pthread_mutex_unlock(&lock);
    return done;
}

int ftruncate(int file, off_t size) { return resize(file, size); }
int ftruncate64(int file, off_t size) { return resize(file, size); }

/* Says whether there is room; the journal knows no allocation, so with one there must be none. */
static int room(int file, off_t end) {
    char path[PATH_MAX];
    struct stat known;
    started();
    if (!ours(file, path, &known)) return 1;
    if (journal >= 0) stop("an allocation, which the journal cannot hold");
    return end <= known.st_size || !is_set(full_flag);
}

int posix_fallocate(int file, off_t offset, off_t length) {
    return room(file, offset + length) ? real_posix_fallocate(file, offset, length) : ENOSPC;
}
int posix_fallocate64(int file, off_t offset, off_t length) { return posix_fallocate(file, offset, length); }
int fallocate(int file, int mode, off_t offset, off_t length) {
    if (room(file, offset + length)) return real_fallocate(file, mode, offset, length);
    errno = ENOSPC;
    return -1;
}
int fallocate64(int file, int mode, off_t offset, off_t length) { return fallocate(file, mode, offset, length); }

/* Opens a file and notes it when that made it. */
static int open_noted(int at, const char *path, int flags, mode_t mode) {
    struct stat known;
    started();
    if (!(flags & O_CREAT) || journal < 0 || !below(path)) return real_openat(at, path, flags, mode);
    pthread_mutex_lock(&lock);
    int existed = !stat(path, &known);
    if (existed && (flags & O_TRUNC) && known.st_size) stop("a file is emptied by opening it");
    int file = real_openat(at, path, flags, mode);
    if (file >= 0 && !existed && !fstat(file, &known)) {
        note((struct record){.kind = CREATE, .inode = known.st_ino}, path, NULL, NULL);
    }
    pthread_mutex_unlock(&lock);
    return file;
}

static mode_t mode_of(int flags, va_list more) {
    return flags & (O_CREAT | O_TMPFILE) ? (mode_t)va_arg(more, int) : 0;
}

#define OPEN(name, at, ...) \
    int name(__VA_ARGS__, ...) { \
        va_list more; \
        va_start(more, flags); \
        mode_t mode = mode_of(flags, more); \
        va_end(more); \
        return open_noted(at, path, flags, mode); \
    }
OPEN(open, AT_FDCWD, const char *path, int flags)
OPEN(open64, AT_FDCWD, const char *path, int flags)
OPEN(openat, at, int at, const char *path, int flags)
OPEN(openat64, at, int at, const char *path, int flags)

/* Keeps a file that is unlinked: until the folder is synced, its name may come back. */
static void keep(const char *path) {
    struct stat known;
    char kept[PATH_MAX];
    if (journal < 0 || !below(path) || stat(path, &known)) return;
    snprintf(kept, sizeof kept, "%s/unlinked-%u", log_folder, unlinked);
    if (link(path, kept)) stop("cannot keep an unlinked file");
    note((struct record){.kind = UNLINK, .inode = known.st_ino, .number = unlinked}, path, NULL, NULL);
    unlinked++;
}

int unlink(const char *path) {
    started();
    pthread_mutex_lock(&lock);
    keep(path);
    int done = real_unlink(path);
    pthread_mutex_unlock(&lock);
    return done;
}
int unlinkat(int at, const char *path, int flags) {
    started();
    if (at == AT_FDCWD && !flags) return unlink(path);
    return real_unlinkat(at, path, flags);
}
int rename(const char *from, const char *to) {
    started();
    if (journal >= 0 && (below(from) || below(to))) stop("a rename, which the journal cannot hold");
    return real_rename(from, to);
}

static int sync_noted(int file) {
    char path[PATH_MAX], link[64];
    struct stat known;
    started();
    int mine = ours(file, path, &known), of_folder = 0;
    if (folder && !mine) {
        snprintf(link, sizeof link, "/proc/self/fd/%d", file);
        ssize_t length = readlink(link, path, PATH_MAX - 1);
        of_folder = length == (ssize_t)folder_length && !strncmp(path, folder, folder_length);
        path[length > 0 ? length : 0] = 0;
    }
    if (!mine && !of_folder) return real_fsync(file);
    if (is_set(broken_flag)) {
        errno = EIO;
        return -1;
    }
    pthread_mutex_lock(&lock);
    if (sync_us) usleep(sync_us);
    note((struct record){.kind = mine ? SYNC : SYNC_FOLDER, .inode = mine ? known.st_ino : 0}, path, NULL, NULL);
    pthread_mutex_unlock(&lock);
    return 0;
}

int fsync(int file) { return sync_noted(file); }
int fdatasync(int file) { return sync_noted(file); }

static void *map(void *at, size_t length, int allowed, int flags, int file, off_t offset) {
    char path[PATH_MAX];
    struct stat known;
    started();
    int writes = (allowed & PROT_WRITE) && (flags & MAP_SHARED) && file >= 0;
    if (writes && journal >= 0 && ours(file, path, &known)) stop("a mapping that is written through");
    return real_mmap(at, length, allowed, flags, file, offset);
}

void *mmap(void *at, size_t length, int allowed, int flags, int file, off_t offset) {
    return map(at, length, allowed, flags, file, offset);
}
void *mmap64(void *at, size_t length, int allowed, int flags, int file, off_t offset) {
    return map(at, length, allowed, flags, file, offset);
}
