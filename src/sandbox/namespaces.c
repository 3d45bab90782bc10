/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "sandbox/layers.h"

/* Whether a file of the kernel's says this number. */
static bool says(const char *path, uint64_t wanted)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	char text[24] = "";
	uint64_t number;

	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		return false;
	text[strcspn(text, "\n")] = '\0';
	return text_parse_number(text, &number) == 0 && number == wanted;
}

/* Why the host does not let us, and who can change that. */
static char *explain(const char *what, int error)
{
	static const struct {
		const char *sysctl, *path;
		unsigned int forbids, allows;
	} knobs[] = {
		{ "user.max_user_namespaces", "/proc/sys/user/max_user_namespaces", 0, 15000 },
		{ "kernel.unprivileged_userns_clone", "/proc/sys/kernel/unprivileged_userns_clone",
		  0, 1 },
		{ "kernel.apparmor_restrict_unprivileged_userns",
		  "/proc/sys/kernel/apparmor_restrict_unprivileged_userns", 1, 0 },
	};

	if (error == EINVAL && !strcmp(what, "unshare"))
		return text_format("%s: %s (a process with threads, or a kernel without user "
				   "namespaces)",
				   what, strerror(error));
	for (size_t i = 0; i < ARRAY_SIZE(knobs); i++)
		if (says(knobs[i].path, knobs[i].forbids))
			return text_format("%s: %s; this host allows no user namespaces: sysctl "
					   "%s=%u allows them",
					   what, strerror(error), knobs[i].sysctl, knobs[i].allows);
	return text_format(
		"%s: %s; whoever confines this process (a container, a chroot, systemd, an LSM) "
		"must allow it to make namespaces",
		what, strerror(error));
}

static int write_file(const char *path, const char *text)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	return fd < 0 || write(fd, text, strlen(text)) < 0 ? -errno : 0;
}

/*
 * Outside we stay who we are, and inside nobody else exists. A root without
 * capabilities may not map itself (user_namespaces(7), CAP_SETFCAP); then nobody is
 * mapped, which nothing here minds.
 */
static int map_own_ids(uid_t uid, gid_t gid, const char **ret_what)
{
	char uid_map[64], gid_map[64];
	int r;

	snprintf(uid_map, sizeof(uid_map), "%u %u 1", uid, uid);
	snprintf(gid_map, sizeof(gid_map), "%u %u 1", gid, gid);
	*ret_what = "the user namespace's map";
	r = write_file("/proc/self/setgroups", "deny");
	if (r == 0)
		r = write_file("/proc/self/gid_map", gid_map);
	if (r == 0)
		r = write_file("/proc/self/uid_map", uid_map);
	return r == -EPERM && uid == 0 ? 0 : r;
}

/* Returns the directory over which the new root lies until it is the root, or NULL with errno. */
static const char *mount_empty_root(void)
{
	static const char *const places[] = { "/tmp", "/run", "/dev", "/proc" };

	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		if (mount("vgpud", places[i], "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC,
			  "mode=0555,size=4k,nr_inodes=4") == 0)
			return places[i];
		else if (errno != ENOENT && errno != ENOTDIR)
			return NULL;
	return NULL;
}

static int show_proc(const char *root)
{
	_cleanup_free_ char *proc = text_format("%s/proc", root);

	if (mkdir(proc, 0555) < 0)
		return -errno;
	return mount("/proc", proc, NULL, MS_BIND | MS_REC, NULL) < 0 ? -errno : 0;
}

static int empty_root(const struct directory_paths *kept, const char **ret_what)
{
	const char *root;
	int r = 0;

	*ret_what = "mount";
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -errno;
	directories_detach(kept);
	root = mount_empty_root();
	if (!root)
		return -errno;
	if (SANITIZED)
		r = show_proc(root);
	if (r < 0)
		return r;
	if (mount(NULL, root, NULL, MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
		  NULL) < 0)
		return -errno;
	/* The old root comes to lie over the new one, and goes. */
	*ret_what = "pivot_root";
	if (chdir(root) < 0 || syscall(SYS_pivot_root, ".", ".") < 0 ||
	    umount2(".", MNT_DETACH) < 0 || chdir("/") < 0)
		return -errno;
	return 0;
}

int namespaces_enter(char **ret_error)
{
	const int all = CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
	bool privileged = privileges_have(CAP_SYS_ADMIN);
	_cleanup_(directories_free_paths) struct directory_paths kept;
	const char *what = "unshare";
	uid_t uid = geteuid();
	gid_t gid = getegid();
	int r;

	directories_find_paths(&kept);
	r = unshare(privileged ? all : all | CLONE_NEWUSER) < 0 ? -errno : 0;
	if (r == 0 && !privileged)
		r = map_own_ids(uid, gid, &what);
	if (r == 0)
		r = empty_root(&kept, &what);
	if (r < 0)
		*ret_error = explain(what, -r);
	return r;
}
