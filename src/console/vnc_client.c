/* SPDX-License-Identifier: GPL-2.0-or-later */
/* One VNC viewer: its thread, and all calls into libvncserver about it. */
#include <endian.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "console/vnc.h"

SYSCALLS(SYSCALL(poll), SYSCALL(ppoll), SYSCALL(eventfd2), SYSCALL(recvfrom), SYSCALL(shutdown),
	 SYSCALL_IF(fcntl, ARG_IS(1, F_DUPFD_CLOEXEC)),
	 SYSCALL_IF(getsockopt, ARG_IS(1, SOL_SOCKET), ARG_IS(2, SO_DOMAIN)),
	 SYSCALL_IF(getsockopt, ARG_IS(1, SOL_SOCKET), ARG_IS(2, SO_SNDBUF)),
	 SYSCALL_IF(setsockopt, ARG_IS(1, SOL_SOCKET), ARG_IS(2, SO_SNDBUF)));

enum {
	HANDSHAKE_S = 15, /* a person types a password before connecting, not in between */
	STALL_MS = 20000, /* a viewer that neither reads nor sends the rest of a message */
	PARTIAL_PAUSE_MS = 20,
	WRONG_PASSWORD_PAUSE_MS = 1000,
	MAX_CUT_TEXT = 1 << 20,
	SEND_BUFFER = 64 << 10, /* of a local viewer */
};

/*
 * libvncserver waits in select() for a viewer that does not read, up to five
 * seconds at a time. shutdown() ends that wait for TCP; a UNIX socket stays
 * "not writable" all the same, until less than a quarter of its send buffer is
 * in use. So it is given a buffer that is small enough beside the largest one
 * that the kernel allows (what is queued may exceed it by half), and to wake its
 * thread it gets the largest.
 */
static void limit_send_buffer(int fd)
{
	int size = INT_MAX, domain = 0;
	socklen_t length = sizeof(domain);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0 || domain != AF_UNIX)
		return;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	length = sizeof(size);
	if (getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &length) < 0)
		return;
	size /= 7 * 2; /* the kernel doubles what it is given */
	if (size > SEND_BUFFER)
		size = SEND_BUFFER;
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

