/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One end of a vfio-user connection: bytes and descriptors in, whole messages
 * out, and back. Never blocks but where it is asked to, allocates nothing after
 * its creation, and keeps the stream in step whatever comes: messages may be
 * split at any byte or lie many in a packet.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "transport/vfio_user_wire.h"

struct vfio_user_message {
	struct vfio_user_header header;
	const uint8_t *payload; /* until the next call of receive or next; unaligned */
	size_t length; /* bytes of payload; 0 if oversized */
	bool oversized; /* longer than VFIO_USER_MAX_MESSAGE: its payload is skipped */
	/* Descriptors that came with it. Set one to -1 to take it over; the rest are closed. */
	int *fds;
	size_t n_fds;
	/* 0; -EINVAL if too many came with it, -EMFILE if we could not take them. n_fds is 0 then. */
	int fds_error;
};

struct vfio_user_conn {
	int fd;

	uint8_t *rx; /* VFIO_USER_MAX_MESSAGE and more */
	size_t rx_start, rx_end; /* received and not yet given out */
	uint64_t rx_skip; /* bytes of an oversized message still to be thrown away */
	int fds[VFIO_USER_MAX_FDS];
	size_t n_fds;
	int fds_error; /* what became of descriptors that are not in fds */
	size_t fds_at; /* position in rx of the message that these belong to */
	bool fds_lent; /* to the message that was given out last */

	const uint8_t *tx; /* what the socket did not take yet */
	size_t tx_left;
	int tx_fds[VFIO_USER_MAX_FDS]; /* to go with its first byte */
	size_t n_tx_fds;
};

/* Takes fd over, also on failure. 0 or -ENOMEM. */
int vfio_user_conn_init(struct vfio_user_conn *conn, int fd);

/* Closes it and every descriptor that nobody took over. */
void vfio_user_conn_done(struct vfio_user_conn *conn);

/*
 * Receives what is there, once; only when vfio_user_conn_next() has nothing
 * more to give. Returns 1 if something came, 0 if there is
 * nothing now, -ECONNRESET at the end of the stream, or a negative errno.
 */
int vfio_user_conn_receive(struct vfio_user_conn *conn);

/*
 * As receive, but sleeps until something comes, if the socket is in blocking
 * mode. Returns 0 if a signal came instead, or the socket is in the other mode.
 */
int vfio_user_conn_receive_wait(struct vfio_user_conn *conn);

/*
 * Gives out the next whole message. Returns 1 with *ret, 0 if there is none,
 * or -EPROTO if the stream can't be trusted any more (a header that says that
 * the message is shorter than a header).
 */
int vfio_user_conn_next(struct vfio_user_conn *conn, struct vfio_user_message *ret);

/*
 * Sends a message that the caller keeps untouched until vfio_user_conn_flushed().
 * fds, at most VFIO_USER_MAX_FDS, stay the caller's and open. Nothing else may
 * be unsent. Returns 0 if it went out or waits for room, or a negative errno.
 */
int vfio_user_conn_send(struct vfio_user_conn *conn, const void *message, size_t size,
			const int *fds, size_t n_fds);

/* True if nothing is unsent. */
static inline bool vfio_user_conn_flushed(const struct vfio_user_conn *conn)
{
	return !conn->tx_left;
}

/* Sends more of what is unsent. Returns 0 or a negative errno. */
int vfio_user_conn_flush(struct vfio_user_conn *conn);
