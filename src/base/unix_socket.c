/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/syscalls.h"
#include "base/text.h"

/* The removal at the end; everything else is opened before. */
SYSCALLS(SYSCALL_IF(newfstatat, ARG_IS(3, AT_SYMLINK_NOFOLLOW)),
	 SYSCALL_IF(fstatat64, ARG_IS(3, AT_SYMLINK_NOFOLLOW)), SYSCALL_IF(unlinkat, ARG_IS(2, 0)));

/*
 * 0 if nothing is in the way any more, or a negative errno.
 *
 * The probe is a datagram socket. Where a stream socket is bound, listening or
 * not, its connect() fails with EPROTOTYPE: so the process there is found
 * without being given a client that comes and goes at once.
 */
static int remove_stale(const struct sockaddr_un *addr)
{
	_cleanup_close_ int fd = -1;
	struct stat st;

	if (lstat(addr->sun_path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return -EEXIST;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	if (connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0 || errno == EPROTOTYPE)
		return -EADDRINUSE;
	if (errno != ECONNREFUSED)
		return -errno;
	return unlink(addr->sun_path) < 0 ? -errno : 0;
}

int unix_listen(const char *path, mode_t mode, int backlog)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	_cleanup_close_ int fd = -1;
	mode_t old_mask;
	int r;

	/* An empty name would make the kernel choose one that everybody can connect to. */
	if (!path[0])
		return -EINVAL;
	if (strlen(path) >= sizeof(addr.sun_path))
		return -ENAMETOOLONG;
	strcpy(addr.sun_path, path);
	r = remove_stale(&addr);
	if (r < 0)
		return r;

	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -errno;
	/* With the mask, the socket is never there with more rights than it should have. */
	old_mask = umask(0777 & ~mode);
	r = bind(fd, (const struct sockaddr *)&addr, sizeof(addr)) < 0 ? -errno : 0;
	umask(old_mask);
	if (r < 0)
		return r;
	if (listen(fd, backlog) < 0) {
		r = -errno;
		unlink(path);
		return r;
	}
	return STEAL_FD(fd);
}

char *unix_listen_error(const char *path, int r)
{
	switch (r) {
	case -EINVAL:
		return text_format("a socket needs a path, and \"%s\" is none", path);
	case -EEXIST:
		return text_format(
			"%s exists and is not a socket; remove it or choose another path", path);
	case -EADDRINUSE:
		return text_format("somebody serves %s already; stop that process or choose "
				   "another path",
				   path);
	case -ENAMETOOLONG:
		return text_format("%s is too long for a socket: at most 107 bytes", path);
	case -ENOENT:
		return text_format("the directory of %s does not exist; make it first", path);
	default:
		return text_format("can't listen on %s: %s", path, strerror(-r));
	}
}

int unix_socket_file_remember(const char *path, struct unix_socket_file *ret)
{
	_cleanup_free_ char *for_dirname = strdup(path), *for_basename = strdup(path), *name = NULL;
	_cleanup_close_ int dir_fd = -1;
	struct stat st;

	*ret = (struct unix_socket_file)UNIX_SOCKET_FILE_NONE;
	if (!for_dirname || !for_basename)
		return -ENOMEM;
	dir_fd = open(dirname(for_dirname), O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0 || lstat(path, &st) < 0)
		return errno == ENOENT ? 0 : -errno;
	if (!S_ISSOCK(st.st_mode))
		return 0;
	name = strdup(basename(for_basename));
	if (!name)
		return -ENOMEM;
	*ret = (struct unix_socket_file){
		.dir_fd = STEAL_FD(dir_fd),
		.name = STEAL_PTR(name),
		.dev = st.st_dev,
		.ino = st.st_ino,
	};
	return 0;
}

void unix_socket_file_remove(struct unix_socket_file *file)
{
	struct stat st;

	if (file->dir_fd < 0)
		return;
	/* Where a sandbox has taken the right to, the next start finds it stale. */
	if (fstatat(file->dir_fd, file->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_dev == file->dev && st.st_ino == file->ino &&
	    unlinkat(file->dir_fd, file->name, 0) < 0)
		log_debug("the socket %s stays behind: %m", file->name);
	file->dir_fd = close_fd(file->dir_fd);
	free(file->name);
	file->name = NULL;
}
