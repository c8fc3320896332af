/* The system calls that the disk stands in for. Included by disk.c. */

/* --- opening ------------------------------------------------------------------------------- */

#define WITH_MODE(flags) ((flags) & O_CREAT || ((flags) & O_TMPFILE) == O_TMPFILE)
#define TAKE_MODE(flags)                       \
    mode_t mode = 0;                           \
    if (WITH_MODE(flags)) {                    \
        va_list more;                          \
        va_start(more, flags);                 \
        mode = (mode_t)va_arg(more, unsigned); \
        va_end(more);                          \
    }

/* Before an open: whether it will make a file. -1: it must fail, errno is set. */
static int creates(int folder, const char *path, int flags) {
    struct stat st;
    char full[PATH_MAX];
    int error = errno;
    if (!watching() || !path) return 0;
    if ((flags & O_TMPFILE) == O_TMPFILE) return 1;
    if (!(flags & O_CREAT) || fstatat(folder, path, &st, 0) == 0) return 0;
    errno = error;
    resolve(folder, path, full);
    const char *name = below(full);
    return name && __atomic_load_n(&page->room, __ATOMIC_RELAXED) == 0 && !may_grow(name, 1) ? -1
                                                                                             : 1;
}

static int open_by(int folder, const char *path, int flags, mode_t mode) {
    int made = creates(folder, path, flags);
    if (made < 0) return -1;
    int fd = REAL(openat)(folder, path, flags, mode);
    if (watching()) opened(fd, flags, made);
    return fd;
}

int open(const char *path, int flags, ...) {
    TAKE_MODE(flags)
    return open_by(AT_FDCWD, path, flags, mode);
}

int open64(const char *path, int flags, ...) {
    TAKE_MODE(flags)
    return open_by(AT_FDCWD, path, flags | O_LARGEFILE, mode);
}

int openat(int folder, const char *path, int flags, ...) {
    TAKE_MODE(flags)
    return open_by(folder, path, flags, mode);
}

int openat64(int folder, const char *path, int flags, ...) {
    TAKE_MODE(flags)
    return open_by(folder, path, flags | O_LARGEFILE, mode);
}

int creat(const char *path, mode_t mode) {
    return open_by(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC, mode);
}

int creat64(const char *path, mode_t mode) {
    return open_by(AT_FDCWD, path, O_CREAT | O_WRONLY | O_TRUNC | O_LARGEFILE, mode);
}

/* What open becomes in programs that were built with _FORTIFY_SOURCE. */
int __open_2(const char *path, int flags) { return open_by(AT_FDCWD, path, flags, 0); }
int __open64_2(const char *path, int flags) {
    return open_by(AT_FDCWD, path, flags | O_LARGEFILE, 0);
}
int __openat_2(int folder, const char *path, int flags) { return open_by(folder, path, flags, 0); }
int __openat64_2(int folder, const char *path, int flags) {
    return open_by(folder, path, flags | O_LARGEFILE, 0);
}

int mkdirat(int folder, const char *path, mode_t mode) {
    char full[PATH_MAX];
    if (watching() && __atomic_load_n(&page->room, __ATOMIC_RELAXED) == 0) {
        resolve(folder, path, full);
        if (!may_grow(below(full), 1)) return -1;
    }
    return REAL(mkdirat)(folder, path, mode);
}

int mkdir(const char *path, mode_t mode) { return mkdirat(AT_FDCWD, path, mode); }

/* --- writing ------------------------------------------------------------------------------- */

ssize_t write(int fd, const void *data, size_t length) {
    struct stat st;
    struct file *f = file_of(fd, &st);
    if (!f) return REAL(write)(fd, data, length);
    off_t at = fcntl(fd, F_GETFL) & O_APPEND ? st.st_size : lseek(fd, 0, SEEK_CUR);
    ssize_t n = admitted(f, at, length, st.st_size);
    if (n < 0) return -1;
    pthread_mutex_lock(&position);
    n = REAL(write)(fd, data, n);
    int error = errno;
    off_t end = lseek(fd, 0, SEEK_CUR);
    pthread_mutex_unlock(&position);
    if (n > 0) mark(f, end - n, n);
    errno = error;
    return n;
}

