/* Faults around libusb, for LD_PRELOAD. libusb_worlds.py compiles one of them at a time. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifdef LIBUSB_MISSING
/* A machine without libusb, and without the tools that Python's find_library() asks. */

void *dlopen(const char *name, int flags)
{
    void *(*next)(const char *, int) = (void *(*)(const char *, int))dlsym(RTLD_NEXT, "dlopen");
    if (name != NULL && strstr(name, "libusb-1.0") != NULL)
        name = "/nonexistent/libusb-1.0.so.0"; /* so that dlerror() has the loader's own sentence */
    return next(name, flags);
}

static int absent(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    return !strcmp(name, "ldconfig") || !strcmp(name, "gcc") || !strcmp(name, "cc") || !strcmp(name, "ld");
}

int execve(const char *path, char *const arguments[], char *const environment[])
{
    int (*next)(const char *, char *const[], char *const[]) =
        (int (*)(const char *, char *const[], char *const[]))dlsym(RTLD_NEXT, "execve");
    if (absent(path)) {
        errno = ENOENT;
        return -1;
    }
    return next(path, arguments, environment);
}

int execv(const char *path, char *const arguments[])
{
    return execve(path, arguments, environ);
}
#endif

#ifdef LIBUSB_REFUSES
/* No netlink, as under systemd's RestrictAddressFamilies=: libusb_init() of the real library fails. */

int socket(int family, int type, int protocol)
{
    int (*next)(int, int, int) = (int (*)(int, int, int))dlsym(RTLD_NEXT, "socket");
    if (family == AF_NETLINK) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    return next(family, type, protocol);
}
#endif

#ifdef LIBUSB_TOO_OLD
/* A library of that name with hardly anything in it: loads, but lacks what pyusb needs. */

int libusb_init(void **context)
{
    *context = NULL;
    return 0;
}
#endif
