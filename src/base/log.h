/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The log: one line a message on standard error, with the vGPU's name in
 * front, and a syslog priority prefix (sd-daemon(3)) where standard error is
 * the journal. Safe from any thread. What a guest, a client or a viewer can
 * cause is logged through a ratelimit, so that none of them can fill a disk.
 */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum log_level {
	LOG_LEVEL_ERROR, /* the process or a device cannot do what it was asked to do */
	LOG_LEVEL_WARNING, /* something will surprise the user */
	LOG_LEVEL_INFO, /* what happens in the large: listening, connected, mode set */
	LOG_LEVEL_DEBUG, /* every command */
};

/*
 * name is printed in every line and copied (at most 63 bytes); NULL for none.
 * Call before any thread is started.
 */
void log_setup(const char *name, enum log_level max_level);

/* True if messages of this level are printed. */
bool log_enabled(enum log_level level);

void log_message(enum log_level level, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#define log_error(...) log_message(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_message(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_info(...) log_message(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)                                                                             \
	do {                                                                                       \
		if (log_enabled(LOG_LEVEL_DEBUG))                                                  \
			log_message(LOG_LEVEL_DEBUG, __VA_ARGS__);                                 \
	} while (0)

/* At most `burst` messages in `interval_ms`; zero-initialise the rest. */
struct ratelimit {
	uint32_t interval_ms;
	uint32_t burst;
	_Atomic uint64_t window_start_ms;
	_Atomic uint32_t used;
	_Atomic uint32_t missed;
};

#define RATELIMIT_DEFAULT                                                                          \
	{                                                                                          \
		.interval_ms = 5000, .burst = 10                                                   \
	}

/*
 * True if a message may be logged now. *ret_missed is then the number that
 * were held back since the last one that was let through.
 */
bool ratelimit_pass(struct ratelimit *limit, uint32_t *ret_missed);

/* Logs what somebody hostile may have caused; one limit for each call site. */
#define log_ratelimited(level, format, ...)                                                        \
	do {                                                                                       \
		static struct ratelimit limit_ = RATELIMIT_DEFAULT;                                \
		uint32_t missed_;                                                                  \
		if (log_enabled(level) && ratelimit_pass(&limit_, &missed_)) {                     \
			log_message(level, format, ##__VA_ARGS__);                                 \
			if (missed_)                                                               \
				log_message(level, "(%u more like the last were not logged)",      \
					    missed_);                                              \
		}                                                                                  \
	} while (0)
