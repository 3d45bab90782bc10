/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A vfio-user client for tests: raw enough to send what no decent client does.
 * Every function fails the test that calls it if the socket does not do what
 * it should within CLIENT_PATIENCE_MS.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/vfio_user_wire.h"

enum {
	CLIENT_PATIENCE_MS = 20000,
	CLIENT_MAX_FDS = 32, /* more than the protocol allows */
};

struct client {
	int fd;
	uint16_t next_id;
};

/* A message that came: a reply, or a command of the server's. */
struct client_message {
	struct vfio_user_header header;
	uint8_t *payload; /* valid until the next receive */
	size_t length;
	int fds[CLIENT_MAX_FDS]; /* the test's to close */
	size_t n_fds;
};

/* Takes fd over. */
void client_init(struct client *client, int fd);
void client_done(struct client *client);

/* Sends bytes as they are, with descriptors on the first. False if the server has hung up. */
bool client_send(struct client *client, const void *bytes, size_t length, const int *fds,
		 size_t n_fds);

/*
 * Puts a whole message (header and payload) into buf, which has room for it.
 * Returns its length. *ret_id, if not NULL, is the ID it was given.
 */
size_t client_make(struct client *client, void *buf, uint16_t command, uint32_t flags,
		   const void *payload, size_t length, uint16_t *ret_id);

/* Sends one message; returns its ID. */
uint16_t client_command(struct client *client, uint16_t command, uint32_t flags,
			const void *payload, size_t length, const int *fds, size_t n_fds);

/* Receives one message. False if the server has hung up. */
bool client_receive(struct client *client, struct client_message *ret);

/* True if nothing comes for a while. */
bool client_is_quiet(struct client *client);

/* True if the server hangs up, whatever it sends before. */
bool client_is_hung_up(struct client *client);

/*
 * Sends a command and receives its reply, whose ID and command are checked. 0
 * with *ret (which may be NULL), or the negative errno of an error reply, which
 * must have no payload.
 */
int client_call(struct client *client, uint16_t command, const void *payload, size_t length,
		const int *fds, size_t n_fds, struct client_message *ret);

/* As QEMU 11 opens the conversation; returns what came back. */
int client_version(struct client *client, uint16_t major, uint16_t minor, const char *json,
		   struct client_message *ret);
void client_negotiate(struct client *client);

int client_read(struct client *client, uint32_t region, uint64_t offset, void *buf, uint32_t count);
int client_write(struct client *client, uint32_t region, uint64_t offset, const void *buf,
		 uint32_t count);
uint32_t client_read32(struct client *client, uint32_t region, uint64_t offset);
void client_write32(struct client *client, uint32_t region, uint64_t offset, uint32_t value);

/* fd may be -1. */
int client_dma_map(struct client *client, uint64_t iova, uint64_t size, uint32_t prot, int fd,
		   uint64_t offset);
int client_dma_unmap(struct client *client, uint64_t iova, uint64_t size);

int client_set_irqs(struct client *client, uint32_t flags, uint32_t index, uint32_t start,
		    uint32_t count, const void *data, size_t length, const int *fds, size_t n_fds);

/* The descriptors that this process has open. */
unsigned int count_fds(void);