static void shut_down(int fd)
{
	int size = INT_MAX;

	shutdown(fd, SHUT_RDWR);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

/* Sleeps, but not on after the client is to stop. */
static void pause_ms(const struct vnc_client *client, int ms)
{
	uint64_t end = clock_ns() + (uint64_t)ms * 1000000;

	while (!client->stop) {
		struct pollfd fd = { .fd = client->wake_fd, .events = POLLIN };
		uint64_t now = clock_ns();
		eventfd_t ignored;

		if (now >= end)
			return;
		if (poll(&fd, 1, (int)((end - now) / 1000000) + 1) > 0)
			eventfd_read(client->wake_fd, &ignored);
	}
}

/* --- authentication --- */

static rfbBool check_password(rfbClientPtr rfb, const char *response, int length)
{
	struct vnc_client *client = rfb->screen->screenData;
	uint8_t expected[CHALLENGESIZE];
	unsigned int difference = 0;

	memcpy(expected, rfb->authChallenge, sizeof(expected));
	rfbEncryptBytes(expected, client->vnc->password);
	for (int i = 0; i < CHALLENGESIZE && i < length; i++)
		difference |= expected[i] ^ (uint8_t)response[i];
	explicit_bzero(expected, sizeof(expected));
	if (!difference)
		return TRUE;

	log_ratelimited(LOG_LEVEL_WARNING, "VNC viewer %s gave a wrong password", client->peer);
	/* Eight characters can be guessed: not at any speed, though. */
	pause_ms(client, WRONG_PASSWORD_PAUSE_MS);
	return FALSE;
}

/* --- the viewer's framebuffer --- */

static void drop_frame(struct vnc_client *client)
{
	client->screen->frameBuffer = NULL;
	free(STEAL_PTR(client->pixels));
	client->vnc->frame_bytes -= client->frame_bytes;
	client->frame_bytes = 0;
}

/* False if the console's viewers would have more than they may. */
static bool reserve_frame(struct vnc_client *client, size_t bytes)
{
	size_t used = client->vnc->frame_bytes;

	do {
		if (bytes > VNC_MAX_FRAME_BYTES - used)
			return false;
	} while (!atomic_compare_exchange_weak(&client->vnc->frame_bytes, &used, used + bytes));
	client->frame_bytes = bytes;
	return true;
}

/* The old frame goes first, so that a viewer never counts twice. */
static bool renew_frame(struct vnc_client *client, uint32_t width, uint32_t height)
{
	size_t bytes = (size_t)width * height * sizeof(*client->pixels);

	drop_frame(client);
	if (!reserve_frame(client, bytes)) {
		log_ratelimited(LOG_LEVEL_WARNING,
				"VNC viewer %s disconnected: a frame of %ux%u for it too would "
				"take this console's viewers above %d MiB",
				client->peer, width, height, VNC_MAX_FRAME_BYTES >> 20);
		return false;
	}
	client->pixels = calloc(1, bytes);
	if (!client->pixels) {
		log_ratelimited(LOG_LEVEL_ERROR, "no memory to show %s a frame of %ux%u",
				client->peer, width, height);
		return false;
	}
	client->screen->frameBuffer = (char *)client->pixels;
	return true;
}

/*
 * Gives the screen a framebuffer of this size, black. Tells a viewer that has
 * been told another size before, and can be told. Returns false if there is none
 * to have: then the client must be closed, and nothing be sent to it.
 *
 * rfbNewFramebuffer() would do this for all viewers of a screen, but also set a
 * pixel format that is not ours.
 */
static bool set_size(struct vnc_client *client, uint32_t width, uint32_t height)
{
	rfbScreenInfoPtr screen = client->screen;
	rfbClientPtr rfb = client->rfb;

	if (!renew_frame(client, width, height))
		return false;
	screen->width = (int)width;
	screen->height = (int)height;
	screen->paddedWidthInBytes = (int)width * 4;
	if (!rfb)
		return true;

	sraRgnDestroy(rfb->modifiedRegion);
	rfb->modifiedRegion = sraRgnCreateRect(0, 0, (int)width, (int)height);
	sraRgnMakeEmpty(rfb->copyRegion);
	if (rfb->useNewFBSize)
		rfb->newFBSizePending = TRUE;
	if (client->attached)
		reader_restart(&client->reader);
	return true;
}

/* The size of the screen at this moment, for a viewer that has seen nothing of it yet. */
static bool set_first_size(struct vnc_client *client)
{
	struct scanout_info info;
	uint32_t width = SCANOUT_OFF_WIDTH, height = SCANOUT_OFF_HEIGHT;

	if (!client->attached || !reader_size(&client->reader, &width, &height)) {
		scanout_get_info(client->vnc->picture.so, &info);
		if (info.state != SCANOUT_OFF) {
			width = info.mode.width < RFB_MAX_WIDTH ? info.mode.width : RFB_MAX_WIDTH;
			height = scanout_view_height(info.mode.width, info.mode.height);
		}
	}
	if (client->pixels && client->screen->width == (int)width &&
	    client->screen->height == (int)height)
		return true;
	return set_size(client, width, height);
}

static void mark_modified(rfbClientPtr rfb, pixman_region32_t *region)
{
	int n;
	const pixman_box32_t *boxes = pixman_region32_rectangles(region, &n);

	for (int i = 0; i < n; i++) {
		sraRegionPtr box =
			sraRgnCreateRect(boxes[i].x1, boxes[i].y1, boxes[i].x2, boxes[i].y2);

		sraRgnOr(rfb->modifiedRegion, box);
		sraRgnDestroy(box);
	}
}

/*
 * Follows the size of the picture. A viewer that cannot be told of another size
 * keeps the one it has, and sees the part that fits, on black.
 */
static bool follow_size(struct vnc_client *client, uint32_t width, uint32_t height)
{
	uint32_t own_width = (uint32_t)client->screen->width;
	uint32_t own_height = (uint32_t)client->screen->height;
	bool news = client->seen_width != width || client->seen_height != height;

	client->seen_width = width;
	client->seen_height = height;
	if (!client->rfb->useNewFBSize)
		return !news || set_size(client, own_width, own_height);
	return (own_width == width && own_height == height) || set_size(client, width, height);
}

/* Takes over what changed in the picture. Returns false if nothing did. */
static bool take_damage(struct vnc_client *client)
{
	pixman_region32_t region;
	bool any;

	pixman_region32_init(&region);
	any = reader_take(&client->reader, client->pixels, (uint32_t)client->screen->width,
			  (uint32_t)client->screen->height, &region);
	mark_modified(client->rfb, &region);
	pixman_region32_fini(&region);
	return any;
}

/*
 * Sends what the viewer has asked for. It may take any time. Nothing is taken
 * from the picture for a viewer that has not asked, so that one that is slow
 * skips what it is too late for.
 */
static void update(struct vnc_client *client)
{
	rfbClientPtr rfb = client->rfb;
	uint32_t width, height;

	while (rfb->sock >= 0 && !client->stop && !sraRgnEmpty(rfb->requestedRegion)) {
		bool more;

		if (!reader_size(&client->reader, &width, &height))
			return;
		if (!follow_size(client, width, height)) {
			rfbCloseClient(rfb);
			return;
		}
		more = take_damage(client);
		rfbUpdateClient(rfb);
		if (!more)
			return;
	}
}

/* --- messages --- */

/* The viewer's clipboard goes nowhere yet; it is read and dropped. */
static void skip_cut_text(rfbClientPtr rfb)
{
	uint8_t header[8];
	char buffer[4096];
	uint32_t left;

	if (rfbReadExact(rfb, (char *)header, sizeof(header)) <= 0)
		goto close;
	memcpy(&left, header + 4, sizeof(left));
	left = be32toh(left);
	if (left > INT32_MAX) /* the extended clipboard says so by a negative length */
		left = -left;
	if (left > MAX_CUT_TEXT)
		goto close;
	while (left) {
		uint32_t n = left < sizeof(buffer) ? left : sizeof(buffer);

		if (rfbReadExact(rfb, buffer, (int)n) <= 0)
			goto close;
		left -= n;
	}
	return;

close:
	rfbCloseClient(rfb);
}

/*
 * Encodings that viewers of today ask for. What else the library has is old
 * and seldom used; who asks for it gets raw pixels, which everybody understands.
 */
static void restrict_encodings(rfbClientPtr rfb)
{
	switch (rfb->preferredEncoding) {
	case -1:
	case rfbEncodingRaw:
	case rfbEncodingHextile:
	case rfbEncodingZlib:
	case rfbEncodingZRLE:
	case rfbEncodingTight:
	case rfbEncodingTightPng:
		break;
	default:
		rfb->preferredEncoding = rfbEncodingRaw;
	}
	/* There is no cursor image yet, and an empty one would hide the viewer's own. */
	rfb->enableCursorShapeUpdates = FALSE;
	rfb->enableCursorPosUpdates = FALSE;
}

static void process_message(struct vnc_client *client, uint8_t type)
{
	rfbClientPtr rfb = client->rfb;

	switch (type) {
	case rfbSetPixelFormat:
	case rfbFramebufferUpdateRequest:
	case rfbKeyEvent:
	case rfbPointerEvent:
	case rfbSetDesktopSize: /* viewers send it when their window changes; it is declined */
		rfbProcessClientMessage(rfb);
		break;
	case rfbSetEncodings:
		rfbProcessClientMessage(rfb);
		restrict_encodings(rfb);
		break;
	case rfbClientCutText:
		skip_cut_text(rfb);
		break;
	default:
		/* File transfer, chat, scaling...: none of it is offered. */
		log_ratelimited(LOG_LEVEL_WARNING,
				"VNC viewer %s sent a message of type %u, which is not served; "
				"disconnected",
				client->peer, type);
		rfbCloseClient(rfb);
	}
}

/* Bytes that must be there before a message of the handshake is processed. */
static ssize_t handshake_length(int state)
{
	switch (state) {
	case RFB_PROTOCOL_VERSION:
		return sz_rfbProtocolVersionMsg;
	case RFB_AUTHENTICATION:
		return CHALLENGESIZE;
	default:
		return 1;
	}
}

static void attach(struct vnc_client *client)
{
	int r = reader_attach(&client->vnc->picture, &client->reader, client->wake_fd);

	if (r < 0) {
		log_ratelimited(LOG_LEVEL_ERROR, "cannot show VNC viewer %s the screen: %s",
				client->peer, strerror(-r));
		rfbCloseClient(client->rfb);
		return;
	}
	client->attached = true;
	log_ratelimited(LOG_LEVEL_INFO, "VNC viewer %s connected", client->peer);
}

static void process_handshake(struct vnc_client *client)
{
	rfbClientPtr rfb = client->rfb;

	if (rfb->state < RFB_AUTHENTICATION) {
		rfb_client_negotiate(rfb);
	} else if (rfb->state == RFB_AUTHENTICATION || set_first_size(client)) {
		rfbProcessClientMessage(rfb);
	} else {
		rfbCloseClient(rfb);
	}
	/* From here on it is somebody who may look. */
	if (rfb->sock >= 0 && !client->attached && rfb->state >= RFB_INITIALISATION)
		attach(client);
}

static void process_input(struct vnc_client *client)
{
	rfbClientPtr rfb = client->rfb;
	uint8_t peek[CHALLENGESIZE];
	ssize_t n = recv(rfb->sock, peek, sizeof(peek), MSG_PEEK | MSG_DONTWAIT);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0)
		rfbCloseClient(rfb);
	else if (rfb->state == RFB_NORMAL)
		process_message(client, peek[0]);
	else if (n >= handshake_length(rfb->state))
		process_handshake(client);
	else
		pause_ms(client, PARTIAL_PAUSE_MS); /* poll() would return at once */
}

