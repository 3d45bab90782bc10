/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vgpud: one process, one vGPU. Here is only its life: options, signals, the
 * event loop, readiness. See docs/architecture.md for the rest.
 */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-event.h>
#include <systemd/sd-id128.h>
#include <unistd.h>

#include "base/log.h"
#include "base/syscalls.h"
#include "inherited.h"
#include "notify.h"
#include "options.h"
#include "sandbox/sandbox.h"
#include "vgpu.h"

/* sd-event's, and the end. */
SYSCALLS(SYSCALL(epoll_wait), SYSCALL(epoll_pwait), SYSCALL(epoll_pwait2), SYSCALL(epoll_ctl),
	 SYSCALL(timerfd_create), SYSCALL(timerfd_settime), SYSCALL(signalfd4),
	 SYSCALL_IF(rt_sigaction, ARG_IS(0, SIGALRM)), SYSCALL(alarm), SYSCALL(setitimer));

enum {
	EXIT_RUNTIME = 1,
	EXIT_USAGE = 2,
	STOP_SECONDS = 3,
	LARGE_BLOCK = 1 << 20, /* bytes; a client has two of them */
};

/* SIGTERM and SIGINT end the loop with 0: somebody asked us to stop. */
static int set_up_loop(sd_event **ret)
{
	sd_event *event = NULL;
	sd_id128_t boot_id;
	sigset_t mask;
	int r;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);
	/* Memory that is larger than RLIMIT_FSIZE is an error like others. */
	signal(SIGXFSZ, SIG_IGN);

	r = sd_event_new(&event);
	/* sd-event spreads timers by the boot's id, which is a file; it reads it once. */
	sd_id128_get_boot(&boot_id);
	if (r >= 0)
		r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
	if (r >= 0)
		r = sd_event_add_signal(event, NULL, SIGINT, NULL, NULL);
	if (r < 0) {
		sd_event_unref(event);
		return r;
	}
	*ret = event;
	return 0;
}

/* What the process ends with, for who ends it in a signal handler. */
static volatile sig_atomic_t exit_status;

static void give_up(int sig)
{
	static const char text[] = "vgpud: a client's memory or descriptor does not let go of us; "
				   "ending all the same\n";

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0) {
		/* Then without a word. */
	}
	_exit(exit_status);
}

/* A descriptor that came from a client can block who uses it for as long as it likes. */
static void stop_within(unsigned int seconds)
{
	signal(SIGALRM, give_up);
	alarm(seconds);
}

/* Everything that has a name is open by now; no thread has started. */
static int serve(const struct options *options, sd_event *event, struct vgpu *vgpu)
{
	struct sandbox_info sandbox;
	int r;

	r = sandbox_enter(options->sandbox, options->seccomp, &sandbox);
	if (r == 0)
		r = vgpu_start(vgpu, &sandbox);
	if (r < 0)
		return r;
	notify_ready();
	r = sd_event_loop(event);
	if (r < 0)
		log_error("the event loop failed: %s", strerror(-r));
	return r;
}

static int run(const struct options *options)
{
	sd_event *event = NULL;
	struct vgpu *vgpu = NULL;
	bool opened;
	int r;

	r = set_up_loop(&event);
	if (r < 0) {
		log_error("no event loop: %s", strerror(-r));
		return EXIT_RUNTIME;
	}
	notify_open();
	r = vgpu_open(options, event, &vgpu);
	opened = r == 0;
	if (opened)
		r = serve(options, event, vgpu);
	exit_status = r < 0 ? EXIT_RUNTIME : r;
	if ((r == -EINVAL || r == -ENAMETOOLONG) && !opened)
		exit_status = EXIT_USAGE;
	stop_within(STOP_SECONDS);
	vgpu_stop(vgpu);
	sd_event_unref(event);
	return exit_status;
}

/*
 * Somebody may have started us with one of these closed. The next file that is
 * opened would take its place, and a client's socket that is number 2 would be
 * sent our log.
 */
static int open_standard_files(void)
{
	int fd;

	do {
		fd = open("/dev/null", O_RDWR);
	} while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd < 0)
		return -errno;
	close(fd);
	return 0;
}

/*
 * What is large goes back to the kernel as soon as it is freed. glibc would learn
 * from the first client that such blocks come and go, and keep the next one's.
 */
static void give_memory_back(void)
{
	mallopt(M_MMAP_THRESHOLD, LARGE_BLOCK);
}

int main(int argc, char **argv)
{
	struct options options;
	char name[32];

	give_memory_back();
	if (open_standard_files() < 0) {
		log_error("/dev/null can't be opened: %m");
		return EXIT_RUNTIME;
	}
	switch (options_parse(argc, argv, &options)) {
	case OPTIONS_DONE:
		if (fflush(stdout) == 0 && !ferror(stdout))
			return 0;
		log_error("standard output can't be written: %m");
		return EXIT_RUNTIME;
	case OPTIONS_USAGE:
		return EXIT_USAGE;
	case OPTIONS_RUN:
		break;
	}
	if (!options.name) {
		snprintf(name, sizeof(name), "vgpud-%d", getpid());
		options.name = name;
	}
	log_setup(options.name, options.log_level);
	inherited_close_others(&options);
	return run(&options);
}
