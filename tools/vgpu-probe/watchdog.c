/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "watchdog.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "common/output.h"

static struct {
	pthread_mutex_t lock;
	pthread_cond_t changed;
	bool started, armed;
	struct timespec until; /* CLOCK_MONOTONIC */
	const char *what;
	void (*expired)(void);
} dog = { .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };

static bool is_over(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec > dog.until.tv_sec ||
	       (now.tv_sec == dog.until.tv_sec && now.tv_nsec >= dog.until.tv_nsec);
}

static void *watch(void *opaque)
{
	pthread_mutex_lock(&dog.lock);
	for (;;) {
		if (!dog.armed)
			pthread_cond_wait(&dog.changed, &dog.lock);
		else if (is_over())
			break;
		else
			pthread_cond_clockwait(&dog.changed, &dog.lock, CLOCK_MONOTONIC,
					       &dog.until);
	}
	/* The main thread may hang in a page fault: nothing of the C library's is safe to wait for. */
	dprintf(STDERR_FILENO, "vgpu-probe: %s did not end: the server holds us up\n", dog.what);
	dog.expired();
	_exit(EXIT_FAILED);
}

void watchdog_arm(unsigned int ms, const char *what, void (*expired)(void))
{
	pthread_t thread;

	pthread_mutex_lock(&dog.lock);
	clock_gettime(CLOCK_MONOTONIC, &dog.until);
	dog.until.tv_sec += ms / 1000 + 1;
	dog.what = what;
	dog.expired = expired;
	dog.armed = true;
	if (!dog.started)
		dog.started = pthread_create(&thread, NULL, watch, NULL) == 0 &&
			      pthread_detach(thread) == 0;
	pthread_cond_signal(&dog.changed);
	pthread_mutex_unlock(&dog.lock);
}

void watchdog_disarm(void)
{
	pthread_mutex_lock(&dog.lock);
	dog.armed = false;
	pthread_cond_signal(&dog.changed);
	pthread_mutex_unlock(&dog.lock);
}
