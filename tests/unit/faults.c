/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "faults.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

/* Files are of 64 bits, so functions have other names than in the source. */
#define WRAP(ret, name, ...)                                                                       \
	ret __real_##name(__VA_ARGS__);                                                            \
	ret __wrap_##name(__VA_ARGS__);                                                            \
	ret __wrap_##name(__VA_ARGS__)

enum { ALLOCATIONS = 1024, LOG_SIZE = 16384 };

static pthread_t test_thread;
static struct {
	enum fault_function function;
	unsigned int nth, calls;
	int error;
	bool everywhere, hit;
	bool one_byte;
} fault = { .function = FAULT_FUNCTIONS };

static atomic_uint_fast64_t mapped_bytes;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static void *allocations[ALLOCATIONS];
static char log_text[LOG_SIZE], log_copy[LOG_SIZE];
static size_t log_used;
static atomic_uint_fast64_t skipped_ns;

const char *fault_name(enum fault_function function)
{
	static const char *const names[FAULT_FUNCTIONS] = {
		[FAULT_RECVMSG] = "recvmsg",
		[FAULT_SEND] = "send",
		[FAULT_SENDMSG] = "sendmsg",
		[FAULT_POLL] = "poll",
		[FAULT_FCNTL] = "fcntl",
		[FAULT_FSTAT] = "fstat",
		[FAULT_FSTATFS] = "fstatfs",
		[FAULT_MMAP] = "mmap",
		[FAULT_MUNMAP] = "munmap",
		[FAULT_MADVISE] = "madvise",
		[FAULT_EVENTFD] = "eventfd",
		[FAULT_WRITE] = "write",
		[FAULT_READ] = "read",
		[FAULT_PREADV2] = "preadv2",
		[FAULT_MEMFD_CREATE] = "memfd_create",
		[FAULT_FTRUNCATE] = "ftruncate",
		[FAULT_SOCKETPAIR] = "socketpair",
		[FAULT_SIGACTION] = "sigaction",
		[FAULT_MALLOC] = "malloc",
		[FAULT_CALLOC] = "calloc",
		[FAULT_REALLOCARRAY] = "reallocarray",
	};

	return names[function];
}

void fault_set(enum fault_function function, unsigned int nth, int error, bool everywhere)
{
	test_thread = pthread_self();
	fault.nth = nth;
	fault.calls = 0;
	fault.error = error;
	fault.hit = false;
	fault.everywhere = everywhere;
	fault.one_byte = false;
	__atomic_store_n(&fault.function, function, __ATOMIC_SEQ_CST);
}

void fault_set_short(void)
{
	fault_set(FAULT_FUNCTIONS, 0, 0, false);
	fault.one_byte = true;
}

bool fault_clear(void)
{
	__atomic_store_n(&fault.function, FAULT_FUNCTIONS, __ATOMIC_SEQ_CST);
	fault.one_byte = false;
	return fault.hit;
}

uint64_t fault_mapped_bytes(void)
{
	return mapped_bytes;
}

size_t fault_allocations(void)
{
	size_t n = 0;

	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < ALLOCATIONS; i++)
		n += allocations[i] != NULL;
	pthread_mutex_unlock(&lock);
	return n;
}

const char *fault_log(void)
{
	pthread_mutex_lock(&lock);
	memcpy(log_copy, log_text, log_used);
	log_copy[log_used] = '\0';
	log_used = 0;
	pthread_mutex_unlock(&lock);
	return log_copy;
}

void fault_skip_time(uint64_t ns)
{
	skipped_ns += ns;
}

static bool is_ours(void)
{
	return !test_thread || pthread_equal(pthread_self(), test_thread);
}

/* True if this call is to fail; errno says how. */
static bool fails(enum fault_function function)
{
	if (__atomic_load_n(&fault.function, __ATOMIC_SEQ_CST) != function ||
	    (is_ours() && !fault.everywhere))
		return false;
	fault.calls++;
	if (fault.nth ? fault.calls != fault.nth : fault.calls % 2)
		return false;
	fault.hit = true;
	errno = fault.error;
	return true;
}

static bool one_byte(void)
{
	return fault.one_byte && !is_ours();
}

WRAP(ssize_t, recvmsg, int fd, struct msghdr *msg, int flags)
{
	size_t length = msg->msg_iov[0].iov_len;
	ssize_t n;

	if (fails(FAULT_RECVMSG))
		return -1;
	if (one_byte() && length)
		msg->msg_iov[0].iov_len = 1;
	n = __real_recvmsg(fd, msg, flags);
	msg->msg_iov[0].iov_len = length;
	return n;
}

WRAP(ssize_t, send, int fd, const void *buf, size_t length, int flags)
{
	if (fails(FAULT_SEND))
		return -1;
	return __real_send(fd, buf, one_byte() && length ? 1 : length, flags);
}

WRAP(ssize_t, sendmsg, int fd, const struct msghdr *msg, int flags)
{
	struct iovec iov = msg->msg_iov[0];
	struct msghdr copy = *msg;

	if (fails(FAULT_SENDMSG))
		return -1;
	if (one_byte() && iov.iov_len)
		iov.iov_len = 1;
	copy.msg_iov = &iov;
	return __real_sendmsg(fd, &copy, flags);
}

