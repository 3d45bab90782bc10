/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The answer to VFIO_DEVICE_GET_REGION_INFO, whatever door it came through. */
#pragma once

#include "device.h"

/*
 * Reads struct vfio_region_info and the capabilities behind it out of
 * payload[0..length), all of it checked. ret->fd is -1. Returns 0, or -EPROTO
 * with the reason in ret_why (PROBE_ERROR_SIZE bytes).
 */
int region_info_parse(const uint8_t *payload, size_t length, uint32_t index,
		      struct probe_region *ret, char *ret_why);
