/* The disk of one process: full, failing, slow; and a record of what a power cut would leave.
 *
 * Durable state is kept beside the files ($CHAOS_JOURNAL):
 *   files/INODE   what the disk holds of a file: brought up to date by fsync and fdatasync
 *   tree/...      which names the disk holds, as hard links to these: brought up to date by an
 *                 fsync of the folder
 * Nothing is written there before a sync, and a sync that is killed half-way leaves part of what
 * it had to bring, as a disk does. So the two are true at any instant of a SIGKILL. What the files
 * hold beyond them is what shim.py takes away (or tears) after a "power cut".
 *
 * Not seen: writes through memory maps, io_uring, and stdio of other libraries. Those are lost. */
#include "shim.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096
#define CHUNK (256 * 1024)
#define BUCKETS 1024

/* --- what this process runs under ---------------------------------------------------------- */

static struct control *page;
static char prefix[PATH_MAX - 300], journal[PATH_MAX - 300];
static size_t prefix_len;
static dev_t device;
static int ready; /* 0: not looked at yet, 1: passive, 2: under control */

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t names_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t position = PTHREAD_MUTEX_INITIALIZER; /* of a file: two threads may share it */

static void after_fork(void);

static void *map_control(const char *path) {
    int fd = REAL(open)(path, O_RDWR | O_CLOEXEC);
    if (fd < 0) return NULL;
    void *at = mmap(NULL, sizeof(struct control), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED) return NULL;
    struct control *found = at;
    return found->magic == MAGIC && found->version == CONTROL_VERSION ? at : NULL;
}

__attribute__((constructor)) static void begin(void) {
    if (ready) return;
    const char *control = getenv("CHAOS_CONTROL");
    const char *where = getenv("CHAOS_PREFIX"), *record = getenv("CHAOS_JOURNAL");
    struct stat st;
    page = control ? map_control(control) : NULL;
    if (page && where && record && strlen(where) < sizeof prefix &&
        strlen(record) < sizeof journal && stat(where, &st) == 0) {
        strcpy(prefix, where);
        strcpy(journal, record);
        prefix_len = strlen(prefix);
        device = st.st_dev;
        pthread_atfork(NULL, NULL, after_fork);
    }
    ready = page ? 2 : 1;
}

struct control *control_page(void) {
    if (!ready) begin();
    return page;
}

static int watching(void) { return control_page() && prefix_len; }

static void trouble(void) { count(COUNT_TROUBLE); }

/* --- files this process has open for writing ----------------------------------------------- */

struct file {
    struct file *next;
    ino_t ino;
    int tracked; /* below the prefix; else its inode is used by another file now */
    char *path;  /* relative to the prefix, as it was opened */
    pthread_mutex_t lock;
    int whole;            /* all of it may be unsynced */
    size_t pages;         /* length of `dirty`, in bits */
    unsigned char *dirty; /* the pages that are unsynced */
};

static struct file *table[BUCKETS];

static void after_fork(void) {
    pthread_mutex_init(&table_lock, NULL);
    pthread_mutex_init(&names_lock, NULL);
    pthread_mutex_init(&position, NULL);
    for (int i = 0; i < BUCKETS; i++)
        for (struct file *f = table[i]; f; f = f->next) pthread_mutex_init(&f->lock, NULL);
}

static struct file *find(ino_t ino, int make) {
    pthread_mutex_lock(&table_lock);
    struct file *f = table[ino % BUCKETS];
    while (f && f->ino != ino) f = f->next;
    if (!f && make && (f = calloc(1, sizeof *f))) {
        f->ino = ino;
        pthread_mutex_init(&f->lock, NULL);
        f->next = table[ino % BUCKETS];
        table[ino % BUCKETS] = f;
    }
    pthread_mutex_unlock(&table_lock);
    return f;
}

/* The path below the prefix ("" for the prefix itself), or NULL. */
static const char *below(const char *path) {
    if (strncmp(path, prefix, prefix_len)) return NULL;
    if (!path[prefix_len]) return path + prefix_len;
    return path[prefix_len] == '/' ? path + prefix_len + 1 : NULL;
}

static int path_of(int fd, char *into) {
    char link[40];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, into, PATH_MAX - 1);
    if (n < 0) return -1;
    into[n] = 0;
    return 0;
}

/* Where a path given to a system call leads, as text (links in it are not followed). */
static void resolve(int folder, const char *path, char *into) {
    if (path[0] == '/') {
        snprintf(into, PATH_MAX, "%s", path);
        return;
    }
    char from[PATH_MAX] = "";
    if (folder == AT_FDCWD ? !getcwd(from, sizeof from) : path_of(folder, from)) from[0] = 0;
    size_t n = strlen(from);
    snprintf(into, PATH_MAX, "%s", from);
    if (n + 1 < PATH_MAX) snprintf(into + n, PATH_MAX - n, "/%s", path);
}