/* --- the thread --- */

/* Milliseconds until the handshake has taken too long; -1 after it. */
static int time_left(const struct vnc_client *client)
{
	uint64_t now = clock_ns();

	if (client->rfb->state == RFB_NORMAL)
		return -1;
	return now < client->deadline_ns ? (int)((client->deadline_ns - now) / 1000000) + 1 : 0;
}

static void serve(struct vnc_client *client)
{
	rfbClientPtr rfb = client->rfb;

	while (rfb->sock >= 0 && !client->stop) {
		struct pollfd fds[] = {
			{ .fd = client->wake_fd, .events = POLLIN },
			{ .fd = rfb->sock, .events = POLLIN },
		};
		int timeout = time_left(client);
		eventfd_t ignored;

		if (!timeout) {
			log_ratelimited(LOG_LEVEL_WARNING,
					"VNC viewer %s took too long to introduce itself",
					client->peer);
			return;
		}
		if (poll(fds, ARRAY_SIZE(fds), timeout) <= 0)
			continue;
		if (fds[0].revents)
			eventfd_read(client->wake_fd, &ignored);
		if (fds[1].revents)
			process_input(client);
		if (rfb->sock >= 0 && rfb->state == RFB_NORMAL)
			update(client);
	}
}

static void prepare_screen(struct vnc_client *client)
{
	rfbScreenInfoPtr screen = client->screen;

	screen->screenData = client;
	screen->desktopName = client->vnc->title;
	screen->maxClientWait = STALL_MS;
	screen->authPasswdData = client->vnc->has_password ? client->vnc->password : NULL;
	screen->passwordCheck = check_password;
}

