/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session: one client, from VERSION to its end, on one device. Commands come
 * in, the command table in vfio_user_command.c has them checked and carried
 * out by the device, replies go out.
 */
#pragma once

#include <stdbool.h>

#include "transport/vfio_user_conn.h"
#include "vfio/device.h"

struct vfio_user_session {
	struct vfio_user_conn conn;
	struct vfio_device *dev;
	uint8_t *tx; /* VFIO_USER_MAX_MESSAGE: the reply being made or sent */

	bool negotiated;
	uint64_t peer_max_xfer; /* bytes, what the client takes in one message */

	uint64_t received_ns; /* when what is being handled came in */
	bool more; /* the device has worked: there may be more to do without the client */
	int failed; /* a negative errno: nothing more can come of this connection */

	uint16_t dma_id; /* of the last DMA message that we sent */
	bool in_dma; /* waiting for its reply */
};

/* Takes fd over, also on failure. Returns 0 or a negative errno. */
int vfio_user_session_init(struct vfio_user_session *session, struct vfio_device *dev, int fd);

/* Ends the connection. The device's DMA maps and eventfds stay: see vfio_device_disconnect(). */
void vfio_user_session_done(struct vfio_user_session *session);

/*
 * Receives once, serves every whole message that is there, and lets the device
 * do the work that these asked for. Returns the number of messages served (0:
 * nothing had come), or a negative errno: the session is over, and the reason
 * has been logged if it was not the client's orderly end (-ECONNRESET).
 *
 * While a reply is unsent (the client does not read) nothing is received, and
 * no work is done.
 */
int vfio_user_session_serve(struct vfio_user_session *session);

/*
 * True if vfio_user_session_serve() is to be called again without waiting for
 * the socket: while the device worked, messages came that nobody has served, or
 * more work was asked for.
 */
static inline bool vfio_user_session_has_more(const struct vfio_user_session *session)
{
	return session->more && vfio_user_conn_flushed(&session->conn);
}

/* True if the socket should be polled for room instead of for input. */
static inline bool vfio_user_session_wants_room(const struct vfio_user_session *session)
{
	return !vfio_user_conn_flushed(&session->conn);
}
