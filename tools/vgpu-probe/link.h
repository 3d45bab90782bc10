/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Messages on a vfio-user socket, as a client sends and receives them: whole or
 * in pieces, right or wrong. The other end is a stranger: sizes and descriptors
 * are bounded before anything is done with them, and nothing waits longer than
 * it is told.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "device.h"
#include "transport/vfio_user_wire.h"

enum {
	/* More than any reply that we ask for, so that one that is too long is seen whole. */
	LINK_MAX_MESSAGE = 2 * VFIO_USER_MAX_MESSAGE,
};

/* A message that came. */
struct message {
	struct vfio_user_header header;
	uint8_t *payload; /* valid until the next receive on this link */
	size_t length; /* of the payload */
	int fds[PROBE_MAX_FDS]; /* the receiver's, to be closed with message_done() */
	size_t n_fds;
	bool on_twin; /* it came on the twin socket */
};

void message_done(struct message *message);

struct link;

/*
 * Is given the server's commands (DMA_READ, DMA_WRITE) as they come while
 * somebody waits for a reply. Returns 0, or a PROBE_ error if the link broke.
 */
typedef int (*link_command_fn)(void *opaque, struct link *link, const struct message *message);

struct link {
	int fd;
	int twin_fd; /* where the server's commands come, -1: on fd */
	unsigned int timeout_ms;
	uint16_t next_id;
	uint8_t *rx; /* LINK_MAX_MESSAGE */
	link_command_fn on_command; /* NULL: answered with ENOTSUP */
	void *opaque;
	unsigned int commands; /* of the server's, so far */
	char error[PROBE_ERROR_SIZE]; /* of the last PROBE_ error */
};

/*
 * Connects to the socket at path, within timeout_ms. Returns 0 or a negative
 * errno; PROBE_TIMEOUT if nobody accepts.
 */
int link_open(struct link *link, const char *path, unsigned int timeout_ms);

/* Takes a connected descriptor over. Returns 0 or -ENOMEM. */
int link_init(struct link *link, int fd, unsigned int timeout_ms);

void link_close(struct link *link);

/* A deadline for link_receive() and the like, from now. */
uint64_t link_deadline(const struct link *link);

/* Sets error and returns r. */
int link_fail(struct link *link, int r, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Sends bytes as they are, descriptors with the first. */
int link_send(struct link *link, const void *bytes, size_t length, const int *fds, size_t n_fds);

/* As link_send(), on the socket that the server's commands come on. */
int link_send_reply(struct link *link, const void *bytes, size_t length);

/*
 * Sends a message with a header of its own. Returns its id in *ret_id, which
 * may be NULL.
 */
int link_send_message(struct link *link, uint16_t command, uint32_t flags, const void *payload,
		      size_t length, const int *fds, size_t n_fds, uint16_t *ret_id);

/*
 * The next message, until the deadline (CLOCK_MONOTONIC, ns). PROBE_TIMEOUT if
 * there is none, or only a part of one.
 */
int link_receive(struct link *link, uint64_t deadline_ns, struct message *ret);

/*
 * Waits for a reply to (id, command), answering the server's commands on the
 * way. 0, the negative errno of an error reply, or a PROBE_ error; anything
 * else than that reply is PROBE_PROTOCOL. At most max_fds descriptors are
 * allowed in the reply.
 */
int link_receive_reply(struct link *link, uint16_t id, uint16_t command, size_t max_fds,
		       struct message *ret);

/* Sends and receives: link_send_message(), link_receive_reply(). ret may be NULL. */
int link_call(struct link *link, uint16_t command, const void *payload, size_t length,
	      const int *fds, size_t n_fds, size_t max_reply_fds, struct message *ret);

/* Serves the server's commands until the deadline, or until done (may be NULL) says so. */
int link_serve(struct link *link, uint64_t deadline_ns, bool (*done)(void *opaque), void *opaque);

/* True if nothing comes within that time. */
bool link_is_quiet(struct link *link, unsigned int ms);

/* True if the server closes the connection within the timeout, whatever it sends before. */
bool link_is_closed(struct link *link);
