/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the fuzz targets share. A target is one LLVMFuzzerTestOneInput(), linked
 * with libFuzzer to look for new inputs (scripts/fuzz) or with replay.c to
 * repeat known ones (every `make test`). An input is a little program: bytes
 * choose actions and their arguments. It runs on one thread, its clock moves only
 * when it waits, and it leaves nothing open.
 */
#pragma once

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Ends the process: the input has found a bug. */
#define FUZZ_CHECK(condition)                                                                      \
	do {                                                                                       \
		if (!(condition))                                                                  \
			fuzz_found(__FILE__, __LINE__, #condition);                                \
	} while (0)

_Noreturn void fuzz_found(const char *file, int line, const char *what);

struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

/* The next byte, or the next `width` bytes as a number; zeros behind the end. */
uint8_t fuzz_u8(struct fuzz_input *in);
uint64_t fuzz_raw(struct fuzz_input *in, unsigned int width);

/*
 * A number for a field of the wire or of a register: `normal`, a small one, a
 * multiple of a page, one at the edge of some width, or any. Costs a byte, and
 * eight more in the last case.
 */
uint64_t fuzz_number(struct fuzz_input *in, uint64_t normal);

/* At most max of the bytes that are left. Returns their number. */
size_t fuzz_bytes(struct fuzz_input *in, void *buf, size_t max);

/*
 * Around one input: fuzz_end() checks that it has left no descriptor open.
 * Between the two, time stands still but for fuzz_sleep() and waits, and what
 * the log says goes nowhere (FUZZ_LOG=1 in the environment: to standard error).
 */
void fuzz_begin(void);
void fuzz_end(void);
void fuzz_sleep(uint64_t ns);

/*
 * Called in place of a poll() that may wait, between begin and end; returns
 * what poll() does. The default waits for nothing, and lets the time pass.
 */
typedef int fuzz_poll_fn(struct pollfd *fds, nfds_t n, int timeout_ms);
extern fuzz_poll_fn *fuzz_poll;
int fuzz_poll_now(struct pollfd *fds, nfds_t n);

/*
 * Descriptors to send, of every kind that a hostile client may have: memory
 * files of FUZZ_FILE_SIZE, eventfds that are empty, full and blocking, pipes,
 * a directory, a socket, one that can only be read, one without rights. Opened once; the
 * pool's own. fuzz_pool_restore() gives files their size and eventfds their
 * count back; call it before an input.
 */
enum {
	FUZZ_FILES = 4, /* the first of the pool */
	FUZZ_FILE_SIZE = 1 << 20,
	FUZZ_POOL = 16,
};
int fuzz_pool_fd(unsigned int i);
void fuzz_pool_truncate(unsigned int i, uint64_t size);
void fuzz_pool_restore(void);

/* Sends once, without waiting, with descriptors. Returns what sendmsg() does. */
ssize_t fuzz_send(int fd, const void *bytes, size_t length, const int *fds, size_t n_fds);

/*
 * Receives once, without waiting; the number of descriptors is added to *n_fds.
 * They are closed, but for the first if keep is not NULL and *keep negative: that
 * is put there. Returns what recvmsg() does.
 */
ssize_t fuzz_receive(int fd, void *buf, size_t size, size_t *n_fds, int *keep);
