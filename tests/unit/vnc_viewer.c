/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vnc_viewer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"

enum {
	PATIENCE_S = 20,
};

/* The client library leaks a byte where a connection is refused: not our leak. */
const char *__lsan_default_suppressions(void);

const char *__lsan_default_suppressions(void)
{
	return "leak:libvncclient";
}

static void quiet(const char *format, ...)
{
}

static char *give_password(rfbClient *viewer)
{
	const char *password = rfbClientGetClientData(viewer, (void *)give_password);

	return strdup(password ? password : "");
}

rfbClient *viewer_connect(const char *address, const struct viewer_options *options)
{
	rfbClient *viewer = rfbGetClient(8, 3, 4);
	const char *colon = strrchr(address, ':');

	rfbClientLog = rfbClientErr = quiet;
	free(viewer->serverHost);
	viewer->format.redShift = 16;
	viewer->format.greenShift = 8;
	viewer->format.blueShift = 0;
	viewer->canHandleNewFBSize = !options->fixed_size;
	viewer->appData.encodingsString = options->encoding ? options->encoding : "raw";
	viewer->appData.enableJPEG = FALSE;
	viewer->GetPassword = give_password;
	rfbClientSetClientData(viewer, (void *)give_password, (void *)options->password);

	if (!strncmp(address, "unix:", 5)) {
		viewer->serverHost = strdup(address + 5);
		viewer->serverPort = 0;
	} else if (*address == '[') {
		viewer->serverHost = strndup(address + 1, (size_t)(colon - address) - 2);
		viewer->serverPort = atoi(colon + 1);
	} else {
		viewer->serverHost = strndup(address, (size_t)(colon - address));
		viewer->serverPort = atoi(colon + 1);
	}
	if (!rfbInitClient(viewer, NULL, NULL))
		return NULL;
	/* Hextile and nothing else: libvncclient always claims ExtendedDesktopSize. */
	if (options->fixed_size)
		WriteToRFBServer(viewer, "\2\0\0\1\0\0\0\5", 8);
	return viewer;
}

void viewer_close(rfbClient *viewer)
{
	free(viewer->frameBuffer);
	rfbClientCleanup(viewer);
}

static bool step(rfbClient *viewer)
{
	int n = WaitForMessage(viewer, 20000);

	return n == 0 || (n > 0 && HandleRFBServerMessage(viewer));
}

static __attribute__((no_sanitize("thread"))) bool same(rfbClient *viewer, struct scanout *so)
{
	struct scanout_image image;
	bool equal;

	if (scanout_capture(so, &image) < 0)
		return false;
	equal = viewer->width == (int)image.width && viewer->height == (int)image.height;
	for (size_t i = 0; equal && i < (size_t)image.width * image.height; i++)
		equal = !((((uint32_t *)viewer->frameBuffer)[i] ^ image.pixels[i]) & 0xffffff);
	scanout_image_done(&image);
	return equal;
}

bool viewer_matches(rfbClient *viewer, struct scanout *so)
{
	uint64_t end = clock_ns() + (uint64_t)PATIENCE_S * 1000000000;

	while (clock_ns() < end) {
		if (same(viewer, so))
			return true;
		if (!step(viewer))
			return false;
	}
	return false;
}

bool viewer_shows(rfbClient *viewer, int x, int y, uint32_t rgb)
{
	uint64_t end = clock_ns() + (uint64_t)PATIENCE_S * 1000000000;

	while (clock_ns() < end) {
		if (x < viewer->width && y < viewer->height &&
		    (((uint32_t *)viewer->frameBuffer)[y * viewer->width + x] & 0xffffff) == rgb)
			return true;
		if (!step(viewer))
			return false;
	}
	return false;
}

int raw_connect(const char *address)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	struct sockaddr_in in = { .sin_family = AF_INET };
	bool is_unix = !strncmp(address, "unix:", 5);
	int fd = socket(is_unix ? AF_UNIX : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (is_unix) {
		strncpy(un.sun_path, address + 5, sizeof(un.sun_path) - 1);
		if (!connect(fd, (struct sockaddr *)&un, sizeof(un)))
			return fd;
	} else {
		in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		in.sin_port = htons((uint16_t)atoi(strrchr(address, ':') + 1));
		if (!connect(fd, (struct sockaddr *)&in, sizeof(in)))
			return fd;
	}
	close(fd);
	return -1;
}

bool raw_send(int fd, const void *data, size_t length)
{
	return send(fd, data, length, MSG_NOSIGNAL) == (ssize_t)length;
}

bool raw_receive(int fd, void *data, size_t length)
{
	return recv(fd, data, length, MSG_WAITALL) == (ssize_t)length;
}

bool raw_handshake(int fd)
{
	char version[12], security[4], init[24], name[256];

	return raw_receive(fd, version, 12) && !memcmp(version, "RFB 003.008\n", 12) &&
	       raw_send(fd, "RFB 003.003\n", 12) && raw_receive(fd, security, 4) &&
	       security[3] == 1 && raw_send(fd, "\1", 1) && raw_receive(fd, init, 24) &&
	       raw_receive(fd, name, (size_t)(unsigned char)init[23]);
}

bool raw_request(int fd, uint16_t width, uint16_t height)
{
	const uint8_t request[10] = {
		3,
		0,
		0,
		0,
		0,
		0,
		(uint8_t)(width >> 8),
		(uint8_t)width,
		(uint8_t)(height >> 8),
		(uint8_t)height,
	};

	return raw_send(fd, request, sizeof(request));
}
