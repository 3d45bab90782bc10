/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transport/vfio_user_session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "transport/vfio_user_command.h"
#include "transport/vfio_user_dma.h"

enum { HEADER = sizeof(struct vfio_user_header) };

int vfio_user_session_init(struct vfio_user_session *session, struct vfio_device *dev, int fd)
{
	int r;

	*session = (struct vfio_user_session){
		.dev = dev,
		.peer_max_xfer = VFIO_USER_MAX_XFER,
		.peer_max_fds = 1,
		.answered_ns = clock_ns(),
		.twin = { .fd = -1 },
		.twin_peer = -1,
	};
	r = vfio_user_conn_init(&session->conn, fd);
	if (r < 0)
		return r;
	session->tx = malloc(VFIO_USER_MAX_MESSAGE);
	if (!session->tx) {
		vfio_user_conn_done(&session->conn);
		return -ENOMEM;
	}
	vfio_dma_set_ops(&dev->dma, &vfio_user_dma_ops, session);
	return 0;
}

void vfio_user_session_done(struct vfio_user_session *session)
{
	vfio_dma_set_ops(&session->dev->dma, NULL, NULL);
	vfio_user_conn_done(&session->conn);
	free(session->tx);
	session->tx = NULL;
	vfio_user_conn_done(&session->twin);
	free(session->twin_tx);
	session->twin_tx = NULL;
	session->twin_peer = close_fd(session->twin_peer);
}

static void log_command(const struct vfio_user_message *message, int r)
{
	const char *name = vfio_user_command_name(message->header.command);

	if (r < 0)
		log_ratelimited(LOG_LEVEL_WARNING,
				"refused %s (command %u, %u bytes) from the client: %s", name,
				message->header.command, message->header.size, strerror(-r));
	else
		log_debug("%s: %zu bytes, %zu descriptors", name, message->length, message->n_fds);
}

static int send_reply(struct vfio_user_session *session, const struct vfio_user_message *message,
		      struct vfio_user_reply *reply, int error)
{
	struct vfio_user_header header = {
		.id = message->header.id,
		.command = message->header.command,
		.size = HEADER,
		.flags = VFIO_USER_TYPE_REPLY,
	};

	if (error) {
		header.flags |= VFIO_USER_ERROR;
		header.error = (uint32_t)-error;
		reply->n_fds = 0;
	} else {
		header.size += (uint32_t)reply->length;
	}
	memcpy(session->tx, &header, sizeof(header));
	return vfio_user_conn_send(&session->conn, session->tx, header.size, reply->fds,
				   reply->n_fds);
}

static int handle(struct vfio_user_session *session, const struct vfio_user_message *message)
{
	struct vfio_user_reply reply = { .payload = session->tx + HEADER };
	int r, sent = 0;

	switch (message->header.flags & VFIO_USER_TYPE_MASK) {
	case VFIO_USER_TYPE_COMMAND:
		break;
	case VFIO_USER_TYPE_REPLY:
		log_ratelimited(LOG_LEVEL_WARNING,
				"the client sent a reply to nothing that was asked");
		return 0;
	default:
		log_ratelimited(LOG_LEVEL_WARNING,
				"the client sent a message of an unknown type (flags %#x): closing",
				message->header.flags);
		return -EPROTO;
	}

	r = vfio_user_command(session, message, &reply);
	if (r < 0 || log_enabled(LOG_LEVEL_DEBUG))
		log_command(message, r);
	if (!(message->header.flags & VFIO_USER_NO_REPLY))
		sent = send_reply(session, message, &reply, r);
	session->answered_ns = clock_ns();
	if (reply.region)
		histogram_record(&reply.region->stats.latency_ns,
				 session->answered_ns - session->received_ns);
	if (sent < 0)
		return sent;
	/* A client that speaks another version has had its answer; there is no more to say. */
	return r == -EPROTONOSUPPORT ? r : 0;
}

int vfio_user_session_handle(struct vfio_user_session *session,
			     const struct vfio_user_message *message)
{
	int r = handle(session, message);

	/* In the middle of a DMA message the device is told, but who serves must know, too. */
	if (r < 0)
		session->failed = r;
	return r;
}

static int serve_received(struct vfio_user_session *session)
{
	struct vfio_user_message message;
	int served = 0, r;

	while (vfio_user_conn_flushed(&session->conn)) {
		r = vfio_user_conn_next(&session->conn, &message);
		if (r == -EPROTO)
			log_ratelimited(LOG_LEVEL_WARNING,
					"the client's stream is out of step: closing");
		if (r < 0)
			return r;
		if (r == 0)
			break;
		r = vfio_user_session_handle(session, &message);
		if (r < 0)
			return r;
		served++;
	}
	return served;
}

/*
 * Between two pieces of the device's work: what came in the middle of the last
 * one, and if that was nothing, what is there now. Otherwise work that goes on
 * and on would shut the client out.
 */
static int serve_between_work(struct vfio_user_session *session)
{
	int r = serve_received(session);

	if (r != 0 || !vfio_user_conn_flushed(&session->conn))
		return r;
	r = vfio_user_conn_receive(&session->conn);
	if (r <= 0)
		return r;
	session->received_ns = clock_ns();
	return serve_received(session);
}

int vfio_user_session_serve(struct vfio_user_session *session, bool wait)
{
	int served, r;

	if (session->failed)
		return session->failed;
	if (!vfio_user_conn_flushed(&session->conn)) {
		r = vfio_user_conn_flush(&session->conn);
		if (r < 0 || !vfio_user_conn_flushed(&session->conn))
			return r;
		/* What waited behind it comes now. */
	} else if (!session->more) {
		r = wait ? vfio_user_conn_receive_wait(&session->conn)
			 : vfio_user_conn_receive(&session->conn);
		if (r <= 0)
			return r;
		session->received_ns = clock_ns();
	}

	served = session->more ? serve_between_work(session) : serve_received(session);
	if (served < 0)
		return served;
	if (vfio_user_conn_flushed(&session->conn)) {
		session->twin_peer = close_fd(session->twin_peer);
		session->more = vfio_device_run(session->dev);
	}
	return session->failed ? session->failed : served;
}

void vfio_user_session_ring(struct vfio_user_session *session, struct vfio_region *region,
			    unsigned int doorbell)
{
	vfio_region_doorbell_event(region, doorbell);
	if (vfio_user_conn_flushed(&session->conn) && vfio_device_run(session->dev))
		session->more = true;
}
