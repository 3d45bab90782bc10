/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What all benchmarks share. A benchmark is a program `bench-ROW` that measures
 * one row of the table in docs/benchmarks.md and prints one JSON object a line
 * for each of its figures; bench/run makes the table of them.
 *
 * A figure is a ratio of two things measured in turn in the same run, ours and
 * a floor, so that what else the machine does meets both; the times themselves
 * belong to the machine. Nothing here survives an error: it says what failed
 * and ends the program.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"

/*
 * Parses the arguments (`--quick`: a few rounds of everything, to see that it
 * works; `--vgpud=PATH`: the program to measure, by default the one of the same
 * build), makes the directory for sockets that is removed at the end, and sets
 * the row's name.
 */
void bench_start(int argc, char **argv, const char *row);

bool bench_quick(void);

/* `normal`, or `quick` if we are to be quick. */
unsigned int bench_count(unsigned int normal, unsigned int quick);

const char *bench_vgpud(void);

/* The build directory that this program is of. */
const char *bench_build(void);

/* A new path in our directory: for a socket called `name` of which there may be many. */
char *bench_path(const char *name);

/* Prints what failed, with errno, and ends the program. */
void bench_die(const char *what) __attribute__((noreturn));

unsigned int bench_cpus(void);

/* Keeps this thread on one CPU; -1: on any. */
void bench_pin(int cpu);

/* Keeps a process, with all its threads, on one CPU. */
void bench_pin_process(int pid, int cpu);

void bench_sleep_until(uint64_t ns);
static inline void bench_sleep_ms(unsigned int ms)
{
	bench_sleep_until(clock_ns() + ms * 1000000ULL);
}

/* From 0 to below n; and an exponentially distributed time with this mean. The seed is fixed. */
uint64_t bench_random(uint64_t n);
double bench_random_interval(double mean);

/* The p-th percentile (0 to 100) of n values, which are sorted. */
double bench_percentile(double *values, size_t n, double p);

/* Medians of a number of rounds; ratio is the median of the rounds' ratios of ours to the floor. */
struct bench_pair {
	double ours, floor, ratio;
};

enum { BENCH_MAX_ROUNDS = 128 };

/* Runs the floor and ours in turn, `rounds` times. */
struct bench_pair bench_compare(unsigned int rounds, double (*ours)(void *opaque),
				double (*floor)(void *opaque), void *opaque);

enum bench_bar {
	BENCH_NO_BAR,
	BENCH_RATIO_AT_MOST,
	BENCH_RATIO_AT_LEAST,
	BENCH_MEASURED_AT_MOST,
};

struct bench_figure {
	const char *name; /* of the figure within the row */
	const char *unit; /* of measured and floor */
	double measured;
	const char *floor_is; /* NULL: there is no floor */
	double floor, ratio;
	enum bench_bar bar_is;
	double bar;
	const char *note; /* more of interest, NULL for nothing */
};

void bench_report(const struct bench_figure *figure);

/* Says in the table that a figure could not be measured here, and why. */
void bench_skip(const char *name, const char *why);
