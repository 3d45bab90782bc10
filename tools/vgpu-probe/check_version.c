/* SPDX-License-Identifier: GPL-2.0-or-later */
/* How a conversation begins. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "check.h"

static const char clause[] = "vfio-user: VFIO_USER_VERSION";

static int propose(struct check_run *t, uint16_t major, uint16_t minor, const char *json)
{
	return vfio_user_propose(t->door, major, minor, json, json ? strlen(json) + 1 : 0);
}

/* The server must not go on: an error, or a closed connection. */
static void expect_no_agreement(struct check_run *t, int r, const char *what)
{
	EXPECT(t, r != 0, "%s: the server agreed", what);
	EXPECT(t, r != PROBE_TIMEOUT && r != PROBE_PROTOCOL,
	       "%s: expected an error or a closed connection; came: %s", what, probe_error(t->dev));
}

static void reply(struct check_run *t)
{
	check_connect(t);
	check_ok(t, propose(t, 0, 1, vfio_user_offer), "VERSION 0.1");
	EXPECT(t, t->door->agreed.major == 0, "the reply's major is %u", t->door->agreed.major);
	check_in_step(t, "VERSION");
}

static void minor(struct check_run *t)
{
	static const uint16_t minors[] = { 0, 1, 2, 0x7fff, 0xffff };

	for (size_t i = 0; i < ARRAY_SIZE(minors); i++) {
		check_connect(t);
		check_ok(t, propose(t, 0, minors[i], vfio_user_offer), "VERSION 0.%u", minors[i]);
		EXPECT(t, t->door->agreed.minor <= minors[i], "the reply to VERSION 0.%u says 0.%u",
		       minors[i], t->door->agreed.minor);
		check_in_step(t, "VERSION");
		check_close(t);
	}
}

static void major(struct check_run *t)
{
	static const uint16_t majors[] = { 1, 2, 0xffff };

	for (size_t i = 0; i < ARRAY_SIZE(majors); i++) {
		check_connect(t);
		expect_no_agreement(t, propose(t, majors[i], 0, vfio_user_offer), "another major");
		check_close(t);
	}
	check_open(t);
}

static void without_data(struct check_run *t)
{
	static const char *const texts[] = { NULL, "{}", "{\"capabilities\":{}}" };

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		check_connect(t);
		check_ok(t, propose(t, 0, 0, texts[i]), "VERSION with data %s",
			 texts[i] ? texts[i] : "of length 0");
		check_in_step(t, "VERSION");
		check_close(t);
	}
}

static void subset(struct check_run *t)
{
	const json_t *capabilities;

	check_connect(t);
	check_ok(t, propose(t, 0, 1, NULL), "VERSION without capabilities");
	EXPECT(t, !t->door->agreed.write_multiple,
	       "the reply has write_multiple, which was not proposed");
	EXPECT(t, !t->door->agreed.twin_socket,
	       "the reply has twin_socket, which was not proposed");
	check_close(t);
	check_connect(t);
	check_ok(t, propose(t, 0, 1, "{\"capabilities\":{\"unheard_of\":true,\"migration\":{}}}"),
		 "VERSION with a capability that nobody knows");
	capabilities = json_object_get(t->door->agreed.data, "capabilities");
	EXPECT(t, !json_object_get(capabilities, "unheard_of"),
	       "the server agreed to a capability that it cannot know");
	check_in_step(t, "VERSION");
}

static void more_data(struct check_run *t)
{
	check_connect(t);
	check_ok(t,
		 propose(t, 0, 1, "{\"capabilities\":{\"max_msg_fds\":8},\"more\":[1,{\"a\":2}]}"),
		 "VERSION with data besides capabilities");
	check_in_step(t, "VERSION");
}

