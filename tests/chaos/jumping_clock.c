/* A wall clock that can be set for one process: preloaded, it adds the whole seconds that a file holds (one
 * 64-bit integer, mapped and shared) to CLOCK_REALTIME. Monotonic clocks, sleeps and timers stay true, which
 * is why libfaketime does not do: it shifts the absolute deadlines of sleeps, too. Built by chaos_places.py. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t no_offset_s = 0;
static const volatile int64_t *offset_s = &no_offset_s;

__attribute__((constructor)) static void find_offset(void) {
    const char *path = getenv("CHAOS_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0) return;
    void *mapped = mmap(NULL, sizeof(int64_t), PROT_READ, MAP_SHARED, file, 0);
    if (mapped != MAP_FAILED) offset_s = mapped;
    close(file);
}

int clock_gettime(clockid_t clock, struct timespec *moment) {
    int failed = syscall(SYS_clock_gettime, clock, moment);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) moment->tv_sec += *offset_s;
    return failed;
}

int gettimeofday(struct timeval *restrict moment, void *restrict zone) {
    int failed = syscall(SYS_gettimeofday, moment, zone);
    if (!failed) moment->tv_sec += *offset_s;
    return failed;
}

time_t time(time_t *out) {
    struct timespec moment;
    clock_gettime(CLOCK_REALTIME, &moment);
    if (out) *out = moment.tv_sec;
    return moment.tv_sec;
}
