/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What a trapped access costs: a 4-byte read of a register of the Bochs
 * display in BAR 2, through the vfio-user door of a real vgpud, beside a
 * process that answers the same bytes with one receive and one send.
 *
 * On one CPU the question is another. A server that polls there keeps its
 * client from running, so it must notice; the floor is a vgpud that never
 * polls.
 */
#include <stdlib.h>

#include "bench.h"
#include "client.h"
#include "daemon.h"
#include "floor.h"

enum {
	MAX_READS = 1000,
	POLL_US = 1000, /* outlasts every client here, and ends in the pause before a round */
};

struct sides {
	struct client ours, floor;
	unsigned int reads; /* a round */
};

/* The median time of a read, ns. */
static double round_of(struct client *client, unsigned int reads)
{
	double times[MAX_READS];

	client_warm_up(client, VFIO_PCI_BAR2_REGION_INDEX, BOCHS_REGISTER);
	for (unsigned int i = 0; i < reads; i++) {
		uint64_t start = clock_ns();

		client_read32(client, VFIO_PCI_BAR2_REGION_INDEX, BOCHS_REGISTER);
		times[i] = (double)(clock_ns() - start);
	}
	return bench_percentile(times, reads, 50);
}

static double ours(void *opaque)
{
	struct sides *sides = opaque;

	return round_of(&sides->ours, sides->reads);
}

static double floor_of(void *opaque)
{
	struct sides *sides = opaque;

	return round_of(&sides->floor, sides->reads);
}

static void report(struct sides *sides, const char *name, const char *floor_is, double bar)
{
	struct bench_pair pair;

	sides->reads = bench_count(MAX_READS, 50);
	pair = bench_compare(bench_count(21, 2), ours, floor_of, sides);
	bench_report(&(struct bench_figure){
		.name = name,
		.unit = "ns",
		.measured = pair.ours,
		.floor_is = floor_is,
		.floor = pair.floor,
		.ratio = pair.ratio,
		.bar_is = BENCH_RATIO_AT_MOST,
		.bar = bar,
	});
	client_close(&sides->ours);
	client_close(&sides->floor);
}

/* A vgpud against the floor, both on this CPU, the client on the first. */
static void against_floor(const char *name, const char *vgpud_polls, unsigned int floor_polls_us,
			  int cpu, double bar)
{
	const struct daemon_options options = { .poll_us = vgpud_polls, .cpu = cpu, .moved = true };
	struct daemon daemon;
	struct sides sides;
	struct floor floor;

	daemon_start(&daemon, &options);
	floor_start(&floor, floor_polls_us, cpu);
	client_connect(&sides.ours, daemon.socket, floor_polls_us > 0);
	client_init(&sides.floor, floor.fd, floor_polls_us > 0);
	report(&sides, name, "one receive, one send", bar);
	floor_stop(&floor);
	daemon_stop(&daemon);
}

/*
 * A vgpud that polls against one that doesn't, on the client's CPU; from its
 * start, or moved there when it runs, as a VMM's manager does.
 */
static void one_cpu(const char *name, const char *polls, bool moved, double bar)
{
	const struct daemon_options polling = { .poll_us = polls, .cpu = 0, .moved = moved };
	const struct daemon_options blocking = { .poll_us = "0", .cpu = 0 };
	struct daemon ours_daemon, floor_daemon;
	struct sides sides;

	daemon_start(&ours_daemon, &polling);
	daemon_start(&floor_daemon, &blocking);
	client_connect(&sides.ours, ours_daemon.socket, false);
	client_connect(&sides.floor, floor_daemon.socket, false);
	report(&sides, name, "the same, --poll-us=0", bar);
	daemon_stop(&ours_daemon);
	daemon_stop(&floor_daemon);
}

int main(int argc, char **argv)
{
	bench_start(argc, argv, "trapped-read");
	bench_pin(0);
	if (bench_cpus() > 1) {
		against_floor("spinning, two CPUs, fixed", "1000", POLL_US, 1, 1.15);
		against_floor("spinning, two CPUs, adaptive", "auto", POLL_US, 1, 1.15);
		against_floor("blocking, two CPUs", "0", 0, 1, 1.10);
	} else {
		bench_skip("two CPUs", "this machine has one");
	}
	against_floor("blocking, one CPU", "0", 0, 0, 1.10);
	one_cpu("adaptive, one CPU", "auto", false, 1.2);
	one_cpu("adaptive, moved to one CPU", "auto", true, 1.2);
	one_cpu("fixed spin, one CPU", "1000", false, 1.2);
	one_cpu("fixed spin, moved to one CPU", "1000", true, 1.2);
	return 0;
}
