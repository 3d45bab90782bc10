/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The layers, for sandbox.c and their tests. Private to sandbox/. */
#pragma once

#include <stdbool.h>

#include "sandbox/sandbox.h"

/*
 * Sanitizers read /proc for their reports, and stop all threads by ptrace() to look
 * for leaks: a program that is built with them is no production, and gets that.
 */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

/*
 * Moves the process into namespaces of its own, with an empty root. Returns 0, or
 * a negative errno with *ret_error: what failed and what to do about it, for the
 * caller to free. May fail half-way, which leaves less than before.
 */
int namespaces_enter(char **ret_error);

/*
 * Calls visit for each directory that is open with O_PATH, those of our sockets,
 * until it returns something other than 0, and returns that.
 */
int directories_each(int (*visit)(int directory_fd, void *arg), void *arg);

/* They are few, and so their descriptors low. */
enum { DIRECTORIES_MAX_FD = 256 };

struct directory_paths {
	char *of[DIRECTORIES_MAX_FD]; /* NULL: none, or not known */
};

/* Before the mount namespace is another: after it, no path leads back to them. */
void directories_find_paths(struct directory_paths *ret);

/*
 * Makes each of them, while its path still leads there, the root of a mount of its
 * own that belongs to no namespace, where ".." leads nowhere.
 */
void directories_detach(const struct directory_paths *paths);

void directories_free_paths(struct directory_paths *paths);

/*
 * Forbids to open, make, change or remove anything in a file system, but for the
 * removal of files below directories that this process holds open with O_PATH:
 * those of its sockets. Returns the version of the ABI; -ENOSYS or -EOPNOTSUPP
 * where the kernel, or a container, has no Landlock; or another negative errno. Wants
 * privileges_drop() to come first.
 */
int landlock_enter(void);

/* Gives up every capability for good. Returns 0 or a negative errno. */
int privileges_drop(void);

/* Nobody but root may look into the process, and it leaves no core dump. */
int privileges_hide(void);

/* Whether the process has this capability now (CAP_...). */
bool privileges_have(int capability);

/* Loads the filter. Returns 0 or a negative errno. */
int seccomp_enter(enum seccomp_mode mode);

/*
 * Makes SIGSYS log the name of the system call and end the process. What it needs
 * to know is looked up here, as a signal handler can't. Returns 0 or a negative
 * errno.
 */
int violation_watch(void);

/* Whether violation.c can answer a call in the kernel's place, on this architecture. */
bool violation_can_answer(void);
