/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A DMA message and the guest's accesses may cross on the socket: a vCPU that
 * waits for its read can keep the client from answering us. So while we wait,
 * commands are served as they come, and only work that is not in a handler may
 * use guest memory (src/vfio/dma.h).
 */
#include "transport/vfio_user_dma.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"

enum {
	HEADER = sizeof(struct vfio_user_header),
	ACCESS = sizeof(struct vfio_user_dma_access),
	TIMEOUT_MS = 5000, /* what QEMU gives us, too */
};

/* Waits until the socket is ready for events, at most until the deadline. */
static int wait_for(struct vfio_user_session *session, short events, uint64_t deadline_ns)
{
	struct pollfd pfd = { .fd = session->conn.fd, .events = events };
	uint64_t now = clock_ns();
	int r;

	if (now >= deadline_ns)
		return -ETIMEDOUT;
	r = poll(&pfd, 1, (int)((deadline_ns - now) / 1000000 + 1));
	return r < 0 && errno != EINTR ? -errno : 0;
}

static int flush(struct vfio_user_session *session, uint64_t deadline_ns)
{
	int r = vfio_user_conn_flush(&session->conn);

	while (r == 0 && !vfio_user_conn_flushed(&session->conn)) {
		r = wait_for(session, POLLOUT, deadline_ns);
		if (r == 0)
			r = vfio_user_conn_flush(&session->conn);
	}
	return r;
}

static bool is_reply_to(const struct vfio_user_message *message, uint16_t id, uint16_t command)
{
	return (message->header.flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_REPLY &&
	       message->header.id == id && message->header.command == command;
}

/* The next message, within the deadline. The connection has failed if there can be none. */
static int next_message(struct vfio_user_session *session, uint64_t deadline_ns,
			struct vfio_user_message *ret)
{
	/* Also with commands that never cease to come. */
	while (clock_ns() < deadline_ns) {
		int r = vfio_user_conn_next(&session->conn, ret);

		if (r > 0)
			return 0;
		if (r == 0)
			r = vfio_user_conn_receive(&session->conn);
		if (r < 0)
			return session->failed = r;

		if (r > 0)
			session->received_ns = clock_ns();
		else
			r = wait_for(session, POLLIN, deadline_ns);
		if (r < 0)
			return r;
	}
	return -ETIMEDOUT;
}

/* Serves what comes until the reply does. */
static int wait_for_reply(struct vfio_user_session *session, uint16_t command, uint64_t deadline_ns,
			  struct vfio_user_message *ret)
{
	uint16_t id = session->dma_id;
	int r;

	for (;;) {
		r = next_message(session, deadline_ns, ret);
		if (r < 0)
			return r;
		if (is_reply_to(ret, id, command))
			return 0;
		r = vfio_user_session_handle(session, ret);
		if (r == 0)
			r = flush(session, deadline_ns);
		if (r < 0)
			return r;
	}
}

/*
 * QEMU up to 10.2 answers with a count of 32 bits, and data four bytes earlier
 * than the specification has it: the reply's length tells which it is.
 */
static int take_data(const struct vfio_user_message *reply, uint64_t iova, uint8_t *buf,
		     size_t length)
{
	size_t head = reply->length - length;
	uint64_t address;

	if (reply->length < length || (head != ACCESS && head != ACCESS - 4))
		return -EPROTO;
	memcpy(&address, reply->payload, sizeof(address));
	if (address != iova)
		return -EPROTO;
	memcpy(buf, reply->payload + head, length);
	return 0;
}

/* One message's worth: length is at most what both sides take. */
static int transfer(struct vfio_user_session *session, uint16_t command, uint64_t iova,
		    uint8_t *buf, size_t length)
{
	bool write = command == VFIO_USER_DMA_WRITE;
	struct vfio_user_dma_access access = { .address = iova, .count = length };
	struct vfio_user_header header = {
		.id = ++session->dma_id,
		.command = command,
		.size = HEADER + ACCESS + (write ? (uint32_t)length : 0),
		.flags = VFIO_USER_TYPE_COMMAND,
	};
	uint64_t deadline_ns = clock_ns() + TIMEOUT_MS * 1000000ULL;
	struct vfio_user_message reply = { 0 };
	int r;

	if (session->failed)
		return session->failed;
	r = flush(session, deadline_ns);
	if (r < 0)
		return r;
	memcpy(session->tx, &header, HEADER);
	memcpy(session->tx + HEADER, &access, ACCESS);
	if (write)
		memcpy(session->tx + HEADER + ACCESS, buf, length);
	r = vfio_user_conn_send(&session->conn, session->tx, header.size, NULL, 0);
	if (r == 0)
		r = flush(session, deadline_ns);
	if (r == 0)
		r = wait_for_reply(session, command, deadline_ns, &reply);
	/* A request that is out in part only can't be taken back. */
	if (r < 0 && !vfio_user_conn_flushed(&session->conn))
		session->failed = r;
	if (r < 0)
		return r;

	if (reply.header.flags & VFIO_USER_ERROR)
		return reply.header.error && reply.header.error < 4096 ? -(int)reply.header.error
								       : -EIO;
	return write ? 0 : take_data(&reply, iova, buf, length);
}

static int transfer_all(struct vfio_user_session *session, uint16_t command, uint64_t iova,
			uint8_t *buf, size_t length)
{
	int r = 0;

	/* Devices do DMA in their work, and work does not nest. */
	if (session->in_dma)
		return -EBUSY;
	session->in_dma = true;
	while (length && r == 0) {
		size_t piece =
			length < session->peer_max_xfer ? length : (size_t)session->peer_max_xfer;

		r = piece ? transfer(session, command, iova, buf, piece) : -ENOTSUP;
		iova += piece;
		buf += piece;
		length -= piece;
	}
	session->in_dma = false;
	return r;
}

static int dma_read(void *opaque, uint64_t iova, void *buf, size_t length)
{
	return transfer_all(opaque, VFIO_USER_DMA_READ, iova, buf, length);
}

static int dma_write(void *opaque, uint64_t iova, const void *buf, size_t length)
{
	/* transfer() only reads from it in this direction. */
	return transfer_all(opaque, VFIO_USER_DMA_WRITE, iova, (uint8_t *)(uintptr_t)buf, length);
}

const struct vfio_dma_ops vfio_user_dma_ops = {
	.read = dma_read,
	.write = dma_write,
};
