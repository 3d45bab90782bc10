/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Where a console is reached: an address as users write it, and the socket that listens there. */
#pragma once

#include <stdbool.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/unix_socket.h"

struct address {
	struct sockaddr_storage sockaddr;
	socklen_t length;
};

/*
 * Understands "unix:PATH", "HOST:PORT" and "PORT", where HOST is an IPv4
 * address, an IPv6 address in brackets or "localhost", and no HOST means
 * 127.0.0.1. Port 0 lets the kernel choose. No name is looked up. Returns 0, or
 * -EINVAL with *ret_error a sentence that the caller frees.
 */
int address_parse(const char *text, struct address *ret, char **ret_error);

/* True if only this machine can reach it. */
bool address_is_local(const struct address *address);

/* As address_parse() understands it; the caller frees. NULL without memory. */
char *address_format(const struct address *address);

struct listener {
	int fd;
	struct address address; /* with the port that the kernel chose */
	struct unix_socket_file file;
};

/*
 * Binds and listens; the socket is non-blocking. A UNIX socket is only for its
 * owner (mode 0600); a socket that a dead process has left there is replaced,
 * anything else at that path is left alone and is an error. Returns 0, or a
 * negative errno with *ret_error a sentence that the caller frees.
 */
int listener_open(const struct address *address, struct listener *ret, char **ret_error);

/* Closes the socket and removes the file of a UNIX socket. */
void listener_close(struct listener *listener);
