/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Whether it pays to poll, when the server decides for itself how long: what
 * polling costs a guest that comes back seldom and at random times, what it
 * brings one that comes back at once, and what it does where there are more
 * vGPUs than CPUs.
 */
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "client.h"
#include "daemon.h"

enum {
	MAX_READS = 1000,
	BUSY = 4,
};

static void read_register(struct client *client)
{
	client_read32(client, VFIO_PCI_BAR2_REGION_INDEX, BOCHS_REGISTER);
}

/* --- seldom --- */

/* What a vGPU costs with accesses at random times, as a fraction of a CPU. */
static double cost_when_seldom(const char *polls, double per_second, double seconds)
{
	const struct daemon_options options = { .poll_us = polls, .cpu = -1 };
	struct daemon_cost before, after;
	struct daemon daemon;
	struct client client;
	uint64_t start, at;

	daemon_start(&daemon, &options);
	client_connect(&client, daemon.socket, false);
	bench_sleep_ms(50);
	before = daemon_cost(daemon.pid);
	start = at = clock_ns();
	while ((double)(at - start) < seconds * 1e9) {
		at += (uint64_t)bench_random_interval(1e9 / per_second);
		bench_sleep_until(at);
		read_register(&client);
	}
	after = daemon_cost(daemon.pid);
	at = clock_ns();
	client_close(&client);
	daemon_stop(&daemon);
	return (double)(after.cpu_ns - before.cpu_ns) / (double)(at - start);
}

static void seldom(void)
{
	double seconds = bench_count(4, 1);
	double blocking = cost_when_seldom("0", 100, seconds);
	double adaptive = cost_when_seldom("auto", 100, seconds);

	bench_report(&(struct bench_figure){
		.name = "CPU at 100 random accesses a second",
		.unit = "%",
		.measured = adaptive * 100,
		.floor_is = "blocking",
		.floor = blocking * 100,
		.ratio = adaptive / blocking,
		.bar_is = BENCH_MEASURED_AT_MOST,
		.bar = 5,
	});
}

/* --- steady --- */

struct steady {
	struct client adaptive, always;
	unsigned int think_us; /* what the guest does before it comes back */
	unsigned int reads;
};

static double steady_round(const struct steady *steady, struct client *client)
{
	double times[MAX_READS];

	client_warm_up(client, VFIO_PCI_BAR2_REGION_INDEX, BOCHS_REGISTER);
	for (unsigned int i = 0; i < steady->reads; i++) {
		uint64_t start = clock_ns();

		while (clock_ns() - start < steady->think_us * 1000ULL)
			;
		start = clock_ns();
		read_register(client);
		times[i] = (double)(clock_ns() - start);
	}
	return bench_percentile(times, steady->reads, 50);
}

static double steady_adaptive(void *opaque)
{
	struct steady *steady = opaque;

	return steady_round(steady, &steady->adaptive);
}

static double steady_always(void *opaque)
{
	struct steady *steady = opaque;

	return steady_round(steady, &steady->always);
}

static void steady(const char *name, unsigned int think_us)
{
	const struct daemon_options adaptive = { .poll_us = "auto", .cpu = 1, .moved = true };
	const struct daemon_options always = { .poll_us = "1000", .cpu = 1, .moved = true };
	struct daemon adaptive_daemon, always_daemon;
	struct steady sides = {
		.think_us = think_us,
		.reads = bench_count(MAX_READS, 50),
	};
	struct bench_pair pair;

	bench_pin(0);
	daemon_start(&adaptive_daemon, &adaptive);
	daemon_start(&always_daemon, &always);
	client_connect(&sides.adaptive, adaptive_daemon.socket, true);
	client_connect(&sides.always, always_daemon.socket, true);
	pair = bench_compare(bench_count(15, 2), steady_adaptive, steady_always, &sides);
	bench_report(&(struct bench_figure){
		.name = name,
		.unit = "ns",
		.measured = pair.ours,
		.floor_is = "always spinning",
		.floor = pair.floor,
		.ratio = pair.ratio,
		.bar_is = BENCH_RATIO_AT_MOST,
		.bar = 1.3,
	});
	client_close(&sides.adaptive);
	client_close(&sides.always);
	daemon_stop(&adaptive_daemon);
	daemon_stop(&always_daemon);
	bench_pin(-1);
}

