/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vGPU that is only a control socket: its devices say and do what they are told. */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <systemd/sd-event.h>

#include "control/control.h"

struct fake_device {
	json_t *about; /* what describe() copies; owned */
	uint32_t width, height; /* of the screen; 0: there is none */
	uint32_t pixel;
	int reset_error; /* from reset() itself */
	int reset_result; /* given to done() */
	uint64_t reset_delay_us;
	unsigned int resets;

	sd_event *event;
	sd_event_source *timer; /* a reset that is under way */
	void (*done)(void *arg, int result);
	void *done_arg;
};

extern const struct control_device_ops fake_device_ops;

/* A device with every member that a Show may have. event is borrowed. */
void fake_device_init(struct fake_device *device, sd_event *event, const char *id,
		      const char *socket);
void fake_device_done(struct fake_device *device);

/* A listening UNIX socket at path; aborts if there can be none. */
int fake_listen(const char *path);
