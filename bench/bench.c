/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "bench.h"

#include <dirent.h>
#include <errno.h>
#include <getopt.h>
#include <jansson.h>
#include <math.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"

static struct {
	const char *row;
	bool quick;
	char *build; /* the directory that has our own, bench/ */
	char *vgpud;
	char *directory;
	pid_t pid; /* children that end don't clean up */
	unsigned int n_paths;
	uint64_t random;
} bench = { .random = 0x9e3779b97f4a7c15ULL };

void bench_die(const char *what)
{
	fprintf(stderr, "%s: %s: %s\n", bench.row ? bench.row : "bench", what, strerror(errno));
	exit(1);
}

static void remove_directory(void)
{
	DIR *dir = bench.pid == getpid() ? opendir(bench.directory) : NULL;
	struct dirent *entry;

	if (!dir)
		return;
	while ((entry = readdir(dir)))
		unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
	rmdir(bench.directory);
}

/* We are BUILD/bench/bench-ROW. */
static char *find_build(void)
{
	char self[4096];
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		bench_die("/proc/self/exe");
	self[n] = '\0';
	for (int i = 0; i < 2; i++)
		*strrchr(self, '/') = '\0';
	return text_format("%s", self);
}

void bench_start(int argc, char **argv, const char *row)
{
	static const struct option options[] = {
		{ "quick", no_argument, NULL, 'q' },
		{ "vgpud", required_argument, NULL, 'v' },
		{ 0 },
	};
	const char *tmp = getenv("TMPDIR");
	int c;

	bench.row = row;
	while ((c = getopt_long(argc, argv, "", options, NULL)) != -1)
		if (c == 'q')
			bench.quick = true;
		else if (c == 'v')
			bench.vgpud = strdup(optarg);
		else
			exit(2);
	bench.build = find_build();
	if (!bench.vgpud)
		bench.vgpud = text_format("%s/vgpud", bench.build);
	bench.directory = text_format("%s/vgpud-bench-XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(bench.directory))
		bench_die("a directory for sockets");
	bench.pid = getpid();
	atexit(remove_directory);
	signal(SIGPIPE, SIG_IGN);
}

bool bench_quick(void)
{
	return bench.quick;
}

unsigned int bench_count(unsigned int normal, unsigned int quick)
{
	return bench.quick ? quick : normal;
}

const char *bench_vgpud(void)
{
	return bench.vgpud;
}

const char *bench_build(void)
{
	return bench.build;
}

char *bench_path(const char *name)
{
	return text_format("%s/%s-%u", bench.directory, name, bench.n_paths++);
}

unsigned int bench_cpus(void)
{
	static unsigned int n; /* as it was before we pinned ourselves */
	cpu_set_t set;

	if (!n)
		n = sched_getaffinity(0, sizeof(set), &set) < 0 ? 1 : (unsigned int)CPU_COUNT(&set);
	return n;
}

/* The n-th CPU of those that we were started on. */
static void nth_cpu(int n, cpu_set_t *ret)
{
	static cpu_set_t all;

	if (!CPU_COUNT(&all) && sched_getaffinity(0, sizeof(all), &all) < 0)
		bench_die("sched_getaffinity");
	bench_cpus();
	*ret = all;
	if (n < 0)
		return;
	n %= CPU_COUNT(&all);
	CPU_ZERO(ret);
	for (int cpu = 0;; cpu++)
		if (CPU_ISSET(cpu, &all) && n-- == 0) {
			CPU_SET(cpu, ret);
			return;
		}
}

void bench_pin(int cpu)
{
	cpu_set_t set;

	nth_cpu(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		bench_die("sched_setaffinity");
}

void bench_pin_process(int pid, int cpu)
{
	_cleanup_free_ char *path = text_format("/proc/%d/task", pid);
	DIR *dir = opendir(path);
	struct dirent *entry;
	cpu_set_t set;

	if (!dir)
		bench_die("the threads of a process");
	nth_cpu(cpu, &set);
	while ((entry = readdir(dir)))
		if (*entry->d_name != '.' &&
		    sched_setaffinity((pid_t)strtol(entry->d_name, NULL, 10), sizeof(set), &set) <
			    0)
			bench_die("sched_setaffinity");
	closedir(dir);
}

void bench_sleep_until(uint64_t ns)
{
	const struct timespec t = { (time_t)(ns / 1000000000), (long)(ns % 1000000000) };

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL) == EINTR)
		;
}