static void limits(struct check_run *t)
{
	const struct vfio_user_agreed *agreed;

	check_connect(t);
	check_ok(t, propose(t, 0, 1, vfio_user_offer), "VERSION");
	agreed = &t->door->agreed;
	EXPECT(t, agreed->max_data_xfer_size >= 8, "max_data_xfer_size is %llu",
	       (unsigned long long)agreed->max_data_xfer_size);
	EXPECT(t, agreed->max_dma_maps, "max_dma_maps is 0");
	EXPECT(t, agreed->pgsizes && !(agreed->pgsizes & 0xfff & (agreed->pgsizes - 1)),
	       "pgsizes is %#llx", (unsigned long long)agreed->pgsizes);
	ADVISE_UNLESS(t, agreed->pgsizes & 4096, "pgsizes is %#llx: guests have pages of 4 KiB",
		      (unsigned long long)agreed->pgsizes);
	ADVISE_UNLESS(t, agreed->max_msg_fds, "max_msg_fds is 0: no memory and no interrupt works");
}

static void without_nul(struct check_run *t)
{
	int r;

	check_connect(t);
	r = vfio_user_propose(t->door, 0, 1, vfio_user_offer, strlen(vfio_user_offer));
	expect_no_agreement(t, r, "data without a NUL");
	ADVISE_UNLESS(t, r == -EINVAL || r == PROBE_CLOSED, "the error is %s; EINVAL is usual",
		      probe_result(r));
	check_survives(t, "VERSION without NUL");
}

static void not_json(struct check_run *t)
{
	static const char *const texts[] = {
		"",	      "{", "hello", "{\"capabilities\":{", "{\"capabilities\":{}} trailing",
		"\xff\xfe{}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		int r;

		check_connect(t);
		r = propose(t, 0, 1, texts[i]);
		EXPECT(t, r != 0, "the server agreed to '%s', which is no JSON", texts[i]);
		expect_no_agreement(t, r, "data that is no JSON");
		check_close(t);
	}
	check_open(t);
}

static void wrong_types(struct check_run *t)
{
	static const char *const texts[] = {
		"[]",
		"1",
		"null",
		"{\"capabilities\":5}",
		"{\"capabilities\":[]}",
		"{\"capabilities\":{\"max_data_xfer_size\":\"many\"}}",
		"{\"capabilities\":{\"max_data_xfer_size\":-1}}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
		int r;

		check_connect(t);
		r = propose(t, 0, 1, texts[i]);
		EXPECT(t, r != PROBE_TIMEOUT && r != PROBE_PROTOCOL, "VERSION with %s: %s",
		       texts[i], probe_error(t->dev));
		ADVISE_UNLESS(t, r != 0, "the server agreed to %s", texts[i]);
		check_close(t);
	}
	check_open(t);
}

/* A big, but right, proposal; and JSON that is deep. */
static void big(struct check_run *t)
{
	enum { PADDING = 60000, DEPTH = 100000 };
	static const char head[] = "{\"capabilities\":{\"max_msg_fds\":8},\"padding\":\"";
	char *text = check_alloc(t, sizeof(head) + PADDING + 3), *deep = check_alloc(t, DEPTH + 1);
	int r;

	memset(text, 'x', sizeof(head) + PADDING);
	memcpy(text, head, strlen(head));
	memcpy(text + sizeof(head) + PADDING, "\"}", 2);
	check_connect(t);
	r = propose(t, 0, 1, text);
	EXPECT(t, r != PROBE_TIMEOUT && r != PROBE_PROTOCOL, "VERSION with 60 KB of data: %s",
	       probe_error(t->dev));
	if (r == 0)
		check_in_step(t, "VERSION with 60 KB of data");
	check_close(t);
	memset(deep, '[', DEPTH);
	check_connect(t);
	expect_no_agreement(t, propose(t, 0, 1, deep), "data of 100000 brackets");
	check_survives(t, "VERSION with data of 100000 brackets");
}

static void short_payload(struct check_run *t)
{
	static const uint8_t zeros[4];

	for (size_t length = 0; length < 4; length++) {
		check_connect(t);
		expect_no_agreement(t,
				    link_call(&t->door->link, VFIO_USER_VERSION, zeros, length,
					      NULL, 0, 0, NULL),
				    "VERSION with less than 4 bytes");
		check_close(t);
	}
	check_open(t);
}

