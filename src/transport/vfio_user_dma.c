/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. An access to guest memory that has no descriptor is cut
 * into messages of what the client takes at once, and some of these are under
 * way together. A DMA message and the guest's accesses may cross: a vCPU that
 * waits for its read can keep the client from answering us. So while we wait,
 * commands are served as they come, on whatever socket, and orders are run;
 * only work that is not in a handler may use guest memory (src/vfio/dma.h).
 *
 * The layout. The specification has a count of 64 bits in a DMA message, then
 * the data. QEMU up to 10.2 has one of 32 bits (VFIOUserDMARW, hw/vfio-user/
 * protocol.h): its data begin four bytes earlier, and as the compiler pads that
 * structure to the same size, the lengths of messages do not tell which it is.
 * A client that may be such a QEMU is therefore asked for 2^32 bytes and 4: who
 * counts in 64 bits refuses, who counts in 32 bits answers with 4.
 */
#include "transport/vfio_user_dma.h"

#include <errno.h>
#include <poll.h>
#include <string.h>

#include "base/checked.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/syscalls.h"

SYSCALLS(SYSCALL(poll), SYSCALL(ppoll));

enum {
	HEADER = sizeof(struct vfio_user_header),
	ACCESS = sizeof(struct vfio_user_dma_access),
	SHORT_ACCESS = ACCESS - 4, /* with a count of 32 bits */
	TIMEOUT_MS = 5000, /* without a reply; what QEMU gives us, too */
	IN_FLIGHT = 4, /* messages, at the most */
	PROBE_BYTES = 4,
};

/* A message that waits for its reply. */
struct piece {
	bool waiting;
	uint16_t id;
	size_t at, length; /* its part of the access */
};

/* An access under way. */
struct transfer {
	struct vfio_user_session *session;
	uint16_t command; /* VFIO_USER_DMA_READ or VFIO_USER_DMA_WRITE */
	uint64_t iova;
	uint8_t *buf;
	size_t length, sent;
	uint64_t excess; /* added to the counts that are asked for: a probe */

	struct piece pieces[IN_FLIGHT];
	unsigned int n_waiting;
	uint64_t deadline_ns;
	uint64_t resets; /* of the device, when it began */
	int error; /* the first: nothing more is sent */
};

/* The socket that DMA messages and their replies take. */
static struct vfio_user_conn *channel(struct vfio_user_session *session)
{
	return session->has_twin ? &session->twin : &session->conn;
}

static void extend_deadline(struct transfer *t)
{
	t->deadline_ns = clock_ns() + TIMEOUT_MS * 1000000ULL;
}

/* A twin socket that can't be trusted any more takes DMA with it, and nothing else. */
static int drop_twin(struct vfio_user_session *session, int error)
{
	log_ratelimited(LOG_LEVEL_WARNING, "the client's twin socket has failed: %s",
			strerror(-error));
	vfio_user_conn_done(&session->twin);
	return error;
}

/* --- sending --- */

static struct piece *free_piece(struct transfer *t)
{
	for (unsigned int i = 0; i < IN_FLIGHT; i++)
		if (!t->pieces[i].waiting)
			return &t->pieces[i];
	return NULL;
}

/* Puts the message into buf; returns its size. */
static size_t make_message(const struct transfer *t, const struct piece *piece, uint8_t *buf)
{
	bool short_count = t->session->dma_layout == DMA_LAYOUT_SHORT_COUNT;
	bool write = t->command == VFIO_USER_DMA_WRITE;
	struct vfio_user_dma_access access = { t->iova + piece->at, piece->length + t->excess };
	struct vfio_user_header header = {
		.id = piece->id,
		.command = t->command,
		.size = HEADER + ACCESS + (write ? (uint32_t)piece->length : 0),
		.flags = VFIO_USER_TYPE_COMMAND,
	};

	memcpy(buf, &header, HEADER);
	memcpy(buf + HEADER, &access, ACCESS);
	if (write) {
		/* With a short count the padding comes last. */
		memset(buf + header.size - 4, 0, 4);
		memcpy(buf + HEADER + (short_count ? SHORT_ACCESS : ACCESS), t->buf + piece->at,
		       piece->length);
	}
	return header.size;
}

static int send_piece(struct transfer *t)
{
	struct vfio_user_session *session = t->session;
	uint8_t *buf = session->has_twin ? session->twin_tx : session->tx;
	struct piece *piece = free_piece(t);
	size_t left = t->length - t->sent;

	*piece = (struct piece){
		.waiting = true,
		.id = ++session->dma_id,
		.at = t->sent,
		.length = left < session->peer_max_xfer ? left : (size_t)session->peer_max_xfer,
	};
	t->sent += piece->length;
	t->n_waiting++;
	return vfio_user_conn_send(channel(session), buf, make_message(t, piece, buf), NULL, 0);
}

