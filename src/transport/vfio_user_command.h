/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The command table: every command of a client, checked and carried out. */
#pragma once

#include "transport/vfio_user_session.h"

/* A reply in the making. */
struct vfio_user_reply {
	uint8_t *payload; /* room for VFIO_USER_MAX_MESSAGE less a header */
	size_t length; /* bytes of payload */
	int fds[VFIO_USER_MAX_FDS]; /* the device's; sent, not closed */
	size_t n_fds;
	/* The region that was accessed, whose latency this reply ends; else NULL. */
	struct vfio_region *region;
};

/*
 * Carries out one command and fills *reply (whose payload points to room).
 * Returns 0, or the negative errno to reply with.
 */
int vfio_user_command(struct vfio_user_session *session, const struct vfio_user_message *message,
		      struct vfio_user_reply *reply);

/* "REGION_READ"; "unknown" for what there is not. */
const char *vfio_user_command_name(uint16_t command);

/* VFIO_USER_VERSION: negotiates. In vfio_user_version.c. */
int vfio_user_version(struct vfio_user_session *session, const struct vfio_user_message *message,
		      struct vfio_user_reply *reply);
