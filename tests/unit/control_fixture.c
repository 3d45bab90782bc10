/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What test_vgpuctl.py runs vgpuctl against:
 *
 *     control-fixture PATH NAME [KEY=VALUE...]
 *
 * serves a control socket at PATH until SIGTERM, and says "ready" when it
 * does. SIGUSR1 makes an event happen. Keys: devices=N, size=N (of the
 * screens; 0: none), socket=TEXT, pid=N (of a client), mapped=N (bytes),
 * reset=ERRNO, bare=1 (devices that say nothing but their id), strange=1 (and
 * members of the wrong type), mute=1 (answers nobody).
 */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "control_fake.h"

enum {
	MAX_DEVICES = 4,
};

static struct {
	const char *path, *name;
	struct fake_device devices[MAX_DEVICES];
	unsigned int n_devices;
	struct control_server *server;
} fixture = { .n_devices = 1 };

static const char *value_of(int argc, char **argv, const char *key)
{
	size_t length = strlen(key);

	for (int i = 3; i < argc; i++)
		if (strncmp(argv[i], key, length) == 0 && argv[i][length] == '=')
			return argv[i] + length + 1;
	return NULL;
}

static void strip(struct fake_device *device, bool strange)
{
	json_t *id = json_incref(json_object_get(device->about, "id"));

	json_object_clear(device->about);
	json_object_set_new(device->about, "id", id);
	if (!strange)
		return;
	json_object_update_new(device->about,
			       json_pack("{s:i, s:[], s:s, s:{s:s}, s:[i, s, {}], s:s, s:{s:i}}",
					 "model", 7, "client", "regions", "none", "dma", "maps",
					 "many", "irqs", 1, "two", "scanout", "dark", "future", "x",
					 1));
}

static void set_client(struct fake_device *device, const char *pid, const char *mapped)
{
	if (pid)
		json_object_set_new(device->about, "client",
				    json_pack("{s:b, s:i, s:i}", "connected", 1, "pid", atoi(pid),
					      "connections", 1));
	if (mapped)
		json_object_set_new(json_object_get(device->about, "dma"), "mapped_bytes",
				    json_integer(atoll(mapped)));
}

static void make_device(struct fake_device *device, sd_event *event, unsigned int index, int argc,
			char **argv)
{
	const char *socket = value_of(argc, argv, "socket");
	const char *size = value_of(argc, argv, "size");
	const char *reset = value_of(argc, argv, "reset");
	char id[16];

	snprintf(id, sizeof(id), "gpu%u", index);
	fake_device_init(device, event, id, socket);
	if (size)
		device->width = device->height = (uint32_t)atoi(size);
	if (reset)
		device->reset_error = -atoi(reset);
	set_client(device, value_of(argc, argv, "pid"), value_of(argc, argv, "mapped"));
	if (value_of(argc, argv, "bare") || value_of(argc, argv, "strange"))
		strip(device, value_of(argc, argv, "strange"));
	assert(control_server_add_device(fixture.server, id, &fake_device_ops, device) == 0);
}

static int on_usr1(sd_event_source *source, const struct signalfd_siginfo *info, void *userdata)
{
	control_server_event(fixture.server, "gpu0", "mode",
			     json_pack("{s:i, s:s}", "width", 64, "state", "on"));
	return 0;
}

int main(int argc, char **argv)
{
	sd_event *event = NULL;
	sigset_t signals;
	int r, fd;

	assert(argc >= 3);
	fd = fake_listen(argv[1]);
	if (value_of(argc, argv, "devices"))
		fixture.n_devices = (unsigned int)atoi(value_of(argc, argv, "devices"));
	assert(fixture.n_devices <= MAX_DEVICES);

	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigaddset(&signals, SIGUSR1);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	r = sd_event_new(&event);
	assert(r >= 0);
	r = sd_event_add_signal(event, NULL, SIGTERM, NULL, NULL);
	assert(r >= 0);
	r = sd_event_add_signal(event, NULL, SIGUSR1, on_usr1, NULL);
	assert(r >= 0);
	if (value_of(argc, argv, "mute")) {
		fixture.n_devices = 0;
	} else {
		r = control_server_new(event, argv[2], argv[1], fd, &fixture.server);
		assert(r == 0);
		for (unsigned int i = 0; i < fixture.n_devices; i++)
			make_device(&fixture.devices[i], event, i, argc, argv);
	}
	puts("ready");
	fflush(stdout);
	r = sd_event_loop(event);
	control_server_free(fixture.server);
	for (unsigned int i = 0; i < fixture.n_devices; i++)
		fake_device_done(&fixture.devices[i]);
	sd_event_unref(event);
	return r < 0;
}
