/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Which vGPU an argument means, and asking it. */
#pragma once

#include <jansson.h>

#include "control/client.h"

/* A vGPU, or one of its devices. Release with target_done(). */
struct target {
	char *name; /* for people: the vGPU's name, or the path that was given */
	char *path; /* of its control socket */
	char *device; /* NULL: none was named */
};

void target_done(struct target *target);

/*
 * What a VGPU argument (or NULL) means. Says what is wrong and returns an exit
 * status if that cannot be told; EXIT_OK does not mean that it runs.
 */
int target_resolve(const char *argument, struct target *ret);

/* The names with a control socket in the default directory, sorted. */
struct names {
	char *directory;
	char **names;
	size_t n;
};

/* Returns 0 or a negative errno; a directory that is missing has no names. */
int names_read(struct names *ret);
void names_done(struct names *names);

/* {"device": ...} for a call about the target; NULL if it names none. */
json_t *target_parameters(const struct target *target);

/*
 * Asks the target, and returns EXIT_OK and a reply that is no error; or says
 * what went wrong.
 */
int target_call(const struct target *target, const char *method, json_t *parameters, int timeout_ms,
		struct control_reply *ret);

/* The pieces of it, for those who wait for more than one reply. */
int target_open(const struct target *target, struct control_client **ret);
int target_explain(const struct target *target, int error, int timeout_ms);
int target_explain_reply(const struct target *target, const char *method,
			 const struct control_reply *reply);

/*
 * Show, and in *ret_devices (a new array) the devices that the target means:
 * all of them, or the one that it names. The caller releases both.
 */
int target_show(const struct target *target, json_t **ret_show, json_t **ret_devices);

/* A short text for an error of opening a control socket: "stale", "denied" ... */
const char *open_error_word(int error);
