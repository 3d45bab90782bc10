/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The memory of the guest that we pretend to be: ranges of I/O virtual
 * addresses, each a memfd, that a device is given as a descriptor or serves
 * itself from by message. Answering such messages is what a VMM does, and here
 * it can also be done wrong.
 */
#pragma once

#include "link.h"

enum { GUEST_MAX_RANGES = 16 };

struct guest_range {
	uint64_t iova, size;
	uint8_t *data;
	int fd;
};

/* How DMA_READ and DMA_WRITE are answered. */
enum guest_manner {
	GUEST_WELL,
	GUEST_WITH_ERROR, /* EIO */
	GUEST_WITH_ERROR_UNNAMED, /* an error without an errno */
	GUEST_TOO_SHORT, /* with less data than was asked for */
	GUEST_TOO_LONG,
	GUEST_ABOUT_OTHER, /* another address */
	GUEST_WITH_OTHER_ID, /* first a reply to something else, then the right one */
	GUEST_WITH_SHORT_COUNT, /* counts of 32 bits, padding last: QEMU up to 10.2 */
	GUEST_IN_PIECES, /* right, byte by byte at its start */
	GUEST_LATE, /* after a pause */
	GUEST_NEVER,
};

struct guest {
	struct guest_range ranges[GUEST_MAX_RANGES];
	size_t n_ranges;
	enum guest_manner manner;
	/* Called before each answer: what the guest's CPUs do in the meantime. May be NULL. */
	int (*before)(void *opaque, struct link *link);
	void *opaque;
	unsigned int reads, writes; /* messages */
	unsigned int outside; /* that addressed nothing of ours */
	uint64_t largest; /* count of a message */
};

/* Adds zeroed memory. Returns it, or NULL without memory. */
struct guest_range *guest_add(struct guest *guest, uint64_t iova, uint64_t size);

void guest_done(struct guest *guest);

/* A link_command_fn; opaque is the guest. */
int guest_on_command(void *opaque, struct link *link, const struct message *message);
