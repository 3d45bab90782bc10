/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Varlink's wire on one stream socket, for either side: JSON texts that end
 * with NUL, and file descriptors that travel with the first byte of a text.
 * Nothing here blocks and nothing knows what a message means.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

enum {
	WIRE_MAX_DEPTH = 32, /* of the objects and arrays in a message */
	WIRE_MAX_FDS = 4, /* that one read keeps; surplus ones are closed */
};

struct wire_message;

struct wire {
	int fd;
	size_t max_message; /* bytes of an incoming message, its NUL included */
	bool want_fds; /* false: descriptors that come are closed by the kernel */

	char *in; /* in[taken..used) is to be read, in[taken..scanned) has no NUL */
	size_t in_allocated, in_taken, in_scanned, in_used;
	int fds[WIRE_MAX_FDS];
	size_t n_fds;

	struct wire_message *out, *out_last;
	size_t out_bytes; /* that wait to be sent */
};

/* Takes over fd, a nonblocking stream socket. Allocates nothing yet. */
void wire_init(struct wire *wire, int fd, size_t max_message, bool want_fds);

/* Closes the socket, frees what waits in either direction. Idempotent. */
void wire_done(struct wire *wire);

/*
 * Receives once; to be called when wire_take() has found no complete message.
 * Returns the number of bytes, 0 at the end of the stream, -EAGAIN if there is
 * nothing, -EMSGSIZE if the peer's message exceeds the maximum, or another
 * negative errno.
 */
int wire_receive(struct wire *wire);

/*
 * Takes the next complete message. Returns 1 with a new *ret_message, always
 * an object; 0 if no message is complete; -EBADMSG if it is not a JSON object
 * or nests too deep.
 */
int wire_take(struct wire *wire, json_t **ret_message);

/* Takes the first descriptor that has come, and closes the others; -1 if none. */
int wire_take_fd(struct wire *wire);

/*
 * Queues a message with one descriptor, or none (-1). Takes over both, also on
 * failure. Returns 0, -ENOMEM, or -EINVAL if message is NULL or is not JSON.
 */
int wire_queue(struct wire *wire, json_t *message, int fd);

/* Sends what it can: 0 if nothing waits any more, -EAGAIN, or another negative errno. */
int wire_flush(struct wire *wire);
