/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation. One recvmsg() takes whatever has come, often several
 * messages, into rx. Which of them do descriptors belong to? The kernel ends a
 * receive after the packet that carries descriptors, so they came with the
 * last packet in what was received; a sender attaches them to a message's
 * first byte; so they belong to the last message that starts in it. And since
 * a receive while a message is incomplete asks for no more than the rest of
 * that message, there is never more than one set of them.
 */
#include "transport/vfio_user_conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/syscalls.h"

SYSCALLS(SYSCALL(recvmsg), SYSCALL_SEND,
	 SYSCALL_IF(sendmsg, ARG_IS(2, MSG_NOSIGNAL | MSG_DONTWAIT)));

enum {
	HEADER = sizeof(struct vfio_user_header),
	/* Enough for a burst of posted writes; a longer message is asked for by its size. */
	RX_BURST = 64 << 10,
	RX_SIZE = VFIO_USER_MAX_MESSAGE + RX_BURST,
	/* SCM_MAX_FD: what the kernel may hand over, expected or not. */
	FDS_MAX = 253,
};

int vfio_user_conn_init(struct vfio_user_conn *conn, int fd)
{
	*conn = (struct vfio_user_conn){ .fd = fd };
	conn->rx = malloc(RX_SIZE);
	if (!conn->rx) {
		vfio_user_conn_done(conn);
		return -ENOMEM;
	}
	return 0;
}

static void drop_fds(struct vfio_user_conn *conn)
{
	close_fds(conn->fds, conn->n_fds);
	conn->n_fds = 0;
	conn->fds_error = 0;
	conn->fds_lent = false;
}

void vfio_user_conn_done(struct vfio_user_conn *conn)
{
	drop_fds(conn);
	free(conn->rx);
	conn->rx = NULL;
	conn->fd = close_fd(conn->fd);
}

static struct vfio_user_header header_at(const struct vfio_user_conn *conn, size_t at)
{
	struct vfio_user_header header;

	memcpy(&header, conn->rx + at, sizeof(header));
	return header;
}

/* What is still missing of the first message in rx; 0 if it is whole or there is none. */
static size_t missing(const struct vfio_user_conn *conn)
{
	size_t have = conn->rx_end - conn->rx_start;
	uint32_t size;

	if (!have)
		return 0;
	if (have < HEADER)
		return HEADER - have;
	size = header_at(conn, conn->rx_start).size;
	if (size > VFIO_USER_MAX_MESSAGE)
		return 0; /* given out by its header alone */
	return size > have ? size - have : 0;
}

/*
 * The start of the last message that begins in rx at or after `from`; SIZE_MAX
 * if none does.
 */
static size_t last_message_start(const struct vfio_user_conn *conn, size_t from)
{
	size_t at = conn->rx_start, last = SIZE_MAX;

	while (at < conn->rx_end) {
		uint32_t size;

		if (at >= from)
			last = at;
		if (conn->rx_end - at < HEADER)
			break;
		size = header_at(conn, at).size;
		if (size < HEADER || size > conn->rx_end - at)
			break;
		at += size;
	}
	return last;
}

/*
 * Takes over the descriptors of a received packet, or closes them. A message
 * whose descriptors are not all there must not be taken for one without.
 */
static void take_fds(struct vfio_user_conn *conn, struct msghdr *msg, size_t received_at)
{
	size_t at = conn->rx_skip ? SIZE_MAX : last_message_start(conn, received_at);

	if (msg->msg_flags & MSG_CTRUNC && at != SIZE_MAX) {
		log_ratelimited(LOG_LEVEL_WARNING,
				"the client's descriptors could not be taken: too many are open");
		conn->fds_error = -EMFILE;
		conn->fds_at = at;
	}
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fds[FDS_MAX];

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		if (n > FDS_MAX)
			n = FDS_MAX;
		memcpy(fds, CMSG_DATA(c), n * sizeof(int));

		if (at != SIZE_MAX) {
			conn->fds_at = at;
			if (n > VFIO_USER_MAX_FDS)
				conn->fds_error = -EINVAL;
		}
		if (at == SIZE_MAX || conn->fds_error || conn->n_fds) {
			log_ratelimited(LOG_LEVEL_WARNING,
					"%zu descriptors from the client were not taken: they "
					"belong to no message, or are too many",
					n);
			close_fds(fds, n);
			continue;
		}
		memcpy(conn->fds, fds, n * sizeof(int));
		conn->n_fds = n;
	}
}

static void skip(struct vfio_user_conn *conn)
{
	size_t have = conn->rx_end - conn->rx_start;
	size_t n = conn->rx_skip < have ? (size_t)conn->rx_skip : have;

	conn->rx_skip -= n;
	conn->rx_start += n;
}

