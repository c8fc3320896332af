/* Which names the disk holds. Included by disk.c. */

/* Processes that share a home share its folders, so one at a time looks and records. */
static int lock_names(void) {
    char path[PATH_MAX];
    pthread_mutex_lock(&names_lock);
    snprintf(path, sizeof path, "%s/names.lock", journal);
    int fd = REAL(open)(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) trouble();
    else while (flock(fd, LOCK_EX) && errno == EINTR) {}
    return fd;
}

static void unlock_names(int fd) {
    if (fd >= 0) close(fd);
    pthread_mutex_unlock(&names_lock);
}

static void join(char *into, const char *kind, const char *name, const char *more) {
    if (snprintf(into, PATH_MAX, "%s%s%s%s%s", kind, *name ? "/" : "", name, *more ? "/" : "",
                 more) >= PATH_MAX)
        into[0] = 0;
}

static void remove_all(const char *path) {
    DIR *folder = opendir(path);
    if (!folder) {
        unlink(path);
        return;
    }
    char inner[PATH_MAX];
    for (struct dirent *entry; (entry = readdir(folder));)
        if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, "..")) {
            join(inner, path, entry->d_name, "");
            remove_all(inner);
        }
    closedir(folder);
    rmdir(path);
}

static char *tree(char *into, const char *name, const char *more) {
    char root[PATH_MAX];
    join(root, journal, "tree", "");
    join(into, root, name, more);
    return into;
}

/* Make sure that the folder of this name is held. */
static void keep_folders(const char *name) {
    char path[PATH_MAX];
    tree(path, name, "");
    for (char *at = path + strlen(journal) + 5; (at = strchr(at + 1, '/'));) {
        *at = 0;
        mkdir(path, 0700);
        *at = '/';
    }
}

/* The disk holds this name for this file. Renamed into place, so never half. */
static void keep_name(const char *name, ino_t ino) {
    char image[PATH_MAX], target[PATH_MAX], temporary[PATH_MAX];
    struct stat is, was;
    image_path(ino, image);
    tree(target, name, "");
    if (stat(image, &is)) { /* none of its content was ever synced */
        int fd = REAL(open)(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (fd < 0 || fstat(fd, &is)) trouble();
        if (fd >= 0) close(fd);
    }
    if (lstat(target, &was) == 0) {
        if (was.st_ino == is.st_ino) return;
        if (S_ISDIR(was.st_mode)) remove_all(target);
    } else {
        keep_folders(name);
    }
    snprintf(temporary, sizeof temporary, "%s/tmp.%d", journal, (int)getpid());
    unlink(temporary);
    if (link(image, temporary) || REAL(rename)(temporary, target)) trouble();
}

static void keep_entry(const char *folder, const char *entry) {
    char path[PATH_MAX], name[PATH_MAX], held[PATH_MAX], leads[PATH_MAX];
    struct stat st;
    join(name, folder, entry, "");
    if (!*folder) snprintf(name, sizeof name, "%s", entry);
    join(path, prefix, name, "");
    tree(held, name, "");
    if (lstat(path, &st)) return;
    if (S_ISREG(st.st_mode)) {
        keep_name(name, st.st_ino);
    } else if (S_ISDIR(st.st_mode)) {
        keep_folders(name);
        if (mkdir(held, 0700) && errno == EEXIST && lstat(held, &st) == 0 && !S_ISDIR(st.st_mode)) {
            unlink(held);
            mkdir(held, 0700);
        }
    } else if (S_ISLNK(st.st_mode)) {
        ssize_t n = readlink(path, leads, sizeof leads - 1);
        if (n < 0) return;
        leads[n] = 0;
        remove_all(held);
        if (symlink(leads, held)) trouble();
    }
}

/* The folder was synced: what it holds now is what the disk holds. New names first, so that a
 * rename that is cut off half-way leaves both and never none. */
static void keep_names(const char *folder) {
    char path[PATH_MAX], inner[PATH_MAX];
    struct stat st;
    struct dirent *entry;
    int lock = lock_names();
    join(path, prefix, folder, "");
    DIR *list = opendir(path);
    if (list) {
        while ((entry = readdir(list)))
            if (strcmp(entry->d_name, ".") && strcmp(entry->d_name, ".."))
                keep_entry(folder, entry->d_name);
        closedir(list);
        tree(path, folder, "");
        mkdir(path, 0700);
        if ((list = opendir(path))) {
            while ((entry = readdir(list))) {
                if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, "..")) continue;
                join(inner, prefix, folder, entry->d_name);
                if (!*folder) join(inner, prefix, entry->d_name, "");
                if (lstat(inner, &st) == 0 || errno != ENOENT) continue;
                join(inner, path, entry->d_name, "");
                remove_all(inner);
            }
            closedir(list);
        }
    }
    unlock_names(lock);
}