uint64_t bench_random(uint64_t n)
{
	/* xorshift64*: good enough to miss caches and timers. */
	bench.random ^= bench.random >> 12;
	bench.random ^= bench.random << 25;
	bench.random ^= bench.random >> 27;
	return (uint64_t)(((unsigned __int128)(bench.random * 0x2545f4914f6cdd1dULL) * n) >> 64);
}

double bench_random_interval(double mean)
{
	return -log(((double)bench_random(1U << 30) + 1) / (1U << 30)) * mean;
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

double bench_percentile(double *values, size_t n, double p)
{
	size_t i = (size_t)((double)n * p / 100);

	if (!n)
		return NAN;
	qsort(values, n, sizeof(*values), by_value);
	return values[i < n ? i : n - 1];
}

struct bench_pair bench_compare(unsigned int rounds, double (*ours)(void *opaque),
				double (*floor)(void *opaque), void *opaque)
{
	double a[BENCH_MAX_ROUNDS], b[BENCH_MAX_ROUNDS], ratio[BENCH_MAX_ROUNDS];

	if (rounds > BENCH_MAX_ROUNDS)
		rounds = BENCH_MAX_ROUNDS;
	for (unsigned int i = 0; i < rounds; i++) {
		/* Each goes first as often as the other. */
		if (i % 2)
			a[i] = ours(opaque);
		b[i] = floor(opaque);
		if (!(i % 2))
			a[i] = ours(opaque);
		ratio[i] = a[i] / b[i];
	}
	return (struct bench_pair){
		.ours = bench_percentile(a, rounds, 50),
		.floor = bench_percentile(b, rounds, 50),
		.ratio = bench_percentile(ratio, rounds, 50),
	};
}

static bool is_met(const struct bench_figure *figure)
{
	switch (figure->bar_is) {
	case BENCH_RATIO_AT_MOST:
		return figure->ratio <= figure->bar;
	case BENCH_RATIO_AT_LEAST:
		return figure->ratio >= figure->bar;
	case BENCH_MEASURED_AT_MOST:
		return figure->measured <= figure->bar;
	case BENCH_NO_BAR:
		break;
	}
	return true;
}

static void print(json_t *object)
{
	char *text = object ? json_dumps(object, JSON_COMPACT | JSON_REAL_PRECISION(6)) : NULL;

	if (!text)
		bench_die("JSON");
	puts(text);
	fflush(stdout);
	free(text);
	json_decref(object);
}

void bench_report(const struct bench_figure *figure)
{
	static const char *const bars[] = {
		[BENCH_RATIO_AT_MOST] = "ratio at most",
		[BENCH_RATIO_AT_LEAST] = "ratio at least",
		[BENCH_MEASURED_AT_MOST] = "measured at most",
	};
	json_t *object = json_pack("{s:s, s:s, s:s, s:f}", "row", bench.row, "name", figure->name,
				   "unit", figure->unit, "measured", figure->measured);

	if (figure->floor_is)
		json_object_update_new(object,
				       json_pack("{s:s, s:f, s:f}", "floor_is", figure->floor_is,
						 "floor", figure->floor, "ratio", figure->ratio));
	if (figure->bar_is != BENCH_NO_BAR)
		json_object_update_new(object,
				       json_pack("{s:s, s:f, s:b}", "bar_is", bars[figure->bar_is],
						 "bar", figure->bar, "met", is_met(figure)));
	if (figure->note)
		json_object_set_new(object, "note", json_string(figure->note));
	print(object);
}

void bench_skip(const char *name, const char *why)
{
	print(json_pack("{s:s, s:s, s:s}", "row", bench.row, "name", name, "skipped", why));
}
