/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vfio-user door: struct probe_device over a link. The checks of the
 * protocol itself use the link, everything else the device.
 */
#pragma once

#include <jansson.h>

#include "link.h"

/* What VERSION agreed on, with the specification's defaults for what was left out. */
struct vfio_user_agreed {
	uint16_t major, minor;
	json_t *data; /* the reply's JSON, an object; NULL if there was none */
	uint64_t max_msg_fds, max_data_xfer_size, max_dma_maps, pgsizes;
	bool write_multiple, twin_socket;
};

struct vfio_user_door {
	struct probe_device dev;
	struct link link;
	struct vfio_user_agreed agreed;
};

/* What we offer; the second with a twin socket. */
extern const char vfio_user_offer[], vfio_user_twin_offer[];

/*
 * Connects to the socket at path and agrees on a version. Returns 0, a negative
 * errno, or a PROBE_ error with its reason in error (PROBE_ERROR_SIZE bytes).
 */
int vfio_user_open(const char *path, unsigned int timeout_ms, struct vfio_user_door **ret,
		   char *error);

/* As vfio_user_open(), but says nothing yet. */
int vfio_user_connect(const char *path, unsigned int timeout_ms, struct vfio_user_door **ret,
		      char *error);

/*
 * Sends VERSION with data of length bytes behind the numbers (NULL: none) and
 * takes the reply: checks that it is one and that its data is JSON.
 */
int vfio_user_propose(struct vfio_user_door *door, uint16_t major, uint16_t minor, const char *data,
		      size_t length);

void vfio_user_close(struct vfio_user_door *door);

/* GET_REGION_INFO with an argsz of our choice: the reply as it came. */
int vfio_user_region_info(struct vfio_user_door *door, uint32_t index, uint32_t argsz,
			  struct message *ret);
