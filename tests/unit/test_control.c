/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control server's methods and events. */
#include "control_harness.h"

/*
 * The methods
 */

static void every_method_is_described(void **state)
{
	struct control_reply info, text;
	size_t i;
	json_t *name;

	start();
	info = call(VARLINK "GetInfo", NULL);
	assert_null(info.error);
	assert_int_equal(json_array_size(json_object_get(info.parameters, "interfaces")), 2);
	json_array_foreach(json_object_get(info.parameters, "interfaces"), i, name)
	{
		const char *at, *interface = json_string_value(name);
		unsigned int n = 0;

		text = call(VARLINK "GetInterfaceDescription",
			    json_pack("{s:s}", "interface", interface));
		at = json_string_value(json_object_get(text.parameters, "description"));
		assert_non_null(at);
		while ((at = strstr(at, "\nmethod "))) {
			char method[128];
			struct control_reply reply;

			at += strlen("\nmethod ");
			snprintf(method, sizeof(method), "%s.%.*s", interface,
				 (int)strcspn(at, "("), at);
			reply = call(method, NULL);
			if (reply.error)
				assert_string_not_equal(reply.error, VARLINK "MethodNotFound");
			control_reply_done(&reply);
			n++;
		}
		assert_int_equal(n, strstr(interface, "Control") ? 5 : 2);
		control_reply_done(&text);
	}
	control_reply_done(&info);
}

static void show(void **state)
{
	struct control_reply reply;
	json_t *devices;

	start();
	reply = call(CONTROL "Show", NULL);
	assert_null(reply.error);
	assert_int_equal(reply.fd, -1);
	assert_int_equal(json_integer_value(json_object_get(reply.parameters, "version")), 1);
	assert_int_equal(json_integer_value(json_object_get(reply.parameters, "pid")), getpid());
	assert_true(json_number_value(json_object_get(reply.parameters, "uptime_seconds")) >= 0);
	assert_string_equal(json_string_value(json_object_get(reply.parameters, "control")),
			    vgpu.path);
	devices = json_object_get(reply.parameters, "devices");
	assert_int_equal(json_array_size(devices), 2);
	assert_true(json_equal(json_array_get(devices, 0), vgpu.screen.about));
	assert_true(json_equal(json_array_get(devices, 1), vgpu.blind.about));
	control_reply_done(&reply);
}

/* A path in a directory of another encoding, and a device that cannot be described. */
static void show_what_there_is(void **state)
{
	struct control_reply reply;
	json_t *devices;

	free(vgpu.server->path);
	vgpu.server->path = strdup("/tmp/r\xfcn/vm1.ctl");
	json_decref(vgpu.blind.about);
	vgpu.blind.about = NULL;
	start();
	reply = call(CONTROL "Show", NULL);
	assert_null(reply.error);
	assert_string_equal(json_string_value(json_object_get(reply.parameters, "control")),
			    "/tmp/r?n/vm1.ctl");
	devices = json_object_get(reply.parameters, "devices");
	assert_int_equal(json_array_size(devices), 2);
	assert_true(json_equal(json_array_get(devices, 0), vgpu.screen.about));
	assert_string_equal(json_string_value(json_object_get(json_array_get(devices, 1), "id")),
			    "gpu1");
	control_reply_done(&reply);
}

