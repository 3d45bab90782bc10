/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command line of vgpud. */
#pragma once

#include <stdbool.h>

#include "base/log.h"
#include "device/model.h"
#include "sandbox/sandbox.h"

enum { MAX_DEVICES = 16, MAX_CONSOLES = 8, DEVICE_ID_SIZE = 32 };

struct device_spec {
	const char *model;
	char id[DEVICE_ID_SIZE]; /* as in vgpuctl NAME/ID; unique */
	const char *socket_path; /* one of socket_path and fd, */
	int fd; /* or neither (NULL and -1): socket activation */
	struct device_options options;
};

struct console_spec {
	const char *text; /* what console_open() takes */
	unsigned int device; /* index of the device that it shows */
};

struct options {
	const char *name;
	const char *control; /* path; NULL: the default; "none": no control socket */
	int poll_us; /* SPIN_AUTO or microseconds */
	bool keep_state;
	bool exit_on_disconnect;
	enum log_level log_level;
	enum sandbox_mode sandbox;
	enum seccomp_mode seccomp;

	struct device_spec devices[MAX_DEVICES];
	unsigned int n_devices;
	struct console_spec consoles[MAX_CONSOLES];
	unsigned int n_consoles;
};

enum options_result {
	OPTIONS_RUN,
	OPTIONS_DONE, /* --help and the like: printed, exit with 0 */
	OPTIONS_USAGE, /* said what is wrong: exit with 2 */
};

/*
 * Parses the command line. What *ret points to lies in argv, which is changed
 * for that, and must stay.
 */
enum options_result options_parse(int argc, char **argv, struct options *ret);
