/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "server.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"

enum {
	END_MS = 5000, /* what a server gets to end in, before it is killed */
	MAX_TMP = 70, /* of TMPDIR, so that a socket's path has room */
};

static void pause_ms(unsigned int ms)
{
	const struct timespec time = { ms / 1000, (long)(ms % 1000) * 1000000 };

	nanosleep(&time, NULL);
}

/* A word of the command, with the path wherever it says {}. */
static char *make_word(const char *word, const char *path)
{
	char *made = text_format("%s", word), *at = made;

	while ((at = strstr(at, "{}"))) {
		_cleanup_free_ char *before = made;
		size_t end = (size_t)(at - made) + strlen(path);

		made = text_format("%.*s%s%s", (int)(at - before), before, path, at + 2);
		at = made + end;
	}
	return made;
}

static char **make_command(const struct server *server)
{
	bool placed = false;
	size_t n = 0;
	char **argv;

	while (server->command[n])
		n++;
	argv = calloc(n + 2, sizeof(*argv));
	if (!argv)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		placed = placed || strstr(server->command[i], "{}");
		argv[i] = make_word(server->command[i], server->path);
	}
	if (!placed)
		argv[n] = text_format("--socket-path=%s", server->path);
	return argv;
}

static void free_command(char **argv)
{
	for (char **word = argv; argv && *word; word++)
		free(*word);
	free(argv);
}

/*
 * In the child. A group of its own ends with all that a wrapper may have run; it
 * cannot read from the terminal then. Our standard output is to be kept clean:
 * what it says goes to standard error.
 */
static void become_server(char **argv)
{
	int null = open("/dev/null", O_RDONLY);

	setpgid(0, 0);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	dup2(null, STDIN_FILENO);
	dup2(STDERR_FILENO, STDOUT_FILENO);
	signal(SIGPIPE, SIG_DFL);
	execvp(argv[0], argv);
	fprintf(stderr, "vgpu-probe: cannot run %s: %s\n", argv[0], strerror(errno));
	_exit(127);
}

static int start(struct server *server)
{
	char **argv = make_command(server);

	if (!argv)
		return -ENOMEM;
	unlink(server->path);
	server->pid = fork();
	if (server->pid == 0)
		become_server(argv);
	free_command(argv);
	if (server->pid < 0) {
		server->pid = 0;
		return -errno;
	}
	setpgid(server->pid, server->pid); /* whoever of us is first */
	return 0;
}

int server_spawn(struct server *server, char **command)
{
	const char *tmp = getenv("TMPDIR");

	server->command = command;
	snprintf(server->directory, sizeof(server->directory), "%.*s/vgpu-probe-XXXXXX", MAX_TMP,
		 tmp && strlen(tmp) <= MAX_TMP ? tmp : "/tmp");
	if (!mkdtemp(server->directory)) {
		server->directory[0] = 0;
		return -errno;
	}
	snprintf(server->spawned_path, sizeof(server->spawned_path), "%s/vfio", server->directory);
	server->path = server->spawned_path;
	return start(server);
}

void server_done(struct server *server)
{
	int waited = 0;

	if (server->pid) {
		kill(-server->pid, SIGTERM);
		while (waitpid(server->pid, NULL, WNOHANG) == 0) {
			if (waited == END_MS)
				kill(-server->pid, SIGKILL);
			pause_ms(10);
			waited += 10;
		}
		kill(-server->pid, SIGKILL); /* what a wrapper has left behind */
		server->pid = 0;
	}
	if (server->directory[0]) {
		unlink(server->spawned_path);
		rmdir(server->directory);
		server->directory[0] = 0;
	}
}

void server_check(struct server *server)
{
	int status;

	if (!server->pid || waitpid(server->pid, &status, WNOHANG) != server->pid)
		return;
	server->pid = 0;
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return;
	server->crashed = WIFSIGNALED(status);
	if (WIFSIGNALED(status))
		snprintf(server->death, sizeof(server->death),
			 "the server was killed by signal %d (%s)", WTERMSIG(status),
			 strsignal(WTERMSIG(status)));
	else
		snprintf(server->death, sizeof(server->death),
			 "the server ended with exit status %d", WEXITSTATUS(status));
}

bool server_give_up(struct server *server)
{
	if (!server->command || !server->served)
		return false;
	if (server->pid) {
		kill(-server->pid, SIGKILL);
		waitpid(server->pid, NULL, 0);
		server->pid = 0;
	}
	snprintf(server->death, sizeof(server->death),
		 "the server served nobody any more, and was killed");
	server->crashed = false;
	return true;
}

/*
 * After an attempt that found nobody: another server, if the last one has ended.
 * One that never let anybody in is not tried again.
 */
static int revive(struct server *server, char *error)
{
	server_check(server);
	if (server->pid) {
		pause_ms(5);
		return 0;
	}
	if (!server->served) {
		snprintf(error, PROBE_ERROR_SIZE, "%s",
			 *server->death ? server->death : "the server ended at once");
		return -ECHILD;
	}
	server->served = false;
	return start(server);
}

/* A spawned server may still be about to listen, or have ended with its last client. */
static int open_with(struct server *server, unsigned int timeout_ms, struct vfio_user_door **ret,
		     char *error,
		     int (*open)(const char *path, unsigned int timeout_ms,
				 struct vfio_user_door **ret, char *error))
{
	uint64_t deadline_ns = clock_ns() + (uint64_t)timeout_ms * 1000000;

	for (;;) {
		int r = open(server->path, timeout_ms, ret, error);

		if (r == 0)
			server->served = true;
		server->gone =
			!server->command && server->served && (r == -ENOENT || r == -ECONNREFUSED);
		if (!server->command || (r != -ENOENT && r != -ECONNREFUSED && r != PROBE_CLOSED) ||
		    clock_ns() >= deadline_ns)
			return r;
		r = revive(server, error);
		if (r < 0)
			return r;
	}
}

int server_open(struct server *server, unsigned int timeout_ms, struct vfio_user_door **ret,
		char *error)
{
	return open_with(server, timeout_ms, ret, error, vfio_user_open);
}

int server_connect(struct server *server, unsigned int timeout_ms, struct vfio_user_door **ret,
		   char *error)
{
	return open_with(server, timeout_ms, ret, error, vfio_user_connect);
}
