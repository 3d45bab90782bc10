/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "console/rfb.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/syscalls.h"

SYSCALLS(SYSCALL_IF(socketpair, ARG_IS(0, AF_UNIX),
		    ARG_IS(1, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK)),
	 /* libvncserver's */
	 SYSCALL(getpeername), SYSCALL(select), SYSCALL(pselect6), SYSCALL(pipe), SYSCALL(pipe2),
	 SYSCALL(shutdown), SYSCALL_IF(fcntl, ARG_IS(1, F_GETFL)),
	 SYSCALL_IF(fcntl, ARG_IS(1, F_SETFL)),
	 SYSCALL_IF(setsockopt, ARG_IS(1, IPPROTO_TCP), ARG_IS(2, TCP_NODELAY)));

enum {
	GREETING_LENGTH = 12, /* "RFB 003.008\n" */
};

static pthread_mutex_t pool_lock = PTHREAD_MUTEX_INITIALIZER;
static rfbScreenInfoPtr pool[RFB_MAX_SCREENS];
static size_t pool_n;

static pthread_mutex_t negotiation_lock = PTHREAD_MUTEX_INITIALIZER;
static int nowhere = -1; /* /dev/null */

/* This thread has the library do something that it needlessly complains about. */
static _Thread_local bool quiet;

/* --- the log --- */

static void __attribute__((format(printf, 1, 2))) on_log(const char *format, ...)
{
	char line[512];
	va_list args;

	if (!log_enabled(LOG_LEVEL_DEBUG))
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	line[strcspn(line, "\n")] = '\0';
	log_debug("libvncserver: %s", line);
}

/* Viewers can cause these at will. */
static void __attribute__((format(printf, 1, 2))) on_error(const char *format, ...)
{
	char line[512];
	va_list args;

	if (quiet)
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	line[strcspn(line, "\n")] = '\0';
	log_ratelimited(LOG_LEVEL_WARNING, "VNC: %s", line);
}

/* --- screens --- */

static void ignore_key(rfbBool down, rfbKeySym key, rfbClientPtr client)
{
}

static void ignore_pointer(int buttons, int x, int y, rfbClientPtr client)
{
}

static rfbScreenInfoPtr make_screen(void)
{
	rfbScreenInfoPtr screen = rfbGetScreen(NULL, NULL, 640, 480, 8, 3, 4);

	if (!screen)
		return NULL;
	screen->serverFormat.depth = 24;
	screen->serverFormat.redShift = 16;
	screen->serverFormat.greenShift = 8;
	screen->serverFormat.blueShift = 0;
	screen->alwaysShared = TRUE;
	screen->deferUpdateTime = 0; /* the scan interval gathers changes already */
	screen->maxRectsPerUpdate = 0; /* ours are bounded */
	screen->cursor = NULL; /* the guest draws its own */
	screen->kbdAddEvent = ignore_key;
	screen->ptrAddEvent = ignore_pointer;
	return screen;
}

/*
 * rfbGetScreen() initialises, each time, a mutex that all screens share. So all
 * the screens that there will ever be are made before there is any client that
 * could hold it.
 */
static void setup(void)
{
	unsigned char challenge[CHALLENGESIZE];
	char password[] = "none yet";

	rfbLog = on_log;
	rfbErr = on_error;
	rfbRandomBytes(challenge); /* the first call seeds with the time; see seed_challenge() */
	/* The library's library for DES opens files when it is first used. */
	rfbEncryptBytes(challenge, password);
	nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
	for (; pool_n < RFB_MAX_SCREENS; pool_n++) {
		pool[pool_n] = make_screen();
		if (!pool[pool_n])
			break;
	}
}

void rfb_setup(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, setup);
}

rfbScreenInfoPtr rfb_screen_get(void)
{
	rfbScreenInfoPtr screen = NULL;

	pthread_mutex_lock(&pool_lock);
	if (pool_n)
		screen = pool[--pool_n];
	pthread_mutex_unlock(&pool_lock);
	return screen;
}

void rfb_screen_put(rfbScreenInfoPtr screen)
{
	screen->frameBuffer = NULL;
	screen->desktopName = "";
	screen->authPasswdData = NULL;
	screen->screenData = NULL;
	screen->pointerClient = NULL;

	pthread_mutex_lock(&pool_lock);
	pool[pool_n++] = screen;
	pthread_mutex_unlock(&pool_lock);
}

/* --- clients --- */

/*
 * rfbNewClient() first waits 0.1 s for a WebSocket or TLS handshake, and would
 * answer one. WebSockets are not this door's business, so what it gets to see
 * is a socket pair on which something that begins like RFB lies ready; what it
 * writes there is the greeting.
 */
static rfbClientPtr greet_stand_in(rfbScreenInfoPtr screen, char greeting[GREETING_LENGTH])
{
	_cleanup_close_ int far = -1;
	rfbClientPtr client;
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
		return NULL;
	far = pair[1];
	if (pair[0] >= FD_SETSIZE || write(far, "RFB ", 4) != 4) {
		close_fd(pair[0]);
		return NULL;
	}
	quiet = true; /* that this is not TCP */
	client = rfbNewClient(screen, pair[0]); /* closes pair[0] if it fails */
	quiet = false;
	if (!client)
		return NULL;
	if (read(far, greeting, GREETING_LENGTH) != GREETING_LENGTH) {
		rfbCloseClient(client);
		rfbClientConnectionGone(client);
		return NULL;
	}
	return client;
}

rfbClientPtr rfb_client_new(rfbScreenInfoPtr screen, int sock, const char *peer)
{
	_cleanup_close_ int owned = sock;
	char greeting[GREETING_LENGTH];
	rfbClientPtr client = greet_stand_in(screen, greeting);
	char *host;

	if (!client)
		return NULL;
	FD_CLR(client->sock, &screen->allFds);
	close_fd(client->sock);
	client->sock = STEAL_FD(owned);
	FD_SET(client->sock, &screen->allFds);

	host = strdup(peer);
	if (host) {
		free(client->host);
		client->host = host;
	}
	if (!host || rfbWriteExact(client, greeting, sizeof(greeting)) < 0) {
		rfbCloseClient(client);
		rfbClientConnectionGone(client);
		return NULL;
	}
	return client;
}

/* The library makes challenges with random(), which would repeat and be guessed. */
static void seed_challenge(void)
{
	unsigned int seed;

	if (getrandom(&seed, sizeof(seed), 0) == sizeof(seed))
		srandom(seed);
}

/*
 * What a client may choose from is a list that all screens share and that each
 * offer changes to suit the screen it is made for. So the offer is made anew,
 * to nobody, right before the choice is looked up.
 */
static void restore_offer(rfbClientPtr client)
{
	int sock = client->sock;

	client->sock = nowhere;
	rfbAuthNewClient(client);
	if (client->sock >= 0) {
		client->sock = sock;
	} else {
		/* It failed and closed what it was given; so this client is closed. */
		close_fd(sock);
		nowhere = -1;
	}
}

void rfb_client_negotiate(rfbClientPtr client)
{
	bool password = client->screen->authPasswdData;

	pthread_mutex_lock(&negotiation_lock);
	seed_challenge();
	if (client->state == RFB_SECURITY_TYPE)
		restore_offer(client);
	rfbProcessClientMessage(client);
	pthread_mutex_unlock(&negotiation_lock);

	/* Whatever the library's list says: past here only by way of authentication. */
	if (client->sock >= 0 && password && client->state > RFB_AUTHENTICATION) {
		log_ratelimited(LOG_LEVEL_ERROR, "VNC: %s got past the password; disconnected",
				client->host);
		rfbCloseClient(client);
	}
}
