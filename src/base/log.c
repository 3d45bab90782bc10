/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/syscalls.h"
#include "base/text.h"

SYSCALLS(SYSCALL(write));

static struct {
	char name[72];
	enum log_level max_level;
	bool journal;
} log_state = { .max_level = LOG_LEVEL_INFO };

void log_setup(const char *name, enum log_level max_level)
{
	snprintf(log_state.name, sizeof(log_state.name), "%s", name ? name : "");
	log_state.max_level = max_level;
	log_state.journal = getenv("JOURNAL_STREAM") && !isatty(STDERR_FILENO);
}

bool log_enabled(enum log_level level)
{
	return level <= log_state.max_level;
}

void log_message(enum log_level level, const char *format, ...)
{
	static const char *const priority[] = { "<3>", "<4>", "<6>", "<7>" };
	static const char *const word[] = { "error: ", "warning: ", "", "debug: " };
	int saved = errno;
	char line[1024];
	size_t used;
	va_list args;
	int n;

	if (!log_enabled(level))
		return;

	n = snprintf(line, sizeof(line), "%s%s%s%s", log_state.journal ? priority[level] : "",
		     log_state.name, log_state.name[0] ? ": " : "",
		     log_state.journal ? "" : word[level]);
	used = (size_t)n;

	va_start(args, format);
	n = vsnprintf(line + used, sizeof(line) - used - 1, format, args);
	va_end(args);
	if (n > 0)
		used += (size_t)n < sizeof(line) - used - 1 ? (size_t)n : sizeof(line) - used - 2;

	/* A guest or a client may have chosen a part of it: no control characters. */
	text_clean(line);
	line[used++] = '\n';

	/* One write, so that lines of several threads do not mix. */
	if (write(STDERR_FILENO, line, used) < 0) {
		/* Nowhere left to say so. */
	}
	errno = saved;
}

bool ratelimit_pass(struct ratelimit *limit, uint32_t *ret_missed)
{
	uint64_t now = clock_ns() / 1000000;
	uint64_t start = atomic_load(&limit->window_start_ms);

	if ((!start || now - start >= limit->interval_ms) &&
	    atomic_compare_exchange_strong(&limit->window_start_ms, &start, now))
		atomic_store(&limit->used, 0);

	if (atomic_fetch_add(&limit->used, 1) >= limit->burst) {
		atomic_fetch_add(&limit->missed, 1);
		return false;
	}
	*ret_missed = atomic_exchange(&limit->missed, 0);
	return true;
}
