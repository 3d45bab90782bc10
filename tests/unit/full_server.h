/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A real server thread with a full_device, and what tests of it need. */
#pragma once

#include <pthread.h>

#include "full_device.h"
#include "transport/vfio_user_server.h"
#include "vfio_user_client.h"

extern struct full_device full;
extern struct vfio_user_server *full_server;

/* poll_us as in transport/spin.h. The test fails if it can't be done. */
void full_server_start(int poll_us, bool keep_state);

/*
 * cmocka puts a handler of its own for SIGBUS in front of every test. The first
 * is for main(), before any test; the second puts the server's back, inside one.
 */
void full_server_find_sigbus(void);
void full_server_catch_sigbus(void);

/* Disconnects who is there. */
void full_server_stop(void);

/* A server that spins as it likes, with a negotiated client; and the end of both. */
void full_server_start_with(struct client *client);
void full_server_stop_with(struct client *client);

/* A client on a socket of its own, not negotiated. The server must have none. */
void full_server_connect(struct client *client);

/*
 * Waits until the server has seen the client off and is ready for the next.
 * Returns the reason, a negative errno. Until the next client comes, `full` is
 * the test's to look at.
 */
int full_server_wait(void);

/* True if the device could not be power-cycled and serves nobody any more. */
bool full_server_failed(void);

/* Closes the client, waits, and checks that nothing of it is left. Returns the reason. */
int full_server_leave(struct client *client);

/*
 * Fails the test if the client can't use the device: registers keep what is
 * written, i.e. the stream is in step.
 */
void full_expect_in_step(struct client *client);

/* A memory file of size bytes whose byte i is FULL_FILE_BYTE(i). The caller's to close. */
#define FULL_FILE_BYTE(i) ((uint8_t)((i)*3 + ((i) >> 8)))
int full_make_file(size_t size);

/*
 * Waits until the engine has done its work, answering DMA messages meanwhile
 * (memory's byte i is FULL_FILE_BYTE(i); what is written is compared with it if
 * `compare`, or dropped). Returns what the work did, or -ECONNRESET.
 */
int full_dma(struct client *client, uint32_t command, uint64_t iova, uint32_t length, bool compare);