WRAP(int, poll, struct pollfd *fds, nfds_t n, int timeout_ms)
{
	return fails(FAULT_POLL) ? -1 : __real_poll(fds, n, timeout_ms);
}

int __real_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...);
int __wrap_fcntl64(int fd, int command, ...)
{
	va_list args;
	long arg;

	va_start(args, command);
	arg = va_arg(args, long);
	va_end(args);
	/* What a socket is set to can't fail; what a client's descriptor is, can. */
	if (command != F_SETFL && fails(FAULT_FCNTL))
		return -1;
	return __real_fcntl64(fd, command, arg);
}

WRAP(int, fstat64, int fd, struct stat *ret)
{
	return fails(FAULT_FSTAT) ? -1 : __real_fstat64(fd, ret);
}

WRAP(int, fstatfs64, int fd, struct statfs *ret)
{
	return fails(FAULT_FSTATFS) ? -1 : __real_fstatfs64(fd, ret);
}

WRAP(void *, mmap64, void *at, size_t length, int prot, int flags, int fd, off_t offset)
{
	void *p =
		fails(FAULT_MMAP) ? MAP_FAILED : __real_mmap64(at, length, prot, flags, fd, offset);

	if (p != MAP_FAILED && !(flags & MAP_FIXED) && !is_ours())
		mapped_bytes += length;
	return p;
}

WRAP(int, munmap, void *at, size_t length)
{
	if (fails(FAULT_MUNMAP))
		return -1;
	if (!is_ours())
		mapped_bytes -= length;
	return __real_munmap(at, length);
}

WRAP(int, madvise, void *at, size_t length, int advice)
{
	return advice == MADV_DONTDUMP && fails(FAULT_MADVISE) ? -1
							       : __real_madvise(at, length, advice);
}

WRAP(int, eventfd, unsigned int count, int flags)
{
	return fails(FAULT_EVENTFD) ? -1 : __real_eventfd(count, flags);
}

static void take_log(const char *buf, size_t length)
{
	pthread_mutex_lock(&lock);
	if (length < sizeof(log_text) - 1 - log_used) {
		memcpy(log_text + log_used, buf, length);
		log_used += length;
	}
	pthread_mutex_unlock(&lock);
}

WRAP(ssize_t, write, int fd, const void *buf, size_t length)
{
	if (fd == STDERR_FILENO) {
		take_log(buf, length);
		return (ssize_t)length;
	}
	return fails(FAULT_WRITE) ? -1 : __real_write(fd, buf, length);
}

WRAP(int, socketpair, int domain, int type, int protocol, int ret[2])
{
	return fails(FAULT_SOCKETPAIR) ? -1 : __real_socketpair(domain, type, protocol, ret);
}

WRAP(ssize_t, read, int fd, void *buf, size_t length)
{
	return fails(FAULT_READ) ? -1 : __real_read(fd, buf, length);
}

WRAP(ssize_t, preadv64v2, int fd, const struct iovec *iov, int n, off_t offset, int flags)
{
	return fails(FAULT_PREADV2) ? -1 : __real_preadv64v2(fd, iov, n, offset, flags);
}

WRAP(int, memfd_create, const char *name, unsigned int flags)
{
	return fails(FAULT_MEMFD_CREATE) ? -1 : __real_memfd_create(name, flags);
}

WRAP(int, ftruncate64, int fd, off_t length)
{
	return fails(FAULT_FTRUNCATE) ? -1 : __real_ftruncate64(fd, length);
}

WRAP(int, sigaction, int sig, const struct sigaction *action, struct sigaction *old)
{
	return fails(FAULT_SIGACTION) ? -1 : __real_sigaction(sig, action, old);
}

WRAP(int, clock_gettime, clockid_t clock, struct timespec *ret)
{
	int r = __real_clock_gettime(clock, ret);

	if (clock == CLOCK_MONOTONIC)
		ret->tv_sec += (time_t)(skipped_ns / 1000000000);
	return r;
}

/* --- memory --- */

static void *note(void *old, void *now)
{
	bool done = !old;

	pthread_mutex_lock(&lock);
	for (size_t i = 0; old && i < ALLOCATIONS && !done; i++)
		if (allocations[i] == old) {
			allocations[i] = NULL;
			done = true;
		}
	for (size_t i = 0; now && i < ALLOCATIONS; i++)
		if (!allocations[i]) {
			allocations[i] = now;
			break;
		}
	pthread_mutex_unlock(&lock);
	return now;
}

WRAP(void *, malloc, size_t size)
{
	void *p = fails(FAULT_MALLOC) ? NULL : __real_malloc(size);

	return is_ours() ? p : note(NULL, p);
}

WRAP(void *, calloc, size_t n, size_t size)
{
	void *p = fails(FAULT_CALLOC) ? NULL : __real_calloc(n, size);

	return is_ours() ? p : note(NULL, p);
}

WRAP(void *, reallocarray, void *old, size_t n, size_t size)
{
	void *p = fails(FAULT_REALLOCARRAY) ? NULL : __real_reallocarray(old, n, size);

	return is_ours() || !p ? p : note(old, p);
}

WRAP(void, free, void *p)
{
	note(p, NULL);
	__real_free(p);
}
