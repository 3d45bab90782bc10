/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "console/listener.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "console/kind.h"

enum {
	BACKLOG = 16,
};

static int parse_unix(const char *path, struct address *ret, char **ret_error)
{
	struct sockaddr_un un = { .sun_family = AF_UNIX };

	if (!*path)
		return console_fail(ret_error, -EINVAL,
				    "'unix:' wants the path of a socket after it.");
	if (strlen(path) >= sizeof(un.sun_path))
		return console_fail(ret_error, -EINVAL,
				    "The socket path '%s' is longer than the %zu bytes that the "
				    "kernel takes; use a shorter one.",
				    path, sizeof(un.sun_path) - 1);
	memcpy(un.sun_path, path, strlen(path));
	memcpy(&ret->sockaddr, &un, sizeof(un));
	ret->length = sizeof(un);
	return 0;
}

static bool parse_port(const char *text, in_port_t *ret)
{
	unsigned long port;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	port = strtoul(text, &end, 10);
	if (errno || *end || port > UINT16_MAX)
		return false;
	*ret = htons((uint16_t)port);
	return true;
}

/* host is without brackets; empty is 127.0.0.1 */
static bool set_host(const char *host, bool brackets, in_port_t port, struct address *ret)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = port };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_port = port };

	if (brackets) {
		if (inet_pton(AF_INET6, host, &in6.sin6_addr) != 1)
			return false;
		memcpy(&ret->sockaddr, &in6, sizeof(in6));
		ret->length = sizeof(in6);
		return true;
	}
	if (inet_pton(AF_INET, strcmp(host, "localhost") ? host : "127.0.0.1", &in.sin_addr) != 1)
		return false;
	memcpy(&ret->sockaddr, &in, sizeof(in));
	ret->length = sizeof(in);
	return true;
}

static bool parse_inet(const char *text, struct address *ret)
{
	_cleanup_free_ char *copy = strdup(text);
	bool brackets = *text == '[';
	const char *host;
	in_port_t port;
	char *colon;

	if (!copy)
		return false;
	colon = strrchr(copy, ':');
	if (!colon)
		return parse_port(copy, &port) && set_host("127.0.0.1", false, port, ret);

	*colon = '\0';
	host = copy + brackets;
	if (brackets) {
		if (colon[-1] != ']')
			return false;
		colon[-1] = '\0';
	}
	return parse_port(colon + 1, &port) && set_host(host, brackets, port, ret);
}

int address_parse(const char *text, struct address *ret, char **ret_error)
{
	struct address address = { 0 };
	int r;

	if (!strncmp(text, "unix:", 5)) {
		r = parse_unix(text + 5, &address, ret_error);
		if (r < 0)
			return r;
	} else if (!parse_inet(text, &address)) {
		return console_fail(ret_error, -EINVAL,
				    "'%s' is no address to listen on; write unix:PATH, PORT or "
				    "HOST:PORT, where HOST is an IPv4 address, an IPv6 address in "
				    "brackets or localhost (0.0.0.0 or [::] for every interface).",
				    text);
	}
	*ret = address;
	return 0;
}

bool address_is_local(const struct address *address)
{
	struct sockaddr_in in;
	struct sockaddr_in6 in6;

	switch (address->sockaddr.ss_family) {
	case AF_INET:
		memcpy(&in, &address->sockaddr, sizeof(in));
		return ntohl(in.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
	case AF_INET6:
		memcpy(&in6, &address->sockaddr, sizeof(in6));
		if (IN6_IS_ADDR_V4MAPPED(&in6.sin6_addr))
			return in6.sin6_addr.s6_addr[12] == IN_LOOPBACKNET;
		return IN6_IS_ADDR_LOOPBACK(&in6.sin6_addr);
	default:
		return true;
	}
}

char *address_format(const struct address *address)
{
	char host[INET6_ADDRSTRLEN] = "";
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
	struct sockaddr_un un;
	char *text;
	int n;

	switch (address->sockaddr.ss_family) {
	case AF_INET:
		memcpy(&in, &address->sockaddr, sizeof(in));
		inet_ntop(AF_INET, &in.sin_addr, host, sizeof(host));
		n = asprintf(&text, "%s:%u", host, ntohs(in.sin_port));
		break;
	case AF_INET6:
		memcpy(&in6, &address->sockaddr, sizeof(in6));
		inet_ntop(AF_INET6, &in6.sin6_addr, host, sizeof(host));
		n = asprintf(&text, "[%s]:%u", host, ntohs(in6.sin6_port));
		break;
	default:
		memcpy(&un, &address->sockaddr, sizeof(un));
		n = asprintf(&text, "unix:%s", un.sun_path);
	}
	return n < 0 ? NULL : text;
}

static int bind_inet(int fd, const struct address *address, char **ret_error)
{
	_cleanup_free_ char *text = address_format(address);
	int one = 1, zero = 0;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	/* So that [::] is every interface, of IPv4 too, however the system is set up. */
	if (address->sockaddr.ss_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof(zero));
	if (bind(fd, (const struct sockaddr *)&address->sockaddr, address->length) < 0)
		return console_fail(ret_error, -errno, "Cannot listen on %s: %s.",
				    text ? text : "that address", strerror(errno));
	return 0;
}

static int listen_unix(const struct address *address, struct listener *listener, char **ret_error)
{
	struct sockaddr_un un;
	int fd, r;

	memcpy(&un, &address->sockaddr, sizeof(un));
	fd = unix_listen(un.sun_path, 0600, BACKLOG);
	if (fd < 0) {
		*ret_error = unix_listen_error(un.sun_path, fd);
		return fd;
	}
	listener->fd = fd;
	r = unix_socket_file_remember(un.sun_path, &listener->file);
	if (r < 0)
		return console_fail(ret_error, r, "Cannot listen on %s: %s.", un.sun_path,
				    strerror(-r));
	return 0;
}

static int listen_inet(const struct address *address, struct listener *listener, char **ret_error)
{
	int r;

	listener->fd =
		socket(address->sockaddr.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener->fd < 0)
		return console_fail(ret_error, -errno, "Cannot make a socket: %s.",
				    strerror(errno));
	r = bind_inet(listener->fd, address, ret_error);
	if (r < 0)
		return r;
	if (listen(listener->fd, BACKLOG) < 0 ||
	    getsockname(listener->fd, (struct sockaddr *)&listener->address.sockaddr,
			&listener->address.length) < 0)
		return console_fail(ret_error, -errno, "Cannot listen: %s.", strerror(errno));
	return 0;
}

int listener_open(const struct address *address, struct listener *ret, char **ret_error)
{
	struct listener listener = {
		.fd = -1,
		.address = *address,
		.file = UNIX_SOCKET_FILE_NONE,
	};
	int r = address->sockaddr.ss_family == AF_UNIX ? listen_unix(address, &listener, ret_error)
						       : listen_inet(address, &listener, ret_error);

	if (r < 0) {
		listener_close(&listener);
		return r;
	}
	*ret = listener;
	return 0;
}

void listener_close(struct listener *listener)
{
	unix_socket_file_remove(&listener->file);
	listener->fd = close_fd(listener->fd);
}
