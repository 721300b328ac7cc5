// The clock of one board, for all programs that run on it: this machine's clock and an offset that lies in a file.
//
// A time namespace offsets the monotonic clocks alone (time_namespaces(7)), so the lab puts this library into each
// program of a board (LD_PRELOAD). Whoever has the right to set clocks there (RELAYBOX_LAB_CLOCK_SET) changes the file,
// and all of them see it at once. It refuses to set the clock of this machine.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define SECOND 1000000000LL

// Nanoseconds, in the order of bytes of this machine.
static _Atomic int64_t *offset(void) {
  static _Atomic(_Atomic int64_t *) found;
  _Atomic int64_t *at = atomic_load(&found);
  if (at != NULL) return at;
  const char *path = getenv("RELAYBOX_LAB_CLOCK");
  int file = path == NULL ? -1 : open(path, O_RDWR | O_CLOEXEC);
  void *map = file < 0 ? MAP_FAILED : mmap(NULL, sizeof *at, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  // A board without its clock would prove nothing.
  if (map == MAP_FAILED) abort();
  close(file);
  atomic_store(&found, (_Atomic int64_t *)map);
  return map;
}

static int64_t machine(void) {
  struct timespec now;
  syscall(SYS_clock_gettime, CLOCK_REALTIME, &now);
  return now.tv_sec * SECOND + now.tv_nsec;
}

static int64_t board(void) { return machine() + atomic_load(offset()); }

static int set(int64_t time) {
  if (getenv("RELAYBOX_LAB_CLOCK_SET") == NULL) {
    errno = EPERM;
    return -1;
  }
  atomic_store(offset(), time - machine());
  return 0;
}

int clock_gettime(clockid_t clock, struct timespec *now) {
  if (clock != CLOCK_REALTIME && clock != CLOCK_REALTIME_COARSE) return (int)syscall(SYS_clock_gettime, clock, now);
  int64_t time = board();
  *now = (struct timespec){.tv_sec = time / SECOND, .tv_nsec = time % SECOND};
  return 0;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone) {
  (void)zone;
  int64_t time = board();
  *now = (struct timeval){.tv_sec = time / SECOND, .tv_usec = time % SECOND / 1000};
  return 0;
}

time_t time(time_t *kept) {
  time_t now = board() / SECOND;
  if (kept != NULL) *kept = now;
  return now;
}

int clock_settime(clockid_t clock, const struct timespec *time) {
  if (clock != CLOCK_REALTIME) {
    errno = EINVAL;
    return -1;
  }
  return set(time->tv_sec * SECOND + time->tv_nsec);
}

int settimeofday(const struct timeval *time, const struct timezone *zone) {
  (void)zone;
  return set(time->tv_sec * SECOND + time->tv_usec * 1000);
}

int adjtime(const struct timeval *by, struct timeval *left) {
  (void)by, (void)left;
  errno = EPERM;
  return -1;
}
