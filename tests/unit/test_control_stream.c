/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control server against streams and clients that are not as they should be. */
#include "control_harness.h"

/*
 * Streams
 */

static void split_at_every_byte(void **state)
{
	int fd;

	start();
	fd = raw();
	for (size_t i = 1; i < sizeof(show_call); i++) {
		raw_send(fd, show_call, i);
		usleep(500);
		raw_send(fd, show_call + i, sizeof(show_call) - i);
		raw_expect_name(fd);
	}
	for (size_t i = 0; i < sizeof(show_call); i++)
		raw_send(fd, show_call + i, 1);
	raw_expect_name(fd);
	close_fd(fd);
}

static void pipelined_calls_keep_their_order(void **state)
{
	static const char calls[] = "{\"method\":\"org.vgpud.Control.Hash\"}\0"
				    "{\"method\":\"org.vgpud.Control.Show\"}\0"
				    "{\"method\":\"org.vgpud.Control.Show\",\"oneway\":true}\0"
				    "{\"method\":\"a.b.c\"}";
	int fd;

	start();
	fd = raw();
	for (int i = 0; i < 100; i++)
		raw_send(fd, calls, sizeof(calls));
	for (int i = 0; i < 100; i++) {
		json_t *reply = raw_reply(fd);

		assert_non_null(json_object_get(json_object_get(reply, "parameters"), "hash"));
		json_decref(reply);
		raw_expect_name(fd);
		reply = raw_reply(fd);
		assert_non_null(json_object_get(reply, "error"));
		json_decref(reply);
	}
	close_fd(fd);
}

/* Sends all and says so; the answers still come, and then the end. */
static void half_closed(void **state)
{
	int fd;

	start();
	fd = raw();
	raw_send(fd, show_call, sizeof(show_call));
	raw_send(fd, show_call, sizeof(show_call));
	shutdown(fd, SHUT_WR);
	raw_expect_name(fd);
	raw_expect_name(fd);
	assert_null(raw_reply(fd));
	close_fd(fd);
}

static void nothing_but_calls(void **state)
{
	static const char *const bad[] = {
		"",
		"hello",
		"GET / HTTP/1.1\r\n\r\n",
		"[]",
		"1",
		"null",
		"{\"method\":",
		"{}",
		"{\"method\":1}",
		"{\"method\":null}",
		"{\"method\":\"org.vgpud.Control.Show\",\"parameters\":[]}",
		"{\"method\":\"org.vgpud.Control.Show\",\"parameters\":1}",
		"{\"method\":\"org.vgpud.Control.Show\",\"more\":1}",
		"{\"method\":\"org.vgpud.Control.Show\",\"oneway\":\"yes\"}",
		"{\"method\":\"org.vgpud.Control.Show\",\"upgrade\":{}}",
		"{\"method\":\"org.vgpud.Control.Show\"} {}",
		"{\"method\":\"a\",\"method\":\"org.vgpud.Control.Show\"}",
		"{\"method\":\"org.vgpud.Control.\\u0000Show\"}",
		"{\"method\":\"\xff\xfe\"}",
	};

	start();
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int fd = raw();

		raw_send(fd, show_call, sizeof(show_call));
		raw_send(fd, bad[i], strlen(bad[i]) + 1);
		raw_expect_name(fd);
		assert_null(raw_reply(fd));
		close_fd(fd);
	}
}

static void upgrade_is_refused(void **state)
{
	static const char text[] = "{\"method\":\"org.vgpud.Control.Show\",\"upgrade\":true}";
	json_t *reply;
	int fd;

	start();
	fd = raw();
	raw_send(fd, text, sizeof(text));
	reply = raw_reply(fd);
	assert_string_equal(json_string_value(json_object_get(reply, "error")),
			    VARLINK "MethodNotImplemented");
	json_decref(reply);
	close_fd(fd);
}

/* A call of exactly size bytes, its NUL included. */
static char *call_of_size(size_t size)
{
	char *text = malloc(size);

	assert_non_null(text);
	memset(text, ' ', size);
	memcpy(text, show_call, sizeof(show_call) - 1);
	text[size - 1] = '\0';
	return text;
}

static void long_messages(void **state)
{
	_cleanup_free_ char *longest = call_of_size(CONTROL_MAX_MESSAGE);
	_cleanup_free_ char *longer = call_of_size(CONTROL_MAX_MESSAGE + 1);
	int fd;

	start();
	fd = raw();
	raw_send(fd, longest, CONTROL_MAX_MESSAGE);
	raw_expect_name(fd);
	send(fd, longer, CONTROL_MAX_MESSAGE + 1, MSG_NOSIGNAL);
	assert_null(raw_reply(fd));
	close_fd(fd);
}

static void deep_messages(void **state)
{
	for (int depth = WIRE_MAX_DEPTH; depth <= WIRE_MAX_DEPTH * 1000; depth *= 1000) {
		_cleanup_free_ char *text = malloc(CONTROL_MAX_MESSAGE);
		int n = 0, fd;

		if (depth == WIRE_MAX_DEPTH)
			start();
		n += sprintf(text, "{\"method\":\"a.b\",\"x\":");
		memset(text + n, '[', (size_t)depth - 1);
		n += depth - 1;
		if (depth == WIRE_MAX_DEPTH) {
			memset(text + n, ']', (size_t)depth - 1);
			n += depth - 1;
		}
		n += sprintf(text + n, "}");
		fd = raw();
		raw_send(fd, text, (size_t)n + 1);
		if (depth == WIRE_MAX_DEPTH) {
			json_t *reply = raw_reply(fd);

			assert_non_null(reply);
			json_decref(reply);
		} else {
			assert_null(raw_reply(fd));
		}
		close_fd(fd);
	}
}

