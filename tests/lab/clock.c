/* The clock of another day, for tests/dates.sh: a preloaded library that adds KODEKS_CLOCK_AHEAD seconds to the time of day and
 * to the times of files, and takes them away where a program sets a file's times. Nothing else is touched: faketime also
 * changes what waits (poll, select, sockets), and most tests wait. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

static long ahead(void)
{
    static long known = -1;
    if (known < 0) {
        const char *seconds = getenv("KODEKS_CLOCK_AHEAD");
        known = seconds ? atol(seconds) : 0;
    }
    return known;
}

/* The C library's own function. */
#define REAL(name) ({ static __typeof__(&name) real; real ? real : (real = (__typeof__(&name))dlsym(RTLD_NEXT, #name)); })

int clock_gettime(clockid_t clock, struct timespec *now)
{
    int result = REAL(clock_gettime)(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        now->tv_sec += ahead();
    return result;
}

time_t time(time_t *where)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (where)
        *where = now.tv_sec;
    return now.tv_sec;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    int result = REAL(gettimeofday)(now, zone);
    now->tv_sec += ahead();
    return result;
}

#define MOVED(structure, path_to, link_to, open_file, path_below)                                                       \
    static int moved_##structure(int result, struct structure *file)                                                    \
    {                                                                                                                   \
        if (result == 0) {                                                                                              \
            file->st_mtim.tv_sec += ahead();                                                                            \
            file->st_atim.tv_sec += ahead();                                                                            \
            file->st_ctim.tv_sec += ahead();                                                                            \
        }                                                                                                               \
        return result;                                                                                                  \
    }                                                                                                                   \
    int path_to(const char *restrict path, struct structure *restrict file)                                             \
    {                                                                                                                   \
        return moved_##structure(REAL(path_to)(path, file), file);                                                      \
    }                                                                                                                   \
    int link_to(const char *restrict path, struct structure *restrict file)                                             \
    {                                                                                                                   \
        return moved_##structure(REAL(link_to)(path, file), file);                                                      \
    }                                                                                                                   \
    int open_file(int descriptor, struct structure *file)                                                               \
    {                                                                                                                   \
        return moved_##structure(REAL(open_file)(descriptor, file), file);                                              \
    }                                                                                                                   \
    int path_below(int folder, const char *restrict path, struct structure *restrict file, int flags)                   \
    {                                                                                                                   \
        return moved_##structure(REAL(path_below)(folder, path, file, flags), file);                                    \
    }

MOVED(stat, stat, lstat, fstat, fstatat)
MOVED(stat64, stat64, lstat64, fstat64, fstatat64)

static const struct timespec *back(const struct timespec times[2], struct timespec into[2])
{
    if (!times)
        return times;
    for (int i = 0; i < 2; i++) {
        into[i] = times[i];
        if (times[i].tv_nsec != UTIME_NOW && times[i].tv_nsec != UTIME_OMIT)
            into[i].tv_sec -= ahead();
    }
    return into;
}

int utimensat(int folder, const char *path, const struct timespec times[2], int flags)
{
    struct timespec into[2];
    return REAL(utimensat)(folder, path, back(times, into), flags);
}

int futimens(int descriptor, const struct timespec times[2])
{
    struct timespec into[2];
    return REAL(futimens)(descriptor, back(times, into));
}
