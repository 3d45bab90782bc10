/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The other layers of the sandbox, each without seccomp to help it. Linked as
 * test_sandbox.c is.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "base/unix_socket.h"
#include "sandbox/layers.h"
#include "sandbox_child.h"

static int can_have_namespaces(const void *arg)
{
	_cleanup_free_ char *error = NULL;

	return namespaces_enter(&error) < 0;
}

static bool host_allows_namespaces(void)
{
	struct outcome outcome;

	in_child(can_have_namespaces, NULL, &outcome);
	return outcome.status == 0;
}

static int look_at_privileges(const void *arg)
{
	enter(SANDBOX_AUTO, SECCOMP_NONE);
	for (int i = 0; i <= CAP_LAST_CAP; i++)
		if (privileges_have(i) || (*(const bool *)arg && prctl(PR_CAPBSET_READ, i) == 1))
			return 1 + i;
	if (prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
		return 50;
	if (prctl(PR_GET_DUMPABLE) != 0)
		return 51;
	if (mount(NULL, "/", NULL, MS_REMOUNT, NULL) == 0 || chroot("/") == 0)
		return 52;
	return 0;
}

static void no_privilege_is_left(void **state)
{
	/* Only who has that capability, here or in a user namespace, can give up the bounding set. */
	bool bounding = privileges_have(CAP_SETPCAP) || host_allows_namespaces();
	struct outcome outcome;

	in_child(look_at_privileges, &bounding, &outcome);
	assert_int_equal(outcome.status, 0);
}

static bool can_connect(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	return connect(fd, (const struct sockaddr *)addr, sizeof(*addr)) == 0;
}

/* Two sockets that somebody else listens on: by a path, and by an abstract name. */
static int look_around(const void *arg)
{
	const struct sockaddr_un *others = arg;
	struct stat root, up;

	/* Not by sandbox_enter(): here the root is to protect itself, without Landlock. */
	char *error = NULL;

	if (namespaces_enter(&error) < 0 || privileges_drop() < 0)
		return 1;
	if (access("/etc", F_OK) == 0 || access("/proc/self", F_OK) == 0)
		return 2;
	if (mkdir("/new", 0777) == 0 || errno != EROFS)
		return 3;
	if (stat("/", &root) < 0 || stat("/../../..", &up) < 0 || root.st_ino != up.st_ino ||
	    root.st_dev != up.st_dev)
		return 4;
	if (can_connect(&others[0]) || can_connect(&others[1]))
		return 5;
	if (chroot("/") == 0 || errno != EPERM)
		return 6;
	return 0;
}

static int listen_on(const struct sockaddr_un *addr)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	assert_int_equal(bind(fd, (const struct sockaddr *)addr, sizeof(*addr)), 0);
	assert_int_equal(listen(fd, 8), 0);
	assert_true(can_connect(addr));
	return fd;
}

static void the_root_is_empty(void **state)
{
	struct sockaddr_un others[] = { { .sun_family = AF_UNIX }, { .sun_family = AF_UNIX } };
	char *path = others[0].sun_path;
	struct outcome outcome;
	int fds[2];

	if (!host_allows_namespaces())
		SKIP_BECAUSE("this host allows no namespaces");
	snprintf(path, sizeof(others[0].sun_path), "/tmp/vgpud-sandbox-%d", getpid());
	snprintf(others[1].sun_path + 1, sizeof(others[1].sun_path) - 1, "vgpud-%d", getpid());
	fds[0] = listen_on(&others[0]);
	fds[1] = listen_on(&others[1]);
	in_child(look_around, others, &outcome);
	assert_int_equal(outcome.status, 0);
	unlink(path);
	close_fds(fds, 2);
}

/* A container that knows no Landlock answers EPERM, as its own filter does for what it does not know. */
static int enter_where_landlock_is_unknown(const void *arg)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	struct sandbox_info info;

	if (seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(landlock_create_ruleset), 0) ||
	    seccomp_load(filter))
		return 1;
	return sandbox_enter(SANDBOX_AUTO, SECCOMP_KILL, &info) < 0 ? 2 : info.landlock;
}

static void landlock_may_be_missing(void **state)
{
	struct outcome outcome;

	in_child(enter_where_landlock_is_unknown, NULL, &outcome);
	assert_int_equal(outcome.status, 0);
}

/* A directory with a socket's file, and the file of somebody else beside that directory. */
struct place {
	char top[32], sockets[64];
};

static void touch(const char *directory, const char *name)
{
	_cleanup_free_ char *path = text_format("%s/%s", directory, name);
	_cleanup_close_ int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);

	assert_true(fd >= 0);
}

static bool exists(const char *directory, const char *name)
{
	_cleanup_free_ char *path = text_format("%s/%s", directory, name);

	return access(path, F_OK) == 0;
}