/* --- crowded --- */

struct crowd {
	struct busy {
		pid_t pid;
		struct daemon daemon;
	} adaptive[BUSY], blocking[BUSY];
	/* Shared with the guests: who may go, and how many accesses each has made. */
	struct board {
		_Atomic(struct busy *) turn;
		_Atomic uint64_t accesses[2 * BUSY];
	} * board;
	unsigned int turn_ms;
};

/* A guest that does nothing but access its device, while it is its side's turn. */
static void be_guest(struct crowd *crowd, struct busy *side, unsigned int slot, const char *socket)
{
	struct client client;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	client_connect(&client, socket, false);
	for (;;) {
		if (atomic_load(&crowd->board->turn) != side) {
			bench_sleep_ms(1);
			continue;
		}
		read_register(&client);
		atomic_fetch_add(&crowd->board->accesses[slot], 1);
	}
}

static void start_side(struct crowd *crowd, struct busy *side, const char *polls)
{
	const struct daemon_options options = { .poll_us = polls, .cpu = -1 };

	for (unsigned int i = 0; i < BUSY; i++) {
		struct busy *busy = &side[i];

		daemon_start(&busy->daemon, &options);
		busy->pid = fork();
		if (busy->pid < 0)
			bench_die("fork");
		if (busy->pid == 0)
			be_guest(crowd, side, (side == crowd->blocking) * BUSY + i,
				 busy->daemon.socket);
	}
}

static void stop_side(struct busy *side)
{
	for (unsigned int i = 0; i < BUSY; i++) {
		kill(side[i].pid, SIGKILL);
		waitpid(side[i].pid, NULL, 0);
		daemon_stop(&side[i].daemon);
	}
}

static uint64_t total(const struct crowd *crowd, const struct busy *side)
{
	uint64_t sum = 0;

	for (unsigned int i = 0; i < BUSY; i++)
		sum += atomic_load(&crowd->board->accesses[(side == crowd->blocking) * BUSY + i]);
	return sum;
}

/* Nanoseconds of the machine for an access, all guests together. */
static double turn_of(struct crowd *crowd, struct busy *side)
{
	uint64_t before = total(crowd, side), start = clock_ns(), ns;

	atomic_store(&crowd->board->turn, side);
	bench_sleep_ms(crowd->turn_ms);
	atomic_store(&crowd->board->turn, NULL);
	ns = clock_ns() - start;
	bench_sleep_ms(3); /* until the last one has noticed */
	return (double)ns / (double)(total(crowd, side) - before);
}

static double crowded_adaptive(void *opaque)
{
	struct crowd *crowd = opaque;

	return turn_of(crowd, crowd->adaptive);
}

static double crowded_blocking(void *opaque)
{
	struct crowd *crowd = opaque;

	return turn_of(crowd, crowd->blocking);
}

static void crowded(void)
{
	struct crowd crowd = { .turn_ms = bench_count(250, 50) };
	struct bench_pair pair;
	void *p = mmap(NULL, sizeof(*crowd.board), PROT_READ | PROT_WRITE,
		       MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		bench_die("mmap");
	crowd.board = p;
	start_side(&crowd, crowd.adaptive, "auto");
	start_side(&crowd, crowd.blocking, "0");
	pair = bench_compare(bench_count(15, 2), crowded_adaptive, crowded_blocking, &crowd);
	bench_report(&(struct bench_figure){
		.name = "four busy vGPUs, all CPUs",
		.unit = "ns an access",
		.measured = pair.ours,
		.floor_is = "blocking",
		.floor = pair.floor,
		.ratio = pair.ratio,
		.bar_is = BENCH_RATIO_AT_MOST,
		.bar = 1.0,
	});
	stop_side(crowd.adaptive);
	stop_side(crowd.blocking);
	munmap(crowd.board, sizeof(*crowd.board));
}

int main(int argc, char **argv)
{
	bench_start(argc, argv, "adaptive-spin");
	bench_pin(-1);
	seldom();
	if (bench_cpus() > 1) {
		steady("steady, back at once", 0);
		steady("steady, back after 20 us", 20);
	} else {
		bench_skip("steady", "this machine has one CPU");
	}
	crowded();
	return 0;
}
