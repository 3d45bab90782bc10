/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long it takes from fork and exec until a vgpud with its default options
 * listens, by its own word (sd_notify(3)). The floor is a program that does
 * nothing, until it has ended.
 */
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "bench.h"
#include "client.h"
#include "daemon.h"

static double start_vgpud(void *opaque)
{
	const struct daemon_options options = { .cpu = -1 };
	struct client client;
	struct daemon daemon;

	daemon_start(&daemon, &options);
	/* That it listens is not to be believed. */
	client_connect(&client, daemon.socket, false);
	client_close(&client);
	daemon_stop(&daemon);
	return (double)daemon.start_ns / 1e6;
}

static double run_true(void *opaque)
{
	uint64_t start = clock_ns();
	pid_t pid = fork();
	int status;

	if (pid < 0)
		bench_die("fork");
	if (pid == 0) {
		execl("/bin/true", "true", (char *)NULL);
		_exit(127);
	}
	if (waitpid(pid, &status, 0) < 0 || status)
		bench_die("/bin/true");
	return (double)(clock_ns() - start) / 1e6;
}

int main(int argc, char **argv)
{
	struct bench_pair pair;

	bench_start(argc, argv, "startup");
	pair = bench_compare(bench_count(101, 3), start_vgpud, run_true, NULL);
	bench_report(&(struct bench_figure){
		.name = "exec to listening, p50",
		.unit = "ms",
		.measured = pair.ours,
		.floor_is = "exec to end of /bin/true",
		.floor = pair.floor,
		.ratio = pair.ratio,
		.bar_is = BENCH_MEASURED_AT_MOST,
		.bar = 10,
	});
	return 0;
}
