/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The VNC console.
 *
 *     scan thread --copies damage--> picture --each takes its own--> viewer threads
 *                                                       ^
 *     accepting thread --one thread a connection--------+
 *
 * A viewer has a thread, a framebuffer and a libvncserver screen of its own
 * (see rfb.h for why), so that one that stops reading blocks nothing but its
 * own thread. The accepting thread sleeps until somebody connects or leaves; it
 * alone keeps the list of viewers.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "base/text.h"
#include "base/thread.h"
#include "console/vnc.h"

SYSCALLS(SYSCALL(accept4), SYSCALL(poll), SYSCALL(ppoll), SYSCALL(eventfd2),
	 SYSCALL_IF(setsockopt, ARG_IS(1, IPPROTO_TCP), ARG_IS(2, TCP_NODELAY)),
	 SYSCALL_IF(setsockopt, ARG_IS(1, IPPROTO_TCP), ARG_IS(2, TCP_KEEPIDLE)),
	 SYSCALL_IF(setsockopt, ARG_IS(1, SOL_SOCKET), ARG_IS(2, SO_KEEPALIVE)));

enum {
	ACCEPT_PAUSE_MS = 200, /* when descriptors or memory have run out */
	KEEPALIVE_IDLE_S = 60,
};

static void peer_name(const struct sockaddr_storage *sockaddr, socklen_t length, char *ret,
		      size_t size)
{
	const struct address address = { *sockaddr, length };
	_cleanup_free_ char *text = NULL;

	if (sockaddr->ss_family != AF_UNIX)
		text = address_format(&address);
	snprintf(ret, size, "%s", text ? text : "a local process");
}

