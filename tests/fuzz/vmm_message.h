/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages that an input makes: well-formed ones with any fields, and others. */
#pragma once

#include "fuzz.h"
#include "transport/vfio_user_wire.h"

enum { VMM_MESSAGE_MAX = 4096 };

struct vmm_message {
	uint8_t bytes[VMM_MESSAGE_MAX];
	size_t length;
	int fds[32];
	size_t n_fds;
	bool broken; /* its size is not what it says, or its type is none: it may end the stream */
	bool answered; /* there must be one reply */
};

/* A command, chosen field by field. */
void vmm_make_command(struct fuzz_input *in, uint16_t id, struct vmm_message *ret);

/* A write of 4 or 8 bytes to a region. */
void vmm_make_write(uint16_t id, uint32_t region, uint64_t offset, uint64_t value, uint32_t width,
		    struct vmm_message *ret);

/* VERSION, as one of several clients sends it. */
void vmm_make_version(unsigned int client, uint16_t id, struct vmm_message *ret);
