/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What our tools print: lines and tables for people, JSON for programs. Text
 * that came from elsewhere cannot move the cursor of a terminal, and a locale
 * without UTF-8 gets ASCII.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* How a tool ends. */
enum {
	EXIT_OK = 0,
	EXIT_FAILED = 1,
	EXIT_USAGE = 2,
};

/* Reads the locale. program is what stands in front of what went wrong. */
void output_setup(const char *program);

/* Writes what is buffered; the exit status, which is EXIT_FAILED if that failed. */
int output_finish(int status);

void output_use_json(void);
bool output_is_json(void);

/* Prints one line to standard output; the newline is added. */
void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The same, to standard error, and nothing if the output is JSON. */
void remark(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Prints an object on one line. Takes it over; NULL is a lack of memory. */
void print_json(json_t *object);

/*
 * Says what went wrong, to people or as {"version", "error": {"code",
 * "message"}}, and returns EXIT_FAILED; the second, EXIT_USAGE.
 */
int fail(const char *code, const char *format, ...) __attribute__((format(printf, 2, 3)));
int usage_error(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* Of people's units: "1.5 MiB", "2.5 µs", "2 h 3 min". Valid until the 8th next call. */
const char *human_bytes(uint64_t bytes);
const char *human_ns(uint64_t ns);
const char *human_duration(double seconds);

/* "✓", "!" and "✗", or what ASCII has for them. */
enum mark { MARK_OK, MARK_WARNING, MARK_PROBLEM };
const char *mark_text(enum mark mark);

/* A table whose columns are as wide as what is in them. */
enum { TABLE_MAX_COLUMNS = 12 };

struct table {
	unsigned int columns;
	unsigned int right; /* bit n: column n is aligned to the right */
	char **cells; /* row by row, the head first */
	size_t n_cells;
};

void table_init(struct table *table, unsigned int columns, unsigned int right,
		const char *const *head);
/* Adds the next cell. */
void table_add(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));
void table_print(const struct table *table, unsigned int indent);
void table_done(struct table *table);
