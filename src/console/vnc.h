/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VNC console and its viewers. Private to the two files that make it. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>

#include "console/kind.h"
#include "console/listener.h"
#include "console/password.h"
#include "console/picture.h"
#include "console/rfb.h"

enum {
	VNC_MAX_CLIENTS = 16, /* of one console */
	/*
	 * Of the frames that a console's viewers have of their own, together; the
	 * guest chooses their size. Enough for all of them at 3840x2160, or for four
	 * at the largest that there is (SCANOUT_VIEW_MAX_PIXELS). Who does not fit in
	 * is disconnected.
	 */
	VNC_MAX_FRAME_BYTES = 512 << 20,
};

struct vnc_client;

struct vnc {
	struct console console;
	char *title;
	char *address; /* for people */
	bool has_password;
	char password[PASSWORD_MAX + 1];
	struct listener listener;
	struct picture picture;
	_Atomic size_t frame_bytes; /* of all clients' pixels */

	int wake_fd; /* eventfd: stop, or a client is done */
	_Atomic bool stop;
	bool started;
	pthread_t thread; /* accepts, once started; the only one that touches clients */
	struct vnc_client *clients;
};

struct vnc_client {
	struct vnc *vnc;
	struct vnc_client *next; /* the accepting thread's */
	pthread_t thread;
	char peer[64];
	int fd; /* the connection once more, so that another thread may shut it down */
	int wake_fd; /* eventfd: stop, or the picture changed */
	_Atomic bool stop;
	_Atomic bool done; /* the thread is about to end */

	/* The client's thread's alone. */
	int sock; /* until libvncserver owns it */
	rfbScreenInfoPtr screen;
	rfbClientPtr rfb;
	uint32_t *pixels; /* the screen's framebuffer */
	size_t frame_bytes; /* what is reserved for it */
	bool attached;
	struct reader reader;
	uint32_t seen_width, seen_height; /* of the picture; 0: none seen yet */
	uint64_t deadline_ns; /* for what comes before the first picture */
};

/*
 * Serves a connection on a thread of its own; takes sock. Writes to
 * vnc->wake_fd when the client is done. Returns NULL if it can't be served.
 */
struct vnc_client *vnc_client_start(struct vnc *vnc, int sock, const char *peer);

/* Makes the thread end soon, wherever it is blocked. */
void vnc_client_stop(struct vnc_client *client);

/* Waits for the thread and frees the client. */
void vnc_client_join(struct vnc_client *client);
