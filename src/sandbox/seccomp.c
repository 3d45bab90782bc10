/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The filter for system calls, made of what the source files of this program
 * declare (base/syscalls.h). Everything else is a violation.
 */
#include <errno.h>
#include <seccomp.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "sandbox/layers.h"

/* The linker's bounds of the section. */
extern const struct syscall_set *const __start_vgpud_syscalls[];
extern const struct syscall_set *const __stop_vgpud_syscalls[];

static int allow(scmp_filter_ctx filter, const struct syscall_rule *rule)
{
	struct scmp_arg_cmp conditions[SYSCALL_CONDITIONS];
	int nr = seccomp_syscall_resolve_name(rule->name), r;
	unsigned int n = 0;

	/* Newer than this libseccomp, or older than this architecture: we don't get to use it. */
	if (nr == __NR_SCMP_ERROR) {
		log_debug("seccomp: %s is no system call", rule->name);
		return 0;
	}
	for (; n < SYSCALL_CONDITIONS && rule->conditions[n].mask; n++)
		conditions[n] = SCMP_CMP(rule->conditions[n].argument, SCMP_CMP_MASKED_EQ,
					 rule->conditions[n].mask, rule->conditions[n].value);
	r = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, nr, n, conditions);
	return r == -EEXIST ? 0 : r; /* several files need it */
}

static int allow_set(scmp_filter_ctx filter, const struct syscall_set *set)
{
	for (unsigned int i = 0; i < set->n_rules; i++) {
		int r = allow(filter, &set->rules[i]);

		if (r < 0) {
			log_error("%s: the system call %s can't be allowed", set->file,
				  set->rules[i].name);
			return r;
		}
	}
	return 0;
}

static int add_rules(scmp_filter_ctx filter)
{
	int r = 0;

	for (const struct syscall_set *const *set = __start_vgpud_syscalls;
	     /* cppcheck-suppress comparePointers ; both ends of one section */
	     set < __stop_vgpud_syscalls && r == 0; set++)
		r = allow_set(filter, *set);
	/* Signals to nobody but ourselves: pthread_kill(), raise(). */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1,
				     SCMP_A0(SCMP_CMP_MASKED_EQ, UINT32_MAX, (uint32_t)getpid()));
	/* Its flags are in memory, where a filter can't look; libc then takes clone(). */
	if (r == 0)
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (r == 0 && !violation_can_answer())
		r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOENT), SCMP_SYS(openat), 0);
	return r;
}

static void release(scmp_filter_ctx *filter)
{
	seccomp_release(*filter);
}

int seccomp_enter(enum seccomp_mode mode)
{
	_cleanup_(release) scmp_filter_ctx filter =
		seccomp_init(mode == SECCOMP_LOG ? SCMP_ACT_LOG : SCMP_ACT_TRAP);
	int r;

	if (!filter)
		return -ENOMEM;
	/* By default that ends the thread alone, and whoever waits for it waits for ever. */
	r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (r == 0)
		r = add_rules(filter);
	if (r == 0)
		r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree */
	if (r == 0)
		r = violation_watch();
	return r == 0 ? seccomp_load(filter) : r;
}
