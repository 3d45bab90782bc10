/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The doctor's findings, one line each; what there is to examine is in two files. */
#pragma once

#include <jansson.h>
#include <stdbool.h>

#include "common/output.h"
#include "target.h"

struct doctor {
	json_t *checks; /* for --json */
	bool problem;
};

/*
 * A finding about check ("qemu", "vm1/gpu0 memory"). fix is what to do, or
 * NULL if there is nothing to be done.
 */
void doctor_say(struct doctor *doctor, enum mark mark, const char *check, const char *fix,
		const char *format, ...) __attribute__((format(printf, 5, 6)));

/* qemu is a path or NULL. */
void doctor_host(struct doctor *doctor, const char *qemu);

void doctor_sandbox(struct doctor *doctor, const struct target *target, const json_t *sandbox);
void doctor_vgpu(struct doctor *doctor, const struct target *target, const json_t *devices);
