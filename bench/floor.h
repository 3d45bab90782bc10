/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The floor of every trapped access: a process that answers the same bytes as
 * a vGPU would with one receive and one send, and does nothing else.
 */
#pragma once

#include <sys/types.h>

struct floor {
	pid_t pid;
	int fd; /* to be a client on */
};

/*
 * poll_us: after an answer it waits awake for so long before it sleeps in
 * recv(), as `vgpud --poll-us=` does. cpu: where it runs; -1: anywhere.
 */
void floor_start(struct floor *floor, unsigned int poll_us, int cpu);

/* The client has closed fd: it ends. */
void floor_stop(struct floor *floor);
