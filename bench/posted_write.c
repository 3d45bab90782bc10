/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a posted write costs: many writes of 4 bytes without answers, one
 * message each or CLIENT_MULTI of them in one, and then one read, which is
 * answered when all of them have been carried out. The floor is the least that
 * a write with an answer could cost: a header there, a header back, both sides
 * polling.
 */
#include <stdlib.h>

#include "bench.h"
#include "client.h"
#include "daemon.h"
#include "device/selftest_regs.h"
#include "floor.h"

enum {
	POLL_US = 1000,
	MAX_BATCHES = 50,
	BATCH = 200, /* as many as the socket's buffer takes: the client is never made to wait */
};

struct sides {
	struct client ours, floor;
	uint32_t region;
	uint64_t offset;
	unsigned int batches; /* a round */
};

/* The median of a round's batches, ns a write. */
static double posted(struct sides *sides, void (*post)(struct sides *sides))
{
	double times[MAX_BATCHES];

	client_warm_up(&sides->ours, sides->region, sides->offset);
	for (unsigned int i = 0; i < sides->batches; i++) {
		uint64_t start = clock_ns();

		post(sides);
		client_read32(&sides->ours, sides->region, sides->offset);
		times[i] = (double)(clock_ns() - start) / BATCH;
	}
	return bench_percentile(times, sides->batches, 50);
}

static void post_each(struct sides *sides)
{
	for (unsigned int i = 0; i < BATCH; i++)
		client_post32(&sides->ours, sides->region, sides->offset, i);
}

static void post_together(struct sides *sides)
{
	static_assert(BATCH % CLIENT_MULTI == 0, "whole messages");
	for (unsigned int i = 0; i < BATCH; i += CLIENT_MULTI)
		client_post_multi(&sides->ours, sides->region, sides->offset, i);
}

static double single(void *opaque)
{
	return posted(opaque, post_each);
}

static double multi(void *opaque)
{
	return posted(opaque, post_together);
}

static double ping_pong(void *opaque)
{
	struct sides *sides = opaque;
	double times[MAX_BATCHES * 10];
	unsigned int n = sides->batches * 10;

	client_warm_up(&sides->floor, sides->region, sides->offset);
	for (unsigned int i = 0; i < n; i++) {
		uint64_t start = clock_ns();

		client_ping(&sides->floor);
		times[i] = (double)(clock_ns() - start);
	}
	return bench_percentile(times, n, 50);
}

static void report(struct sides *sides, const char *name, double (*ours)(void *opaque))
{
	struct bench_pair pair = bench_compare(bench_count(41, 2), ours, ping_pong, sides);

	bench_report(&(struct bench_figure){
		.name = name,
		.unit = "ns",
		.measured = pair.ours,
		.floor_is = "polled ping-pong of 16 bytes",
		.floor = pair.floor,
		.ratio = pair.ratio,
		.bar_is = BENCH_RATIO_AT_MOST,
		.bar = 0.4,
	});
}

int main(int argc, char **argv)
{
	const struct daemon_options options = {
		/* With a mapped region VMMs wait for every answer. */
		.device = "model=selftest,mmap=off",
		.poll_us = "1000",
		.cpu = 1,
	};
	struct daemon daemon;
	struct sides sides = {
		.region = VFIO_PCI_BAR0_REGION_INDEX,
		.offset = SELFTEST_SCRATCH,
	};
	struct floor floor;

	bench_start(argc, argv, "posted-write");
	if (bench_cpus() < 2) {
		bench_skip("two CPUs", "this machine has one");
		return 0;
	}
	bench_pin(0);
	sides.batches = bench_count(MAX_BATCHES, 2);
	daemon_start(&daemon, &options);
	floor_start(&floor, POLL_US, 1);
	client_connect(&sides.ours, daemon.socket, true);
	client_init(&sides.floor, floor.fd, true);
	report(&sides, "one a message", single);
	report(&sides, "WRITE_MULTI", multi);
	client_close(&sides.ours);
	client_close(&sides.floor);
	floor_stop(&floor);
	daemon_stop(&daemon);
	return 0;
}
