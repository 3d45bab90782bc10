/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System calls and allocations that fail when a test says so. Linked with
 * --wrap for each of FAULT_FUNCTIONS (tests/unit/meson.build); only what the
 * code under test calls on threads of its own is counted and made to fail.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum fault_function {
	FAULT_RECVMSG,
	FAULT_SEND,
	FAULT_SENDMSG,
	FAULT_POLL,
	FAULT_FCNTL,
	FAULT_FSTAT,
	FAULT_FSTATFS,
	FAULT_MMAP,
	FAULT_MUNMAP,
	FAULT_MADVISE, /* MADV_DONTDUMP alone */
	FAULT_EVENTFD,
	FAULT_WRITE, /* not to standard error */
	FAULT_READ,
	FAULT_PREADV2,
	FAULT_MEMFD_CREATE,
	FAULT_FTRUNCATE,
	FAULT_SOCKETPAIR,
	FAULT_SIGACTION,
	FAULT_MALLOC,
	FAULT_CALLOC,
	FAULT_REALLOCARRAY,
	FAULT_FUNCTIONS,
};

const char *fault_name(enum fault_function function);

/*
 * From here on the nth call (from 1) of the function fails with error. With
 * nth 0 every second one does. The calling thread is the test's, whose own calls are
 * left alone unless `everywhere`.
 */
void fault_set(enum fault_function function, unsigned int nth, int error, bool everywhere);

/* From here on each call that moves bytes through a socket moves but one. */
void fault_set_short(void);

/* Nothing fails any more. True if something did. */
bool fault_clear(void);

/* What the code under test holds now: bytes of mappings, and allocations. */
uint64_t fault_mapped_bytes(void);
size_t fault_allocations(void);

/* What it has written to standard error since the last call; valid until the next. */
const char *fault_log(void);

/* The monotonic clock goes on by this, so that the log's limits do not hide a line. */
void fault_skip_time(uint64_t ns);
