/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What libc does by itself, for code that asks for memory, threads or the time.
 * glibc 2.36 (Debian 12) and 2.41 (Debian 13) are meant, with some room around.
 */
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "base/syscalls.h"
#include "sandbox/layers.h"

#ifndef PR_SET_VMA
#define PR_SET_VMA 0x53564d41
#endif

/* A thread is no process, and has no namespaces of its own. */
#define THREAD_FLAGS (CLONE_THREAD | CLONE_VM | CLONE_SIGHAND | CLONE_FILES | CLONE_FS)
#define NOT_A_THREADS                                                                              \
	(CLONE_VFORK | CLONE_PTRACE | CLONE_UNTRACED | CLONE_PARENT | CLONE_NEWNS |                \
	 CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID |            \
	 CLONE_NEWNET | CLONE_IO | CLONE_PIDFD)

/* The two real-time signals that glibc keeps for itself; the first thread installs the second. */
enum { LIBC_SIGCANCEL = 32, LIBC_SIGSETXID = 33 };

SYSCALLS(
	/* Memory, none of which is ever code. */
	SYSCALL(brk), SYSCALL_IF(mmap, ARG_HAS_NO(2, PROT_EXEC)),
	SYSCALL_IF(mmap2, ARG_HAS_NO(2, PROT_EXEC)), SYSCALL_IF(mprotect, ARG_HAS_NO(2, PROT_EXEC)),
	SYSCALL(munmap), SYSCALL(mremap), SYSCALL(madvise),

	/* Threads. */
	SYSCALL_IF(clone, ARG_BITS(0, THREAD_FLAGS | NOT_A_THREADS, THREAD_FLAGS)), SYSCALL(futex),
	SYSCALL(futex_time64), SYSCALL(set_robust_list), SYSCALL(rseq), SYSCALL(gettid),
	SYSCALL(getpid), SYSCALL(sched_getaffinity), SYSCALL(sched_yield), SYSCALL(getcpu),
	SYSCALL_IF(prctl, ARG_IS(0, PR_SET_NAME)), SYSCALL_IF(prctl, ARG_IS(0, PR_GET_NAME)),
	SYSCALL_IF(prctl, ARG_IS(0, PR_SET_VMA)), SYSCALL(exit), SYSCALL(exit_group),

	/* Signals. No handler for SIGSYS: what is forbidden should be heard of. */
	SYSCALL(rt_sigprocmask), SYSCALL(rt_sigreturn), SYSCALL(sigaltstack),
	SYSCALL(restart_syscall), SYSCALL_IF(rt_sigaction, ARG_IS(0, SIGABRT)),
	SYSCALL_IF(rt_sigaction, ARG_IS(0, LIBC_SIGCANCEL)),
	SYSCALL_IF(rt_sigaction, ARG_IS(0, LIBC_SIGSETXID)),

	/* Time, where the kernel's page for it does not do. */
	SYSCALL(clock_gettime), SYSCALL(clock_gettime64), SYSCALL(clock_getres),
	SYSCALL(gettimeofday), SYSCALL(time), SYSCALL(clock_nanosleep),
	SYSCALL(clock_nanosleep_time64), SYSCALL(nanosleep),

	/* Randomness; what sysconf() asks for; files that are open. */
	SYSCALL(getrandom), SYSCALL(sysinfo), SYSCALL(uname), SYSCALL(read), SYSCALL(write),
	SYSCALL(writev), SYSCALL(close), SYSCALL(lseek), SYSCALL(fstat),
	SYSCALL_IF(newfstatat, ARG_IS(3, AT_EMPTY_PATH)), SYSCALL_IF(prlimit64, ARG_IS_NULL(2)),
	SYSCALL(getrlimit), SYSCALL(ugetrlimit));
