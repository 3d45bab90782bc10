/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "control/wire.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "base/syscalls.h"

SYSCALLS(SYSCALL(recvmsg), SYSCALL_IF(sendmsg, ARG_IS(2, MSG_NOSIGNAL | MSG_DONTWAIT)));

enum {
	INPUT_FIRST = 4096, /* most messages are shorter */
	SCM_MAX_FD = 253, /* the kernel's bound on descriptors with one message */
};

struct wire_message {
	struct wire_message *next;
	size_t size, sent; /* bytes of text */
	int fd;
	char *text;
};

void wire_init(struct wire *wire, int fd, size_t max_message, bool want_fds)
{
	*wire = (struct wire){ .fd = fd, .max_message = max_message, .want_fds = want_fds };
}

static void message_free(struct wire_message *message)
{
	close_fd(message->fd);
	free(message->text);
	free(message);
}

void wire_done(struct wire *wire)
{
	while (wire->out) {
		struct wire_message *message = wire->out;

		wire->out = message->next;
		message_free(message);
	}
	close_fds(wire->fds, wire->n_fds);
	free(wire->in);
	close_fd(wire->fd);
	wire_init(wire, -1, 0, false);
}

static void compact(struct wire *wire)
{
	if (!wire->in_taken)
		return;
	memmove(wire->in, wire->in + wire->in_taken, wire->in_used - wire->in_taken);
	wire->in_used -= wire->in_taken;
	wire->in_scanned -= wire->in_taken;
	wire->in_taken = 0;
}

/* Makes room for at least one byte behind the beginning of a message. */
static int make_room(struct wire *wire)
{
	size_t wanted;
	char *grown;

	compact(wire);
	if (wire->in_used == wire->max_message)
		return -EMSGSIZE;
	if (wire->in_used < wire->in_allocated)
		return 0;
	wanted = wire->in_allocated ? wire->in_allocated * 2 : INPUT_FIRST;
	if (wanted > wire->max_message)
		wanted = wire->max_message;
	grown = realloc(wire->in, wanted);
	if (!grown)
		return -ENOMEM;
	wire->in = grown;
	wire->in_allocated = wanted;
	return 0;
}

/* Keeps what fits of the descriptors that came with a message, closes the rest. */
static void keep_fds(struct wire *wire, struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (wire->n_fds < WIRE_MAX_FDS)
				wire->fds[wire->n_fds++] = fd;
			else
				close_fd(fd);
		}
	}
}

int wire_receive(struct wire *wire)
{
	_Alignas(struct cmsghdr) char control[CMSG_SPACE(SCM_MAX_FD * sizeof(int))];
	struct iovec iov;
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;
	int r;

	r = make_room(wire);
	if (r < 0)
		return r;
	iov = (struct iovec){ wire->in + wire->in_used, wire->in_allocated - wire->in_used };
	/* Without a buffer for them the kernel itself releases what descriptors come. */
	if (wire->want_fds) {
		msg.msg_control = control;
		msg.msg_controllen = sizeof(control);
	}
	do
		n = recvmsg(wire->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (wire->want_fds)
		keep_fds(wire, &msg);
	wire->in_used += (size_t)n;
	return (int)n;
}

/*
 * jansson recurses for each level of nesting; its own bound of 2048 is more
 * stack than a message deserves. Strings are skipped, all else is its business.
 */
static bool nests_too_deep(const char *text)
{
	unsigned int depth = 0;
	bool quoted = false;

	for (const char *c = text; *c; c++) {
		if (quoted) {
			if (*c == '\\' && c[1])
				c++;
			else if (*c == '"')
				quoted = false;
			continue;
		}
		if (*c == '"')
			quoted = true;
		else if ((*c == '{' || *c == '[') && ++depth > WIRE_MAX_DEPTH)
			return true;
		else if ((*c == '}' || *c == ']') && depth)
			depth--;
	}
	return false;
}

int wire_take(struct wire *wire, json_t **ret_message)
{
	const char *text;
	json_t *message;
	char *end;

	if (wire->in_scanned == wire->in_used)
		return 0;
	text = wire->in + wire->in_taken;
	end = memchr(wire->in + wire->in_scanned, '\0', wire->in_used - wire->in_scanned);
	wire->in_scanned = end ? (size_t)(end - wire->in) + 1 : wire->in_used;
	if (!end)
		return 0;
	wire->in_taken = wire->in_scanned;

	if (nests_too_deep(text))
		return -EBADMSG;
	message = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
	if (!json_is_object(message)) {
		json_decref(message);
		return -EBADMSG;
	}
	*ret_message = message;
	return 1;
}

int wire_take_fd(struct wire *wire)
{
	int fd = wire->n_fds ? STEAL_FD(wire->fds[0]) : -1;

	close_fds(wire->fds, wire->n_fds);
	wire->n_fds = 0;
	return fd;
}

int wire_queue(struct wire *wire, json_t *message, int fd)
{
	struct wire_message *queued = calloc(1, sizeof(*queued));

	if (!queued) {
		json_decref(message);
		close_fd(fd);
		return -ENOMEM;
	}
	queued->fd = fd;
	queued->text = message ? json_dumps(message, JSON_COMPACT) : NULL;
	json_decref(message);
	if (!queued->text) {
		message_free(queued);
		return -EINVAL;
	}
	queued->size = strlen(queued->text) + 1;
	if (wire->out_last)
		wire->out_last->next = queued;
	else
		wire->out = queued;
	wire->out_last = queued;
	wire->out_bytes += queued->size;
	return 0;
}

/* Sends a part of one message; its descriptor goes with its first byte. */
static int send_some(struct wire *wire, struct wire_message *message)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct iovec iov = { message->text + message->sent, message->size - message->sent };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (message->fd >= 0) {
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(&control.header), &message->fd, sizeof(int));
	}
	do
		n = sendmsg(wire->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	message->fd = close_fd(message->fd);
	message->sent += (size_t)n;
	wire->out_bytes -= (size_t)n;
	return 0;
}

int wire_flush(struct wire *wire)
{
	while (wire->out) {
		struct wire_message *message = wire->out;
		int r = send_some(wire, message);

		if (r < 0)
			return r;
		if (message->sent < message->size)
			continue;
		wire->out = message->next;
		if (!wire->out)
			wire->out_last = NULL;
		message_free(message);
	}
	return 0;
}
