/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A vfio-user client that costs as little as one can: what a VMM sends, and no checks. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/vfio_user_wire.h"

struct client {
	int fd;
	bool polls; /* waits awake */
};

enum {
	/* A register of the Bochs display that reads as constant and has no side effect. */
	BOCHS_REGISTER = 0x500,
	CLIENT_MULTI = 200, /* entries of a WRITE_MULTI, as QEMU sends them */
};

/* Connects to a vGPU and negotiates. */
void client_connect(struct client *client, const char *path, bool polls);
/* The same on a socket that is connected. Takes fd over. */
void client_init(struct client *client, int fd, bool polls);
void client_close(struct client *client);

/* The two halves of a read of 4 bytes. */
void client_send_read(struct client *client, uint32_t region, uint64_t offset);
uint32_t client_receive_read(struct client *client);

static inline uint32_t client_read32(struct client *client, uint32_t region, uint64_t offset)
{
	client_send_read(client, region, offset);
	return client_receive_read(client);
}

/*
 * What comes before a round that is measured: a pause, so that a server on the
 * other's CPU that still waits awake for its client does so no more, and then
 * reads without a measurement, so that the server has seen what kind of client
 * it has.
 */
void client_warm_up(struct client *client, uint32_t region, uint64_t offset);

/*
 * A message that is a header only, and an answer that is one, too: the least
 * that can travel. Only the floor (floor.h) answers so.
 */
void client_ping(struct client *client);

void client_write(struct client *client, uint32_t region, uint64_t offset, const void *data,
		  uint32_t length);

/* Posted: there is no answer. */
void client_post32(struct client *client, uint32_t region, uint64_t offset, uint32_t value);
void client_post_multi(struct client *client, uint32_t region, uint64_t offset, uint32_t value);

/* Maps all of a region. */
uint8_t *client_map(struct client *client, uint32_t region, size_t *ret_size);
