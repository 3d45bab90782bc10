/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "inherited.h"

#include <fcntl.h>
#include <systemd/sd-daemon.h>
#include <unistd.h>

#include "base/cleanup.h"

static bool is_served(const struct options *options, int n_activated, int fd)
{
	if (fd >= SD_LISTEN_FDS_START && fd < SD_LISTEN_FDS_START + n_activated)
		return true;
	for (unsigned int i = 0; i < options->n_devices; i++)
		if (options->devices[i].fd == fd)
			return true;
	return false;
}

/* Nothing is read from a terminal, say, and nothing written but the log. */
static void silence_standard_files(void)
{
	_cleanup_close_ int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return;
	dup2(fd, STDIN_FILENO);
	dup2(fd, STDOUT_FILENO);
}

void inherited_close_others(const struct options *options)
{
	int n_activated = sd_listen_fds(0), last = SD_LISTEN_FDS_START - 1;

	for (unsigned int i = 0; i < options->n_devices; i++)
		if (options->devices[i].fd > last)
			last = options->devices[i].fd;
	if (n_activated > 0 && SD_LISTEN_FDS_START + n_activated - 1 > last)
		last = SD_LISTEN_FDS_START + n_activated - 1;

	for (int fd = STDERR_FILENO + 1; fd <= last; fd++)
		if (!is_served(options, n_activated, fd))
			close(fd);
	closefrom(last + 1);
	silence_standard_files();
}