static void forget_dirty(struct file *f) {
    free(f->dirty);
    f->dirty = NULL;
    f->pages = 0;
    f->whole = 0;
}

static void mark(struct file *f, off_t from, off_t length) {
    if (length <= 0) return;
    size_t first = from / PAGE, last = (from + length - 1) / PAGE;
    pthread_mutex_lock(&f->lock);
    if (last >= f->pages && !f->whole) {
        size_t bits = (last + 1 + 1023) & ~(size_t)1023;
        unsigned char *more = realloc(f->dirty, bits / 8);
        if (more) {
            memset(more + f->pages / 8, 0, (bits - f->pages) / 8);
            f->dirty = more;
            f->pages = bits;
        } else {
            f->whole = 1;
        }
    }
    if (!f->whole)
        for (size_t p = first; p <= last; p++) f->dirty[p / 8] |= 1 << p % 8;
    pthread_mutex_unlock(&f->lock);
}

static void mark_whole(struct file *f) {
    pthread_mutex_lock(&f->lock);
    f->whole = 1;
    pthread_mutex_unlock(&f->lock);
}

static void image_path(ino_t ino, char *into) {
    snprintf(into, PATH_MAX, "%s/files/%llu", journal, (unsigned long long)ino);
}

/* A file was opened: follow it if it lies below the prefix. `created`: its inode is new, so what
 * is recorded under that number belongs to a file that is gone. */
static void opened(int fd, int flags, int created) {
    struct stat st;
    char path[PATH_MAX];
    int error = errno;
    if (fd >= 0 && ((flags & O_ACCMODE) != O_RDONLY || created) && fstat(fd, &st) == 0 &&
        S_ISREG(st.st_mode) && st.st_dev == device && path_of(fd, path) == 0) {
        const char *name = below(path);
        struct file *f = find(st.st_ino, name != NULL);
        if (f && !name) {
            f->tracked = 0;
        } else if (f) {
            pthread_mutex_lock(&f->lock);
            int first = !f->tracked;
            if (created || first) {
                char *old = f->path;
                f->path = strdup(name);
                free(old);
            }
            if (created) {
                char image[PATH_MAX];
                image_path(st.st_ino, image);
                unlink(image);
                forget_dirty(f);
            } else if (first || flags & O_TRUNC) {
                f->whole = 1; /* an earlier process may have left something unsynced in it */
            }
            f->tracked = 1;
            pthread_mutex_unlock(&f->lock);
        }
    }
    errno = error;
}

/* The followed file of a descriptor, or NULL. */
static struct file *file_of(int fd, struct stat *st) {
    if (!watching() || fstat(fd, st) || !S_ISREG(st->st_mode) || st->st_dev != device) return NULL;
    struct file *f = find(st->st_ino, 0);
    return f && f->tracked ? f : NULL;
}

/* --- faults -------------------------------------------------------------------------------- */

/* The next number below a million; the same seed draws the same ones. */
static int64_t draw(const struct slot *set) {
    uint64_t x = (uint64_t)set->value[SET_SEED] +
                 0x9e3779b97f4a7c15ULL * (uint64_t)__atomic_add_fetch(&page->draws, 1, __ATOMIC_RELAXED);
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ULL;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebULL;
    return (int64_t)((x ^ (x >> 31)) % 1000000);
}

static int meant(const struct slot *set, const char *path) {
    return path && !strncmp(path, set->under, strnlen(set->under, sizeof set->under));
}

static void wait_us(int64_t us) {
    struct timespec left = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    while (nanosleep(&left, &left) && errno == EINTR) {}
}

static int hits(const struct slot *set, int ppm, int every, int64_t nth) {
    if (set->value[every] > 0 && nth % set->value[every] == 0) return 1;
    return set->value[ppm] > 0 && draw(set) < set->value[ppm];
}

