/* What the two halves of the shim share: the control page and the way to the real functions.
 *
 * The names of the settings and counters (SET_..., COUNT_...) and CONTROL_VERSION are made by
 * shim.py, which writes the same page, and come in through fields.h. */
#ifndef STEAD_CHAOS_SHIM_H
#define STEAD_CHAOS_SHIM_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dlfcn.h>
#include <stdint.h>
#include <time.h>

#include "fields.h"

#define MAGIC 0x736f616863647374ULL /* "stdchaos" read as a little-endian number */

struct slot {
    int64_t value[24];
    char under[512]; /* the disk faults hold for paths below the prefix that begin so */
};

/* Mapped from a file that the harness writes while this process runs. The harness fills the slot
 * that does not count and then turns `live`, so a reader never sees half of a change. */
struct control {
    uint64_t magic;
    uint64_t version;
    volatile int64_t live;
    volatile int64_t draws; /* random numbers drawn so far */
    volatile int64_t room;  /* bytes the files may still grow by; negative: no limit */
    volatile int64_t count[24];
    struct slot slots[2];
};

/* The control page, or NULL when this process is not under control. */
struct control *control_page(void);

static inline const struct slot *settings(void) {
    struct control *page = control_page();
    return page ? &page->slots[__atomic_load_n(&page->live, __ATOMIC_ACQUIRE) & 1] : 0;
}

static inline void count(int which) {
    struct control *page = control_page();
    if (page) __atomic_add_fetch(&page->count[which], 1, __ATOMIC_RELAXED);
}

static inline void *real_function(void **kept, const char *name) {
    if (!*kept) *kept = dlsym(RTLD_NEXT, name);
    return *kept;
}

/* The libc function of that name, with the type of our own. */
#define REAL(name)                                                                   \
    ({                                                                               \
        static void *kept_##name;                                                    \
        (__typeof__(&name))real_function(&kept_##name, #name);                       \
    })

#endif
