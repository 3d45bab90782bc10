/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A real server thread with a device that has a bit of everything, and a client
 * on its socket: what the tests of the vfio-user door stand on.
 */
#pragma once

#include <semaphore.h>
#include <stdatomic.h>

#include "pci/function.h"
#include "transport/vfio_user_server.h"
#include "vfio_user_client.h"

enum {
	RW = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
	RWM = RW | VFIO_REGION_INFO_FLAG_MMAP,

	BAR0_SIZE = 2 << 20, /* mapped */
	BAR2_SIZE = 0x1000, /* trapped: the registers below */
	BAR4_SIZE = 0x6000 + 0x2000, /* sparse, 64 bits */
	CONFIG = VFIO_PCI_CONFIG_REGION_INDEX,

	VECTORS = 8,
	DOORBELLS = 20, /* more than go into a message; the first asks for work */
	BELL_MATCH = 7,
	BUFFER_SIZE = 3 << 20,
};

/* BAR 2. */
enum {
	REG_SCRATCH = 0x000, /* 1 KiB that keeps what is written */
	REG_DMA_IOVA = 0x400, /* 64 bits */
	REG_DMA_LENGTH = 0x408,
	REG_DMA_COMMAND = 0x40c, /* asks for work: one of DMA_* */
	REG_DMA_RESULT = 0x410, /* of the last work: 0 or a negative errno; -EINPROGRESS */
	REG_WORKS = 0x414, /* times that work was done */
	REG_INTX = 0x418, /* the level of INTA# */
	REG_MSI = 0x41c, /* raises this vector */
	REG_RESETS = 0x420,
	REG_DOORBELLS = 0x500, /* DOORBELLS dwords; the second rings only for BELL_MATCH */
	REG_RUNG = 0x600, /* times that each was rung */
	REG_BUFFER = 0x800, /* the start of the DMA buffer */
	REG_BUFFER_SIZE = 0x800,

	DMA_READ = 1, /* guest memory into the buffer */
	DMA_WRITE = 2,
	DMA_SCOPE = 3, /* adds 1 to every byte, in a scope */
};

extern struct test_device {
	struct vfio_device vfio;
	struct pci_function pci;
	int fds[2]; /* of BAR 0 and 4 */
	uint8_t *memory[2];

	struct vfio_doorbell doorbells[DOORBELLS];
	uint32_t rung[DOORBELLS];
	uint8_t scratch[0x400];
	uint64_t iova;
	uint32_t length, command, works, resets;
	int result;
	uint8_t buffer[BUFFER_SIZE];
	bool intx;
} device;

extern struct vfio_user_server *server;
extern struct client client;
extern sem_t disconnected; /* posted by the server */
extern atomic_int disconnect_reason;
extern atomic_uint resets_reported;
extern const struct vfio_user_server_events events; /* that keep these */

/* For each test: a server, and with all but the first `client` as QEMU's on it. */
int setup_unconnected(void **state);
int setup(void **state);
int setup_keeping(void **state); /* never spins, and keeps its state between clients */
int setup_spinning(void **state); /* for a second */
int teardown(void **state);

void connect_client(struct client *c);
void wait_until_disconnected(void);

/* The client hangs up, and the server has noticed. */
void leave(void);

/* The connection still works. */
void expect_in_step(void);

/* A memfd that holds a pattern, named "test-guest". */
int make_memory(size_t size);

/* Has the device do DMA; and the result of the last, 0 or a negative errno. */
void start_dma(uint32_t command, uint64_t iova, uint32_t length);
int dma_result(void);

/* A region read whose reply is not waited for. */
void send_read(uint32_t region, uint64_t offset, uint32_t n);

/* What an eventfd was signalled, now or within CLIENT_PATIENCE_MS. */
uint64_t signals(int fd);
uint64_t wait_for_signal(int fd);

/* Answers a command of the server's; with an error the header alone. */
void reply_to_dma(uint16_t command, uint16_t id, const void *payload, size_t length, int error);
