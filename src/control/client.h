/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The client's side of a control socket: one call at a time, and never longer
 * than asked. What a vgpud answers is bounded like what a stranger sends.
 */
#pragma once

#include <jansson.h>
#include <stdbool.h>

struct control_client;

/*
 * Connects to the control socket at path, or gives up after timeout_ms.
 * Returns 0 with *ret; -ETIMEDOUT; -ENAMETOOLONG; or what connect(2) says:
 * -ECONNREFUSED is a socket that nobody serves any more.
 */
int control_client_open(const char *path, int timeout_ms, struct control_client **ret);

/* NULL is allowed. */
void control_client_close(struct control_client *client);

/* A reply; parameters is always an object. Release with control_reply_done(). */
struct control_reply {
	json_t *parameters;
	char *error; /* NULL, or the full name of a Varlink error */
	bool continues;
	int fd; /* -1, or a descriptor that came with it */
};

void control_reply_done(struct control_reply *reply);

/*
 * Sends a call; with more, several replies may follow. parameters may be NULL
 * and is taken over. Returns 0 or a negative errno.
 */
int control_client_send(struct control_client *client, const char *method, json_t *parameters,
			bool more, int timeout_ms);

/*
 * Waits for the next reply. A timeout of -1 waits for ever. Returns 0 with
 * *ret (an error of the call is a reply, too); -ETIMEDOUT, after which the
 * client may be asked again; -ECONNRESET if vgpud closed the connection;
 * -EPROTO if what came is not a Varlink reply; or another negative errno.
 */
int control_client_receive(struct control_client *client, int timeout_ms,
			   struct control_reply *ret);

/* Both, within timeout_ms in all. */
int control_client_call(struct control_client *client, const char *method, json_t *parameters,
			int timeout_ms, struct control_reply *ret);
