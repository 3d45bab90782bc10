/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vgpud: one process, one vGPU. Here is only its life: options, signals, the
 * event loop, readiness. See docs/architecture.md for the rest.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <systemd/sd-daemon.h>
#include <systemd/sd-event.h>
#include <unistd.h>

#include "base/log.h"
#include "options.h"
#include "vgpu.h"

enum {
	EXIT_RUNTIME = 1,
	EXIT_USAGE = 2,
	STOP_SECONDS = 3,
};

/* SIGTERM and SIGINT end the loop with 0: somebody asked us to stop. */
static int set_up_loop(sd_event **ret)
{
	sd_event *event = NULL;
	sigset_t mask;
	int r;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	signal(SIGPIPE, SIG_IGN);

	r = sd_event_new(&event);
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

static void give_up(int sig)
{
	static const char text[] = "vgpud: a client's memory or descriptor does not let go of us; "
				   "ending all the same\n";

	if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0) {
		/* Then without a word. */
	}
	_exit(0);
}

/* A descriptor that came from a client can block who uses it for as long as it likes. */
static void stop_within(unsigned int seconds)
{
	signal(SIGALRM, give_up);
	alarm(seconds);
}

static int run(const struct options *options)
{
	sd_event *event = NULL;
	struct vgpu *vgpu = NULL;
	bool started;
	int r;

	r = set_up_loop(&event);
	if (r < 0) {
		log_error("no event loop: %s", strerror(-r));
		return EXIT_RUNTIME;
	}
	r = vgpu_start(options, event, &vgpu);
	started = r == 0;
	if (started) {
		sd_notify(0, "READY=1");
		r = sd_event_loop(event);
		if (r < 0)
			log_error("the event loop failed: %s", strerror(-r));
		sd_notify(0, "STOPPING=1");
	}
	stop_within(STOP_SECONDS);
	vgpu_stop(vgpu);
	sd_event_unref(event);
	if ((r == -EINVAL || r == -ENAMETOOLONG) && !started)
		return EXIT_USAGE;
	return r < 0 ? EXIT_RUNTIME : r;
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

int main(int argc, char **argv)
{
	struct options options;
	char name[32];

	if (open_standard_files() < 0)
		return EXIT_RUNTIME;
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
	return run(&options);
}
