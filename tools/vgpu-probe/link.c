/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "base/cleanup.h"

enum {
	HEADER = sizeof(struct vfio_user_header),
	KERNEL_MAX_FDS = 253, /* SCM_MAX_FD */
};

void message_done(struct message *message)
{
	close_fds(message->fds, message->n_fds);
	message->n_fds = 0;
}

int link_fail(struct link *link, int r, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(link->error, sizeof(link->error), format, args);
	va_end(args);
	return r;
}

uint64_t link_deadline(const struct link *link)
{
	return clock_ns() + (uint64_t)link->timeout_ms * 1000000;
}

int link_init(struct link *link, int fd, unsigned int timeout_ms)
{
	*link = (struct link){
		.fd = fd,
		.twin_fd = -1,
		.timeout_ms = timeout_ms,
		.next_id = 0x100,
		.rx = malloc(LINK_MAX_MESSAGE),
	};
	if (link->rx)
		return 0;
	link_close(link);
	return -ENOMEM;
}

void link_close(struct link *link)
{
	link->fd = close_fd(link->fd);
	link->twin_fd = close_fd(link->twin_fd);
	free(link->rx);
	link->rx = NULL;
}

/* A full queue of a listening socket is EAGAIN: others are before us. */
static int connect_until(int fd, const struct sockaddr_un *address, uint64_t deadline_ns)
{
	const struct timespec pause = { .tv_nsec = 2000000 };

	while (connect(fd, (const struct sockaddr *)address, sizeof(*address)) < 0) {
		if (errno != EAGAIN && errno != EINTR)
			return -errno;
		if (clock_ns() >= deadline_ns)
			return PROBE_TIMEOUT;
		nanosleep(&pause, NULL);
	}
	return 0;
}

int link_open(struct link *link, const char *path, unsigned int timeout_ms)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	uint64_t deadline_ns = clock_ns() + (uint64_t)timeout_ms * 1000000;
	_cleanup_close_ int fd = -1;
	int r;

	if (strlen(path) >= sizeof(address.sun_path))
		return -ENAMETOOLONG;
	memcpy(address.sun_path, path, strlen(path) + 1);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	r = connect_until(fd, &address, deadline_ns);
	return r < 0 ? r : link_init(link, STEAL_FD(fd), timeout_ms);
}

/* Waits for events on one or both sockets. 1, 0 at the deadline, or a negative errno. */
static int wait_for(const int fds[2], short events, uint64_t deadline_ns, bool ret_ready[2])
{
	struct pollfd pfds[2] = { { .fd = fds[0], .events = events },
				  { .fd = fds[1], .events = events } };
	int r;

	do {
		uint64_t now = clock_ns();
		uint64_t ms = now < deadline_ns ? (deadline_ns - now + 999999) / 1000000 : 0;

		r = poll(pfds, 2, ms < 3600000 ? (int)ms : 3600000);
	} while (r < 0 && errno == EINTR);
	for (int i = 0; i < 2; i++)
		ret_ready[i] = r > 0 && pfds[i].revents;
	return r < 0 ? -errno : r > 0;
}

static int wait_for_one(int fd, short events, uint64_t deadline_ns)
{
	bool ready[2];

	return wait_for((const int[2]){ fd, -1 }, events, deadline_ns, ready);
}

static int send_bytes(struct link *link, int fd, const void *bytes, size_t length, const int *fds,
		      size_t n_fds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(KERNEL_MAX_FDS * sizeof(int))];
	} control = { 0 };
	uint64_t deadline_ns = link_deadline(link);
	const uint8_t *at = bytes;

	while (length) {
		struct iovec iov = { (void *)(uintptr_t)at, length };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t n;

		if (n_fds) {
			control.align.cmsg_level = SOL_SOCKET;
			control.align.cmsg_type = SCM_RIGHTS;
			control.align.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
			memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
			msg.msg_control = control.buf;
			msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		}
		n = sendmsg(fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN) {
			if (wait_for_one(fd, POLLOUT, deadline_ns) <= 0)
				return link_fail(link, PROBE_TIMEOUT,
						 "the server did not read what was sent");
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return link_fail(link, PROBE_CLOSED,
					 "the server closed the connection (%s)", strerror(errno));
		n_fds = 0;
		at += n;
		length -= (size_t)n;
	}
	return 0;
}

int link_send(struct link *link, const void *bytes, size_t length, const int *fds, size_t n_fds)
{
	return send_bytes(link, link->fd, bytes, length, fds, n_fds);
}

int link_send_reply(struct link *link, const void *bytes, size_t length)
{
	return send_bytes(link, link->twin_fd >= 0 ? link->twin_fd : link->fd, bytes, length, NULL,
			  0);
}

