/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A real viewer (libvncclient) and a raw one, for the tests of the VNC console. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <rfb/rfbclient.h>

#include "scanout/scanout.h"

struct viewer_options {
	const char *encoding; /* "raw" if NULL */
	const char *password; /* what it answers when asked; NULL: fails the test if asked */
	bool fixed_size; /* does not understand NewFBSize */
};

/* address as in console_describe(). NULL if the server refused. */
rfbClient *viewer_connect(const char *address, const struct viewer_options *options);
void viewer_close(rfbClient *viewer);

/* Processes messages until the picture is what the scanout shows; false after a while. */
bool viewer_matches(rfbClient *viewer, struct scanout *so);

/* Processes messages until a pixel has this colour; false after a while. */
bool viewer_shows(rfbClient *viewer, int x, int y, uint32_t rgb);

/* A connected blocking socket, on which nothing has been said yet. */
int raw_connect(const char *address);

/* Sends and receives exactly so much; false if that cannot be. */
bool raw_send(int fd, const void *data, size_t length);
bool raw_receive(int fd, void *data, size_t length);

/* The handshake of RFB 3.3 without a password. */
bool raw_handshake(int fd);

/* Asks for all of a frame of this size. */
bool raw_request(int fd, uint16_t width, uint16_t height);
