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
#include "sandbox/sandbox.h"

struct vgpu;

/*
 * Opens everything that the options ask for: from here on clients can connect,
 * and wait. Starts no thread. Returns 0; or a negative errno, after logging a
 * sentence that says what went wrong: -EINVAL or -ENAMETOOLONG if the options are
 * to blame, whatever the state of the machine.
 */
int vgpu_open(const struct options *options, sd_event *event, struct vgpu **ret);

/*
 * Starts the threads and serves: nothing more is opened by its name. sandbox is
 * what vgpuctl is told of. Returns 0, or a negative errno after logging what went
 * wrong.
 */
int vgpu_start(struct vgpu *vgpu, const struct sandbox_info *sandbox);

/* Disconnects everybody and removes the sockets that it made. NULL is allowed. */
void vgpu_stop(struct vgpu *vgpu);
