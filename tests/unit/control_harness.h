/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A control server on a thread of its own, and clients for it. Each test
 * program has its own copy.
 */
#pragma once

#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "control/client.h"
#include "control/server.h"
#include "control_fake.h"

enum {
	TIMEOUT = 20000, /* ms; nothing that passes takes so long */
};

#define CONTROL "org.vgpud.Control."
#define VARLINK "org.varlink.service."

/*
 * The server's thread
 */

static struct {
	char directory[64], path[96];
	sd_event *event;
	sd_event_source *stop;
	int stop_fd;
	struct control_server *server;
	struct fake_device screen, blind;
	pthread_t thread;
} vgpu;

static inline int on_stop(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	return sd_event_exit(vgpu.event, 0);
}

static inline void *serve(void *arg)
{
	assert_true(sd_event_loop(vgpu.event) >= 0);
	return NULL;
}

static inline int setup(void **state)
{
	strcpy(vgpu.directory, "/tmp/test-control.XXXXXX");
	assert_non_null(mkdtemp(vgpu.directory));
	snprintf(vgpu.path, sizeof(vgpu.path), "%s/vm1.ctl", vgpu.directory);
	assert_true(sd_event_new(&vgpu.event) >= 0);
	vgpu.stop_fd = eventfd(0, EFD_CLOEXEC);
	assert_true(sd_event_add_io(vgpu.event, &vgpu.stop, vgpu.stop_fd, POLLIN, on_stop, NULL) >=
		    0);
	fake_device_init(&vgpu.screen, vgpu.event, "gpu0", "/tmp/gpu0.sock");
	fake_device_init(&vgpu.blind, vgpu.event, "gpu1", NULL);
	vgpu.blind.width = 0;
	assert_int_equal(control_server_new(vgpu.event, "vm1", vgpu.path, fake_listen(vgpu.path),
					    &vgpu.server),
			 0);
	vgpu.server->stall_us = 300000;
	assert_int_equal(
		control_server_add_device(vgpu.server, "gpu0", &fake_device_ops, &vgpu.screen), 0);
	assert_int_equal(
		control_server_add_device(vgpu.server, "gpu1", &fake_device_ops, &vgpu.blind), 0);
	assert_int_equal(
		control_server_add_device(vgpu.server, "gpu1", &fake_device_ops, &vgpu.blind),
		-EEXIST);
	return 0;
}

/* Devices may be changed by a test until it starts the thread. */
static inline void start(void)
{
	assert_int_equal(pthread_create(&vgpu.thread, NULL, serve, NULL), 0);
}

static inline int teardown(void **state)
{
	eventfd_write(vgpu.stop_fd, 1);
	pthread_join(vgpu.thread, NULL);
	control_server_free(vgpu.server);
	assert_int_equal(access(vgpu.path, F_OK), -1);
	fake_device_done(&vgpu.screen);
	fake_device_done(&vgpu.blind);
	sd_event_source_unref(vgpu.stop);
	close_fd(vgpu.stop_fd);
	sd_event_unref(vgpu.event);
	rmdir(vgpu.directory);
	return 0;
}

/*
 * Clients
 */

static inline struct control_client *client(void)
{
	struct control_client *c;

	assert_int_equal(control_client_open(vgpu.path, TIMEOUT, &c), 0);
	return c;
}

/* A call on a connection of its own. */
static inline struct control_reply call(const char *method, json_t *parameters)
{
	struct control_client *c = client();
	struct control_reply reply;

	assert_int_equal(control_client_call(c, method, parameters, TIMEOUT, &reply), 0);
	control_client_close(c);
	return reply;
}

static inline void expect_error(const char *method, json_t *parameters, const char *error,
				const char *key, const char *value)
{
	struct control_reply reply = call(method, parameters);

	assert_non_null(reply.error);
	assert_string_equal(reply.error, error);
	if (key)
		assert_string_equal(json_string_value(json_object_get(reply.parameters, key)),
				    value);
	control_reply_done(&reply);
}

static inline json_t *device(const char *id)
{
	return json_pack("{s:s}", "device", id);
}

static inline int raw(void)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval patience = { .tv_sec = TIMEOUT / 1000 };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, vgpu.path);
	assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
	return fd;
}

static inline void raw_send(int fd, const void *data, size_t size)
{
	while (size) {
		ssize_t n = send(fd, data, size, MSG_NOSIGNAL);

		assert_true(n > 0);
		data = (const char *)data + n;
		size -= (size_t)n;
	}
}

/* The next message; NULL at the end of the stream. */
static inline json_t *raw_reply(int fd)
{
	static char text[1 << 20];
	size_t used = 0;
	json_t *message;

	for (;;) {
		ssize_t n = recv(fd, text + used, 1, 0);

		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return NULL;
		assert_int_equal(n, 1);
		if (!text[used++])
			break;
		assert_true(used < sizeof(text));
	}
	message = json_loads(text, 0, NULL);
	assert_non_null(message);
	return message;
}

static inline void raw_expect_name(int fd)
{
	json_t *reply = raw_reply(fd);

	assert_string_equal(
		json_string_value(json_object_get(json_object_get(reply, "parameters"), "name")),
		"vm1");
	json_decref(reply);
}

static const char show_call[] = "{\"method\":\"org.vgpud.Control.Show\"}";
static const char listen_call[] = "{\"method\":\"org.vgpud.Control.Events\",\"more\":true}";
