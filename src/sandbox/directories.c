/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The directories in which our sockets lie stay open, so that the sockets can be
 * removed at the end. A path that starts there and goes up would lead out of the
 * empty root, to any file of the host's. In a detached mount of its own a directory
 * has nothing above it.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "sandbox/layers.h"

static bool is_kept_directory(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	return flags >= 0 && flags & O_PATH && fstat(fd, &st) == 0 && S_ISDIR(st.st_mode);
}

int directories_each(int (*visit)(int directory_fd, void *arg), void *arg)
{
	int r = 0;

	/* No list of them is left to read in the empty root. */
	for (int fd = 0; fd < DIRECTORIES_MAX_FD && r == 0; fd++)
		if (is_kept_directory(fd))
			r = visit(fd, arg);
	return r;
}

static int find_path(int fd, void *arg)
{
	struct directory_paths *paths = arg;
	char link[32], path[PATH_MAX];
	ssize_t length;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	length = readlink(link, path, sizeof(path));
	if (length > 0)
		paths->of[fd] = strndup(path, (size_t)length);
	return 0;
}

void directories_find_paths(struct directory_paths *ret)
{
	*ret = (struct directory_paths){ 0 };
	directories_each(find_path, ret);
}

static bool is_same(int fd, int other)
{
	struct stat st, other_st;

	return fstat(fd, &st) == 0 && fstat(other, &other_st) == 0 &&
	       st.st_dev == other_st.st_dev && st.st_ino == other_st.st_ino;
}

/* By its path: the mount that it was opened in belongs to the namespace that we left. */
static int detach(int fd, const char *path)
{
	_cleanup_close_ int tree =
		open_tree(AT_FDCWD, path, OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_RECURSIVE);

	if (tree < 0)
		return -errno;
	if (!is_same(tree, fd))
		return -ESTALE;
	return dup3(tree, fd, O_CLOEXEC) < 0 ? -errno : 0;
}

void directories_detach(const struct directory_paths *paths)
{
	for (int fd = 0; fd < DIRECTORIES_MAX_FD; fd++) {
		int r = paths->of[fd] ? detach(fd, paths->of[fd]) : 0;

		/* Landlock still stands before what lies above it. */
		if (r < 0)
			log_debug("the directory %s of a socket can't be detached: %s",
				  paths->of[fd], strerror(-r));
	}
}

void directories_free_paths(struct directory_paths *paths)
{
	for (int fd = 0; fd < DIRECTORIES_MAX_FD; fd++)
		free(paths->of[fd]);
}
