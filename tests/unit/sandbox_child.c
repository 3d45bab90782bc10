/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sandbox_child.h"

#include "unit.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

void in_child(int (*body)(const void *arg), const void *arg, struct outcome *ret)
{
	size_t used = 0;
	int fds[2];
	ssize_t n;
	pid_t pid;

	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		dup2(fds[1], STDERR_FILENO);
		_exit(body(arg));
	}
	close(fds[1]);
	while ((n = read(fds[0], ret->said + used, sizeof(ret->said) - 1 - used)) > 0)
		used += (size_t)n;
	ret->said[used] = '\0';
	close(fds[0]);
	assert_int_equal(waitpid(pid, &ret->status, 0), pid);
}

void enter(enum sandbox_mode mode, enum seccomp_mode seccomp)
{
	struct sandbox_info info;

	if (sandbox_enter(mode, seccomp, &info) < 0)
		_exit(99);
}