static ssize_t pwrite_by(int fd, const void *data, size_t length, off_t at) {
    struct stat st;
    struct file *f = file_of(fd, &st);
    if (!f) return REAL(pwrite)(fd, data, length, at);
    ssize_t n = admitted(f, at, length, st.st_size);
    if (n < 0) return -1;
    n = REAL(pwrite)(fd, data, n, at);
    if (n > 0) mark(f, at, n);
    return n;
}

ssize_t pwrite(int fd, const void *data, size_t length, off_t at) {
    return pwrite_by(fd, data, length, at);
}

ssize_t pwrite64(int fd, const void *data, size_t length, off64_t at) {
    return pwrite_by(fd, data, length, at);
}

/* Vectors are written piece by piece: short where a piece is short, as the kernel may. */
static ssize_t pieces(int fd, const struct iovec *vector, int n, off_t at, int placed) {
    ssize_t total = 0;
    for (int i = 0; i < n; i++) {
        if (!vector[i].iov_len) continue;
        ssize_t done = placed ? pwrite_by(fd, vector[i].iov_base, vector[i].iov_len, at + total)
                              : write(fd, vector[i].iov_base, vector[i].iov_len);
        if (done < 0) return total ? total : -1;
        total += done;
        if ((size_t)done < vector[i].iov_len) break;
    }
    return total;
}

ssize_t writev(int fd, const struct iovec *vector, int n) {
    struct stat st;
    return file_of(fd, &st) ? pieces(fd, vector, n, 0, 0) : REAL(writev)(fd, vector, n);
}

ssize_t pwritev(int fd, const struct iovec *vector, int n, off_t at) {
    struct stat st;
    return file_of(fd, &st) ? pieces(fd, vector, n, at, 1) : REAL(pwritev)(fd, vector, n, at);
}

ssize_t pwritev64(int fd, const struct iovec *vector, int n, off64_t at) {
    return pwritev(fd, vector, n, at);
}

ssize_t pwritev2(int fd, const struct iovec *vector, int n, off_t at, int flags) {
    struct stat st;
    return file_of(fd, &st) ? pieces(fd, vector, n, at, at != -1)
                            : REAL(pwritev2)(fd, vector, n, at, flags);
}

ssize_t pwritev64v2(int fd, const struct iovec *vector, int n, off64_t at, int flags) {
    return pwritev2(fd, vector, n, at, flags);
}

/* Copies inside the kernel: no room means none, and what was copied is not told apart. */
static struct file *filled(int fd) {
    struct stat st;
    struct file *f = file_of(fd, &st);
    if (f && meant(settings(), f->path) && __atomic_load_n(&page->room, __ATOMIC_RELAXED) == 0) {
        count(COUNT_FULL);
        errno = ENOSPC;
        return (struct file *)-1;
    }
    return f;
}

#define FILLED(fd, call)                          \
    struct file *f = filled(fd);                  \
    if (f == (struct file *)-1) return -1;        \
    ssize_t n = (call);                           \
    if (f && n > 0) mark_whole(f);                \
    return n;

ssize_t sendfile(int out, int in, off_t *at, size_t n_asked) {
    FILLED(out, REAL(sendfile)(out, in, at, n_asked))
}

ssize_t sendfile64(int out, int in, off64_t *at, size_t n_asked) {
    FILLED(out, REAL(sendfile64)(out, in, at, n_asked))
}

ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t length,
                        unsigned flags) {
    FILLED(out, REAL(copy_file_range)(in, from, out, to, length, flags))
}

ssize_t splice(int in, off64_t *from, int out, off64_t *to, size_t length, unsigned flags) {
    FILLED(out, REAL(splice)(in, from, out, to, length, flags))
}

/* --- lengths ------------------------------------------------------------------------------- */

static int truncate_by(int fd, off_t size) {
    struct stat st;
    struct file *f = file_of(fd, &st);
    if (f && !may_grow(f->path, size - st.st_size)) return -1;
    int result = REAL(ftruncate)(fd, size);
    if (f && result == 0 && size < st.st_size) mark(f, size, st.st_size - size);
    return result;
}

int ftruncate(int fd, off_t size) { return truncate_by(fd, size); }
int ftruncate64(int fd, off64_t size) { return truncate_by(fd, size); }