/* What happened in the meantime may have made the rest of it pointless. */
static void check_that_it_may_go_on(struct transfer *t)
{
	if (t->error)
		return;
	if (t->session->dma_unmapped)
		t->error = -EFAULT;
	else if (counter_read(&t->session->dev->resets) != t->resets)
		t->error = -ECANCELED;
}

static bool wants_to_send(const struct transfer *t)
{
	return !t->error && t->sent < t->length && t->n_waiting < IN_FLIGHT;
}

/* --- receiving --- */

static int take_data(struct transfer *t, const struct piece *piece,
		     const struct vfio_user_message *reply)
{
	size_t head = t->session->dma_layout == DMA_LAYOUT_SHORT_COUNT ? SHORT_ACCESS : ACCESS;
	uint64_t address;

	if (reply->length != ACCESS + piece->length)
		return -EPROTO;
	memcpy(&address, reply->payload, sizeof(address));
	if (address != t->iova + piece->at)
		return -EPROTO;
	memcpy(t->buf + piece->at, reply->payload + head, piece->length);
	return 0;
}

static int error_of(const struct vfio_user_header *header)
{
	return header->error && header->error < 4096 ? -(int)header->error : -EIO;
}

/* False if the message is no reply to one of ours. */
static bool take_reply(struct transfer *t, const struct vfio_user_message *message)
{
	const struct vfio_user_header *header = &message->header;
	struct piece *piece = NULL;
	int r = 0;

	if ((header->flags & VFIO_USER_TYPE_MASK) != VFIO_USER_TYPE_REPLY ||
	    header->command != t->command)
		return false;
	for (unsigned int i = 0; i < IN_FLIGHT; i++)
		if (t->pieces[i].waiting && t->pieces[i].id == header->id)
			piece = &t->pieces[i];
	if (!piece)
		return false;

	if (header->flags & VFIO_USER_ERROR)
		r = error_of(header);
	else if (t->command == VFIO_USER_DMA_READ)
		r = take_data(t, piece, message);
	if (!t->error)
		t->error = r;
	piece->waiting = false;
	t->n_waiting--;
	extend_deadline(t);
	return true;
}

/* The next message, received if need be. Returns 1, 0 if there is none now, or an error. */
static int look(struct vfio_user_conn *conn, struct vfio_user_message *ret)
{
	int r = vfio_user_conn_next(conn, ret);

	if (r)
		return r;
	r = vfio_user_conn_receive(conn);
	return r > 0 ? vfio_user_conn_next(conn, ret) : r;
}

/* Returns 1 if a message was dealt with, 0 if there was none, or an error. */
static int look_at_twin(struct transfer *t)
{
	struct vfio_user_session *session = t->session;
	struct vfio_user_message message;
	int r = vfio_user_conn_flush(&session->twin);

	if (r < 0)
		return drop_twin(session, r);
	r = look(&session->twin, &message);
	/* Its commands have the other socket to come on. */
	if (r > 0 && (message.header.flags & VFIO_USER_TYPE_MASK) != VFIO_USER_TYPE_REPLY)
		r = -EPROTO;
	if (r <= 0)
		return r < 0 ? drop_twin(session, r) : 0;
	if (!take_reply(t, &message))
		log_ratelimited(LOG_LEVEL_WARNING,
				"the client sent a reply to nothing that was asked");
	return 1;
}

/* Likewise, of the socket that commands come on. */
static int look_at_main(struct transfer *t)
{
	struct vfio_user_session *session = t->session;
	struct vfio_user_message message;
	int r = vfio_user_conn_flush(&session->conn);

	/* There is room for one reply, so nothing is taken while one is unsent. */
	if (r < 0)
		session->failed = r;
	if (r < 0 || !vfio_user_conn_flushed(&session->conn))
		return r;
	r = look(&session->conn, &message);
	if (r < 0)
		session->failed = r;
	if (r <= 0)
		return r;
	session->received_ns = clock_ns();
	if (!session->has_twin && take_reply(t, &message))
		return 1;
	r = vfio_user_session_handle(session, &message);
	return r < 0 ? r : 1;
}

