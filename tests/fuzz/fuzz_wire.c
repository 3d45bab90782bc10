/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The control socket's wire (control/wire.h): JSON texts, cut anywhere, with descriptors. */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "control/wire.h"
#include "fuzz.h"

enum { MAX_MESSAGE = 8192, FDS = 8 };

static struct wire wire;
static int peer;
static bool over;

static void send_bytes(const void *bytes, size_t length, size_t n_fds)
{
	int fds[FDS];

	for (size_t i = 0; i < n_fds; i++)
		fds[i] = fuzz_pool_fd((unsigned int)i);
	if (length)
		fuzz_send(peer, bytes, length, fds, n_fds);
}

/* A call that is JSON, with a string and a nesting of the input's choice. */
static void send_call(struct fuzz_input *in)
{
	static const char head[] = "{\"method\":\"org.vgpud.Control.Show\",\"parameters\":{\"x\":";
	char text[2048];
	size_t used = sizeof(head) - 1, depth = fuzz_u8(in) % 40;

	memcpy(text, head, used);
	memset(text + used, '[', depth);
	used += depth;
	text[used++] = '"';
	used += fuzz_bytes(in, text + used, fuzz_u8(in));
	text[used++] = '"';
	memset(text + used, ']', depth);
	used += depth;
	memcpy(text + used, "}}", 3);
	send_bytes(text, used + 3, fuzz_u8(in) % (FDS + 1));
}

static void send_raw(struct fuzz_input *in)
{
	uint8_t bytes[255];
	size_t length = fuzz_bytes(in, bytes, fuzz_u8(in));

	send_bytes(bytes, length, 0);
}

/* Many small messages, or the head of one that is too long. */
static void send_many(struct fuzz_input *in)
{
	uint8_t bytes[4096];
	uint8_t what = fuzz_u8(in);

	memset(bytes, what & 1 ? ' ' : '\0', sizeof(bytes));
	send_bytes(bytes, sizeof(bytes) >> (what >> 1) % 12, 0);
}

static size_t depth_of(json_t *json)
{
	size_t deepest = 0, depth, i;
	const char *key;
	json_t *value;

	if (!json_is_object(json) && !json_is_array(json))
		return 0;
	json_object_foreach(json, key, value)
	{
		depth = depth_of(value);
		deepest = depth > deepest ? depth : deepest;
	}
	json_array_foreach(json, i, value)
	{
		depth = depth_of(value);
		deepest = depth > deepest ? depth : deepest;
	}
	return deepest + 1;
}

static void take(void)
{
	json_t *message;
	int r;

	while (!over && (r = wire_take(&wire, &message)) != 0) {
		if (r < 0) {
			FUZZ_CHECK(r == -EBADMSG);
			over = true;
			return;
		}
		FUZZ_CHECK(json_is_object(message) && depth_of(message) <= WIRE_MAX_DEPTH);
		if (wire.out_bytes < 1 << 20)
			FUZZ_CHECK(wire_queue(&wire, message, wire_take_fd(&wire)) == 0);
		else
			json_decref(message);
	}
}

static void receive(void)
{
	int r;

	take();
	if (over)
		return;
	r = wire_receive(&wire);
	FUZZ_CHECK(wire.in_used <= MAX_MESSAGE && wire.n_fds <= WIRE_MAX_FDS);
	if (r == -EAGAIN)
		return;
	FUZZ_CHECK(r >= 0 || r == -EMSGSIZE || r == -ECONNRESET);
	if (r <= 0)
		over = true;
}

static void flush(void)
{
	int r = wire_flush(&wire);

	FUZZ_CHECK(r == 0 || r == -EAGAIN || r == -EPIPE || r == -ECONNRESET);
	FUZZ_CHECK((r == 0) == !wire.out_bytes);
	if (r < 0 && r != -EAGAIN)
		over = true;
}

static void step(struct fuzz_input *in)
{
	uint8_t buf[256];
	size_t n_fds = 0;

	switch (fuzz_u8(in) % 8) {
	case 0:
	case 1:
		send_call(in);
		break;
	case 2:
		send_raw(in);
		break;
	case 3:
		send_many(in);
		break;
	case 4:
	case 5:
		receive();
		break;
	case 6:
		flush();
		fuzz_receive(peer, buf, sizeof(buf), &n_fds, NULL);
		break;
	default:
		shutdown(peer, SHUT_WR);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	int pair[2];

	fuzz_pool_restore();
	fuzz_begin();
	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0);
	over = false;
	peer = pair[0];
	wire_init(&wire, pair[1], MAX_MESSAGE, fuzz_u8(&in) % 4);
	while (in.left && !over)
		step(&in);
	take();
	flush();
	wire_done(&wire);
	close_fd(peer);
	fuzz_end();
	return 0;
}
