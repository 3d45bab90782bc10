/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Scope-bound ownership: a variable marked with one of these attributes
 * releases what it owns when it goes out of scope. STEAL_FD() and STEAL_PTR()
 * hand ownership on.
 */
#pragma once

#include <stdlib.h>
#include <unistd.h>

/* Closes *fd unless negative; keeps errno. Returns -1, so `fd = close_fd(fd)`. */
int close_fd(int fd);

/* Closes n descriptors and sets each to -1. Negative ones are skipped. */
void close_fds(int *fds, size_t n);

static inline void cleanup_close_(int *fd)
{
	close_fd(*fd);
}

static inline void cleanup_free_(void *p)
{
	free(*(void **)p);
}

#define _cleanup_close_ __attribute__((cleanup(cleanup_close_)))
#define _cleanup_free_ __attribute__((cleanup(cleanup_free_)))
#define _cleanup_(fn) __attribute__((cleanup(fn)))

#define STEAL_FD(fd)                                                                               \
	({                                                                                         \
		int steal_fd_ = (fd);                                                              \
		(fd) = -1;                                                                         \
		steal_fd_;                                                                         \
	})

#define STEAL_PTR(p)                                                                               \
	({                                                                                         \
		__typeof__(p) steal_ptr_ = (p);                                                    \
		(p) = NULL;                                                                        \
		steal_ptr_;                                                                        \
	})

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))
