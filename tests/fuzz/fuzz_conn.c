/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The message codec (transport/vfio_user_conn.h) against a model: whatever way
 * the stream is cut into packets and receives, the messages that come out are
 * the stream's, descriptors come with the message that they were sent with, and
 * what is sent arrives.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/cleanup.h"
#include "fuzz.h"
#include "transport/vfio_user_conn.h"

enum {
	HEADER = sizeof(struct vfio_user_header),
	STREAM_MAX = 4 << 20, /* bytes of one input's conversation */
	MARKS = 64,
	PACKETS = 256, /* with descriptors, of which we know where they went */
	TX_MAX = 300000, /* more than a socket takes at once */
};

static struct vfio_user_conn conn;
static int peer;
static bool over; /* the stream can't be trusted any more, or has ended */

/* What was sent to conn, and how much of it has come out as messages. */
static uint8_t *stream;
static size_t sent, parsed;

/* A message that was sent whole in one packet of its own, with descriptors. */
static struct mark {
	size_t at;
	size_t n_fds;
} marks[MARKS];
static size_t n_marks;
static size_t
	boundary; /* where the last message that was sent whole ends; SIZE_MAX: nobody knows */

/* Where descriptors were sent. */
static struct packet {
	size_t start, end;
} packets[PACKETS];
static size_t n_packets;

/* What conn sends, and how much of it has arrived. */
static uint8_t tx[TX_MAX];
static size_t tx_size, tx_arrived, tx_fds, tx_fds_arrived;

/* Bytes that tell where in the stream they belong. */
static void fill(uint8_t *to, size_t length, size_t at)
{
	static uint8_t pattern[65536];

	if (!pattern[1])
		for (size_t i = 0; i < sizeof(pattern); i++)
			pattern[i] = (uint8_t)(i * 7 + (i >> 8));
	while (length) {
		size_t from = at % 251;
		size_t n = length < sizeof(pattern) - from ? length : sizeof(pattern) - from;

		memcpy(to, pattern + from, n);
		to += n;
		at += n;
		length -= n;
	}
}

/* Mostly short: long ones take longer. */
static size_t choose_length(struct fuzz_input *in, size_t max)
{
	size_t length = fuzz_raw(in, 2);

	return length >= 0xf000 ? (length & 0xfff) * max / 0xfff : length % 1024;
}

/* Sends what lies behind `sent` in stream. False if the socket does not take all of it. */
static bool send_packet(size_t length, size_t n_fds)
{
	int fds[32] = { 0 };
	ssize_t n;

	for (size_t i = 0; i < n_fds; i++)
		fds[i] = fuzz_pool_fd((unsigned int)i);
	n = fuzz_send(peer, stream + sent, length, fds, n_fds);
	if (n > 0 && n_fds && n_packets < PACKETS)
		packets[n_packets++] = (struct packet){ sent, sent + (size_t)n };
	if (n > 0)
		sent += (size_t)n;
	return n == (ssize_t)length;
}

static void send_raw(struct fuzz_input *in)
{
	size_t length = fuzz_u8(in), n_fds = fuzz_u8(in) % 20;

	if (sent + length > STREAM_MAX)
		return;
	length = fuzz_bytes(in, stream + sent, length);
	if (length)
		send_packet(length, n_fds);
	boundary = SIZE_MAX;
}

/* A well-formed message, in one packet or in pieces; descriptors on the first. */
static void send_message(struct fuzz_input *in)
{
	size_t length = HEADER + choose_length(in, 40000), n_fds = fuzz_u8(in) % 20;
	size_t piece = fuzz_u8(in), at = sent, done = 0;
	struct vfio_user_header header = { .id = (uint16_t)sent, .size = (uint32_t)length };

	if (at + length > STREAM_MAX)
		return;
	memcpy(stream + at, &header, HEADER);
	fill(stream + at + HEADER, length - HEADER, at);
	while (done < length) {
		size_t n = piece && piece < length - done ? piece : length - done;

		/* More than a few hundred packets say nothing new. */
		if (done > 200 * piece)
			n = length - done;
		if (!send_packet(n, done ? 0 : n_fds)) {
			boundary = SIZE_MAX;
			return;
		}
		done += n;
	}
	if (boundary == at && n_fds && n_marks < MARKS)
		marks[n_marks++] = (struct mark){ at, n_fds };
	if (boundary == at)
		boundary = sent;
}

