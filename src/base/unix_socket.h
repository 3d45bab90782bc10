/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Listening UNIX sockets. */
#pragma once

#include <sys/types.h>

/*
 * Listens on a stream socket at path, made with the given mode (e.g. 0600). A
 * socket that is in the way and that nobody answers on is left over from a
 * process that died, and is removed; anything else is not.
 *
 * Returns the descriptor (non-blocking, close-on-exec), or -EINVAL for an empty
 * path; -ENAMETOOLONG; -EEXIST if what lies at path is no socket; -EADDRINUSE
 * if somebody answers on it; or another negative errno.
 */
int unix_listen(const char *path, mode_t mode, int backlog);

/*
 * A new string that says what is wrong when unix_listen() failed with r, and
 * what to do; the caller frees it.
 */
char *unix_listen_error(const char *path, int r);

/*
 * The file of a listening socket, remembered by its directory and inode: so it
 * can be removed in a sandbox that has another root, and only if nobody has
 * put something else in its place.
 */
struct unix_socket_file {
	int dir_fd; /* -1: none */
	char *name;
	dev_t dev;
	ino_t ino;
};

#define UNIX_SOCKET_FILE_NONE                                                                      \
	{                                                                                          \
		.dir_fd = -1                                                                       \
	}

/*
 * Remembers the socket at path; nothing if it is gone already, or is something
 * else: whoever removed it does not want us to fail for that. Returns 0 or a
 * negative errno.
 */
int unix_socket_file_remember(const char *path, struct unix_socket_file *ret);

/* Removes it if it is still the same, and forgets it. NONE is allowed. */
void unix_socket_file_remove(struct unix_socket_file *file);
