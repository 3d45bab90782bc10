/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The floor under a server's figures: a thread that answers the same messages
 * with one receive and one send, and knows nothing of devices.
 */
#pragma once

#include <stdbool.h>

struct responder;

/*
 * Starts one; the other end of its socket is *ret_fd, the caller's. polls: it
 * never sleeps. Returns 0 or a negative errno.
 */
int responder_start(bool polls, int *ret_fd, struct responder **ret);

/* To be called after ret_fd was closed. */
void responder_join(struct responder *responder);
