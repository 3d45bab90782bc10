/* SPDX-License-Identifier: GPL-2.0-or-later */
/* vgpu-probe: what its commands are told. */
#pragma once

#include <stdbool.h>

enum { DEFAULT_TIMEOUT_MS = 5000, MAX_TIMEOUT_MS = 3600000 };

struct server; /* server.h: where the device is */

struct probe_options {
	struct server *server;
	unsigned int timeout_ms;
	bool hex; /* dump: config space as bytes, too */
	const char *only; /* check, bench: names that match this pattern; NULL: all */
	bool list; /* check: say what would be checked */
	bool strict; /* check: advice is failure */
};

/* Commands: each returns an exit status. */
int run_dump(const struct probe_options *options);
int run_check(const struct probe_options *options);
int run_bench(const struct probe_options *options);

/* What main.c knows: the command line is parsed, explained and completed from it. */
struct probe_command {
	const char *name, *summary;
	int (*run)(const struct probe_options *options);
};

struct probe_option {
	const char *name, *value; /* value: what --help calls it; NULL: a flag */
	int option; /* getopt's */
	const char *commands; /* that take it, NULL: all */
	const char *help;
};

extern const struct probe_command probe_commands[]; /* ends with a NULL name */
extern const struct probe_option probe_option_table[]; /* so does this */

/* A completion script for bash, zsh or fish. Returns an exit status. */
int print_completion(const char *shell);