/* Not by sandbox_enter(): in a namespace, what Landlock protects here would not even be there. */
static int use_the_kept_directory(const void *arg)
{
	const struct place *place = arg;
	int dir = open(place->sockets, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (privileges_drop() < 0 || landlock_enter() < 0)
		return 99;
	if (openat(dir, "socket", O_RDONLY) >= 0 || errno != EACCES)
		return 1;
	if (openat(dir, "../precious", O_RDONLY) >= 0 || errno != EACCES)
		return 2;
	if (openat(dir, "../../../etc/passwd", O_RDONLY) >= 0)
		return 3;
	if (openat(dir, "new", O_WRONLY | O_CREAT, 0666) >= 0 || errno != EACCES)
		return 4;
	if (mkdirat(dir, "new", 0777) == 0 || errno != EACCES)
		return 5;
	if (unlinkat(dir, "../precious", 0) == 0 || errno != EACCES)
		return 6;
	if (fchdir(dir) == 0 && open("..", O_RDONLY) >= 0)
		return 7;
	if (renameat(dir, "socket", dir, "../socket") == 0)
		return 8;
	return unlinkat(dir, "socket", 0) < 0 ? 9 : 0;
}

static void try_the_kept_directory(int (*body)(const void *arg))
{
	struct place place = { .top = "/tmp/vgpud-sandbox-XXXXXX" };
	_cleanup_free_ char *precious = NULL;
	struct outcome outcome;

	assert_non_null(mkdtemp(place.top));
	snprintf(place.sockets, sizeof(place.sockets), "%s/sockets", place.top);
	precious = text_format("%s/precious", place.top);
	assert_int_equal(mkdir(place.sockets, 0755), 0);
	touch(place.sockets, "socket");
	touch(place.top, "precious");

	in_child(body, &place, &outcome);
	assert_int_equal(outcome.status, 0);
	assert_false(exists(place.sockets, "socket"));

	assert_int_equal(rmdir(place.sockets), 0);
	assert_int_equal(unlink(precious), 0);
	assert_int_equal(rmdir(place.top), 0);
}

static void a_kept_directory_is_no_way_out(void **state)
{
	if (syscall(SYS_landlock_create_ruleset, NULL, 0, 1 /* its version */) < 0)
		SKIP_BECAUSE("this kernel has no Landlock");
	try_the_kept_directory(use_the_kept_directory);
}

/* Without Landlock, which would not mind a stat() anyway. */
static int go_up_from_the_kept_directory(const void *arg)
{
	const struct place *place = arg;
	int dir = open(place->sockets, O_PATH | O_DIRECTORY | O_CLOEXEC);
	char *error = NULL;
	struct stat st;

	if (namespaces_enter(&error) < 0 || privileges_drop() < 0)
		return 1;
	if (fstatat(dir, "../precious", &st, AT_SYMLINK_NOFOLLOW) == 0 || errno != ENOENT)
		return 2;
	if (unlinkat(dir, "../precious", 0) == 0 || openat(dir, "../precious", O_RDONLY) >= 0)
		return 3;
	if (fstatat(dir, "../../../etc/passwd", &st, 0) == 0)
		return 4;
	if (fchdir(dir) == 0 && access("../../../etc", F_OK) == 0)
		return 5;
	return unlinkat(dir, "socket", 0) < 0 ? 6 : 0;
}

static void nothing_is_above_a_kept_directory(void **state)
{
	if (!host_allows_namespaces())
		SKIP_BECAUSE("this host allows no namespaces");
	try_the_kept_directory(go_up_from_the_kept_directory);
}

/* A socket is made before, and removed from inside. */
static int serve_and_remove(const void *arg)
{
	struct unix_socket_file file;
	int fd = unix_listen(arg, 0600, 1);

	if (fd < 0 || unix_socket_file_remember(arg, &file) < 0)
		return 1;
	enter(SANDBOX_AUTO, SECCOMP_KILL);
	unix_socket_file_remove(&file);
	return 42;
}

static void our_socket_can_be_removed(void **state)
{
	char directory[] = "/tmp/vgpud-sandbox-XXXXXX";
	_cleanup_free_ char *path = NULL;
	struct outcome outcome;

	assert_non_null(mkdtemp(directory));
	path = text_format("%s/socket", directory);
	in_child(serve_and_remove, path, &outcome);
	if (!WIFEXITED(outcome.status) || WEXITSTATUS(outcome.status) != 42)
		fail_msg("status %x, '%s'", outcome.status, outcome.said);
	assert_int_equal(rmdir(directory), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_privilege_is_left),
		cmocka_unit_test(the_root_is_empty),
		cmocka_unit_test(landlock_may_be_missing),
		cmocka_unit_test(a_kept_directory_is_no_way_out),
		cmocka_unit_test(nothing_is_above_a_kept_directory),
		cmocka_unit_test(our_socket_can_be_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
