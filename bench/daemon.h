/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vgpud as its users start it, and what it costs. */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct daemon_options {
	const char *
		device; /* what it is, as --device= has it, without the socket; NULL: the default */
	const char *poll_us; /* NULL: the default */
	int cpu; /* where it runs; -1: anywhere */
	bool moved; /* to that CPU when it runs, as VMMs' managers do, rather than from its start */
	bool vnc; /* has a VNC console */
	const char *preload; /* a library for LD_PRELOAD */
};

struct daemon {
	pid_t pid;
	char *socket;
	char *vnc; /* the VNC console's address */
	uint64_t start_ns; /* from before fork until it said that it listens */
};

/* Returns when it is ready. */
void daemon_start(struct daemon *daemon, const struct daemon_options *options);
void daemon_stop(struct daemon *daemon);

/* For one that can't be asked to end. */
void daemon_kill(struct daemon *daemon);

/* What all threads of a process have used so far. */
struct daemon_cost {
	uint64_t cpu_ns;
	uint64_t switches; /* each is a wake-up, or an involuntary leave */
};

struct daemon_cost daemon_cost(pid_t pid);

/* Bytes, of /proc/PID/smaps_rollup: "Pss", "Private_Dirty". */
uint64_t daemon_memory(pid_t pid, const char *field);