static void screenshot(void **state)
{
	struct control_reply reply, text;
	unsigned char signature[8];
	json_int_t size;
	struct stat st;

	start();
	reply = call(CONTROL "Screenshot", NULL);
	assert_null(reply.error);
	assert_string_equal(json_string_value(json_object_get(reply.parameters, "device")), "gpu0");
	assert_string_equal(json_string_value(json_object_get(reply.parameters, "state")), "on");
	assert_int_equal(json_integer_value(json_object_get(reply.parameters, "width")), 64);
	assert_int_equal(json_integer_value(json_object_get(reply.parameters, "height")), 48);
	assert_int_equal(json_integer_value(json_object_get(reply.parameters, "pngFileDescriptor")),
			 0);
	assert_true(reply.fd >= 0);
	/* And F_SEAL_EXEC, where the kernel knows it. */
	assert_int_equal(fcntl(reply.fd, F_GET_SEALS) & ~0x20,
			 F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
	assert_int_equal(fstat(reply.fd, &st), 0);
	size = json_integer_value(json_object_get(reply.parameters, "size"));
	assert_int_equal(size, st.st_size);
	assert_int_equal(read(reply.fd, signature, 8), 8);
	assert_memory_equal(signature, "\x89PNG\r\n\x1a\n", 8);

	text = call(CONTROL "Screenshot", json_pack("{s:s, s:b}", "device", "gpu0", "inline", 1));
	assert_null(text.error);
	assert_int_equal(text.fd, -1);
	assert_null(json_object_get(text.parameters, "pngFileDescriptor"));
	assert_int_equal(json_integer_value(json_object_get(text.parameters, "size")), size);
	assert_int_equal(json_string_length(json_object_get(text.parameters, "png")),
			 (size + 2) / 3 * 4);
	assert_memory_equal(json_string_value(json_object_get(text.parameters, "png")),
			    "iVBORw0KGgo", 11);
	control_reply_done(&text);
	control_reply_done(&reply);

	expect_error(CONTROL "Screenshot", device("gpu7"), CONTROL "NoSuchDevice", "device",
		     "gpu7");
	expect_error(CONTROL "Screenshot", device("gpu1"), CONTROL "NoScreen", "device", "gpu1");
}

static void hash(void **state)
{
	struct control_reply reply, again;

	start();
	reply = call(CONTROL "Hash", NULL);
	again = call(CONTROL "Hash", device("gpu0"));
	assert_null(reply.error);
	assert_null(json_object_get(reply.parameters, "size"));
	assert_int_equal(json_string_length(json_object_get(reply.parameters, "hash")), 16);
	assert_true(json_equal(reply.parameters, again.parameters));
	control_reply_done(&reply);
	control_reply_done(&again);
	expect_error(CONTROL "Hash", device("gpu1"), CONTROL "NoScreen", "device", "gpu1");
}

static void no_screen_at_all(void **state)
{
	vgpu.screen.width = 0;
	start();
	expect_error(CONTROL "Hash", NULL, CONTROL "NoScreen", NULL, NULL);
}

static void reset(void **state)
{
	struct control_reply reply;

	vgpu.blind.reset_error = -EIO;
	start();
	reply = call(CONTROL "Reset", device("gpu0"));
	assert_null(reply.error);
	assert_string_equal(json_string_value(json_object_get(reply.parameters, "device")), "gpu0");
	control_reply_done(&reply);
	expect_error(CONTROL "Reset", device("gpu1"), CONTROL "ResetFailed", "device", "gpu1");
	expect_error(CONTROL "Reset", device("gpu2"), CONTROL "NoSuchDevice", "device", "gpu2");
	expect_error(CONTROL "Reset", NULL, VARLINK "InvalidParameter", "parameter", "device");
}

static void reset_fails_later(void **state)
{
	vgpu.screen.reset_result = -ETIMEDOUT;
	start();
	expect_error(CONTROL "Reset", device("gpu0"), CONTROL "ResetFailed", "reason",
		     strerror(ETIMEDOUT));
}

static void reset_outlives_its_client(void **state)
{
	struct control_client *c;

	vgpu.screen.reset_delay_us = 100000;
	start();
	c = client();
	assert_int_equal(control_client_send(c, CONTROL "Reset", device("gpu0"), false, TIMEOUT),
			 0);
	control_client_close(c);
	usleep(20000);
	expect_error(CONTROL "Reset", device("gpu0"), CONTROL "ResetFailed", "reason",
		     strerror(EBUSY));
	usleep(150000);
}

/* teardown() frees the server first, and then the device answers. */
static void reset_outlives_the_server(void **state)
{
	struct control_client *c;

	vgpu.screen.reset_delay_us = 60000000;
	start();
	c = client();
	assert_int_equal(control_client_send(c, CONTROL "Reset", device("gpu0"), false, TIMEOUT),
			 0);
	usleep(50000);
	control_client_close(c);
}

static void wrong_calls(void **state)
{
	start();
	expect_error(CONTROL "Nothing", NULL, VARLINK "MethodNotFound", "method",
		     CONTROL "Nothing");
	expect_error("org.example.Show", NULL, VARLINK "InterfaceNotFound", "interface",
		     "org.example");
	expect_error("", NULL, VARLINK "InterfaceNotFound", "interface", "");
	expect_error(CONTROL "Hash", json_pack("{s:i}", "device", 1), VARLINK "InvalidParameter",
		     "parameter", "device");
	expect_error(CONTROL "Screenshot", json_pack("{s:s}", "inline", "yes"),
		     VARLINK "InvalidParameter", "parameter", "inline");
	expect_error(CONTROL "Show", json_pack("{s:i}", "verbose", 1), VARLINK "InvalidParameter",
		     "parameter", "verbose");
	expect_error(VARLINK "GetInterfaceDescription", NULL, VARLINK "InvalidParameter",
		     "parameter", "interface");
	expect_error(VARLINK "GetInterfaceDescription", json_pack("{s:n}", "interface"),
		     VARLINK "InvalidParameter", "parameter", "interface");
	expect_error(VARLINK "GetInterfaceDescription", json_pack("{s:s}", "interface", "a.b"),
		     VARLINK "InterfaceNotFound", "interface", "a.b");
	expect_error(CONTROL "Events", NULL, VARLINK "ExpectedMore", NULL, NULL);
}

/*
 * Events
 */

static struct control_client *listener(void)
{
	struct control_client *c = client();
	struct control_reply reply;

	assert_int_equal(control_client_send(c, CONTROL "Events", NULL, true, TIMEOUT), 0);
	assert_int_equal(control_client_receive(c, TIMEOUT, &reply), 0);
	assert_null(reply.error);
	assert_true(reply.continues);
	assert_string_equal(json_string_value(json_object_get(reply.parameters, "event")), "ready");
	control_reply_done(&reply);
	return c;
}

static void *send_events(void *arg)
{
	for (int i = 0; i < 50; i++)
		control_server_event(vgpu.server, "gpu0", "tick", json_pack("{s:i}", "n", i));
	return NULL;
}

static void events_from_threads(void **state)
{
	struct control_client *c;
	struct control_reply reply;
	pthread_t threads[4];

	start();
	/* Nobody listens: this goes nowhere. */
	assert_false(control_server_has_listeners(vgpu.server));
	control_server_event(vgpu.server, NULL, "lost", json_object());
	c = listener();
	assert_true(control_server_has_listeners(vgpu.server));
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		assert_int_equal(pthread_create(&threads[i], NULL, send_events, NULL), 0);
	for (size_t i = 0; i < ARRAY_SIZE(threads) * 50; i++) {
		assert_int_equal(control_client_receive(c, TIMEOUT, &reply), 0);
		assert_string_equal(json_string_value(json_object_get(reply.parameters, "event")),
				    "tick");
		assert_string_equal(json_string_value(json_object_get(reply.parameters, "device")),
				    "gpu0");
		assert_int_equal(json_string_length(json_object_get(reply.parameters, "time")),
				 strlen("2026-01-01T00:00:00.000Z"));
		assert_true(json_is_integer(
			json_object_get(json_object_get(reply.parameters, "data"), "n")));
		control_reply_done(&reply);
	}
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++)
		pthread_join(threads[i], NULL);
	control_server_event(vgpu.server, NULL, "last", NULL);
	assert_int_equal(control_client_receive(c, TIMEOUT, &reply), 0);
	assert_true(json_is_null(json_object_get(reply.parameters, "device")));
	control_reply_done(&reply);
	control_client_close(c);
	for (int ms = 0; ms < TIMEOUT && control_server_has_listeners(vgpu.server); ms++)
		usleep(1000);
	assert_false(control_server_has_listeners(vgpu.server));
}