/* Room at the end of rx, for an incomplete message at its start. */
static size_t make_room(struct vfio_user_conn *conn)
{
	size_t want = missing(conn);

	if (conn->rx_skip)
		return conn->rx_skip < RX_BURST ? (size_t)conn->rx_skip : RX_BURST;
	if (!want)
		return RX_BURST;
	if (conn->rx_start + VFIO_USER_MAX_MESSAGE > RX_SIZE) {
		size_t have = conn->rx_end - conn->rx_start;

		memmove(conn->rx, conn->rx + conn->rx_start, have);
		conn->fds_at -= conn->rx_start;
		conn->rx_start = 0;
		conn->rx_end = have;
	}
	return want;
}

static int receive(struct vfio_user_conn *conn, int flags)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(FDS_MAX * sizeof(int))];
	} control;
	struct msghdr msg = { 0 };
	struct iovec iov;
	ssize_t n;
	size_t at;

	if (conn->fds_lent)
		drop_fds(conn);
	if (conn->rx_start == conn->rx_end)
		conn->rx_start = conn->rx_end = 0;

	iov.iov_len = make_room(conn);
	iov.iov_base = conn->rx + conn->rx_end;
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = control.buf;
	msg.msg_controllen = sizeof(control.buf);

	n = recvmsg(conn->fd, &msg, MSG_CMSG_CLOEXEC | flags);
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (n == 0)
		return -ECONNRESET;

	at = conn->rx_end;
	conn->rx_end += (size_t)n;
	if (msg.msg_controllen || msg.msg_flags & MSG_CTRUNC)
		take_fds(conn, &msg, at);
	skip(conn);
	return 1;
}

int vfio_user_conn_receive(struct vfio_user_conn *conn)
{
	return receive(conn, MSG_DONTWAIT);
}

int vfio_user_conn_receive_wait(struct vfio_user_conn *conn)
{
	return receive(conn, 0);
}

int vfio_user_conn_next(struct vfio_user_conn *conn, struct vfio_user_message *ret)
{
	struct vfio_user_message message = { .fds = conn->fds };
	size_t have, taken;

	if (conn->fds_lent)
		drop_fds(conn);
	skip(conn);
	have = conn->rx_end - conn->rx_start;
	if (have < HEADER)
		return 0;

	message.header = header_at(conn, conn->rx_start);
	if (message.header.size < HEADER)
		return -EPROTO;
	message.oversized = message.header.size > VFIO_USER_MAX_MESSAGE;
	if (!message.oversized && message.header.size > have)
		return 0;

	if ((conn->n_fds || conn->fds_error) && conn->fds_at == conn->rx_start) {
		message.n_fds = conn->n_fds;
		message.fds_error = conn->fds_error;
		conn->fds_lent = true;
	}
	if (message.oversized) {
		taken = HEADER;
		conn->rx_skip = message.header.size - HEADER;
	} else {
		taken = message.header.size;
		message.payload = conn->rx + conn->rx_start + HEADER;
		message.length = taken - HEADER;
	}
	conn->rx_start += taken;
	*ret = message;
	return 1;
}

/* Sends once what is unsent, with the descriptors if its first byte is among it. */
static ssize_t send_some(struct vfio_user_conn *conn)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(VFIO_USER_MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov = { .iov_base = (void *)(uintptr_t)conn->tx, .iov_len = conn->tx_left };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (!conn->n_tx_fds)
		return send(conn->fd, conn->tx, conn->tx_left, MSG_NOSIGNAL | MSG_DONTWAIT);

	memset(&control, 0, sizeof(control));
	control.align.cmsg_level = SOL_SOCKET;
	control.align.cmsg_type = SCM_RIGHTS;
	control.align.cmsg_len = CMSG_LEN(conn->n_tx_fds * sizeof(int));
	memcpy(CMSG_DATA(&control.align), conn->tx_fds, conn->n_tx_fds * sizeof(int));
	msg.msg_control = control.buf;
	msg.msg_controllen = CMSG_SPACE(conn->n_tx_fds * sizeof(int));
	return sendmsg(conn->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
}

int vfio_user_conn_flush(struct vfio_user_conn *conn)
{
	while (conn->tx_left) {
		ssize_t n = send_some(conn);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -errno;
		conn->n_tx_fds = 0;
		conn->tx += n;
		conn->tx_left -= (size_t)n;
	}
	return 0;
}

int vfio_user_conn_send(struct vfio_user_conn *conn, const void *message, size_t size,
			const int *fds, size_t n_fds)
{
	conn->tx = message;
	conn->tx_left = size;
	conn->n_tx_fds = n_fds;
	if (n_fds)
		memcpy(conn->tx_fds, fds, n_fds * sizeof(int));
	return vfio_user_conn_flush(conn);
}
