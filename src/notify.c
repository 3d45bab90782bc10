/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "notify.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/syscalls.h"

SYSCALLS(SYSCALL_SEND);

static int notify_fd = -1;

static int connect_to(const char *path)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	size_t length = strlen(path);

	if (path[0] != '/' && path[0] != '@')
		return -EPROTONOSUPPORT;
	if (length >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	memcpy(addr.sun_path, path, length);
	if (path[0] == '@')
		addr.sun_path[0] = '\0'; /* the abstract namespace; the length counts */
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (const struct sockaddr *)&addr,
			      (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length +
					  (path[0] == '/'))) < 0)
		return -errno;
	return STEAL_FD(fd);
}

void notify_open(void)
{
	const char *path = getenv("NOTIFY_SOCKET");

	if (!path || !path[0])
		return;
	notify_fd = connect_to(path);
	if (notify_fd < 0)
		log_warning("nobody will be told that we are ready: NOTIFY_SOCKET=%s: %s", path,
			    strerror(-notify_fd));
}

void notify_ready(void)
{
	static const char state[] = "READY=1";

	if (notify_fd >= 0 && send(notify_fd, state, strlen(state), MSG_NOSIGNAL) < 0)
		log_warning("nobody could be told that we are ready: %m");
	notify_fd = close_fd(notify_fd);
}
