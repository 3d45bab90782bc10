/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest memory by message: DMA_READ and DMA_WRITE, server to client. */
#pragma once

#include "transport/vfio_user_session.h"

/* opaque is the session. */
extern const struct vfio_dma_ops vfio_user_dma_ops;

/* Serves one message that is not the reply waited for. In vfio_user_session.c. */
int vfio_user_session_handle(struct vfio_user_session *session,
			     const struct vfio_user_message *message);
