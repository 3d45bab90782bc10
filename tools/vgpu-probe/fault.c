/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "fault.h"

#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

static sigjmp_buf on_fault;
static volatile sig_atomic_t guarded;

static void handle(int number, siginfo_t *info, void *context)
{
	if (guarded)
		siglongjmp(on_fault, 1);
	/* Not ours: happens again, and kills. */
	signal(number, SIG_DFL);
}

static void install(void)
{
	static bool installed;
	struct sigaction action = { .sa_sigaction = handle, .sa_flags = SA_SIGINFO };

	if (installed)
		return;
	sigaction(SIGBUS, &action, NULL);
	installed = true;
}

/* memcpy(), or memset() without a source. The fences keep it where it is guarded. */
static int guarded_fill(void *to, const void *from, int byte, size_t length)
{
	install();
	if (sigsetjmp(on_fault, 1)) {
		guarded = 0;
		return -EFAULT;
	}
	guarded = 1;
	atomic_signal_fence(memory_order_seq_cst);
	if (from)
		memcpy(to, from, length);
	else
		memset(to, byte, length);
	atomic_signal_fence(memory_order_seq_cst);
	guarded = 0;
	return 0;
}

int guarded_copy(void *to, const void *from, size_t length)
{
	return guarded_fill(to, from, 0, length);
}

int guarded_set(void *to, int byte, size_t length)
{
	return guarded_fill(to, NULL, byte, length);
}
