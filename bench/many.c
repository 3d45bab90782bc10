/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Many vGPUs on one machine, each with a client: how long until all have
 * answered when all are asked at once, and what they cost when nobody asks.
 */
#include <stdlib.h>

#include "bench.h"
#include "client.h"
#include "daemon.h"
#include "floor.h"

enum {
	MAX = 200,
	IDLE_S = 10,
};

struct many {
	unsigned int n;
	struct daemon daemons[MAX];
	struct floor floors[MAX];
	struct client ours[MAX], floor[MAX];
};

/* Asks all, then waits for all. Milliseconds. */
static double ask(struct client *clients, unsigned int n)
{
	uint64_t start = clock_ns();

	for (unsigned int i = 0; i < n; i++)
		client_send_read(&clients[i], VFIO_PCI_BAR2_REGION_INDEX, BOCHS_REGISTER);
	for (unsigned int i = 0; i < n; i++)
		client_receive_read(&clients[i]);
	return (double)(clock_ns() - start) / 1e6;
}

static double ask_ours(void *opaque)
{
	struct many *many = opaque;

	return ask(many->ours, many->n);
}

static double ask_floor(void *opaque)
{
	struct many *many = opaque;

	return ask(many->floor, many->n);
}

static void start_all(struct many *many)
{
	const struct daemon_options options = { .cpu = -1 };
	uint64_t start = clock_ns();
	double ms;

	for (unsigned int i = 0; i < many->n; i++) {
		daemon_start(&many->daemons[i], &options);
		client_connect(&many->ours[i], many->daemons[i].socket, false);
	}
	ms = (double)(clock_ns() - start) / 1e6;
	bench_report(&(struct bench_figure){
		.name = "all started, one after the other",
		.unit = "ms",
		.measured = ms,
	});
	for (unsigned int i = 0; i < many->n; i++) {
		floor_start(&many->floors[i], 0, -1);
		client_init(&many->floor[i], many->floors[i].fd, false);
	}
}

static void stop_all(struct many *many)
{
	for (unsigned int i = 0; i < many->n; i++) {
		client_close(&many->ours[i]);
		client_close(&many->floor[i]);
		floor_stop(&many->floors[i]);
		daemon_stop(&many->daemons[i]);
	}
}

static void answer(struct many *many)
{
	struct bench_pair pair;

	ask_ours(many); /* the first touches what has never been touched */
	pair = bench_compare(bench_count(41, 3), ask_ours, ask_floor, many);
	bench_report(&(struct bench_figure){
		.name = "all answer",
		.unit = "ms",
		.measured = pair.ours,
		.floor_is = "as many minimal responders",
		.floor = pair.floor,
		.ratio = pair.ratio,
		.bar_is = BENCH_MEASURED_AT_MOST,
		.bar = 50,
	});
}

static struct daemon_cost total_cost(const struct many *many)
{
	struct daemon_cost sum = { 0 };

	for (unsigned int i = 0; i < many->n; i++) {
		struct daemon_cost cost = daemon_cost(many->daemons[i].pid);

		sum.cpu_ns += cost.cpu_ns;
		sum.switches += cost.switches;
	}
	return sum;
}

static void idle(struct many *many)
{
	struct daemon_cost before, after;

	bench_sleep_ms(500);
	before = total_cost(many);
	bench_sleep_ms(bench_count(IDLE_S, 1) * 1000);
	after = total_cost(many);
	bench_report(&(struct bench_figure){
		.name = "idle, CPU of all in 10 s",
		.unit = "ms",
		.measured = (double)(after.cpu_ns - before.cpu_ns) / 1e6,
		.bar_is = BENCH_MEASURED_AT_MOST,
		.bar = 0,
	});
	bench_report(&(struct bench_figure){
		.name = "idle, wake-ups of all in 10 s",
		.unit = "wake-ups",
		.measured = (double)(after.switches - before.switches),
		.bar_is = BENCH_MEASURED_AT_MOST,
		.bar = 0,
	});
}

static void memory(struct many *many)
{
	uint64_t pss = 0;

	for (unsigned int i = 0; i < many->n; i++)
		pss += daemon_memory(many->daemons[i].pid, "Pss");
	bench_report(&(struct bench_figure){
		.name = "memory of one (PSS)",
		.unit = "KiB",
		.measured = (double)pss / many->n / 1024,
	});
}

int main(int argc, char **argv)
{
	static struct many many;

	bench_start(argc, argv, "many");
	many.n = bench_count(MAX, 8);
	start_all(&many);
	answer(&many);
	idle(&many);
	memory(&many);
	stop_all(&many);
	return 0;
}
