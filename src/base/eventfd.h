/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Eventfds that somebody else holds too. */
#pragma once

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * Takes what was signalled. False if nothing was, or fd is no eventfd. Never
 * blocks: O_NONBLOCK is a property of the open file, so it is also the other
 * holder's to clear, and RWF_NOWAIT is ours alone.
 */
static inline bool eventfd_take(int fd)
{
	uint64_t n;
	struct iovec iov = { &n, sizeof(n) };
	ssize_t r;

	do
		r = preadv2(fd, &iov, 1, -1, RWF_NOWAIT);
	while (r < 0 && errno == EINTR);
	return r == (ssize_t)sizeof(n);
}
