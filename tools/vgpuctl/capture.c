/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "capture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"

enum {
	MAX_OUTPUT = 1024 * 1024,
};

static int spawn(char *const argv[], int output, pid_t *ret_pid)
{
	posix_spawn_file_actions_t actions;
	posix_spawnattr_t attributes;
	sigset_t defaults;
	int r;

	if (posix_spawn_file_actions_init(&actions) != 0)
		return -ENOMEM;
	if (posix_spawnattr_init(&attributes) != 0) {
		posix_spawn_file_actions_destroy(&actions);
		return -ENOMEM;
	}
	/* We ignore SIGPIPE; it should not. */
	sigemptyset(&defaults);
	sigaddset(&defaults, SIGPIPE);
	posix_spawnattr_setsigdefault(&attributes, &defaults);
	posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
	posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
	posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
	posix_spawn_file_actions_adddup2(&actions, output, STDERR_FILENO);
	r = posix_spawn(ret_pid, argv[0], &actions, &attributes, argv, environ);
	posix_spawnattr_destroy(&attributes);
	posix_spawn_file_actions_destroy(&actions);
	return -r;
}

/* Reads to the end of the stream, or to the end of our patience. */
static int collect(int fd, uint64_t end_ns, char *text, size_t *used)
{
	for (;;) {
		uint64_t now = clock_ns();
		struct pollfd p = { fd, POLLIN, 0 };
		int n = now < end_ns ? poll(&p, 1, (int)((end_ns - now + 999999) / 1000000)) : 0;
		ssize_t got;

		if (n < 0 && errno != EINTR)
			return -errno;
		if (n == 0)
			return -ETIMEDOUT;
		if (n < 0)
			continue;
		got = read(fd, text + *used, MAX_OUTPUT - *used);
		if (got < 0)
			return -errno;
		if (got == 0)
			return 0;
		*used += (size_t)got;
		if (*used == MAX_OUTPUT)
			return 0;
	}
}

/* A program may close its output and stay: then it is waited for, too. */
static int wait_until(pid_t pid, uint64_t end_ns, int *ret_status)
{
	int status;

	while (waitpid(pid, &status, WNOHANG) == 0) {
		const struct timespec pause = { .tv_nsec = 2000000 };

		if (clock_ns() >= end_ns)
			return -ETIMEDOUT;
		nanosleep(&pause, NULL);
	}
	*ret_status = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
	return 0;
}

int capture_output(char *const argv[], int timeout_ms, char **ret_output, int *ret_status)
{
	uint64_t end_ns = clock_ns() + (uint64_t)timeout_ms * 1000000;
	_cleanup_free_ char *text = malloc(MAX_OUTPUT + 1);
	_cleanup_close_ int reader = -1, writer = -1;
	int fds[2], status = 0, r;
	size_t used = 0;
	pid_t pid;

	if (!text)
		return -ENOMEM;
	if (pipe2(fds, O_CLOEXEC) < 0)
		return -errno;
	reader = fds[0];
	writer = fds[1];
	r = spawn(argv, writer, &pid);
	if (r < 0)
		return r;
	writer = close_fd(writer);
	r = collect(reader, end_ns, text, &used);
	reader = close_fd(reader);
	if (r == 0)
		r = wait_until(pid, end_ns, &status);
	if (r < 0) {
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		return r;
	}
	text[used] = '\0';
	*ret_output = STEAL_PTR(text);
	*ret_status = status;
	return 0;
}