/* Every event is either received or counted as missed, and the order is kept. */
static void slow_listener(void **state)
{
	static char padding[2048];
	struct control_client *c;
	json_int_t sent = 5000, got = 0, missed = 0, last = -1;

	memset(padding, 'x', sizeof(padding) - 1);
	start();
	c = listener();
	for (json_int_t i = 0; i < sent; i++)
		control_server_event(vgpu.server, NULL, "tick",
				     json_pack("{s:I, s:s}", "n", i, "padding", padding));
	while (got + missed < sent) {
		struct control_reply reply;
		json_t *n;

		assert_int_equal(control_client_receive(c, TIMEOUT, &reply), 0);
		n = json_object_get(json_object_get(reply.parameters, "data"), "n");
		if (n) {
			assert_true(json_integer_value(n) > last);
			last = json_integer_value(n);
			got++;
		} else {
			assert_true(json_is_integer(json_object_get(reply.parameters, "missed")));
			missed += json_integer_value(json_object_get(reply.parameters, "missed"));
		}
		control_reply_done(&reply);
	}
	assert_int_equal(got + missed, sent);
	assert_true(got > 0 && missed > 0);
	control_client_close(c);
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(every_method_is_described),
		T(show),
		T(show_what_there_is),
		T(screenshot),
		T(hash),
		T(no_screen_at_all),
		T(reset),
		T(reset_fails_later),
		T(reset_outlives_its_client),
		T(reset_outlives_the_server),
		T(wrong_calls),
		T(events_from_threads),
		T(slow_listener),
	};

	return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
