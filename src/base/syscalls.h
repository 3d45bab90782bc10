/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Which system calls the code needs once the program runs, said in the file that
 * makes them: sandbox/ allows what the declarations of all files that are linked
 * into the program name, and nothing else.
 *
 *     SYSCALLS(SYSCALL(recvmsg), SYSCALL_IF(fcntl, ARG_IS(1, F_GETFL)));
 *
 * What is called before the sandbox is entered needs no declaration. The calls
 * that libc makes by itself, for memory, threads and time, are in
 * sandbox/libc_syscalls.c. Where a call goes by another name on another
 * architecture (poll, ppoll), name both: those that don't exist are skipped.
 */
#pragma once

#include <stdint.h>

enum { SYSCALL_CONDITIONS = 2 };

struct syscall_rule {
	const char *name;
	/* All must hold: (argument & mask) == value. mask 0: none. */
	struct syscall_condition {
		unsigned int argument; /* from 0 */
		uint64_t mask, value;
	} conditions[SYSCALL_CONDITIONS];
};

struct syscall_set {
	const char *file;
	const struct syscall_rule *rules;
	unsigned int n_rules;
};

#define SYSCALL(syscall)                                                                           \
	{                                                                                          \
		.name = #syscall                                                                   \
	}
#define SYSCALL_IF(syscall, ...)                                                                   \
	{                                                                                          \
		.name = #syscall, .conditions = { __VA_ARGS__ }                                    \
	}
/* Arguments are compared as ints: what the upper half of the register holds is nobody's promise. */
#define ARG_IS(n, constant)                                                                        \
	{                                                                                          \
		.argument = (n), .mask = UINT32_MAX, .value = (uint32_t)(constant)                 \
	}
#define ARG_HAS_NO(n, bits)                                                                        \
	{                                                                                          \
		.argument = (n), .mask = (uint32_t)(bits), .value = 0                              \
	}
#define ARG_BITS(n, of, bits)                                                                      \
	{                                                                                          \
		.argument = (n), .mask = (uint32_t)(of), .value = (uint32_t)(bits)                 \
	}

/* A pointer, or a long. */
#define ARG_IS_NULL(n)                                                                             \
	{                                                                                          \
		.argument = (n), .mask = UINT64_MAX, .value = 0                                    \
	}

/*
 * What send() does. With an address even a socket that listened can be made to
 * connect (MSG_FASTOPEN), and one for datagrams to reach whom it likes. sendmsg()
 * has its address where a filter can't look: say there which flags are needed.
 */
#define SYSCALL_SEND SYSCALL_IF(sendto, ARG_IS_NULL(4))

/*
 * Once in a source file. The linker collects the pointers of all files in a
 * section, whose bounds it calls __start_vgpud_syscalls and __stop_vgpud_syscalls.
 */
#define SYSCALLS(...)                                                                              \
	static const struct syscall_rule syscall_rules_[] = { __VA_ARGS__ };                       \
	static const struct syscall_set syscall_set_ = {                                           \
		.file = __FILE__,                                                                  \
		.rules = syscall_rules_,                                                           \
		.n_rules = sizeof(syscall_rules_) / sizeof(syscall_rules_[0]),                     \
	};                                                                                         \
	static const struct syscall_set *const syscall_set_pointer_                                \
		__attribute__((section("vgpud_syscalls"), used)) = &syscall_set_
