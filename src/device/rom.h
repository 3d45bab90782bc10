/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Option ROM images (PCI Firmware Specification 3.0, 5.1). */
#pragma once

#include <stdint.h>

/*
 * Reads an image from a file, checks that it is an option ROM, and pads it
 * with 0xff to a power of two. It warns if the image names another device.
 * Returns 0 with *ret_memory, which the caller frees, and its size in bytes;
 * or a negative errno (-ENOEXEC: it is none) with *ret_error, a sentence that the
 * caller frees.
 */
int rom_load(const char *path, uint16_t vendor, uint16_t device, uint8_t **ret_memory,
	     uint64_t *ret_size, char **ret_error);
