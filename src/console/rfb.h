/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * libvncserver, used in the only way that keeps viewers apart: every viewer has
 * a screen of its own and one thread, ours, on which all calls about it are
 * made. This file hides what the library shares between screens all the same.
 *
 * Why not its threaded mode: there, viewers share a screen, and whoever marks
 * damage or changes the framebuffer takes, for each viewer, locks that the
 * viewer's thread holds while it is blocked in write(): rfbNewFramebuffer()
 * waits for the slowest viewer's sendMutex. It also walks the list of clients
 * without a lock that would cover the walk.
 */
#pragma once

#include <stdbool.h>

#include <rfb/rfb.h>
#include <rfb/rfbregion.h>

#include "scanout/scanout.h"

enum {
	RFB_MAX_SCREENS = 64, /* viewers in this process, of all consoles together */
	/*
	 * libvncserver sends raw pixels through a buffer that must hold a row of
	 * 32-bit pixels, the header of a rectangle and that of an update.
	 */
	RFB_MAX_WIDTH = (UPDATE_BUF_SIZE - 16) / 4,
	RFB_MAX_HEIGHT = SCANOUT_MAX_SIZE,
};

/* Prepares the library; may be called by any thread, as often as it likes. */
void rfb_setup(void);

/* A screen without framebuffer and clients; NULL if all are in use. */
rfbScreenInfoPtr rfb_screen_get(void);
void rfb_screen_put(rfbScreenInfoPtr screen);

/*
 * A client for a connection that has just been accepted; greets it. The client
 * owns `sock` (non-blocking, below FD_SETSIZE) from the start, even if this
 * returns NULL. peer names it in the log.
 */
rfbClientPtr rfb_client_new(rfbScreenInfoPtr screen, int sock, const char *peer);

/*
 * Processes one message of a client that has not got past the choice of its
 * security type. The message must have arrived in full. Closes a client that
 * got past a password it was to give.
 */
void rfb_client_negotiate(rfbClientPtr client);
