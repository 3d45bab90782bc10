/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <pthread.h>
#include <signal.h>

/*
 * Starts a thread with a name (at most 15 bytes) and with every signal
 * blocked but those of its own faults: signals belong to the main thread's
 * event loop, and a write to a peer that has gone is EPIPE here instead of
 * SIGPIPE. Returns 0 with *ret_thread to join, or a negative errno.
 */
static inline int thread_start(pthread_t *ret_thread, const char *name, void *(*run)(void *),
			       void *arg)
{
	sigset_t all, old;
	pthread_t thread;
	int err;

	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	err = pthread_create(&thread, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return -err;

	pthread_setname_np(thread, name);
	*ret_thread = thread;
	return 0;
}