static int wait_for_something(struct transfer *t)
{
	enum { MAIN, TWIN, ORDERS, FDS };
	struct vfio_user_session *session = t->session;
	struct pollfd pfds[FDS] = {
		[MAIN] = { session->conn.fd, POLLIN, 0 },
		[TWIN] = { session->twin.fd, POLLIN, 0 },
		[ORDERS] = { session->orders ? session->orders->fd : -1, POLLIN, 0 },
	};
	uint64_t now_ns = clock_ns();

	if (!vfio_user_conn_flushed(&session->conn))
		pfds[MAIN].events = POLLOUT;
	if (!vfio_user_conn_flushed(&session->twin))
		pfds[TWIN].events |= POLLOUT;
	if (now_ns >= t->deadline_ns)
		return -ETIMEDOUT;
	if (poll(pfds, FDS, (int)((t->deadline_ns - now_ns) / 1000000 + 1)) < 0)
		return errno == EINTR ? 0 : -errno;
	if (pfds[ORDERS].revents)
		orders_run(session->orders);
	return session->failed;
}

/* Deals with what is there, or waits until there is something. */
static int step(struct transfer *t)
{
	int twin = 0, r;

	/* Also with commands that never cease to come. */
	if (clock_ns() >= t->deadline_ns)
		return -ETIMEDOUT;
	if (t->session->orders && orders_pending(t->session->orders))
		orders_run(t->session->orders);
	if (t->session->failed)
		return t->session->failed;
	if (t->session->has_twin)
		twin = look_at_twin(t);
	if (twin < 0)
		return twin;
	r = look_at_main(t);
	return r || twin ? (r < 0 ? r : 0) : wait_for_something(t);
}

/* --- an access --- */

static int run(struct transfer *t)
{
	struct vfio_user_session *session = t->session;
	int r = 0;

	extend_deadline(t);
	t->resets = counter_read(&session->dev->resets);
	while (r == 0) {
		check_that_it_may_go_on(t);
		if (wants_to_send(t) && vfio_user_conn_flushed(channel(session)))
			r = send_piece(t);
		else if (t->n_waiting || wants_to_send(t))
			r = step(t);
		else
			return t->error;
	}

	/* A message that is out in part only can't be taken back. */
	if (session->has_twin && session->twin.fd >= 0 && !vfio_user_conn_flushed(&session->twin))
		drop_twin(session, r);
	if (!session->has_twin && !session->failed && !vfio_user_conn_flushed(&session->conn))
		session->failed = r;
	return r;
}

/* Finds out how the client counts. Only if it gives an answer that tells. */
static int learn_layout(struct vfio_user_session *session, uint64_t iova)
{
	uint8_t buf[PROBE_BYTES];
	struct transfer probe = {
		.session = session,
		.command = VFIO_USER_DMA_READ,
		/* These are in the same map, made of pages, also where the access is at its end. */
		.iova = round_down(iova, PROBE_BYTES),
		.buf = buf,
		.length = sizeof(buf),
		.excess = (uint64_t)1 << 32,
	};
	int r = run(&probe);

	switch (r) {
	case 0:
		log_debug("the client's DMA messages have a count of 32 bits");
		session->dma_layout = DMA_LAYOUT_SHORT_COUNT;
		return 0;
	case -E2BIG: /* QEMU 11 */
	case -EINVAL:
	case -EFAULT:
	case -ENOMEM:
		session->dma_layout = DMA_LAYOUT_SPECIFIED;
		return 0;
	default:
		return r; /* bus mastering is off, say: so it would be for the access, too */
	}
}

static int transfer(struct vfio_user_session *session, uint16_t command, uint64_t iova,
		    uint8_t *buf, size_t length)
{
	struct transfer t = {
		.session = session,
		.command = command,
		.iova = iova,
		.buf = buf,
		.length = length,
	};
	int r = 0;

	if (session->failed)
		return session->failed;
	if (session->has_twin && session->twin.fd < 0)
		return -ECONNRESET;
	if (!session->peer_max_xfer)
		return -ENOTSUP;
	/* Devices do DMA in their work, and work does not nest. */
	if (session->in_dma)
		return -EBUSY;
	session->in_dma = true;
	session->dma_iova = iova;
	session->dma_length = length;
	session->dma_unmapped = false;
	if (session->dma_layout == DMA_LAYOUT_TO_BE_LEARNT)
		r = learn_layout(session, iova);
	if (r == 0)
		r = run(&t);
	session->in_dma = false;
	return r;
}

static int dma_read(void *opaque, uint64_t iova, void *buf, size_t length)
{
	return transfer(opaque, VFIO_USER_DMA_READ, iova, buf, length);
}

static int dma_write(void *opaque, uint64_t iova, const void *buf, size_t length)
{
	/* A transfer only reads from it in this direction. */
	return transfer(opaque, VFIO_USER_DMA_WRITE, iova, (uint8_t *)(uintptr_t)buf, length);
}

const struct vfio_dma_ops vfio_user_dma_ops = {
	.read = dma_read,
	.write = dma_write,
};
