/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Video memory that is mapped into the guest: a sealed memfd, so that neither
 * side can pull it away from under the other.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct vram {
	int fd;
	uint8_t *memory; /* does not move while the vram lives */
	size_t size; /* bytes, a multiple of the page size */
};

/* Zeroed memory. Returns 0 or a negative errno. */
int vram_init(struct vram *vram, size_t size);

/*
 * Replaces the memory by new, zeroed memory at the same address. Whoever still
 * maps the old sees the old, and nothing of what comes. On failure all is as
 * it was.
 */
int vram_renew(struct vram *vram);

void vram_done(struct vram *vram);
