/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A process that enters the sandbox and attempts to get out, as it is seen from outside. */
#pragma once

#include "sandbox/layers.h"

struct outcome {
	int status; /* of waitpid() */
	char said[4096];
};

/* Runs body in a process of its own, which ends with what it returns. */
void in_child(int (*body)(const void *arg), const void *arg, struct outcome *ret);

/* For body. Ends the process with 99 if that can't be done. */
void enter(enum sandbox_mode mode, enum seccomp_mode seccomp);