/*
 * True if a packet with descriptors has a part of the message that was sent at
 * [at, at + size): no other descriptors may be its.
 */
static bool may_have_fds(size_t at, size_t size)
{
	for (size_t i = 0; i < n_packets; i++)
		if (at < packets[i].end && at + size > packets[i].start)
			return true;
	return n_packets == PACKETS;
}

static void check_fds(const struct vfio_user_message *message, size_t at)
{
	FUZZ_CHECK(message->n_fds <= VFIO_USER_MAX_FDS);
	FUZZ_CHECK(!message->n_fds || !message->fds_error);
	FUZZ_CHECK((!message->n_fds && !message->fds_error) ||
		   may_have_fds(at, message->header.size));
	for (size_t i = 0; i < message->n_fds; i++)
		FUZZ_CHECK(fcntl(message->fds[i], F_GETFD) == FD_CLOEXEC);
	for (size_t i = 0; i < n_marks; i++) {
		if (marks[i].at != at)
			continue;
		if (marks[i].n_fds > VFIO_USER_MAX_FDS)
			FUZZ_CHECK(message->fds_error == -EINVAL);
		else
			FUZZ_CHECK(message->n_fds == marks[i].n_fds);
	}
}

/* Takes every message that conn has, and compares it with the stream. */
static void take_messages(void)
{
	struct vfio_user_message message;
	struct vfio_user_header header;
	int r;

	while ((r = vfio_user_conn_next(&conn, &message)) > 0) {
		FUZZ_CHECK(parsed + HEADER <= sent);
		memcpy(&header, stream + parsed, HEADER);
		FUZZ_CHECK(!memcmp(&message.header, &header, HEADER));
		FUZZ_CHECK(header.size >= HEADER);
		check_fds(&message, parsed);
		FUZZ_CHECK(message.oversized == (header.size > VFIO_USER_MAX_MESSAGE));
		if (message.oversized) {
			FUZZ_CHECK(!message.length);
		} else {
			FUZZ_CHECK(message.length == header.size - HEADER);
			FUZZ_CHECK(parsed + header.size <= sent);
			FUZZ_CHECK(
				!memcmp(message.payload, stream + parsed + HEADER, message.length));
		}
		if (message.n_fds && header.id & 1)
			message.fds[0] = close_fd(message.fds[0]); /* taken over */
		parsed += header.size;
	}
	if (r < 0) {
		FUZZ_CHECK(r == -EPROTO);
		memcpy(&header, stream + parsed, HEADER);
		FUZZ_CHECK(header.size < HEADER);
		over = true;
	}
}

/* All that was sent has been received: what did not come out is no whole message. */
static void check_nothing_is_left(void)
{
	struct vfio_user_header header;

	if (over || parsed > sent || sent - parsed < HEADER)
		return;
	memcpy(&header, stream + parsed, HEADER);
	FUZZ_CHECK(header.size <= VFIO_USER_MAX_MESSAGE && header.size > sent - parsed);
}

static void receive(unsigned int times)
{
	while (times-- && !over) {
		int r;

		take_messages();
		if (over)
			return;
		r = vfio_user_conn_receive(&conn);
		if (r == 0) {
			check_nothing_is_left();
			return;
		}
		if (r < 0) {
			FUZZ_CHECK(r == -ECONNRESET);
			over = true;
		}
	}
	if (!over)
		take_messages();
}