int link_send_message(struct link *link, uint16_t command, uint32_t flags, const void *payload,
		      size_t length, const int *fds, size_t n_fds, uint16_t *ret_id)
{
	struct vfio_user_header header = {
		.id = link->next_id++,
		.command = command,
		.size = (uint32_t)(HEADER + length),
		.flags = flags,
	};
	_cleanup_free_ uint8_t *bytes = malloc(HEADER + length);

	if (!bytes)
		return -ENOMEM;
	memcpy(bytes, &header, HEADER);
	if (length)
		memcpy(bytes + HEADER, payload, length);
	if (ret_id)
		*ret_id = header.id;
	return link_send(link, bytes, header.size, fds, n_fds);
}

/* Keeps as many descriptors as a message may have; more are closed and are an error. */
static int take_fds(struct link *link, struct msghdr *msg, struct message *message)
{
	int r = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		int fds[KERNEL_MAX_FDS];

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		if (n > KERNEL_MAX_FDS)
			n = KERNEL_MAX_FDS;
		memcpy(fds, CMSG_DATA(c), n * sizeof(int));
		if (n > PROBE_MAX_FDS - message->n_fds) {
			r = link_fail(link, PROBE_PROTOCOL, "a message came with %zu descriptors",
				      message->n_fds + n);
			close_fds(fds, n);
			continue;
		}
		memcpy(message->fds + message->n_fds, fds, n * sizeof(int));
		message->n_fds += n;
	}
	if (r == 0 && msg->msg_flags & MSG_CTRUNC)
		r = link_fail(link, PROBE_PROTOCOL,
			      "not all descriptors of a message could be taken");
	return r;
}

/* Once there is a message's first byte the rest must come, too: what is what they call it. */
static int receive_bytes(struct link *link, int fd, uint8_t *to, size_t length,
			 uint64_t deadline_ns, const char *what, struct message *message)
{
	size_t done = 0;

	while (done < length) {
		union {
			struct cmsghdr align;
			char buf[CMSG_SPACE(KERNEL_MAX_FDS * sizeof(int))];
		} control;
		struct iovec iov = { to + done, length - done };
		struct msghdr msg = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.buf,
			.msg_controllen = sizeof(control.buf),
		};
		ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
		int r;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN) {
			if (clock_ns() < deadline_ns && wait_for_one(fd, POLLIN, deadline_ns) > 0)
				continue;
			return link_fail(link, PROBE_TIMEOUT,
					 "of %s only %zu bytes of %zu came within %u ms", what,
					 done, length, link->timeout_ms);
		}
		if (n <= 0)
			return link_fail(link, PROBE_CLOSED,
					 done ? "the server closed the connection inside of %s"
					      : "the server closed the connection instead of %s",
					 what);
		done += (size_t)n;
		r = take_fds(link, &msg, message);
		if (r < 0)
			return r;
	}
	return 0;
}

static int receive_from(struct link *link, int fd, uint64_t deadline_ns, struct message *message)
{
	struct vfio_user_header *header = &message->header;
	int r = receive_bytes(link, fd, (uint8_t *)header, HEADER, deadline_ns,
			      "the header of a message", message);

	if (r < 0)
		return r;
	if (header->size < HEADER || header->size > LINK_MAX_MESSAGE)
		return link_fail(link, PROBE_PROTOCOL,
				 "a message says that it has %u bytes (command %u, flags %#x)",
				 header->size, header->command, header->flags);
	message->payload = link->rx;
	message->length = header->size - HEADER;
	return receive_bytes(link, fd, link->rx, message->length, deadline_ns,
			     "the rest of a message", message);
}

int link_receive(struct link *link, uint64_t deadline_ns, struct message *ret)
{
	struct message message = { 0 };
	bool ready[2];
	int r = wait_for((const int[2]){ link->fd, link->twin_fd }, POLLIN, deadline_ns, ready);

	if (r <= 0)
		return link_fail(link, PROBE_TIMEOUT, "the server said nothing for %u ms",
				 link->timeout_ms);
	message.on_twin = !ready[0];
	r = receive_from(link, ready[0] ? link->fd : link->twin_fd, deadline_ns, &message);
	if (r < 0) {
		message_done(&message);
		return r;
	}
	*ret = message;
	return 0;
}

/* A command of the server's. */
static int handle_command(struct link *link, struct message *message)
{
	struct vfio_user_header header = message->header;
	int r;

	link->commands++;
	if (link->on_command) {
		r = link->on_command(link->opaque, link, message);
	} else {
		header.size = HEADER;
		header.flags = VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR;
		header.error = ENOTSUP;
		r = link_send_reply(link, &header, HEADER);
	}
	message_done(message);
	return r;
}