/* Take room for so much growth; how much of it there is. */
static off_t take_room(off_t growth) {
    int64_t room = __atomic_load_n(&page->room, __ATOMIC_RELAXED), got;
    do {
        if (room < 0) return growth;
        got = room < growth ? room : growth;
    } while (!__atomic_compare_exchange_n(&page->room, &room, room - got, 0, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    if (got < growth) count(COUNT_FULL);
    return got;
}

/* How many of these bytes may be written; -1 and errno for none. */
static ssize_t admitted(struct file *f, off_t at, size_t length, off_t size) {
    const struct slot *set = settings();
    int64_t nth = __atomic_add_fetch(&page->count[COUNT_WRITES], 1, __ATOMIC_RELAXED);
    if (!length || !meant(set, f->path)) return length;
    if (set->value[SET_WRITE_DELAY_US] > 0) wait_us(set->value[SET_WRITE_DELAY_US]);
    if (hits(set, SET_WRITE_EIO_PPM, SET_WRITE_EIO_EVERY, nth)) {
        count(COUNT_WRITE_EIO);
        errno = EIO;
        return -1;
    }
    off_t end = at + length, from = at > size ? at : size;
    if (end > from) {
        off_t growth = end - from, got = take_room(growth);
        length -= growth - got;
        if (!length) {
            errno = ENOSPC;
            return -1;
        }
    }
    if (length > 1 && set->value[SET_SHORT_PPM] > 0 && draw(set) < set->value[SET_SHORT_PPM]) {
        count(COUNT_SHORT);
        length = 1 + (size_t)draw(set) % (length - 1);
    }
    return length;
}

/* Whether a file may be made or lengthened there now; else errno is set. */
static int may_grow(const char *path, off_t growth) {
    if (growth <= 0 || !path || !meant(settings(), path)) return 1;
    if (take_room(growth) == growth) return 1;
    errno = ENOSPC;
    return 0;
}

/* --- what the disk holds: contents --------------------------------------------------------- */

static int copy_range(int from, int to, off_t at, off_t end, char *buffer) {
    while (at < end) {
        size_t want = end - at < CHUNK ? end - at : CHUNK;
        ssize_t n = pread(from, buffer, want, at);
        if (n == 0) return 0; /* it was cut shorter meanwhile */
        if (n < 0 || REAL(pwrite)(to, buffer, n, at) != n) return -1;
        at += n;
    }
    return 0;
}

static int copy_dirty(int from, int to, off_t size, const unsigned char *dirty, size_t pages,
                      int whole) {
    char *buffer = malloc(CHUNK);
    struct stat st;
    int result = buffer && fstat(to, &st) == 0 ? 0 : -1;
    if (result == 0 && st.st_size != size) result = REAL(ftruncate)(to, size);
    if (result == 0 && whole) result = copy_range(from, to, 0, size, buffer);
    for (size_t p = 0; result == 0 && !whole && p < pages; p++) {
        size_t first = p;
        while (p < pages && dirty[p / 8] & 1 << p % 8) p++;
        off_t end = (off_t)p * PAGE;
        if (p > first)
            result = copy_range(from, to, (off_t)first * PAGE, end < size ? end : size, buffer);
    }
    free(buffer);
    return result;
}

/* A descriptor to read the file by. Closing a second one would drop the POSIX locks that SQLite
 * holds on it, so it is opened only where the file's own cannot read (SQLite's can). */
static int readable(int fd) {
    char link[40];
    if ((fcntl(fd, F_GETFL) & O_ACCMODE) != O_WRONLY) return fd;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    return REAL(open)(link, O_RDONLY | O_CLOEXEC);
}

static void keep_name(const char *name, ino_t ino);
static int lock_names(void);
static void unlock_names(int fd);

/* Sync a file and bring what the disk holds of it up to date. After a failed sync nobody knows
 * what reached the disk, and the kernel counts the pages as clean: they are lost unless they are
 * written again. */
static int sync_file(struct file *f, int fd, int (*sync)(int), int fails) {
    char path[PATH_MAX];
    image_path(f->ino, path);
    int image = REAL(open)(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (image < 0) trouble();
    else while (flock(image, LOCK_EX) && errno == EINTR) {}
    pthread_mutex_lock(&f->lock);
    unsigned char *dirty = f->dirty;
    size_t pages = f->pages;
    int whole = f->whole;
    f->dirty = NULL;
    f->pages = 0;
    f->whole = 0;
    pthread_mutex_unlock(&f->lock);
    int result = fails ? -1 : settings()->value[SET_SKIP_SYNC] ? 0 : sync(fd);
    int error = fails ? EIO : errno;
    if (result == 0) {
        struct stat st;
        int from = readable(fd);
        if (from < 0 || fstat(fd, &st) || copy_dirty(from, image, st.st_size, dirty, pages, whole))
            trouble();
        if (from >= 0 && from != fd) close(from);
        if (settings()->value[SET_NAMES_WITH_DATA] && st.st_nlink && path_of(fd, path) == 0 && below(path)) {
            int lock = lock_names();
            keep_name(below(path), f->ino);
            unlock_names(lock);
        }
    }
    free(dirty);
    if (image >= 0) close(image);
    errno = error;
    return result;
}

#include "names.c"
#include "calls.c"
