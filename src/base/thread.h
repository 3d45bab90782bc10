/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>

/*
 * Starts a thread with a name (at most 15 bytes) and with every signal
 * blocked but those of its own faults: signals belong to the main thread's
 * event loop, and a write to a peer that has gone is EPIPE here instead of
 * SIGPIPE. It has the name from its first moment: a thread inherits that of its
 * creator, and another way to name it would open a file, which a sandbox does not
 * allow. Returns 0 with *ret_thread to join, or a negative errno.
 */
static inline int thread_start(pthread_t *ret_thread, const char *name, void *(*run)(void *),
			       void *arg)
{
	sigset_t all, old;
	char own_name[16];
	pthread_t thread;
	int err;

	sigfillset(&all);
	sigdelset(&all, SIGBUS);
	sigdelset(&all, SIGSEGV);
	sigdelset(&all, SIGSYS);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	prctl(PR_GET_NAME, own_name);
	prctl(PR_SET_NAME, name);
	err = pthread_create(&thread, NULL, run, arg);
	prctl(PR_SET_NAME, own_name);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	if (err)
		return -err;
	*ret_thread = thread;
	return 0;
}
