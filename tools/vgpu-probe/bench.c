/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How fast a device is, each figure beside a floor that was measured in the same
 * run, in turns with it. The ratios mean something; the rest belongs to the
 * machine.
 */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <fnmatch.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/memfd.h"
#include "common/output.h"
#include "device/selftest_regs.h"
#include "pci.h"
#include "watchdog.h"

enum { ROUNDS = 5, PATIENCE = 60 };

static const struct bench *const tables[] = { bench_accesses, bench_memory };

static struct server *watched;

static void kill_server(void)
{
	server_done(watched);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

uint64_t bench_percentile(uint64_t *values, size_t n, unsigned int percent)
{
	size_t i = n * percent / 100;

	qsort(values, n, sizeof(*values), by_value);
	return values[i < n ? i : n - 1];
}

static void progress(const char *name, int round)
{
	if (!isatty(STDERR_FILENO))
		return;
	if (round == ROUNDS)
		fprintf(stderr, "\r\033[K");
	else
		fprintf(stderr, "\r\033[K%s %d/%d", name, round + 1, ROUNDS);
	fflush(stderr);
}

/* Rounds of both, in turn, so that what else the machine does meets both. */
static int measure(struct bench_run *run, const struct bench *bench, struct bench_figure *ret)
{
	uint64_t values[ROUNDS] = { 0 }, floors[ROUNDS] = { 0 };
	double ratios[ROUNDS];

	for (int i = 0; i < ROUNDS; i++) {
		int r;

		progress(bench->name, i);
		r = bench->floor(run, bench, &floors[i]);
		if (r == 0)
			r = bench->run(run, bench, &values[i]);
		if (r < 0) {
			progress(bench->name, ROUNDS);
			return r;
		}
		ratios[i] = floors[i] ? (double)values[i] / (double)floors[i] : 0;
	}
	progress(bench->name, ROUNDS);
	ret->value = bench_percentile(values, ROUNDS, 50);
	ret->floor = bench_percentile(floors, ROUNDS, 50);
	/* By insertion: there are five. */
	for (int i = 1; i < ROUNDS; i++)
		for (int k = i; k > 0 && ratios[k] < ratios[k - 1]; k--) {
			double ratio = ratios[k];

			ratios[k] = ratios[k - 1];
			ratios[k - 1] = ratio;
		}
	ret->ratio = ratios[ROUNDS / 2];
	return 0;
}

/* Which register is asked: one that does nothing. */
static int set_up(struct bench_run *run)
{
	struct pci_config config;
	int r = pci_config_read(run->dev, &config);

	if (r < 0)
		return r;
	run->selftest = get_le16(config.bytes + PCI_VENDOR_ID) == SELFTEST_VENDOR &&
			get_le16(config.bytes + PCI_DEVICE_ID) == SELFTEST_DEVICE;
	if (run->selftest)
		run->reg =
			(struct vfio_user_region_access){ SELFTEST_SCRATCH, SELFTEST_BAR_REGS, 4 };
	else
		run->reg = (struct vfio_user_region_access){ PCI_INTERRUPT_LINE,
							     VFIO_PCI_CONFIG_REGION_INDEX, 1 };
	return 0;
}

static const char *value_text(const struct bench *bench, uint64_t value)
{
	static char texts[4][32];
	static unsigned int next;
	char *text = texts[next++ % 4];

	if (!bench->bandwidth)
		return human_ns(value);
	/* Time for a MiB, in ns. */
	snprintf(text, sizeof(texts[0]), "%s/s",
		 human_bytes(value ? (uint64_t)(1e9 * 1048576.0 / (double)value) : 0));
	return text;
}

static void add(struct table *table, json_t *array, const struct bench *bench,
		const struct bench_figure *figure)
{
	json_array_append_new(array, json_pack("{s:s, s:s, s:s, s:I, s:I, s:f}", "name",
					       bench->name, "what", bench->what, "unit",
					       bench->bandwidth ? "ns/MiB" : "ns", "value",
					       (json_int_t)figure->value, "floor",
					       (json_int_t)figure->floor, "ratio", figure->ratio));
	table_add(table, "%s", bench->name);
	table_add(table, "%s", value_text(bench, figure->value));
	table_add(table, "%s", value_text(bench, figure->floor));
	table_add(table, "%.2f", figure->ratio);
	table_add(table, "%s", bench->what);
}

static int run_all(struct bench_run *run, const struct probe_options *options, struct table *table,
		   json_t *array)
{
	for (size_t i = 0; i < ARRAY_SIZE(tables); i++)
		for (const struct bench *bench = tables[i]; bench->name; bench++) {
			struct bench_figure figure;
			int r;

			if (options->only && fnmatch(options->only, bench->name, 0) != 0)
				continue;
			watchdog_arm(options->timeout_ms * PATIENCE, bench->name, kill_server);
			r = measure(run, bench, &figure);
			if (r == -ENOTSUP)
				continue; /* the device has nothing to measure there */
			if (r < 0)
				return fail("bench", "%s: %s", bench->name,
					    probe_is_broken(r) ? probe_error(run->dev)
							       : probe_result(r));
			add(table, array, bench, &figure);
		}
	return EXIT_OK;
}

int run_bench(const struct probe_options *options)
{
	static const char *const head[] = { "name", "device", "floor", "ratio", "what" };
	struct bench_run run = { .timeout_ms = options->timeout_ms };
	char error[PROBE_ERROR_SIZE] = "";
	struct table table;
	json_t *array;
	int status, r;

	watched = options->server;
	watchdog_arm(options->timeout_ms * PATIENCE, "connecting", kill_server);
	if (server_open(options->server, options->timeout_ms, &run.door, error) < 0)
		return fail("connect", "%s", error);
	run.dev = &run.door->dev;
	run.door->link.on_command = guest_on_command;
	run.door->link.opaque = &run.guest;
	r = set_up(&run);
	if (r < 0) {
		snprintf(error, sizeof(error), "%.250s",
			 probe_is_broken(r) ? probe_error(run.dev) : probe_result(r));
		vfio_user_close(run.door);
		return fail("bench", "the device cannot be measured: %s", error);
	}
	array = json_array();
	table_init(&table, ARRAY_SIZE(head), 0xe, head);
	status = run_all(&run, options, &table, array);
	watchdog_disarm();
	if (status == EXIT_OK && output_is_json())
		print_json(json_pack("{s:i, s:O}", "version", 1, "benchmarks", array));
	else if (status == EXIT_OK)
		table_print(&table, 0);
	table_done(&table);
	json_decref(array);
	guest_done(&run.guest);
	vfio_user_close(run.door);
	return status;
}
