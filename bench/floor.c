/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "floor.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "transport/vfio_user_wire.h"

enum { HEADER = sizeof(struct vfio_user_header) };

/*
 * One receive. It has room for descriptors, since any message may bring some and
 * a plain recv() would lose them: that is 6 % of a round trip, and no server of
 * this protocol can do without.
 */
static ssize_t receive_now(int fd, void *buf, size_t size, int flags)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(VFIO_USER_MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov = { buf, size };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};

	return recvmsg(fd, &msg, MSG_CMSG_CLOEXEC | flags);
}

/* Awake for a while, then asleep: the receive that returns bytes, whichever it is. */
static ssize_t receive(int fd, void *buf, size_t size, uint64_t poll_ns)
{
	uint64_t start = poll_ns ? clock_ns() : 0;
	ssize_t n;

	while (poll_ns) {
		n = receive_now(fd, buf, size, MSG_DONTWAIT);
		if (n >= 0 || errno != EAGAIN)
			return n;
		if (clock_ns() - start >= poll_ns)
			break;
	}
	return receive_now(fd, buf, size, 0);
}

static void serve(int fd, uint64_t poll_ns)
{
	uint8_t buf[8192] = { 0 };
	struct vfio_user_header header;

	for (;;) {
		if (receive(fd, buf, sizeof(buf), poll_ns) < HEADER)
			_exit(0);
		memcpy(&header, buf, HEADER);
		header.flags = VFIO_USER_TYPE_REPLY;
		if (header.command == VFIO_USER_REGION_READ) {
			header.size += 4;
			memset(buf + HEADER + sizeof(struct vfio_user_region_access), 0, 4);
		}
		memcpy(buf, &header, HEADER);
		if (send(fd, buf, header.size, MSG_NOSIGNAL) < 0)
			_exit(0);
	}
}

void floor_start(struct floor *floor, unsigned int poll_us, int cpu)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		bench_die("socketpair");
	floor->pid = fork();
	if (floor->pid < 0)
		bench_die("fork");
	if (floor->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		close(fds[0]);
		bench_pin(cpu);
		serve(fds[1], poll_us * 1000ULL);
	}
	close(fds[1]);
	floor->fd = fds[0];
}

void floor_stop(struct floor *floor)
{
	kill(floor->pid, SIGKILL);
	waitpid(floor->pid, NULL, 0);
}
