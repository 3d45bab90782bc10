/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The sandbox: what a vgpud that was taken over by a guest, a VMM or a viewer can
 * still do. It is entered once, after everything that has a name is open and
 * before there is a second thread, in layers that each stand alone:
 *
 *     namespaces.c   an empty, read-only root; no network, no IPC, no host name;
 *     directories.c  nothing above the directories that hold our sockets
 *     landlock.c     no path can be opened, not even below a directory that is
 *                    open; files can be removed below those that hold our sockets
 *     privileges.c   no capability, and no way to gain one; no core dump
 *     seccomp.c      no system call but those that the code says it needs
 *     violation.c    a call that is not among them is named in the log
 *
 * There is no PID namespace: the process would have to be another one, the log
 * and vgpuctl would show numbers of no use to anybody, and what it would hide,
 * seccomp forbids to touch.
 */
#pragma once

#include <stdbool.h>

enum sandbox_mode {
	SANDBOX_AUTO, /* as NAMESPACE; where the host allows no namespaces, without them */
	SANDBOX_NAMESPACE,
	SANDBOX_NONE, /* neither namespaces nor Landlock; a debugger may attach */
};

enum seccomp_mode {
	SECCOMP_KILL, /* a call that is not allowed is not made; its name is logged; the end */
	SECCOMP_TRAP, /* the same, but with a core dump that shows where it was */
	SECCOMP_LOG, /* it is made, and the kernel logs it */
	SECCOMP_NONE,
};

/* What there is of it. */
struct sandbox_info {
	bool namespaces;
	int landlock; /* its ABI version; 0: none */
	enum seccomp_mode seccomp;
};

/*
 * Enters the sandbox. Returns 0; or a negative errno, after logging what could not
 * be done and how to have it: the process is then half-way in, and should end.
 */
int sandbox_enter(enum sandbox_mode mode, enum seccomp_mode seccomp, struct sandbox_info *ret);

/* As in --seccomp=. */
const char *seccomp_mode_name(enum seccomp_mode mode);
