/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "common/output.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "control/json_text.h"

static struct {
	const char *program;
	bool json;
	bool utf8;
} output;

void output_setup(const char *program)
{
	output.program = program;
	setlocale(LC_CTYPE, "");
	output.utf8 = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

int output_finish(int status)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return status;
	/* Whoever read a pipe has seen enough. */
	if (errno != EPIPE)
		fprintf(stderr, "%s: cannot write: %s\n", output.program, strerror(errno));
	return status ? status : EXIT_FAILED;
}

void output_use_json(void)
{
	output.json = true;
}

bool output_is_json(void)
{
	return output.json;
}

static void no_memory(void)
{
	fprintf(stderr, "%s: no memory\n", output.program);
	exit(EXIT_FAILED);
}

/* No control characters, and nothing that the locale cannot show. */
static void clean(char *text)
{
	text_clean(text);
	if (output.utf8)
		return;
	for (unsigned char *c = (unsigned char *)text; *c; c++)
		if (*c >= 0x80)
			*c = '?';
}

__attribute__((format(printf, 1, 0))) static char *format_clean(const char *format, va_list args)
{
	char *text = text_vformat(format, args);

	clean(text);
	return text;
}

void say(const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;

	va_start(args, format);
	text = format_clean(format, args);
	va_end(args);
	puts(text);
}

void remark(const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;

	if (output.json)
		return;
	va_start(args, format);
	text = format_clean(format, args);
	va_end(args);
	fprintf(stderr, "%s\n", text);
}

void print_json(json_t *object)
{
	if (!object)
		no_memory();
	json_dumpf(object, stdout, JSON_COMPACT);
	putchar('\n');
	json_decref(object);
}

static void print_error(const char *code, const char *message)
{
	if (output.json)
		print_json(json_pack("{s:i, s:{s:s, s:o}}", "version", 1, "error", "code", code,
				     "message", json_text(message)));
	else
		fprintf(stderr, "%s: %s\n", output.program, message);
}

int fail(const char *code, const char *format, ...)
{
	_cleanup_free_ char *message = NULL;
	va_list args;

	va_start(args, format);
	message = format_clean(format, args);
	va_end(args);
	print_error(code, message);
	return EXIT_FAILED;
}

int usage_error(const char *format, ...)
{
	_cleanup_free_ char *message = NULL;
	va_list args;

	va_start(args, format);
	message = format_clean(format, args);
	va_end(args);
	print_error("usage", message);
	return EXIT_USAGE;
}

/*
 * Units
 */

static char *unit_buffer(void)
{
	static char buffers[8][32];
	static unsigned int next;

	return buffers[next++ % 8];
}

/* Three digits at most tell enough: 1.5, 15, 153. */
static const char *with_unit(double value, const char *unit)
{
	char *text = unit_buffer();
	bool whole = value >= 9.95 || value == (double)(uint64_t)value;

	snprintf(text, 32, "%.*f %s", whole ? 0 : 1, value, unit);
	return text;
}

const char *human_bytes(uint64_t bytes)
{
	static const char *const units[] = { "B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
	double value = (double)bytes;
	size_t i = 0;

	while (value >= 1023.5 && i + 1 < ARRAY_SIZE(units)) {
		value /= 1024;
		i++;
	}
	return with_unit(value, units[i]);
}

const char *human_ns(uint64_t ns)
{
	if (ns < 1000)
		return with_unit((double)ns, "ns");
	if (ns < 999500)
		return with_unit((double)ns / 1e3, output.utf8 ? "\u00b5s" : "us");
	if (ns < 999500000)
		return with_unit((double)ns / 1e6, "ms");
	return with_unit((double)ns / 1e9, "s");
}

const char *human_duration(double seconds)
{
	unsigned long s = seconds > 0 ? (unsigned long)seconds : 0;
	char *text = unit_buffer();

	if (s < 60)
		snprintf(text, 32, "%lu s", s);
	else if (s < 3600)
		snprintf(text, 32, "%lu min %lu s", s / 60, s % 60);
	else if (s < 86400)
		snprintf(text, 32, "%lu h %lu min", s / 3600, s / 60 % 60);
	else
		snprintf(text, 32, "%lu d %lu h", s / 86400, s / 3600 % 24);
	return text;
}

const char *mark_text(enum mark mark)
{
	switch (mark) {
	case MARK_OK:
		return output.utf8 ? "\u2713" : "ok";
	case MARK_WARNING:
		return output.utf8 ? "!" : "! ";
	case MARK_PROBLEM:
		return output.utf8 ? "\u2717" : "X ";
	}
	return "";
}

/*
 * Tables
 */

void table_init(struct table *table, unsigned int columns, unsigned int right,
		const char *const *head)
{
	*table = (struct table){ .columns = columns, .right = right };
	for (unsigned int i = 0; i < columns; i++)
		table_add(table, "%s", head[i]);
}

void table_add(struct table *table, const char *format, ...)
{
	char **grown = realloc(table->cells, (table->n_cells + 1) * sizeof(*grown));
	va_list args;

	if (!grown)
		no_memory();
	table->cells = grown;
	va_start(args, format);
	table->cells[table->n_cells++] = format_clean(format, args);
	va_end(args);
}

/* Columns on a terminal: each character of UTF-8 takes one, as far as we use them. */
static size_t text_width(const char *text)
{
	size_t width = 0;

	for (; *text; text++)
		width += ((unsigned char)*text & 0xc0) != 0x80;
	return width;
}

static void print_cell(const char *text, size_t width, bool right, bool last)
{
	int fill = (int)(width - text_width(text));

	if (right)
		printf("%*s%s", fill, "", text);
	else
		printf("%s%*s", text, last ? 0 : fill, "");
	fputs(last ? "\n" : "  ", stdout);
}

void table_print(const struct table *table, unsigned int indent)
{
	size_t widths[TABLE_MAX_COLUMNS] = { 0 };

	for (size_t i = 0; i < table->n_cells; i++) {
		size_t width = text_width(table->cells[i]);

		if (width > widths[i % table->columns])
			widths[i % table->columns] = width;
	}
	for (size_t i = 0; i < table->n_cells; i++) {
		size_t column = i % table->columns;

		if (column == 0)
			printf("%*s", (int)indent, "");
		print_cell(table->cells[i], widths[column], table->right >> column & 1,
			   column == table->columns - 1);
	}
}

void table_done(struct table *table)
{
	for (size_t i = 0; i < table->n_cells; i++)
		free(table->cells[i]);
	free(table->cells);
}
