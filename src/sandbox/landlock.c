/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The directories of our sockets (directories.c) would be, without seccomp, a place
 * to open and make files; with it, and without namespaces, a way to remove any file
 * that the user may. Landlock leaves nothing of the first and, of the second, what
 * lies below them.
 */
#include <errno.h>
#include <linux/landlock.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "sandbox/layers.h"

/* <linux/landlock.h> of Linux 6.12; the kernel takes a part of it, as long as its version had. */
struct ruleset_attr {
	uint64_t handled_access_fs;
	uint64_t handled_access_net; /* ABI 4 */
	uint64_t scoped; /* ABI 6 */
};

enum {
	FS_RIGHTS_1 = (1 << 13) - 1,
	FS_REFER = 1 << 13, /* ABI 2 */
	FS_TRUNCATE = 1 << 14, /* ABI 3 */
	FS_IOCTL_DEV = 1 << 15, /* ABI 5 */
	NET_BIND_TCP = 1 << 0,
	NET_CONNECT_TCP = 1 << 1,
	SCOPE_ABSTRACT_UNIX_SOCKET = 1 << 0,
	SCOPE_SIGNAL = 1 << 1,
};

static int make_ruleset(int abi)
{
	struct ruleset_attr attr = { .handled_access_fs = FS_RIGHTS_1 };
	size_t size = sizeof(attr.handled_access_fs);
	int fd;

	if (abi >= 2)
		attr.handled_access_fs |= FS_REFER;
	if (abi >= 3)
		attr.handled_access_fs |= FS_TRUNCATE;
	if (abi >= 4) {
		attr.handled_access_net = NET_BIND_TCP | NET_CONNECT_TCP;
		size = offsetof(struct ruleset_attr, scoped);
	}
	if (abi >= 5)
		attr.handled_access_fs |= FS_IOCTL_DEV;
	if (abi >= 6) {
		attr.scoped = SCOPE_ABSTRACT_UNIX_SOCKET | SCOPE_SIGNAL;
		size = sizeof(attr);
	}
	if (SANITIZED)
		attr.handled_access_fs &=
			~(LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR);
	fd = (int)syscall(SYS_landlock_create_ruleset, &attr, size, 0);
	return fd < 0 ? -errno : fd;
}

static int allow_removal(int directory_fd, void *ruleset_fd)
{
	const struct landlock_path_beneath_attr attr = {
		.allowed_access = LANDLOCK_ACCESS_FS_REMOVE_FILE,
		.parent_fd = directory_fd,
	};

	return syscall(SYS_landlock_add_rule, *(int *)ruleset_fd, LANDLOCK_RULE_PATH_BENEATH, &attr,
		       0) < 0
		       ? -errno
		       : 0;
}

int landlock_enter(void)
{
	int abi =
		(int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
	_cleanup_close_ int fd = -1;
	int r;

	/* EPERM is what containers answer, and systemd, of a system call that they don't know. */
	if (abi < 0)
		return errno == EPERM ? -ENOSYS : -errno;
	fd = make_ruleset(abi);
	if (fd < 0)
		return fd;
	r = directories_each(allow_removal, &fd);
	if (r < 0)
		return r;
	return syscall(SYS_landlock_restrict_self, fd, 0) < 0 ? -errno : abi;
}