/* More than conn takes, in as many packets as the socket needs; then it goes on. */
static void send_oversized(struct fuzz_input *in)
{
	size_t length = VFIO_USER_MAX_MESSAGE + 1 + fuzz_raw(in, 2), at = sent;
	struct vfio_user_header header = { .id = (uint16_t)at, .size = (uint32_t)length };
	size_t n_fds = fuzz_u8(in) % 4, which = fuzz_u8(in) % 32;

	if (at + length > STREAM_MAX)
		return;
	memcpy(stream + at, &header, HEADER);
	fill(stream + at + HEADER, length - HEADER, at);
	for (size_t i = 0; sent - at < length && !over; i++) {
		size_t left = length - (sent - at);

		if (!send_packet(left < 65536 ? left : 65536, i == which ? n_fds : 0))
			boundary = SIZE_MAX;
		receive(2);
	}
	if (boundary == at)
		boundary = sent;
}

static void send_tx(struct fuzz_input *in)
{
	size_t length = 1 + choose_length(in, 260000),
	       n_fds = fuzz_u8(in) % (VFIO_USER_MAX_FDS + 1);
	int fds[VFIO_USER_MAX_FDS], r;

	if (!vfio_user_conn_flushed(&conn) || tx_size + length > TX_MAX)
		return;
	for (size_t i = 0; i < n_fds; i++)
		fds[i] = fuzz_pool_fd((unsigned int)i + 3);
	fill(tx + tx_size, length, tx_size);
	r = vfio_user_conn_send(&conn, tx + tx_size, length, fds, n_fds);
	FUZZ_CHECK(r == 0 || r == -EPIPE || r == -ECONNRESET);
	if (r < 0)
		over = true;
	tx_size += length;
	tx_fds += n_fds;
}

static void read_tx(struct fuzz_input *in)
{
	static uint8_t buf[65536];
	size_t want = 1 + fuzz_raw(in, 2);
	ssize_t n = fuzz_receive(peer, buf, want, &tx_fds_arrived, NULL);

	if (n <= 0)
		return;
	FUZZ_CHECK(tx_arrived + (size_t)n <= tx_size);
	FUZZ_CHECK(!memcmp(buf, tx + tx_arrived, (size_t)n));
	tx_arrived += (size_t)n;
	FUZZ_CHECK(tx_fds_arrived <= tx_fds);
}

static void flush_tx(void)
{
	int r = vfio_user_conn_flush(&conn);

	FUZZ_CHECK(r == 0 || r == -EPIPE || r == -ECONNRESET);
	if (r < 0)
		over = true;
}

static void finish(void)
{
	struct fuzz_input longest = { (const uint8_t *)"\xff\xff", 2 };

	receive(UINT32_MAX);
	while (!over && (!vfio_user_conn_flushed(&conn) || tx_arrived < tx_size)) {
		struct fuzz_input in = longest;

		read_tx(&in);
		flush_tx();
	}
	if (!over)
		FUZZ_CHECK(tx_fds_arrived == tx_fds);
}

static void step(struct fuzz_input *in)
{
	switch (fuzz_u8(in) % 9) {
	case 0:
		send_raw(in);
		break;
	case 1:
	case 2:
		send_message(in);
		break;
	case 3:
	case 4:
		receive(1 + fuzz_u8(in) % 4);
		break;
	case 5:
		send_tx(in);
		break;
	case 6:
		read_tx(in);
		flush_tx();
		break;
	case 7:
		send_oversized(in);
		break;
	default:
		shutdown(peer, fuzz_u8(in) % 2 ? SHUT_WR : SHUT_RDWR);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct fuzz_input in = { data, size };
	int pair[2];

	if (!stream)
		stream = malloc(STREAM_MAX + HEADER);
	fuzz_pool_restore();
	fuzz_begin();
	over = false;
	sent = parsed = n_marks = n_packets = boundary = 0;
	tx_size = tx_arrived = tx_fds = tx_fds_arrived = 0;
	FUZZ_CHECK(stream && socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	peer = pair[0];
	FUZZ_CHECK(vfio_user_conn_init(&conn, pair[1]) == 0);
	while (in.left && !over)
		step(&in);
	finish();
	vfio_user_conn_done(&conn);
	close_fd(peer);
	fuzz_end();
	return 0;
}
