/* A disk that takes a millisecond: sleeps before each fsync and fdatasync of a process it is preloaded into. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <time.h>

static void sleep_1ms(void) {
    struct timespec pause = {0, 1000000};
    nanosleep(&pause, 0);
}

int fdatasync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    sleep_1ms();
    return real(fd);
}

int fsync(int fd) {
    static int (*real)(int);
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    sleep_1ms();
    return real(fd);
}
