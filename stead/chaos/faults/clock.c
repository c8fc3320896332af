/* The wall clock of one process: jumps and drift. Monotonic clocks stay as they are.
 *
 * Deadlines that are given on the wall clock are handed to the kernel on its own clock, so that
 * a wait until "a minute from now" lasts a minute of the shifted clock, as after a real jump. */
#include "shim.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <sys/time.h>

#define SECOND 1000000000LL

static int64_t to_ns(const struct timespec *at) { return at->tv_sec * SECOND + at->tv_nsec; }

static struct timespec from_ns(int64_t ns) {
    struct timespec at = {.tv_sec = ns / SECOND, .tv_nsec = ns % SECOND};
    if (at.tv_nsec < 0) {
        at.tv_nsec += SECOND;
        at.tv_sec -= 1;
    }
    return at;
}

/* How far the wall clock of this process is ahead, in ns. */
static int64_t ahead(void) {
    const struct slot *set = settings();
    if (!set) return 0;
    int64_t ns = set->value[SET_CLOCK_OFFSET_NS];
    int64_t ppb = set->value[SET_DRIFT_PPB];
    if (ppb) {
        struct timespec now;
        REAL(clock_gettime)(CLOCK_MONOTONIC, &now);
        ns += (int64_t)((__int128)(to_ns(&now) - set->value[SET_DRIFT_SINCE_NS]) * ppb / SECOND);
    }
    return ns;
}

static int is_wall(clockid_t clock) {
    return clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE || clock == CLOCK_TAI;
}

int clock_gettime(clockid_t clock, struct timespec *at) {
    int result = REAL(clock_gettime)(clock, at);
    if (result == 0 && is_wall(clock)) *at = from_ns(to_ns(at) + ahead());
    return result;
}

int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    if (zone && REAL(gettimeofday)(at, zone)) return -1;
    if (clock_gettime(CLOCK_REALTIME, &now)) return -1;
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    if (clock_gettime(CLOCK_REALTIME, &now)) return (time_t)-1;
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}

int timespec_get(struct timespec *at, int base) {
    if (base != TIME_UTC) return REAL(timespec_get)(at, base);
    return clock_gettime(CLOCK_REALTIME, at) ? 0 : base;
}

/* A wall-clock deadline on the kernel's clock. */
static struct timespec kernels(const struct timespec *deadline) {
    int64_t ns = to_ns(deadline) - ahead();
    return from_ns(ns < 0 ? 0 : ns);
}

int sem_timedwait(sem_t *restrict sem, const struct timespec *restrict deadline) {
    struct timespec at = kernels(deadline);
    return REAL(sem_timedwait)(sem, &at);
}

int pthread_mutex_timedlock(pthread_mutex_t *restrict mutex,
                            const struct timespec *restrict deadline) {
    struct timespec at = kernels(deadline);
    return REAL(pthread_mutex_timedlock)(mutex, &at);
}

/* The clock of a condition variable cannot be asked for. A deadline after 2001 is one of the wall
 * clock: the other one counts from the start of the machine. */
int pthread_cond_timedwait(pthread_cond_t *restrict cond, pthread_mutex_t *restrict mutex,
                           const struct timespec *restrict deadline) {
    static int (*wait)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);
    if (!wait) { /* dlsym would find the variant of before 2003 */
        void *found = dlvsym(RTLD_NEXT, "pthread_cond_timedwait", "GLIBC_2.3.2");
        if (!found) found = dlsym(RTLD_NEXT, "pthread_cond_timedwait");
        wait = (__typeof__(wait))found;
    }
    struct timespec at = deadline->tv_sec > 1000000000 ? kernels(deadline) : *deadline;
    return wait(cond, mutex, &at);
}

int clock_nanosleep(clockid_t clock, int flags, const struct timespec *asked,
                    struct timespec *left) {
    struct timespec at = *asked;
    if (flags & TIMER_ABSTIME && is_wall(clock)) at = kernels(asked);
    return REAL(clock_nanosleep)(clock, flags, &at, left);
}
