/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vGPU as this process runs it: the devices of its command line, each with
 * its door, its consoles and its place on the control socket. Everything here
 * runs on the main thread; the device threads are told what to do by orders
 * and tell us what happened the same way.
 */
#pragma once

#include <systemd/sd-event.h>

#include "options.h"

struct vgpu;

/*
 * Opens everything that the options ask for: from here on clients can connect.
 * Returns 0; or a negative errno, after logging a sentence that says what went
 * wrong: -EINVAL if the options are to blame, whatever the state of the machine.
 */
int vgpu_start(const struct options *options, sd_event *event, struct vgpu **ret);

/* Disconnects everybody and removes the sockets that it made. NULL is allowed. */
void vgpu_stop(struct vgpu *vgpu);
