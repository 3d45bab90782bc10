/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a trapped access costs: a 4-byte read of a bochs display's DISPI
 * register through the vfio-user door, beside a floor that answers the same
 * bytes with one receive and one send and does nothing else. Server and client
 * are two processes. Prints JSON; the ratios mean something, the times belong
 * to the machine.
 */
#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "device/model.h"
#include "transport/spin.h"
#include "transport/vfio_user_server.h"
#include "transport/vfio_user_wire.h"

enum { ROUNDS = 7, READS = 4000, HEADER = sizeof(struct vfio_user_header) };

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void disconnected(void *opaque, int reason)
{
	_exit(0);
}

static void was_reset(void *opaque)
{
}

static const struct vfio_user_server_events events = { disconnected, was_reset };

static void serve_vgpu(int fd, bool polls)
{
	struct device_options options = { 0 };
	struct vfio_user_server *server;
	struct device *device;
	char *error = NULL;

	if (device_create("bochs-display", "bench", &options, &device, &error) < 0 ||
	    vfio_user_server_new(&device->vfio, polls ? SPIN_MAX_US : 0, false, &events, NULL,
				 &server) < 0 ||
	    vfio_user_server_connect(server, fd) < 0)
		exit(1);
	for (;;)
		pause();
}

/* The floor: the same bytes, one receive, one send. */
static void serve_floor(int fd, bool polls)
{
	uint8_t buf[256];
	struct vfio_user_header header;
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	for (;;) {
		ssize_t n = recv(fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN) {
			if (!polls)
				poll(&pfd, 1, -1);
			continue;
		}
		if (n <= 0)
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

static void receive(int fd, void *buf, size_t size, bool polls)
{
	ssize_t n;

	do
		n = recv(fd, buf, size, polls ? MSG_DONTWAIT : 0);
	while (n < 0 && (errno == EAGAIN || errno == EINTR));
	if (n <= 0)
		die("recv");
}

static void negotiate(int fd)
{
	struct {
		struct vfio_user_header header;
		struct vfio_user_version version;
	} request = {
		.header = { .command = VFIO_USER_VERSION, .size = sizeof(request) },
	};
	uint8_t reply[4096];

	if (send(fd, &request, sizeof(request), 0) < 0)
		die("send");
	receive(fd, reply, sizeof(reply), false);
}

static void read_once(int fd, bool polls)
{
	struct {
		struct vfio_user_header header;
		struct vfio_user_region_access access;
	} request = {
		.header = { .command = VFIO_USER_REGION_READ, .size = sizeof(request) },
		.access = { .offset = 0x500, .region = VFIO_PCI_BAR2_REGION_INDEX, .count = 4 },
	};
	uint8_t reply[256];

	if (send(fd, &request, sizeof(request), 0) < 0)
		die("send");
	receive(fd, reply, sizeof(reply), polls);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

/* The median time of a read, in nanoseconds. */
static uint64_t measure(void (*serve)(int fd, bool polls), bool polls, int server_cpu)
{
	static uint64_t times[READS];
	int fds[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
		die("socketpair");
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid == 0) {
		close(fds[0]);
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		pin(server_cpu);
		serve(fds[1], polls);
		exit(0);
	}
	close(fds[1]);
	negotiate(fds[0]);
	for (int i = 0; i < READS; i++) {
		uint64_t start = clock_ns();

		read_once(fds[0], polls);
		times[i] = clock_ns() - start;
	}
	close(fds[0]);
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	qsort(times, READS, sizeof(times[0]), by_value);
	return times[READS / 2];
}

static uint64_t median(uint64_t *values, int n)
{
	qsort(values, (size_t)n, sizeof(*values), by_value);
	return values[n / 2];
}

/* Rounds of both, in turn, so that what else the machine does meets both. */
static void compare(const char *name, bool polls, int server_cpu, const char *end)
{
	uint64_t vgpu[ROUNDS], floor[ROUNDS], ratio[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		floor[i] = measure(serve_floor, polls, server_cpu);
		vgpu[i] = measure(serve_vgpu, polls, server_cpu);
		ratio[i] = floor[i] ? vgpu[i] * 1000 / floor[i] : 0;
	}
	printf("  {\"name\": \"%s\", \"p50_ns\": %llu, \"floor_ns\": %llu, \"ratio\": %.2f}%s\n",
	       name, (unsigned long long)median(vgpu, ROUNDS),
	       (unsigned long long)median(floor, ROUNDS), (double)median(ratio, ROUNDS) / 1000,
	       end);
}

int main(void)
{
	log_setup("bench", LOG_LEVEL_ERROR);
	signal(SIGPIPE, SIG_IGN);
	pin(0);
	printf("{\"benchmark\": \"trapped_read\", \"bytes\": 4, \"cases\": [\n");
	if (sysconf(_SC_NPROCESSORS_ONLN) > 1) {
		compare("polling, two CPUs", true, 1, ",");
		compare("blocking, two CPUs", false, 1, ",");
	}
	compare("blocking, one CPU", false, 0, "");
	printf("]}\n");
	return 0;
}