static void set_tcp_options(int sock)
{
	int one = 1, idle = KEEPALIVE_IDLE_S;

	setsockopt(sock, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	/* A peer that vanished without a word is noticed though nothing is sent to it. */
	setsockopt(sock, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof(one));
	setsockopt(sock, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof(idle));
}

static bool room_for_client(const struct vnc *vnc, const char *peer, int sock)
{
	unsigned int n = 0;

	for (const struct vnc_client *c = vnc->clients; c; c = c->next)
		n++;
	if (n >= VNC_MAX_CLIENTS) {
		log_ratelimited(LOG_LEVEL_WARNING,
				"VNC viewer %s refused: %d are connected, which is the limit", peer,
				VNC_MAX_CLIENTS);
		return false;
	}
	/* libvncserver waits with select(). */
	if (sock >= FD_SETSIZE) {
		log_ratelimited(LOG_LEVEL_WARNING,
				"VNC viewer %s refused: too many files are open for it", peer);
		return false;
	}
	return true;
}

/* Returns false if accepting should pause. */
static bool accept_client(struct vnc *vnc)
{
	struct sockaddr_storage sockaddr = { 0 };
	socklen_t length = sizeof(sockaddr);
	_cleanup_close_ int sock = -1;
	struct vnc_client *client;
	char peer[64];

	sock = accept4(vnc->listener.fd, (struct sockaddr *)&sockaddr, &length,
		       SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (sock < 0) {
		bool short_of =
			errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS;

		if (short_of)
			log_ratelimited(LOG_LEVEL_WARNING, "cannot accept a VNC viewer: %s",
					strerror(errno));
		return !short_of;
	}
	peer_name(&sockaddr, length, peer, sizeof(peer));
	if (!room_for_client(vnc, peer, sock))
		return true;
	if (sockaddr.ss_family != AF_UNIX)
		set_tcp_options(sock);

	client = vnc_client_start(vnc, STEAL_FD(sock), peer);
	if (client) {
		client->next = vnc->clients;
		vnc->clients = client;
	}
	return true;
}

static void join_done_clients(struct vnc *vnc)
{
	struct vnc_client **link = &vnc->clients;

	while (*link) {
		struct vnc_client *client = *link;

		if (client->done) {
			*link = client->next;
			vnc_client_join(client);
		} else {
			link = &client->next;
		}
	}
}

static void stop_all_clients(struct vnc *vnc)
{
	for (struct vnc_client *client = vnc->clients; client; client = client->next)
		vnc_client_stop(client);
	while (vnc->clients) {
		struct vnc_client *client = vnc->clients;

		vnc->clients = client->next;
		vnc_client_join(client);
	}
}

static void *accept_thread(void *arg)
{
	struct vnc *vnc = arg;
	struct pollfd fds[] = {
		{ .fd = vnc->wake_fd, .events = POLLIN },
		{ .fd = vnc->listener.fd, .events = POLLIN },
	};
	bool pause = false;

	while (!vnc->stop) {
		eventfd_t ignored;

		if (poll(fds, pause ? 1 : 2, pause ? ACCEPT_PAUSE_MS : -1) < 0)
			continue;
		if (fds[0].revents)
			eventfd_read(vnc->wake_fd, &ignored);
		join_done_clients(vnc);
		pause = !pause && fds[1].revents && !accept_client(vnc);
		fds[1].revents = 0;
	}
	stop_all_clients(vnc);
	return NULL;
}

/* --- the console's side --- */

static void vnc_free(struct vnc *vnc)
{
	if (!vnc)
		return;
	listener_close(&vnc->listener);
	close_fd(vnc->wake_fd);
	picture_done(&vnc->picture);
	explicit_bzero(vnc->password, sizeof(vnc->password));
	free(vnc->address);
	free(vnc->title);
	free(vnc);
}

static void cleanup_vnc(struct vnc **vnc)
{
	vnc_free(*vnc);
}

static int read_options(struct vnc *vnc, const struct console_spec *spec, char **ret_error)
{
	const char *password_file = console_spec_get(spec, "password-file");
	struct address address;
	int r;

	r = address_parse(spec->address, &address, ret_error);
	if (r < 0)
		return r;
	if (!password_file && !address_is_local(&address))
		return console_fail(
			ret_error, -EINVAL,
			"A VNC console on %s can be reached from other machines, and anybody there "
			"could see the screen; give it a password (password-file=FILE), or listen "
			"on 127.0.0.1 or unix:PATH and reach it through a tunnel.",
			spec->address);
	if (password_file) {
		r = password_read(password_file, vnc->password, ret_error);
		if (r < 0)
			return r;
		vnc->has_password = true;
	}
	return listener_open(&address, &vnc->listener, ret_error);
}

static int vnc_open(const struct console_spec *spec, struct scanout *so, const char *title,
		    struct console **ret, char **ret_error)
{
	_cleanup_(cleanup_vnc) struct vnc *vnc = calloc(1, sizeof(*vnc));
	int r;

	if (!vnc)
		return console_fail(ret_error, -ENOMEM, "There is no memory for a console.");
	vnc->listener = (struct listener){ .fd = -1, .file = UNIX_SOCKET_FILE_NONE };
	vnc->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	picture_init(&vnc->picture, so, RFB_MAX_WIDTH, RFB_MAX_HEIGHT);
	vnc->title = strdup(title ? title : "");
	if (vnc->wake_fd < 0 || !vnc->title)
		return console_fail(ret_error, -ENOMEM, "Cannot make a console: %s.",
				    strerror(errno));

	r = read_options(vnc, spec, ret_error);
	if (r < 0)
		return r;
	vnc->address = address_format(&vnc->listener.address);
	if (!vnc->address)
		return console_fail(ret_error, -ENOMEM, "There is no memory for a console.");
	rfb_setup();
	*ret = &STEAL_PTR(vnc)->console;
	return 0;
}

static int vnc_start(struct console *console, char **ret_error)
{
	struct vnc *vnc = (struct vnc *)console;
	int r = thread_start(&vnc->thread, "vnc", accept_thread, vnc);

	if (r < 0)
		return console_fail(ret_error, r, "Cannot start the console's thread: %s.",
				    strerror(-r));
	vnc->started = true;
	log_info("VNC console on %s", vnc->address);
	return 0;
}

static void vnc_close(struct console *console)
{
	struct vnc *vnc = (struct vnc *)console;

	if (vnc->started) {
		vnc->stop = true;
		eventfd_write(vnc->wake_fd, 1);
		pthread_join(vnc->thread, NULL);
	}
	vnc_free(vnc);
}

static json_t *vnc_describe(struct console *console)
{
	struct vnc *vnc = (struct vnc *)console;
	/* The path of a socket is bytes; JSON is UTF-8. */
	_cleanup_free_ char *address = text_utf8(vnc->address);

	return json_pack("{s:s, s:i, s:b}", "address", address, "viewers",
			 (int)vnc->picture.n_readers, "password", vnc->has_password);
}

const struct console_kind console_vnc = {
	.name = "vnc",
	.help = "vnc={unix:PATH|[HOST:]PORT}[,password-file=FILE]  a VNC server; without HOST on "
		"127.0.0.1",
	.keys = (const char *const[]){ "password-file", NULL },
	.open = vnc_open,
	.start = vnc_start,
	.close = vnc_close,
	.describe = vnc_describe,
};