/* It is not read from, others are served, and in the end it is thrown out. */
static void client_that_does_not_read(void **state)
{
	static char calls[sizeof(show_call) * 1000];
	int fd;

	start();
	for (size_t i = 0; i < 1000; i++)
		memcpy(calls + i * sizeof(show_call), show_call, sizeof(show_call));
	fd = raw();
	fcntl(fd, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 100; i++)
		if (send(fd, calls, sizeof(calls), MSG_NOSIGNAL) < 0)
			break;
	assert_int_equal(errno, EAGAIN);
	for (int i = 0; i < 10; i++) {
		struct control_reply reply = call(CONTROL "Show", NULL);

		assert_null(reply.error);
		control_reply_done(&reply);
	}
	usleep(800000); /* setup() made the limit 300 ms */
	assert_int_equal(send(fd, calls, 1, MSG_NOSIGNAL), -1);
	assert_int_equal(errno, EPIPE);
	close_fd(fd);
}

static void sixty_five_clients(void **state)
{
	int fds[CONTROL_MAX_CLIENTS];
	json_t *reply;
	int fd;

	start();
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = raw();
	fd = raw();
	reply = raw_reply(fd);
	assert_string_equal(json_string_value(json_object_get(reply, "error")),
			    CONTROL "TooManyClients");
	json_decref(reply);
	assert_null(raw_reply(fd));
	close_fd(fd);
	expect_error(CONTROL "Show", NULL, CONTROL "TooManyClients", NULL, NULL);

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		raw_send(fds[i], show_call, sizeof(show_call));
		raw_expect_name(fds[i]);
	}
	fds[0] = close_fd(fds[0]);
	usleep(50000);
	fd = raw();
	raw_send(fd, show_call, sizeof(show_call));
	raw_expect_name(fd);
	close_fd(fd);
	close_fds(fds, ARRAY_SIZE(fds));
}

/* Nobody keeps a descriptor that was not asked for: the pipe's reader sees the end. */
static void surplus_descriptors(void **state)
{
	union {
		struct cmsghdr header;
		char space[CMSG_SPACE(sizeof(int) * 20)];
	} control = { 0 };
	struct iovec iov = { (void *)show_call, sizeof(show_call) };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = &control,
			      .msg_controllen = sizeof(control) };
	int fd, pipe_fds[2], many[20];
	char c;

	start();
	fd = raw();
	assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
	for (size_t i = 0; i < ARRAY_SIZE(many); i++)
		many[i] = pipe_fds[1];
	control.header.cmsg_level = SOL_SOCKET;
	control.header.cmsg_type = SCM_RIGHTS;
	control.header.cmsg_len = CMSG_LEN(sizeof(many));
	memcpy(CMSG_DATA(&control.header), many, sizeof(many));
	assert_int_equal(sendmsg(fd, &msg, 0), sizeof(show_call));
	close_fd(pipe_fds[1]);
	raw_expect_name(fd);
	assert_int_equal(read(pipe_fds[0], &c, 1), 0);
	close_fd(pipe_fds[0]);
	close_fd(fd);
}

/* Clients that leave at every point, while a picture is made and while they listen. */
static void clients_that_leave(void **state)
{
	static const char picture[] = "{\"method\":\"org.vgpud.Control.Screenshot\"}";

	vgpu.screen.width = 640;
	vgpu.screen.height = 480;
	start();
	for (int i = 0; i < 50; i++) {
		int fd = raw();

		raw_send(fd, picture, sizeof(picture));
		raw_send(fd, listen_call, sizeof(listen_call));
		usleep((useconds_t)i * 100);
		close_fd(fd);
		fd = raw();
		raw_send(fd, listen_call, sizeof(listen_call));
		json_decref(raw_reply(fd));
		close_fd(fd);
		control_server_event(vgpu.server, NULL, "tick", NULL);
	}
	expect_error("a.b", NULL, VARLINK "InterfaceNotFound", NULL, NULL);
}

/* teardown() frees the server with all of it under way. */
static void freed_in_the_middle(void **state)
{
	static const char picture[] = "{\"method\":\"org.vgpud.Control.Screenshot\"}";
	int fds[8];

	vgpu.screen.width = 640;
	vgpu.screen.height = 480;
	start();
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = raw();
		if (i % 2)
			raw_send(fds[i], picture, sizeof(picture));
		else
			raw_send(fds[i], listen_call, sizeof(listen_call));
	}
	json_decref(raw_reply(fds[0]));
	control_server_event(vgpu.server, NULL, "tick", NULL);
	teardown(state);
	close_fds(fds, ARRAY_SIZE(fds));
	setup(state);
	start();
}

static void client_gives_up(void **state)
{
	struct control_client *c;
	struct control_reply reply;

	vgpu.screen.reset_delay_us = 300000;
	start();
	c = client();
	assert_int_equal(control_client_call(c, CONTROL "Reset", device("gpu0"), 50, &reply),
			 -ETIMEDOUT);
	assert_int_equal(control_client_receive(c, TIMEOUT, &reply), 0);
	control_reply_done(&reply);
	control_client_close(c);
	assert_int_equal(control_client_open("/nonexistent", 100, &c), -ENOENT);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(split_at_every_byte), T(pipelined_calls_keep_their_order),
		T(half_closed),		T(nothing_but_calls),
		T(upgrade_is_refused),	T(long_messages),
		T(deep_messages),	T(client_that_does_not_read),
		T(sixty_five_clients),	T(surplus_descriptors),
		T(clients_that_leave),	T(freed_in_the_middle),
		T(client_gives_up),
	};

	return cmocka_run_group_tests_name("control-stream", tests, NULL, NULL);
}