int truncate(const char *path, off_t size) {
    if (!watching()) return REAL(truncate)(path, size);
    int fd = open_by(AT_FDCWD, path, O_WRONLY | O_CLOEXEC, 0);
    if (fd < 0) return -1;
    int result = truncate_by(fd, size), error = errno;
    close(fd);
    errno = error;
    return result;
}

int truncate64(const char *path, off64_t size) { return truncate(path, size); }

int fallocate(int fd, int how, off_t at, off_t length) {
    struct stat st;
    struct file *f = file_of(fd, &st);
    if (f && how == 0 && !may_grow(f->path, at + length - st.st_size)) return -1;
    int result = REAL(fallocate)(fd, how, at, length);
    if (f && result == 0 && how) mark_whole(f);
    return result;
}

int fallocate64(int fd, int how, off64_t at, off64_t length) {
    return fallocate(fd, how, at, length);
}

int posix_fallocate(int fd, off_t at, off_t length) {
    struct stat st;
    struct file *f = file_of(fd, &st);
    if (f && !may_grow(f->path, at + length - st.st_size)) return ENOSPC;
    return REAL(posix_fallocate)(fd, at, length);
}

int posix_fallocate64(int fd, off64_t at, off64_t length) {
    return posix_fallocate(fd, at, length);
}

/* --- syncing ------------------------------------------------------------------------------- */

static int sync_by(int fd, int (*sync)(int)) {
    struct stat st;
    char path[PATH_MAX];
    if (!watching() || fstat(fd, &st) || st.st_dev != device || path_of(fd, path)) return sync(fd);
    const char *name = below(path);
    struct file *f = S_ISREG(st.st_mode) ? find(st.st_ino, 0) : NULL;
    if (S_ISREG(st.st_mode) && name && !(f && f->tracked)) {
        opened(fd, O_RDWR, 0); /* opened for reading, or by another program */
        f = find(st.st_ino, 0);
    }
    if (!name || !(S_ISDIR(st.st_mode) || (f && f->tracked))) return sync(fd);
    const struct slot *set = settings();
    int64_t nth = __atomic_add_fetch(&page->count[COUNT_SYNCS], 1, __ATOMIC_RELAXED);
    int fails = 0;
    if (meant(set, name)) {
        if (set->value[SET_SYNC_DELAY_US] > 0) {
            count(COUNT_DELAYED);
            wait_us(set->value[SET_SYNC_DELAY_US]);
        }
        fails = hits(set, SET_SYNC_EIO_PPM, SET_SYNC_EIO_EVERY, nth);
        if (fails) count(COUNT_SYNC_EIO);
    }
    if (!S_ISDIR(st.st_mode)) return sync_file(f, fd, sync, fails);
    if (fails) {
        errno = EIO;
        return -1;
    }
    int result = set->value[SET_SKIP_SYNC] ? 0 : sync(fd);
    if (result == 0) keep_names(name);
    return result;
}

int fsync(int fd) { return sync_by(fd, REAL(fsync)); }
int fdatasync(int fd) { return sync_by(fd, REAL(fdatasync)); }

/* --- renaming ------------------------------------------------------------------------------ */

/* Renaming a file lasts from the sync of its folder on, which needs nothing here. Renaming a
 * folder is taken as lasting at once: what it holds goes with it. */
static int rename_by(int from, const char *old, int to, const char *new, unsigned flags) {
    struct stat st;
    char was[PATH_MAX], is[PATH_MAX], held[PATH_MAX], target[PATH_MAX];
    int folder = watching() && fstatat(from, old, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                 S_ISDIR(st.st_mode);
    if (folder) {
        resolve(from, old, was);
        resolve(to, new, is);
    }
    int result = flags ? REAL(renameat2)(from, old, to, new, flags)
                       : REAL(renameat)(from, old, to, new);
    if (result == 0 && folder && below(was) && below(is)) {
        int lock = lock_names();
        tree(target, below(is), "");
        keep_folders(below(is));
        remove_all(target);
        REAL(rename)(tree(held, below(was), ""), target);
        unlock_names(lock);
    }
    return result;
}

int rename(const char *old, const char *new) {
    return rename_by(AT_FDCWD, old, AT_FDCWD, new, 0);
}

int renameat(int from, const char *old, int to, const char *new) {
    return rename_by(from, old, to, new, 0);
}

int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    return rename_by(from, old, to, new, flags);
}
