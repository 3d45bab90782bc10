/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A session: one client, from VERSION to its end, on one device. Commands come
 * in, the command table in vfio_user_command.c has them checked and carried
 * out by the device, replies go out.
 */
#pragma once

#include <stdbool.h>

#include "base/orders.h"
#include "transport/vfio_user_conn.h"
#include "vfio/device.h"

/* Where the data of a DMA message begins, see vfio_user_dma.c. */
enum vfio_user_dma_layout {
	DMA_LAYOUT_SPECIFIED,
	DMA_LAYOUT_TO_BE_LEARNT,
	DMA_LAYOUT_SHORT_COUNT,
};

struct vfio_user_session {
	struct vfio_user_conn conn;
	struct vfio_device *dev;
	uint8_t *tx; /* VFIO_USER_MAX_MESSAGE: the reply being made or sent */

	uint64_t peer_max_xfer; /* bytes, what the client takes in one message */
	uint64_t peer_max_fds; /* descriptors, likewise */
	bool negotiated;
	bool has_doorbells; /* it has taken eventfds with GET_REGION_IO_FDS */

	bool more; /* the device has worked: there may be more to do without the client */
	int failed; /* a negative errno: nothing more can come of this connection */
	uint64_t received_ns; /* when what is being handled came in */
	uint64_t answered_ns; /* when the last command had been answered */

	/* Guest memory by message, in vfio_user_dma.c. */
	struct orders *orders; /* the owner's, run while we wait; NULL: none */
	uint64_t dma_iova, dma_length;
	bool in_dma; /* an access is under way: [dma_iova, dma_iova + dma_length) */
	bool dma_unmapped; /* and some of it was unmapped since it began */
	uint16_t dma_id; /* of the last DMA message that we sent */
	enum vfio_user_dma_layout dma_layout;

	/* The twin socket, where DMA messages go once the client has asked for one. */
	struct vfio_user_conn twin; /* its fd is -1 if it failed */
	uint8_t *twin_tx; /* VFIO_USER_MAX_MESSAGE: the message being sent there */
	int twin_peer; /* the client's end, until it has been sent; else -1 */
	bool has_twin;
};

/* Takes fd over, also on failure. Returns 0 or a negative errno. */
int vfio_user_session_init(struct vfio_user_session *session, struct vfio_device *dev, int fd);

/* Ends the connection. The device's DMA maps and eventfds stay: see vfio_device_disconnect(). */
void vfio_user_session_done(struct vfio_user_session *session);

/*
 * Receives once, serves every whole message that is there, and lets the device
 * do the work that these asked for. With `wait` it sleeps in the receive as
 * vfio_user_conn_receive_wait() does. Returns the number of messages served (0:
 * nothing had come), or a negative errno: the session is over, and the reason
 * has been logged if it was not the client's orderly end (-ECONNRESET).
 *
 * While a reply is unsent (the client does not read) nothing is received, and
 * no work is done.
 */
int vfio_user_session_serve(struct vfio_user_session *session, bool wait);

/*
 * True if vfio_user_session_serve() is to be called again without waiting for
 * the socket: while the device worked, messages came that nobody has served, or
 * more work was asked for; or the session is over.
 */
static inline bool vfio_user_session_has_more(const struct vfio_user_session *session)
{
	return session->failed || (session->more && vfio_user_conn_flushed(&session->conn));
}

/* True if the socket should be polled for room instead of for input. */
static inline bool vfio_user_session_wants_room(const struct vfio_user_session *session)
{
	return !vfio_user_conn_flushed(&session->conn);
}

/*
 * To be called when the eventfd of a region's doorbell is readable: tells the
 * device, and lets it do the work that it wants to do then.
 */
void vfio_user_session_ring(struct vfio_user_session *session, struct vfio_region *region,
			    unsigned int doorbell);
