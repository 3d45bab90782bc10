/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "daemon.h"

#include <dirent.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "bench.h"

enum { PATIENCE_MS = 20000 };

static int notify_socket(char **ret_path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	*ret_path = bench_path("notify");
	strncpy(address.sun_path, *ret_path, sizeof(address.sun_path) - 1);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		bench_die("a socket for readiness");
	return fd;
}

/* Listening is what READY=1 means; see sd_notify(3). */
static void wait_until_ready(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	char text[256];
	ssize_t n;

	do {
		if (poll(&pfd, 1, PATIENCE_MS) != 1)
			bench_die("vgpud does not become ready");
		n = recv(fd, text, sizeof(text) - 1, 0);
		text[n < 0 ? 0 : n] = '\0';
	} while (!strstr(text, "READY=1"));
}

static void become_daemon(const struct daemon *daemon, const struct daemon_options *options,
			  const char *notify) __attribute__((noreturn));
static void become_daemon(const struct daemon *daemon, const struct daemon_options *options,
			  const char *notify)
{
	const char *argv[16] = { bench_vgpud() };
	int n = 1;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	bench_pin(options->moved ? -1 : options->cpu);
	if (options->device)
		argv[n++] = text_format("--device=%s,socket=%s", options->device, daemon->socket);
	else
		argv[n++] = text_format("--socket-path=%s", daemon->socket);
	argv[n++] = text_format("--control=%s.ctl", daemon->socket);
	argv[n++] = "--log-level=warning";
	if (options->poll_us)
		argv[n++] = text_format("--poll-us=%s", options->poll_us);
	if (options->vnc)
		argv[n++] = text_format("--console=vnc=%s", daemon->vnc);
	setenv("NOTIFY_SOCKET", notify, 1);
	if (options->preload)
		setenv("LD_PRELOAD", options->preload, 1);
	execv(argv[0], (char **)(uintptr_t)argv);
	perror(argv[0]);
	_exit(127);
}

void daemon_start(struct daemon *daemon, const struct daemon_options *options)
{
	_cleanup_free_ char *notify = NULL;
	_cleanup_close_ int fd = notify_socket(&notify);
	uint64_t start;

	daemon->socket = bench_path("vfio");
	daemon->vnc = text_format("unix:%s.vnc", daemon->socket);
	start = clock_ns();
	daemon->pid = fork();
	if (daemon->pid < 0)
		bench_die("fork");
	if (daemon->pid == 0)
		become_daemon(daemon, options, notify);
	wait_until_ready(fd);
	daemon->start_ns = clock_ns() - start;
	if (options->moved)
		bench_pin_process(daemon->pid, options->cpu);
	unlink(notify);
}

void daemon_stop(struct daemon *daemon)
{
	int status;

	kill(daemon->pid, SIGTERM);
	if (waitpid(daemon->pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status))
		bench_die("vgpud did not end well");
	free(daemon->socket);
	free(daemon->vnc);
}

void daemon_kill(struct daemon *daemon)
{
	kill(daemon->pid, SIGKILL);
	while (waitpid(-1, NULL, __WALL) > 0)
		;
	free(daemon->socket);
	free(daemon->vnc);
}

/* The first number behind a name in a file of /proc, or at its start if there is no name. */
static uint64_t proc_number(const char *path, const char *name)
{
	FILE *file = fopen(path, "re");
	char line[256];
	uint64_t value = 0;

	while (file && fgets(line, sizeof(line), file))
		if (!strncmp(line, name, strlen(name))) {
			value = strtoull(line + strlen(name), NULL, 10);
			break;
		}
	if (file)
		fclose(file);
	return value;
}

struct daemon_cost daemon_cost(pid_t pid)
{
	_cleanup_free_ char *path = text_format("/proc/%d/task", pid);
	DIR *dir = opendir(path);
	struct daemon_cost cost = { 0 };
	struct dirent *entry;

	if (!dir)
		bench_die(path);
	while ((entry = readdir(dir))) {
		char *schedstat, *status;

		if (*entry->d_name == '.')
			continue;
		schedstat = text_format("%s/%s/schedstat", path, entry->d_name);
		status = text_format("%s/%s/status", path, entry->d_name);
		cost.cpu_ns += proc_number(schedstat, "");
		cost.switches += proc_number(status, "voluntary_ctxt_switches:") +
				 proc_number(status, "nonvoluntary_ctxt_switches:");
		free(schedstat);
		free(status);
	}
	closedir(dir);
	return cost;
}

uint64_t daemon_memory(pid_t pid, const char *field)
{
	_cleanup_free_ char *path = text_format("/proc/%d/smaps_rollup", pid);
	_cleanup_free_ char *name = text_format("%s:", field);

	return proc_number(path, name) * 1024;
}
