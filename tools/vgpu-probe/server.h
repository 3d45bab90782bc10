/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where the device is: a socket that somebody serves, or a command that we run
 * and give a fresh socket (--spawn). A spawned server that has ended with its
 * client, as some do, is run again for the next one; how it ended is noted.
 */
#pragma once

#include <sys/types.h>

#include "vfio_user.h"

struct server {
	const char *path; /* of its socket */
	char **command; /* NULL: not ours */
	pid_t pid; /* of the command and of its process group, 0: it does not run */
	bool served; /* it has let a client in */
	bool gone; /* it had, and nobody listens there any more; it is not ours to run again */
	bool crashed; /* one was ended by a signal; death says which */
	char death[PROBE_ERROR_SIZE]; /* how one ended that should not have; empty: none did */
	char directory[96]; /* of the socket, ours; empty: none */
	char spawned_path[108];
};

/*
 * Runs command (ends with a NULL) with --socket-path=PATH at its end, or PATH in
 * the place of each "{}" in its words. Returns 0 or a negative errno.
 */
int server_spawn(struct server *server, char **command);

/* Ends the command and removes what was made for it. */
void server_done(struct server *server);

/* vfio_user_open() and vfio_user_connect(), on the server. */
int server_open(struct server *server, unsigned int timeout_ms, struct vfio_user_door **ret,
		char *error);
int server_connect(struct server *server, unsigned int timeout_ms, struct vfio_user_door **ret,
		   char *error);

/* Kills a spawned server that serves nobody any more, and notes that; false if it is not ours. */
bool server_give_up(struct server *server);

/* Notices, in death and crashed, if the server has ended. The next client gets another one. */
void server_check(struct server *server);
