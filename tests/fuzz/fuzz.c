/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fuzz.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/eventfd.h"
#include "base/memfd.h"

int __real_clock_gettime(clockid_t clock, struct timespec *ret);
int __real_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
ssize_t __real_write(int fd, const void *buf, size_t length);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms);
ssize_t __wrap_write(int fd, const void *buf, size_t length);

static bool running; /* an input is */
static uint64_t now_ns;
static unsigned int fds_before;

_Noreturn void fuzz_found(const char *file, int line, const char *what)
{
	running = false;
	fprintf(stderr, "%s:%d: not true: %s\n", file, line, what);
	abort();
}

/* Inputs are short, and many: a long memory of what was freed only takes time. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "quarantine_size_mb=4:malloc_context_size=8";
}

/* --- large buffers --- */

/*
 * A connection has two buffers of a MiB, and a sanitizer's allocator maps and
 * unmaps them each time: most of what an input costs. So they are kept, and
 * are as good as freed meanwhile.
 */
#if defined(__SANITIZE_ADDRESS__)
#define HAS_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_ASAN 1
#endif
#endif
#ifdef HAS_ASAN
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#define ASAN_UNPOISON_MEMORY_REGION(at, size) ((void)(at), (void)(size))
#endif

enum { LARGE = 256 << 10, KEPT = 4 };

static struct kept {
	void *at;
	size_t size;
	bool used;
} kept[KEPT];

void *__real_malloc(size_t size);
void __real_free(void *p);
void *__wrap_malloc(size_t size);
void __wrap_free(void *p);

void *__wrap_malloc(size_t size)
{
	struct kept *vacant = NULL;
	void *at;

	if (size < LARGE)
		return __real_malloc(size);
	for (int i = 0; i < KEPT; i++) {
		if (!kept[i].at)
			vacant = &kept[i];
		if (kept[i].at && !kept[i].used && kept[i].size == size) {
			kept[i].used = true;
			ASAN_UNPOISON_MEMORY_REGION(kept[i].at, size);
			return kept[i].at;
		}
	}
	at = __real_malloc(size);
	if (at && vacant)
		*vacant = (struct kept){ at, size, true };
	return at;
}

void __wrap_free(void *p)
{
	for (int i = 0; p && i < KEPT; i++)
		if (kept[i].at == p) {
			FUZZ_CHECK(kept[i].used);
			kept[i].used = false;
			ASAN_POISON_MEMORY_REGION(p, kept[i].size);
			return;
		}
	__real_free(p);
}

/* --- input --- */

uint8_t fuzz_u8(struct fuzz_input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

uint64_t fuzz_raw(struct fuzz_input *in, unsigned int width)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < width; i++)
		value |= (uint64_t)fuzz_u8(in) << (8 * i);
	return value;
}

uint64_t fuzz_number(struct fuzz_input *in, uint64_t normal)
{
	static const uint64_t edges[] = {
		UINT64_MAX,
		UINT64_MAX - 1,
		UINT64_MAX - 4095,
		UINT64_MAX - 8191,
		INT64_MAX,
		(uint64_t)INT64_MAX + 1,
		(uint64_t)INT64_MAX - 4095,
		UINT32_MAX,
		UINT32_MAX - 1,
		(uint64_t)UINT32_MAX + 1,
		(uint64_t)UINT32_MAX - 4095,
		INT32_MAX,
		(uint64_t)INT32_MAX + 1,
		UINT16_MAX,
		UINT16_MAX - 1,
		(uint64_t)1 << 47,
		(uint64_t)1 << 44,
		(uint64_t)1 << 40,
		1 << 20,
		(1 << 20) + 1,
		(1 << 20) - 1,
		0x7f,
		0x80,
		0xfe,
		0xff,
		0x100,
		0x400,
		0x800,
		0x1000,
		0xfff,
		0xffc,
		0xff8,
	};
	uint8_t how = fuzz_u8(in);
	uint64_t few = how & 0x3f;

	if (!how)
		return normal;
	switch (how >> 6) {
	case 0:
		return few - 1;
	case 1:
		return few << 12;
	case 2:
		return edges[few % ARRAY_SIZE(edges)];
	default:
		return fuzz_raw(in, 8);
	}
}

size_t fuzz_bytes(struct fuzz_input *in, void *buf, size_t max)
{
	size_t n = in->left < max ? in->left : max;

	if (n)
		memcpy(buf, in->at, n);
	in->at += n;
	in->left -= n;
	return n;
}

/* --- the world around an input --- */

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
	if (!running || clock != CLOCK_MONOTONIC)
		return __real_clock_gettime(clock, ret);
	/* Whoever only looks at the clock must come to an end, too. */
	now_ns += 100;
	*ret = (struct timespec){ (time_t)(now_ns / 1000000000), (long)(now_ns % 1000000000) };
	return 0;
}

void fuzz_sleep(uint64_t ns)
{
	now_ns += ns;
}

int fuzz_poll_now(struct pollfd *fds, nfds_t n)
{
	return __real_poll(fds, n, 0);
}

