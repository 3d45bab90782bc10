/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Trapped accesses: there and back, polled and blocking, and posted. */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "base/cleanup.h"
#include "bench.h"
#include "responder.h"

enum {
	HEADER = sizeof(struct vfio_user_header),
	ACCESS = sizeof(struct vfio_user_region_access),
	REQUESTS = 4000, /* of a round */
	POSTED = 20000,
	SPINS = 256, /* between looks at the clock */
};

/* An end of a connection, the server's or the floor's. */
struct end {
	int fd;
	bool polls;
	unsigned int timeout_ms;
	uint16_t id;
};

static int timeouts(struct end *end)
{
	struct timeval time = { end->timeout_ms / 1000, (end->timeout_ms % 1000) * 1000L };

	if (fcntl(end->fd, F_SETFL, 0) < 0 ||
	    setsockopt(end->fd, SOL_SOCKET, SO_RCVTIMEO, &time, sizeof(time)) < 0 ||
	    setsockopt(end->fd, SOL_SOCKET, SO_SNDTIMEO, &time, sizeof(time)) < 0)
		return -errno;
	return 0;
}

static size_t make(struct end *end, const struct bench_run *run, bool write, uint32_t flags,
		   uint8_t *ret)
{
	size_t data = write ? run->reg.count : 0;
	struct vfio_user_header header = {
		.id = ++end->id,
		.command = write ? VFIO_USER_REGION_WRITE : VFIO_USER_REGION_READ,
		.size = (uint32_t)(HEADER + ACCESS + data),
		.flags = flags,
	};

	memcpy(ret, &header, HEADER);
	memcpy(ret + HEADER, &run->reg, ACCESS);
	memset(ret + HEADER + ACCESS, 0, data);
	return header.size;
}

/* One receive, if the server makes one send of it. */
static int receive(struct end *end, uint16_t command)
{
	uint64_t deadline_ns = clock_ns() + (uint64_t)end->timeout_ms * 1000000;
	struct vfio_user_header header;
	uint8_t reply[256];
	size_t have = 0;

	for (unsigned int spins = 0;; spins++) {
		ssize_t n = recv(end->fd, reply + have, sizeof(reply) - have,
				 end->polls ? MSG_DONTWAIT : 0);

		if (n < 0 && errno == EAGAIN) {
			if (!end->polls || (spins % SPINS == 0 && clock_ns() >= deadline_ns))
				return PROBE_TIMEOUT;
			sched_yield();
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return PROBE_CLOSED;
		have += (size_t)n;
		if (have < HEADER)
			continue;
		memcpy(&header, reply, HEADER);
		if (header.size > sizeof(reply) || header.id != end->id ||
		    header.command != command || header.flags != VFIO_USER_TYPE_REPLY)
			return PROBE_PROTOCOL;
		if (have == header.size)
			return 0;
		if (have > header.size)
			return PROBE_PROTOCOL;
	}
}

static int exchange(struct end *end, const struct bench_run *run, bool write)
{
	uint8_t request[HEADER + ACCESS + 8];
	size_t length = make(end, run, write, 0, request);

	if (send(end->fd, request, length, MSG_NOSIGNAL) != (ssize_t)length)
		return errno == EAGAIN ? PROBE_TIMEOUT : PROBE_CLOSED;
	return receive(end, write ? VFIO_USER_REGION_WRITE : VFIO_USER_REGION_READ);
}

static int latency(struct end *end, const struct bench_run *run, const struct bench *bench,
		   uint64_t *ret)
{
	static uint64_t times[REQUESTS];

	for (int i = 0; i < REQUESTS; i++) {
		uint64_t start = clock_ns();
		int r = exchange(end, run, bench->write);

		if (r < 0)
			return r;
		times[i] = clock_ns() - start;
	}
	*ret = bench_percentile(times, REQUESTS, 50);
	return 0;
}

/* Many without a reply, then one with: what each of them took. */
static int posted(struct end *end, const struct bench_run *run, const struct bench *bench,
		  uint64_t *ret)
{
	uint8_t request[HEADER + ACCESS + 8];
	uint64_t start = clock_ns();
	int r;

	for (int i = 0; i < POSTED; i++) {
		size_t length = make(end, run, true, VFIO_USER_NO_REPLY, request);

		if (send(end->fd, request, length, MSG_NOSIGNAL) != (ssize_t)length)
			return errno == EAGAIN ? PROBE_TIMEOUT : PROBE_CLOSED;
	}
	r = exchange(end, run, false);
	*ret = (clock_ns() - start) / POSTED;
	return r;
}

typedef int (*round_fn)(struct end *end, const struct bench_run *run, const struct bench *bench,
			uint64_t *ret);

static const char *what_broke(int r)
{
	return r == PROBE_TIMEOUT  ? "no answer in time"
	       : r == PROBE_CLOSED ? "the server closed the connection"
				   : "a reply that is none, or an error";
}

static int on_device(struct bench_run *run, const struct bench *bench, round_fn fn, uint64_t *ret)
{
	struct link *link = &run->door->link;
	struct end end = { link->fd, bench->polls, run->timeout_ms, 0 };
	int r = timeouts(&end);

	if (r == 0)
		r = fn(&end, run, bench, ret);
	fcntl(link->fd, F_SETFL, O_NONBLOCK);
	return probe_is_broken(r) ? link_fail(link, r, "%s", what_broke(r)) : r;
}

static int on_floor(struct bench_run *run, const struct bench *bench, round_fn fn, uint64_t *ret)
{
	struct end end = { -1, bench->polls, run->timeout_ms, 0 };
	struct responder *responder;
	int r = responder_start(bench->polls, &end.fd, &responder);

	if (r < 0)
		return r;
	r = timeouts(&end);
	if (r == 0)
		r = fn(&end, run, bench, ret);
	close_fd(end.fd);
	responder_join(responder);
	return probe_is_broken(r) ? -EIO : r;
}

static int access_run(struct bench_run *run, const struct bench *bench, uint64_t *ret)
{
	return on_device(run, bench, latency, ret);
}

static int access_floor(struct bench_run *run, const struct bench *bench, uint64_t *ret)
{
	return on_floor(run, bench, latency, ret);
}

static int posted_run(struct bench_run *run, const struct bench *bench, uint64_t *ret)
{
	return on_device(run, bench, posted, ret);
}

static int posted_floor(struct bench_run *run, const struct bench *bench, uint64_t *ret)
{
	return on_floor(run, bench, posted, ret);
}

const struct bench bench_accesses[] = {
	{ "read-polled", "a read; we poll, and the floor does", .run = access_run,
	  .floor = access_floor, .polls = true },
	{ "read-blocking", "a read; we sleep, and the floor does", .run = access_run,
	  .floor = access_floor },
	{ "write-polled", "a write; we poll, and the floor does", .run = access_run,
	  .floor = access_floor, .polls = true, .write = true },
	{ "write-blocking", "a write; we sleep, and the floor does", .run = access_run,
	  .floor = access_floor, .write = true },
	{ "write-posted", "a write without a reply, one of 20000", .run = posted_run,
	  .floor = posted_floor, .polls = true, .write = true },
	{ 0 },
};
