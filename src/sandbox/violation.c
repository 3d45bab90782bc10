/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What happens when the process makes a system call that it has not declared. The
 * filter does not let it through and sends SIGSYS instead: nothing that is done
 * here makes the filter any weaker.
 *
 * The call is named in the log; then it is made once more with SIGSYS blocked, for
 * which the kernel ends the process: by the signal, at the place of the call. A
 * core dump (--seccomp=trap) shows who made it.
 */
#include <errno.h>
#include <fcntl.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "sandbox/layers.h"

enum { MAX_NAMED = 512 };

static char *names[MAX_NAMED];

#if defined(__x86_64__)
#define CAN_ANSWER true

static void answer(ucontext_t *uc, long result)
{
	uc->uc_mcontext.gregs[REG_RAX] = result;
}

static long argument(const ucontext_t *uc, int n)
{
	static const int registers[] = { REG_RDI, REG_RSI, REG_RDX, REG_R10, REG_R8, REG_R9 };

	return uc->uc_mcontext.gregs[registers[n]];
}

static void repeat(ucontext_t *uc)
{
	uc->uc_mcontext.gregs[REG_RIP] -= 2; /* the instruction syscall */
}
#elif defined(__aarch64__)
#define CAN_ANSWER true

static void answer(ucontext_t *uc, long result)
{
	uc->uc_mcontext.regs[0] = (unsigned long)result;
}

static long argument(const ucontext_t *uc, int n)
{
	return (long)uc->uc_mcontext.regs[n];
}

static void repeat(ucontext_t *uc)
{
	uc->uc_mcontext.pc -= 4; /* the instruction svc */
}
#else
#define CAN_ANSWER false

static void answer(ucontext_t *uc, long result)
{
}

static long argument(const ucontext_t *uc, int n)
{
	return 0;
}

static void repeat(ucontext_t *uc)
{
	_exit(1);
}
#endif

bool violation_can_answer(void)
{
	return CAN_ANSWER;
}

/*
 * Files that malloc() of glibc looks into when it likes to, and does without if it
 * can't: how much memory may be promised, how many CPUs there are.
 */
static bool libc_can_do_without(const char *path)
{
	static const char *const files[] = {
		"/proc/sys/vm/overcommit_memory",
		"/sys/devices/system/cpu/online",
		"/proc/stat",
	};

	if (!path)
		return false;
	for (size_t i = 0; i < ARRAY_SIZE(files); i++)
		if (!strcmp(path, files[i]))
			return true;
	return false;
}

/* log_message() formats on the stack and calls write(), no more. */
static void on_sigsys(int sig, siginfo_t *info, void *context)
{
	ucontext_t *uc = context;
	int nr = info->si_syscall;
	const char *name = nr >= 0 && nr < MAX_NAMED ? names[nr] : NULL;

	const char *path = nr == SYS_openat && CAN_ANSWER ? (const char *)argument(uc, 1) : NULL;

	if (libc_can_do_without(path)) {
		answer(uc, -ENOENT);
		return;
	}
	log_error(
		"the system call %s (%d)%s%s is none that vgpud needs: ended; this is a bug or an "
		"attack (with --seccomp=log it is made, and logged by the kernel)",
		name ? name : "?", nr, path ? " of " : "", path ? path : "");
	sigaddset(&uc->uc_sigmask, SIGSYS);
	repeat(uc);
}

int violation_watch(void)
{
	struct sigaction action = {
		.sa_sigaction = on_sigsys,
		.sa_flags = SA_SIGINFO | SA_ONSTACK,
	};

	for (int nr = 0; nr < MAX_NAMED; nr++) {
		free(names[nr]);
		names[nr] = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);
	}
	return sigaction(SIGSYS, &action, NULL) < 0 ? -errno : 0;
}
