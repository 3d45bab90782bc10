/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "unit.h"

static char directory[] = "/tmp/test-unix-socket-XXXXXX";
static char path[64];

static int setup(void **state)
{
	strcpy(directory + strlen(directory) - 6, "XXXXXX");
	if (!mkdtemp(directory))
		return -1;
	snprintf(path, sizeof(path), "%s/socket", directory);
	return 0;
}

static int teardown(void **state)
{
	unlink(path);
	return rmdir(directory);
}

static int try_connect(void)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(addr.sun_path, path);
	if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0) {
		close(fd);
		return -errno;
	}
	return fd;
}

static void listens_with_the_mode_that_was_asked_for(void **state)
{
	static const mode_t modes[] = { 0600, 0660, 0666 };
	mode_t mask = umask(022);

	for (size_t i = 0; i < ARRAY_SIZE(modes); i++) {
		int fd = unix_listen(path, modes[i], 1), client, flags;
		struct stat st;

		assert_true(fd >= 0);
		assert_int_equal(stat(path, &st), 0);
		assert_true(S_ISSOCK(st.st_mode));
		assert_int_equal(st.st_mode & 07777, modes[i]);
		flags = fcntl(fd, F_GETFL);
		assert_true(flags & O_NONBLOCK);
		assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
		client = try_connect();
		assert_true(client >= 0);
		close(client);
		close(fd);
	}
	assert_int_equal(umask(mask), 022); /* as it was */
}

static void a_stale_socket_is_replaced(void **state)
{
	int fd = unix_listen(path, 0600, 1);

	close(fd); /* as if the process had died */
	fd = unix_listen(path, 0600, 1);
	assert_true(fd >= 0);
	close(fd);
}

static void a_socket_in_use_is_left_alone(void **state)
{
	int fd = unix_listen(path, 0600, 0), clients[4], n = 0;
	char *text;

	assert_int_equal(unix_listen(path, 0600, 1), -EADDRINUSE);
	/* Also with a full queue, where connect() would have to wait. */
	for (int i = 0; i < 4; i++) {
		struct sockaddr_un addr = { .sun_family = AF_UNIX };

		clients[i] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
		strcpy(addr.sun_path, path);
		n += connect(clients[i], (struct sockaddr *)&addr, sizeof(addr)) == 0;
	}
	assert_true(n < 4);
	assert_int_equal(unix_listen(path, 0600, 1), -EADDRINUSE);
	text = unix_listen_error(path, -EADDRINUSE);
	assert_non_null(strstr(text, "serves"));
	free(text);
	close_fds(clients, 4);
	close(fd);
}

static void what_is_no_socket_is_left_alone(void **state)
{
	int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	char target[80], *text;
	struct stat st;

	close(fd);
	assert_int_equal(unix_listen(path, 0600, 1), -EEXIST);
	assert_int_equal(stat(path, &st), 0);
	assert_true(S_ISREG(st.st_mode));
	text = unix_listen_error(path, -EEXIST);
	assert_non_null(strstr(text, "not a socket"));
	free(text);

	/* Nor is a link followed. */
	unlink(path);
	snprintf(target, sizeof(target), "%s/elsewhere", directory);
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(unix_listen(path, 0600, 1), -EEXIST);
	assert_int_equal(access(target, F_OK), -1);
}

static void bad_paths_are_sentences(void **state)
{
	char longest[108], too_long[109], *text;
	int r;

	/* An empty name would be an abstract socket, open to everybody. */
	assert_int_equal(unix_listen("", 0600, 1), -EINVAL);
	text = unix_listen_error("", -EINVAL);
	assert_non_null(strstr(text, "path"));
	free(text);

	memset(too_long, 'a', 108);
	too_long[108] = 0;
	assert_int_equal(unix_listen(too_long, 0600, 1), -ENAMETOOLONG);
	text = unix_listen_error(too_long, -ENAMETOOLONG);
	assert_non_null(strstr(text, "107"));
	free(text);

	memset(longest, 'a', 107);
	memcpy(longest, path, strlen(path));
	longest[107] = 0;
	r = unix_listen(longest, 0600, 1);
	assert_true(r >= 0);
	close(r);
	unlink(longest);

	assert_int_equal(unix_listen("/nonexistent/socket", 0600, 1), -ENOENT);
	text = unix_listen_error("/nonexistent/socket", -ENOENT);
	assert_non_null(strstr(text, "directory"));
	free(text);
	text = unix_listen_error("/x", -EACCES);
	assert_non_null(strstr(text, strerror(EACCES)));
	free(text);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(listens_with_the_mode_that_was_asked_for),
		T(a_stale_socket_is_replaced),
		T(a_socket_in_use_is_left_alone),
		T(what_is_no_socket_is_left_alone),
		T(bad_paths_are_sentences),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
