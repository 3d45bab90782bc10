/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "responder.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "transport/vfio_user_wire.h"

enum { ROOM = 64 << 10 };

struct responder {
	pthread_t thread;
	int fd;
	bool polls;
	uint8_t rx[ROOM];
};

/* Answers one message that is whole in rx. False if the other end is gone. */
static bool answer(struct responder *responder, const uint8_t *message)
{
	uint8_t reply[sizeof(struct vfio_user_header) + sizeof(struct vfio_user_region_access) +
		      64];
	struct vfio_user_header header;
	struct vfio_user_region_access access = { 0 };

	memcpy(&header, message, sizeof(header));
	if (header.flags & VFIO_USER_NO_REPLY)
		return true;
	memcpy(&access, message + sizeof(header), sizeof(access));
	header.flags = VFIO_USER_TYPE_REPLY;
	header.size = sizeof(header) + sizeof(access);
	if (header.command == VFIO_USER_REGION_READ)
		header.size += access.count <= 64 ? access.count : 64;
	memset(reply, 0, sizeof(reply));
	memcpy(reply, &header, sizeof(header));
	memcpy(reply + sizeof(header), &access, sizeof(access));
	return send(responder->fd, reply, header.size, MSG_NOSIGNAL) == (ssize_t)header.size;
}

/* Everything that is whole; what is not is moved to the front. */
static bool answer_all(struct responder *responder, size_t *have)
{
	size_t at = 0;

	while (*have - at >= sizeof(struct vfio_user_header)) {
		struct vfio_user_header header;

		memcpy(&header, responder->rx + at, sizeof(header));
		if (header.size > *have - at)
			break;
		if (!answer(responder, responder->rx + at))
			return false;
		at += header.size;
	}
	*have -= at;
	memmove(responder->rx, responder->rx + at, *have);
	return true;
}

static void *respond(void *opaque)
{
	struct responder *responder = opaque;
	size_t have = 0;

	for (;;) {
		ssize_t n = recv(responder->fd, responder->rx + have, ROOM - have,
				 responder->polls ? MSG_DONTWAIT : 0);

		if (n < 0 && errno == EAGAIN) {
			sched_yield();
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return NULL;
		have += (size_t)n;
		if (!answer_all(responder, &have))
			return NULL;
	}
}

int responder_start(bool polls, int *ret_fd, struct responder **ret)
{
	struct responder *responder = calloc(1, sizeof(*responder));
	int fds[2], r;

	if (!responder)
		return -ENOMEM;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0) {
		r = -errno;
		free(responder);
		return r;
	}
	responder->fd = fds[1];
	responder->polls = polls;
	r = -pthread_create(&responder->thread, NULL, respond, responder);
	if (r < 0) {
		close_fds(fds, 2);
		free(responder);
		return r;
	}
	*ret_fd = fds[0];
	*ret = responder;
	return 0;
}

void responder_join(struct responder *responder)
{
	pthread_join(responder->thread, NULL);
	close_fd(responder->fd);
	free(responder);
}