static void comes_first(struct check_run *t)
{
	static const struct {
		uint16_t command;
		size_t length;
	} commands[] = {
		{ VFIO_USER_DEVICE_GET_INFO, 16 }, { VFIO_USER_DEVICE_GET_REGION_INFO, 32 },
		{ VFIO_USER_REGION_READ, 16 },	   { VFIO_USER_DMA_MAP, 32 },
		{ VFIO_USER_DEVICE_RESET, 0 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		uint8_t payload[32] = { (uint8_t)commands[i].length };

		check_connect(t);
		expect_no_agreement(t,
				    link_call(&t->door->link, commands[i].command, payload,
					      commands[i].length, NULL, 0, 1, NULL),
				    "a command before VERSION");
		check_close(t);
	}
	check_open(t);
}

static void only_once(struct check_run *t)
{
	int r = propose(t, 0, 1, vfio_user_offer);

	EXPECT(t, r != PROBE_TIMEOUT && r != PROBE_PROTOCOL, "a second VERSION: %s",
	       probe_error(t->dev));
	ADVISE_UNLESS(t, r != 0, "the server agreed a second time");
	if (r != PROBE_CLOSED)
		check_in_step(t, "a second VERSION");
}

static void twin_socket(struct check_run *t)
{
	int type = 0;
	socklen_t size = sizeof(type);

	check_connect(t);
	check_ok(t, propose(t, 0, 1, vfio_user_twin_offer), "VERSION with twin_socket");
	EXPECT(t, t->door->link.twin_fd >= 0, "this time there is no twin socket");
	EXPECT(t,
	       getsockopt(t->door->link.twin_fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 &&
		       type == SOCK_STREAM,
	       "the descriptor is no stream socket");
	check_in_step(t, "VERSION with a twin socket");
	close_fd(t->door->link.twin_fd);
	t->door->link.twin_fd = -1;
	check_in_step(t, "the twin socket was closed");
}

static void twin_not_wanted(struct check_run *t)
{
	check_connect(t);
	check_ok(t, propose(t, 0, 1, "{\"capabilities\":{\"twin_socket\":{\"supported\":false}}}"),
		 "VERSION with twin_socket.supported of false");
	EXPECT(t, !t->door->agreed.twin_socket, "the server made a twin socket nevertheless");
	check_in_step(t, "VERSION");
}

#define CHECK(name, what, needs, run)                                                              \
	{                                                                                          \
		"version." name, what, clause, NEED_SOCKET | CHECK_UNCONNECTED | (needs), run      \
	}

const struct check checks_version[] = {
	CHECK("reply", "a proposal is answered with the same major", 0, reply),
	CHECK("minor", "the reply's minor is at most the proposal's", 0, minor),
	CHECK("major", "another major is not agreed to", 0, major),
	CHECK("data-optional", "data, capabilities and each of them are optional", 0, without_data),
	CHECK("subset", "only capabilities that were proposed are agreed to", 0, subset),
	CHECK("more-data", "what is not known in the data is ignored", 0, more_data),
	CHECK("limits", "the limits in the reply make sense", 0, limits),
	CHECK("no-nul", "data without a NUL at its end is refused", 0, without_nul),
	CHECK("no-json", "data that is no JSON is refused", 0, not_json),
	CHECK("types", "data of the wrong types is refused", 0, wrong_types),
	CHECK("big", "big and deep data harms nobody", 0, big),
	CHECK("short", "a payload without version numbers is refused", 0, short_payload),
	CHECK("first", "nothing else is served before it", 0, comes_first),
	{ "version.once", "a second one changes nothing", clause, NEED_SOCKET, only_once },
	CHECK("twin-socket", "the twin socket comes with the reply", NEED_TWIN, twin_socket),
	CHECK("twin-unwanted", "there is none for who does not want it", 0, twin_not_wanted),
	{ 0 },
};