static void run(struct vnc_client *client)
{
	client->deadline_ns = clock_ns() + (uint64_t)HANDSHAKE_S * 1000000000;
	prepare_screen(client);
	/* Little, until it has proved that it may look: then set_first_size() is called. */
	if (!set_size(client, SCANOUT_OFF_WIDTH, SCANOUT_OFF_HEIGHT))
		return;
	client->rfb = rfb_client_new(client->screen, STEAL_FD(client->sock), client->peer);
	if (!client->rfb)
		return;

	serve(client);

	if (client->attached) {
		reader_detach(&client->reader);
		log_ratelimited(LOG_LEVEL_INFO, "VNC viewer %s disconnected", client->peer);
	}
	if (client->rfb->sock >= 0)
		rfbCloseClient(client->rfb);
	rfbClientConnectionGone(client->rfb);
}

static void *client_thread(void *arg)
{
	struct vnc_client *client = arg;
	int wake_fd = client->vnc->wake_fd;

	run(client);
	drop_frame(client);
	rfb_screen_put(client->screen);
	client->done = true;
	eventfd_write(wake_fd, 1);
	return NULL;
}

static void client_free(struct vnc_client *client)
{
	close_fd(client->sock);
	close_fd(client->fd);
	close_fd(client->wake_fd);
	free(client);
}

struct vnc_client *vnc_client_start(struct vnc *vnc, int sock, const char *peer)
{
	struct vnc_client *client = calloc(1, sizeof(*client));

	if (!client) {
		close_fd(sock);
		return NULL;
	}
	client->vnc = vnc;
	client->sock = sock;
	client->fd = fcntl(sock, F_DUPFD_CLOEXEC, 0);
	client->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	client->screen = rfb_screen_get();
	limit_send_buffer(sock);
	snprintf(client->peer, sizeof(client->peer), "%s", peer);

	if (client->fd < 0 || client->wake_fd < 0 || !client->screen ||
	    thread_start(&client->thread, "vnc-viewer", client_thread, client) < 0) {
		log_ratelimited(LOG_LEVEL_WARNING, "VNC viewer %s refused: out of resources", peer);
		if (client->screen)
			rfb_screen_put(client->screen);
		client_free(client);
		return NULL;
	}
	return client;
}

void vnc_client_stop(struct vnc_client *client)
{
	client->stop = true;
	shut_down(client->fd);
	eventfd_write(client->wake_fd, 1);
}

void vnc_client_join(struct vnc_client *client)
{
	pthread_join(client->thread, NULL);
	client_free(client);
}