/* An error reply, checked: "If an error occurs, the reply message must only include the header." */
static int take_error(struct link *link, struct message *message)
{
	const struct vfio_user_header *header = &message->header;
	size_t n_fds = message->n_fds;

	message_done(message);
	if (message->length || n_fds)
		return link_fail(link, PROBE_PROTOCOL,
				 "an error reply to command %u has %zu bytes of payload and %zu "
				 "descriptors, and must have none",
				 header->command, message->length, n_fds);
	return header->error && header->error < 4096 ? -(int)header->error : PROBE_REFUSED;
}

static int check_reply(struct link *link, const struct message *message, uint16_t id,
		       uint16_t command, size_t max_fds)
{
	const struct vfio_user_header *header = &message->header;

	if ((header->flags & VFIO_USER_TYPE_MASK) != VFIO_USER_TYPE_REPLY)
		return link_fail(link, PROBE_PROTOCOL, "a message of an unknown type (flags %#x)",
				 header->flags);
	if (header->id != id || header->command != command)
		return link_fail(link, PROBE_PROTOCOL,
				 "a reply to command %u with ID %u came instead of that to command "
				 "%u with ID %u",
				 header->command, header->id, command, id);
	if (!(header->flags & VFIO_USER_ERROR) && message->n_fds > max_fds)
		return link_fail(link, PROBE_PROTOCOL,
				 "a reply to command %u has %zu descriptors, and at most %zu were "
				 "expected",
				 command, message->n_fds, max_fds);
	return 0;
}

int link_receive_reply(struct link *link, uint16_t id, uint16_t command, size_t max_fds,
		       struct message *ret)
{
	uint64_t deadline_ns = link_deadline(link);
	struct message message = { 0 };
	int r;

	for (;;) {
		if (clock_ns() >= deadline_ns)
			return link_fail(link, PROBE_TIMEOUT, "no reply to command %u within %u ms",
					 command, link->timeout_ms);
		r = link_receive(link, deadline_ns, &message);
		if (r < 0)
			return r;
		if ((message.header.flags & VFIO_USER_TYPE_MASK) != VFIO_USER_TYPE_COMMAND)
			break;
		r = handle_command(link, &message);
		if (r < 0)
			return r;
	}
	r = check_reply(link, &message, id, command, max_fds);
	if (r < 0) {
		message_done(&message);
		return r;
	}
	if (message.header.flags & VFIO_USER_ERROR)
		return take_error(link, &message);
	if (ret)
		*ret = message;
	else
		message_done(&message);
	return 0;
}

int link_call(struct link *link, uint16_t command, const void *payload, size_t length,
	      const int *fds, size_t n_fds, size_t max_reply_fds, struct message *ret)
{
	uint16_t id;
	int r = link_send_message(link, command, 0, payload, length, fds, n_fds, &id);

	return r < 0 ? r : link_receive_reply(link, id, command, max_reply_fds, ret);
}

int link_serve(struct link *link, uint64_t deadline_ns, bool (*done)(void *opaque), void *opaque)
{
	while (!done || !done(opaque)) {
		struct message message = { 0 };
		int r;

		if (clock_ns() >= deadline_ns)
			return done ? PROBE_TIMEOUT : 0;
		r = link_receive(link, deadline_ns, &message);
		if (r == PROBE_TIMEOUT && !done)
			return 0;
		if (r < 0)
			return r;
		if ((message.header.flags & VFIO_USER_TYPE_MASK) != VFIO_USER_TYPE_COMMAND) {
			message_done(&message);
			return link_fail(link, PROBE_PROTOCOL,
					 "a reply to command %u came that nothing asked for",
					 message.header.command);
		}
		r = handle_command(link, &message);
		if (r < 0)
			return r;
	}
	return 0;
}

bool link_is_quiet(struct link *link, unsigned int ms)
{
	bool ready[2];

	return wait_for((const int[2]){ link->fd, link->twin_fd }, POLLIN,
			clock_ns() + (uint64_t)ms * 1000000, ready) == 0;
}

bool link_is_closed(struct link *link)
{
	uint64_t deadline_ns = link_deadline(link);

	while (clock_ns() < deadline_ns) {
		struct message rest = { 0 };
		uint8_t byte;
		int r = receive_bytes(link, link->fd, &byte, 1, deadline_ns, "anything", &rest);

		message_done(&rest);
		if (r == PROBE_CLOSED)
			return true;
		if (r < 0)
			return false;
	}
	return false;
}