static int let_time_pass(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	int r = fuzz_poll_now(fds, n);

	if (r == 0) {
		FUZZ_CHECK(timeout_ms > 0); /* or it never ends */
		fuzz_sleep((uint64_t)timeout_ms * 1000000);
	}
	return r;
}

fuzz_poll_fn *fuzz_poll = let_time_pass;

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	return running && timeout_ms ? fuzz_poll(fds, n, timeout_ms)
				     : __real_poll(fds, n, timeout_ms);
}

ssize_t __wrap_write(int fd, const void *buf, size_t length)
{
	static int show = -1;

	if (show < 0)
		show = getenv("FUZZ_LOG") != NULL;
	return running && fd == STDERR_FILENO && !show ? (ssize_t)length
						       : __real_write(fd, buf, length);
}

static unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	FUZZ_CHECK(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static void list_fds(void)
{
	for (int fd = 0; fd < 1024; fd++) {
		char path[64], target[256];
		ssize_t n;

		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		n = readlink(path, target, sizeof(target));
		if (n > 0)
			fprintf(stderr, "%d: %.*s\n", fd, (int)n, target);
	}
}

void fuzz_begin(void)
{
	fds_before = count_fds();
	now_ns = (uint64_t)1000 * 1000000000;
	running = true;
}

void fuzz_end(void)
{
	running = false;
	if (count_fds() != fds_before) {
		fprintf(stderr, "%u descriptors were open, %u are:\n", fds_before, count_fds());
		list_fds();
		FUZZ_CHECK(false);
	}
}

/* --- descriptors --- */

static int pool[FUZZ_POOL];
static bool truncated[FUZZ_FILES] = { true, true, true, true };

static void open_pool(void)
{
	int pipe_fds[2], n = 0;
	char path[64];

	for (int i = 0; i < FUZZ_FILES; i++)
		pool[n++] = memfd_new("fuzz");
	pool[n++] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pool[n++] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	pool[n++] = eventfd(0, EFD_CLOEXEC);
	pool[n++] = eventfd(0, EFD_CLOEXEC); /* full, see below */
	pool[n++] = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	FUZZ_CHECK(pipe2(pipe_fds, O_CLOEXEC) == 0);
	pool[n++] = pipe_fds[0];
	pool[n++] = pipe_fds[1];
	snprintf(path, sizeof(path), "/proc/self/fd/%d", pool[0]);
	pool[n++] = open(path, O_RDONLY | O_CLOEXEC);
	pool[n++] = open(path, O_PATH | O_CLOEXEC);
	pool[n++] = open("/dev/zero", O_RDWR | O_CLOEXEC);
	pool[n++] = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	pool[n++] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	FUZZ_CHECK(n == FUZZ_POOL);
	for (int i = 0; i < FUZZ_POOL; i++)
		FUZZ_CHECK(pool[i] >= 0);
}

int fuzz_pool_fd(unsigned int i)
{
	return pool[i % FUZZ_POOL];
}

void fuzz_pool_truncate(unsigned int i, uint64_t size)
{
	if (size > FUZZ_FILE_SIZE)
		return;
	FUZZ_CHECK(ftruncate(pool[i % FUZZ_FILES], (off_t)size) == 0);
	truncated[i % FUZZ_FILES] = true;
}

void fuzz_pool_restore(void)
{
	enum { FIRST_EVENTFD = FUZZ_FILES, FULL_EVENTFD = FUZZ_FILES + 3, EVENTFDS = 5 };
	const uint64_t full = UINT64_MAX - 1;

	if (!pool[0])
		open_pool();
	for (int i = 0; i < FUZZ_FILES; i++) {
		if (truncated[i])
			FUZZ_CHECK(ftruncate(pool[i], FUZZ_FILE_SIZE) == 0);
		truncated[i] = false;
	}
	for (int i = FIRST_EVENTFD; i < FIRST_EVENTFD + EVENTFDS; i++)
		while (eventfd_take(pool[i]))
			;
	FUZZ_CHECK(__real_write(pool[FULL_EVENTFD], &full, sizeof(full)) == sizeof(full));
}

/* --- a client's socket --- */

enum { MAX_FDS = 64 };

ssize_t fuzz_send(int fd, const void *bytes, size_t length, const int *fds, size_t n_fds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(MAX_FDS * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { (void *)(uintptr_t)bytes, length };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (n_fds) {
		control.align.cmsg_level = SOL_SOCKET;
		control.align.cmsg_type = SCM_RIGHTS;
		control.align.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
		memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
		msg.msg_control = control.buf;
		msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
	}
	return sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

ssize_t fuzz_receive(int fd, void *buf, size_t size, size_t *n_fds, int *keep)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov = { buf, size };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	ssize_t n = recvmsg(fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (n < 0)
		return n;
	for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		size_t count = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fds[MAX_FDS];

		memcpy(fds, CMSG_DATA(c), count * sizeof(int));
		if (keep && *keep < 0 && count)
			*keep = STEAL_FD(fds[0]);
		close_fds(fds, count);
		*n_fds += count;
	}
	return n;
}
