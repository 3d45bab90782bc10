/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a sanitizer's runtime does beyond libc, for its reports and to look for leaks. */
#include "base/syscalls.h"
#include "sandbox/layers.h"

#if SANITIZED
SYSCALLS(SYSCALL(open), SYSCALL(openat), SYSCALL(readlink), SYSCALL(readlinkat), SYSCALL(stat),
	 SYSCALL(newfstatat), SYSCALL(getdents), SYSCALL(getdents64), SYSCALL(clone),
	 SYSCALL(wait4), SYSCALL(ptrace), SYSCALL(prctl), SYSCALL(tgkill), SYSCALL(kill),
	 SYSCALL(getppid), SYSCALL(pipe2), SYSCALL(rt_sigaction), SYSCALL(personality),
	 SYSCALL(process_vm_readv), SYSCALL(ioctl), SYSCALL(fcntl), SYSCALL(getuid),
	 SYSCALL(geteuid), SYSCALL(getpgrp), SYSCALL(mmap), SYSCALL(mprotect));
#endif
