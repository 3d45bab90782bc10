/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Benchmarks: private to the suite. */
#pragma once

#include "guest.h"
#include "probe.h"
#include "server.h"

struct bench_run {
	struct vfio_user_door *door;
	struct probe_device *dev;
	struct guest guest;
	unsigned int timeout_ms;
	bool selftest;
	struct vfio_user_region_access reg; /* what accesses go to */
};

struct bench {
	const char *name, *what;
	/*
	 * One round, of the device and of the floor. -ENOTSUP if the device has no
	 * such thing.
	 */
	int (*run)(struct bench_run *run, const struct bench *bench, uint64_t *ret);
	int (*floor)(struct bench_run *run, const struct bench *bench, uint64_t *ret);
	uint64_t size; /* of memory */
	bool by_fd;
	bool bandwidth; /* values are ns for a MiB; else ns for one of what */
	bool polls, write; /* of accesses */
};

struct bench_figure {
	uint64_t value, floor;
	double ratio;
};

/* Sorts the values. */
uint64_t bench_percentile(uint64_t *values, size_t n, unsigned int percent);

/* End with a NULL name. */
extern const struct bench bench_accesses[], bench_memory[];
