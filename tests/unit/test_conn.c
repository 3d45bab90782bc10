/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "transport/vfio_user_conn.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "unit.h"
#include "vfio_user_client.h"

static struct vfio_user_conn conn;
static struct client client;
static unsigned int fds_before;

static int setup(void **state)
{
	int pair[2];

	fds_before = count_fds();
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) < 0)
		return -1;
	client_init(&client, pair[0]);
	return vfio_user_conn_init(&conn, pair[1]);
}

static int teardown(void **state)
{
	vfio_user_conn_done(&conn);
	client_done(&client);
	/* Every test, whatever it sent, leaves no descriptor behind. */
	assert_int_equal(count_fds(), fds_before);
	return 0;
}

/* A payload that tells which message it is. */
static void make_payload(uint8_t *payload, size_t length, unsigned int seed)
{
	for (size_t i = 0; i < length; i++)
		payload[i] = (uint8_t)(i * 31 + seed * 7 + (i >> 8));
}

static void expect_payload(const struct vfio_user_message *message, size_t length,
			   unsigned int seed)
{
	assert_int_equal(message->length, length);
	assert_false(message->oversized);
	for (size_t i = 0; i < length; i++)
		assert_int_equal(message->payload[i], (uint8_t)(i * 31 + seed * 7 + (i >> 8)));
}

/* Receives until there is a message. */
static void expect_message(struct vfio_user_message *ret)
{
	for (unsigned int i = 0; i < 1000; i++) {
		int r = vfio_user_conn_next(&conn, ret);

		assert_true(r >= 0);
		if (r == 1)
			return;
		assert_int_equal(vfio_user_conn_receive(&conn), 1);
	}
	fail_msg("no message comes of it");
}

static void expect_nothing(void)
{
	struct vfio_user_message message;

	assert_int_equal(vfio_user_conn_next(&conn, &message), 0);
	assert_int_equal(vfio_user_conn_receive(&conn), 0);
	assert_int_equal(vfio_user_conn_next(&conn, &message), 0);
}

static ino_t inode_of(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

/* A descriptor that can be told from others (eventfds share an inode). */
static int make_fd(void)
{
	int pair[2];

	assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
	close(pair[1]);
	return pair[0];
}

static void nothing_is_no_message(void **state)
{
	expect_nothing();
	client_done(&client);
	assert_int_equal(vfio_user_conn_receive(&conn), -ECONNRESET);
	assert_int_equal(vfio_user_conn_receive(&conn), -ECONNRESET);
}

static void a_message_comes_whole(void **state)
{
	uint8_t payload[100];
	struct vfio_user_message message;

	make_payload(payload, sizeof(payload), 1);
	client_command(&client, 9, 0, payload, sizeof(payload), NULL, 0);
	client_command(&client, 13, VFIO_USER_NO_REPLY, NULL, 0, NULL, 0);
	expect_message(&message);
	assert_int_equal(message.header.id, 0x1234);
	assert_int_equal(message.header.command, 9);
	assert_int_equal(message.header.size, 116);
	expect_payload(&message, 100, 1);
	expect_message(&message);
	assert_int_equal(message.header.id, 0x1235);
	assert_int_equal(message.header.flags, VFIO_USER_NO_REPLY);
	assert_int_equal(message.length, 0);
	expect_nothing();
}

/* Two messages, the second with a descriptor, cut in two at every byte. */
static void messages_may_be_split_anywhere(void **state)
{
	uint8_t bytes[256], payload[40];
	size_t first, total;
	int fd = make_fd();

	for (size_t cut = 1;; cut++) {
		struct vfio_user_message message;

		make_payload(payload, sizeof(payload), 1);
		first = client_make(&client, bytes, 9, 0, payload, 24, NULL);
		make_payload(payload, sizeof(payload), 2);
		total = first + client_make(&client, bytes + first, 2, 0, payload, 40, NULL);
		if (cut >= total)
			break;

		/* The descriptor goes with the second message's first byte. */
		if (cut <= first) {
			client_send(&client, bytes, cut, NULL, 0);
			while (vfio_user_conn_receive(&conn) == 1)
				if (vfio_user_conn_next(&conn, &message) == 1)
					break;
			if (cut < first) {
				client_send(&client, bytes + cut, first - cut, NULL, 0);
				expect_message(&message);
			}
			expect_payload(&message, 24, 1);
			assert_int_equal(message.n_fds, 0);
			client_send(&client, bytes + first, total - first, &fd, 1);
		} else {
			client_send(&client, bytes, first, NULL, 0);
			client_send(&client, bytes + first, cut - first, &fd, 1);
			expect_message(&message);
			expect_payload(&message, 24, 1);
			assert_int_equal(message.n_fds, 0);
			expect_nothing();
			client_send(&client, bytes + cut, total - cut, NULL, 0);
		}
		expect_message(&message);
		expect_payload(&message, 40, 2);
		assert_int_equal(message.n_fds, 1);
		assert_int_equal(inode_of(message.fds[0]), inode_of(fd));
		expect_nothing();
	}
	close(fd);
}

static void bytes_may_come_one_at_a_time(void **state)
{
	uint8_t bytes[256], payload[20];
	struct vfio_user_message message;
	int fd = make_fd();

	for (unsigned int seed = 0; seed < 5; seed++) {
		size_t n;

		make_payload(payload, sizeof(payload), seed);
		n = client_make(&client, bytes, 9, 0, payload, sizeof(payload), NULL);
		for (size_t i = 0; i < n; i++) {
			client_send(&client, bytes + i, 1, &fd, i == 0 && seed % 2);
			assert_int_equal(vfio_user_conn_receive(&conn), 1);
			if (i < n - 1)
				assert_int_equal(vfio_user_conn_next(&conn, &message), 0);
		}
		assert_int_equal(vfio_user_conn_next(&conn, &message), 1);
		expect_payload(&message, sizeof(payload), seed);
		assert_int_equal(message.n_fds, seed % 2);
		expect_nothing();
	}
	close(fd);
}

/* Odd lengths, so that messages begin everywhere; more than one receive takes. */
static void many_messages_may_come_in_one_packet(void **state)
{
	enum { N = 2000 };
	static uint8_t bytes[N * 128];
	static const int big = 1 << 20;
	struct vfio_user_message message;
	uint8_t payload[128];
	unsigned int received = 0;
	size_t at = 0;

	assert_int_equal(setsockopt(client.fd, SOL_SOCKET, SO_SNDBUF, &big, sizeof(big)), 0);
	for (unsigned int i = 0; i < N; i++) {
		make_payload(payload, sizeof(payload), i);
		at += client_make(&client, bytes + at, 10, 0, payload, i % 97, NULL);
	}
	client_send(&client, bytes, at, NULL, 0);
	for (unsigned int i = 0; i < N; i++) {
		while (vfio_user_conn_next(&conn, &message) == 0) {
			assert_int_equal(vfio_user_conn_receive(&conn), 1);
			received++;
		}
		assert_int_equal(message.header.id, (uint16_t)(0x1234 + i));
		expect_payload(&message, i % 97, i);
	}
	assert_true(received < 20);
	expect_nothing();
}

static void the_largest_message_fits_behind_a_small_one(void **state)
{
	static uint8_t bytes[VFIO_USER_MAX_MESSAGE + 200];
	static uint8_t payload[VFIO_USER_MAX_MESSAGE];
	size_t large = VFIO_USER_MAX_MESSAGE - sizeof(struct vfio_user_header), at, sent = 0;
	struct vfio_user_message message;

	for (unsigned int small = 0; small < 40; small++) {
		bool got_small = false;

		sent = 0;
		make_payload(payload, large, small);
		at = client_make(&client, bytes, 10, 0, payload, small, NULL);
		at += client_make(&client, bytes + at, 10, 0, payload, large, NULL);
		while (true) {
			int r;

			if (sent < at) {
				ssize_t n = send(client.fd, bytes + sent, at - sent, MSG_DONTWAIT);

				sent += n > 0 ? (size_t)n : 0;
			}
			assert_true(vfio_user_conn_receive(&conn) >= 0);
			r = vfio_user_conn_next(&conn, &message);
			if (r == 1 && !got_small) {
				expect_payload(&message, small, small);
				got_small = true;
				r = vfio_user_conn_next(&conn, &message);
			}
			if (r == 1)
				break;
		}
		assert_int_equal(sent, at);
		assert_int_equal(message.length, large);
		assert_memory_equal(message.payload, payload, large);
	}
}

/*
 * One receive takes both packets, as the kernel ends it only behind the one with
 * descriptors.
 */
static void descriptors_belong_to_the_last_message_of_a_receive(void **state)
{
	struct vfio_user_message message;
	int a = make_fd(), b = make_fd();

	client_command(&client, 9, 0, "first", 5, NULL, 0);
	client_command(&client, 9, 0, "second", 6, NULL, 0);
	client_command(&client, 2, 0, "with", 4, &a, 1);
	client_command(&client, 9, 0, "between", 7, NULL, 0);
	client_command(&client, 2, 0, "with too", 8, &b, 1);

	assert_int_equal(vfio_user_conn_receive(&conn), 1);
	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(vfio_user_conn_next(&conn, &message), 1);
		assert_int_equal(message.n_fds, 0);
	}
	assert_int_equal(vfio_user_conn_next(&conn, &message), 1);
	assert_memory_equal(message.payload, "with", 4);
	assert_int_equal(message.n_fds, 1);
	assert_int_equal(inode_of(message.fds[0]), inode_of(a));
	assert_int_equal(vfio_user_conn_next(&conn, &message), 0);

	assert_int_equal(vfio_user_conn_receive(&conn), 1);
	assert_int_equal(vfio_user_conn_next(&conn, &message), 1);
	assert_memory_equal(message.payload, "between", 7);
	assert_int_equal(message.n_fds, 0);
	assert_int_equal(vfio_user_conn_next(&conn, &message), 1);
	assert_int_equal(message.n_fds, 1);
	assert_int_equal(inode_of(message.fds[0]), inode_of(b));
	expect_nothing();
	close(a);
	close(b);
}

static void descriptors_are_taken_over_or_closed(void **state)
{
	struct vfio_user_message message;
	unsigned int open_now;
	int fds[VFIO_USER_MAX_FDS], kept;

	for (unsigned int i = 0; i < VFIO_USER_MAX_FDS; i++)
		fds[i] = make_fd();
	open_now = count_fds();
	client_command(&client, 8, 0, NULL, 0, fds, VFIO_USER_MAX_FDS);
	expect_message(&message);
	assert_int_equal(message.n_fds, VFIO_USER_MAX_FDS);
	assert_int_equal(count_fds(), open_now + VFIO_USER_MAX_FDS);
	for (unsigned int i = 0; i < VFIO_USER_MAX_FDS; i++) {
		assert_int_equal(inode_of(message.fds[i]), inode_of(fds[i]));
		assert_true(fcntl(message.fds[i], F_GETFD) & FD_CLOEXEC);
	}
	kept = STEAL_FD(message.fds[3]);
	expect_nothing();
	assert_int_equal(count_fds(), open_now + 1);
	assert_int_equal(inode_of(kept), inode_of(fds[3]));
	close(kept);

	/* A message that nobody asks for: closed with the connection. */
	client_command(&client, 8, 0, NULL, 0, fds, 4);
	assert_int_equal(vfio_user_conn_receive(&conn), 1);
	close_fds(fds, VFIO_USER_MAX_FDS);
}

static void too_many_descriptors_are_an_error(void **state)
{
	struct vfio_user_message message;
	int fds[VFIO_USER_MAX_FDS + 1];
	unsigned int open_now;

	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = make_fd();
	open_now = count_fds();
	client_command(&client, 8, 0, "x", 1, fds, ARRAY_SIZE(fds));
	client_command(&client, 9, 0, "y", 1, NULL, 0);
	expect_message(&message);
	assert_int_equal(message.n_fds, 0);
	assert_int_equal(message.fds_error, -EINVAL);
	assert_int_equal(count_fds(), open_now);
	expect_message(&message);
	assert_int_equal(message.fds_error, 0);
	assert_memory_equal(message.payload, "y", 1);
	close_fds(fds, ARRAY_SIZE(fds));
}

static void descriptors_that_cannot_be_taken_are_an_error(void **state)
{
	struct vfio_user_message message;
	struct rlimit limit, low;
	int fds[4], highest;

	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = make_fd();
	client_command(&client, 8, 0, "x", 1, fds, ARRAY_SIZE(fds));
	close_fds(fds, 3);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	highest = fds[3];
	low = limit;
	low.rlim_cur = (rlim_t)highest + 1; /* room for those that were closed, at most */
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &low), 0);
	expect_message(&message);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	assert_int_equal(message.n_fds ? 0 : message.fds_error, -EMFILE);
	close(fds[3]);
}

static void descriptors_inside_a_message_are_closed(void **state)
{
	struct vfio_user_message message;
	uint8_t bytes[128], payload[64];
	int fd = make_fd();
	unsigned int open_now = count_fds();
	size_t n;

	make_payload(payload, sizeof(payload), 3);
	n = client_make(&client, bytes, 9, 0, payload, sizeof(payload), NULL);
	client_send(&client, bytes, 30, NULL, 0);
	assert_int_equal(vfio_user_conn_receive(&conn), 1);
	client_send(&client, bytes + 30, 10, &fd, 1);
	assert_int_equal(vfio_user_conn_receive(&conn), 1);
	client_send(&client, bytes + 40, n - 40, &fd, 1);
	expect_message(&message);
	expect_payload(&message, sizeof(payload), 3);
	assert_int_equal(message.n_fds, 0);
	assert_int_equal(message.fds_error, 0);
	assert_int_equal(count_fds(), open_now);

	/* And what came with the first byte is not lost to what came later. */
	client_send(&client, bytes, 5, &fd, 1);
	assert_int_equal(vfio_user_conn_receive(&conn), 1);
	client_send(&client, bytes + 5, n - 5, &fd, 1);
	expect_message(&message);
	assert_int_equal(message.n_fds, 1);
	expect_nothing();
	assert_int_equal(count_fds(), open_now);
	close(fd);
}

static void oversized_messages_are_skipped(void **state)
{
	static const uint32_t sizes[] = { VFIO_USER_MAX_MESSAGE + 1, 3 << 20, 5000000 };
	static uint8_t zeros[65536];
	struct vfio_user_message message;
	int fd = make_fd();

	for (unsigned int i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct vfio_user_header header = { .id = 7, .command = 10, .size = sizes[i] };
		uint32_t left = sizes[i] - (uint32_t)sizeof(header);

		client_command(&client, 9, 0, "before", 6, NULL, 0);
		client_send(&client, &header, sizeof(header), &fd, i == 1);
		expect_message(&message);
		assert_memory_equal(message.payload, "before", 6);
		expect_message(&message);
		assert_true(message.oversized);
		assert_int_equal(message.header.id, 7);
		assert_int_equal(message.header.size, sizes[i]);
		assert_int_equal(message.length, 0);
		assert_int_equal(message.n_fds, i == 1);
		while (left) {
			uint32_t n = left < sizeof(zeros) ? left : sizeof(zeros);

			/* What looks like a message in there is none; nor do descriptors belong. */
			client_send(&client, zeros, n, &fd, left == n);
			left -= n;
			while (vfio_user_conn_receive(&conn) == 1)
				assert_int_equal(vfio_user_conn_next(&conn, &message), 0);
		}
		client_command(&client, 9, 0, "behind", 6, &fd, 1);
		expect_message(&message);
		assert_false(message.oversized);
		assert_memory_equal(message.payload, "behind", 6);
		assert_int_equal(message.n_fds, 1);
		expect_nothing();
	}
	close(fd);
}

/* The end of an oversized message and the next one in the same packet. */
static void the_stream_stays_in_step_behind_an_oversized_message(void **state)
{
	static uint8_t bytes[4 << 20];
	struct vfio_user_header header = { .id = 7,
					   .command = 10,
					   .size = VFIO_USER_MAX_MESSAGE + 99 };
	struct vfio_user_message message;
	size_t at = header.size, sent = 0;
	unsigned int n = 0;

	memset(bytes, 0xff, sizeof(bytes)); /* as a header it would be nonsense */
	memcpy(bytes, &header, sizeof(header));
	for (unsigned int i = 0; i < 50; i++)
		at += client_make(&client, bytes + at, 9, 0, "abcdefg", i % 7, NULL);
	while (n < 51) {
		int r;

		if (sent < at) {
			ssize_t s = send(client.fd, bytes + sent, at - sent, MSG_DONTWAIT);

			sent += s > 0 ? (size_t)s : 0;
		}
		assert_true(vfio_user_conn_receive(&conn) >= 0);
		while ((r = vfio_user_conn_next(&conn, &message)) == 1) {
			assert_int_equal(message.oversized, n == 0);
			if (n)
				assert_int_equal(message.length, (n - 1) % 7);
			n++;
		}
		assert_int_equal(r, 0);
	}
	expect_nothing();
}

static void a_size_below_a_header_ends_it(void **state)
{
	for (uint32_t size = 0; size < sizeof(struct vfio_user_header); size++) {
		struct vfio_user_header header = { .size = size };
		struct vfio_user_message message;
		int fd = make_fd();

		client_command(&client, 9, 0, "good", 4, NULL, 0);
		client_send(&client, &header, sizeof(header), &fd, 1);
		close(fd);
		expect_message(&message);
		assert_memory_equal(message.payload, "good", 4);
		while (true) {
			int r = vfio_user_conn_next(&conn, &message);

			if (r == -EPROTO)
				break;
			assert_int_equal(r, 0);
			assert_int_equal(vfio_user_conn_receive(&conn), 1);
		}
		assert_int_equal(vfio_user_conn_next(&conn, &message), -EPROTO);
		teardown(NULL);
		setup(NULL);
	}
}

static void sending_waits_for_room(void **state)
{
	static uint8_t bytes[VFIO_USER_MAX_MESSAGE];
	static const int small = 4096;
	struct vfio_user_header header = { .id = 1, .command = 9, .size = sizeof(bytes) };
	struct client_message message;
	int fd = make_fd();

	assert_int_equal(setsockopt(conn.fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof(small)), 0);
	make_payload(bytes, sizeof(bytes), 5);
	memcpy(bytes, &header, sizeof(header));
	assert_int_equal(vfio_user_conn_send(&conn, bytes, sizeof(bytes), &fd, 1), 0);
	assert_false(vfio_user_conn_flushed(&conn));
	assert_int_equal(vfio_user_conn_flush(&conn), 0);
	assert_false(vfio_user_conn_flushed(&conn));

	/* Descriptors come once, with the first byte. */
	for (size_t got = 0; got < sizeof(bytes);) {
		uint8_t buf[8192];
		ssize_t n;

		if (got == 0) {
			struct iovec iov = { buf, sizeof(header) };
			char control[CMSG_SPACE(sizeof(int))];
			struct msghdr msg = {
				.msg_iov = &iov,
				.msg_iovlen = 1,
				.msg_control = control,
				.msg_controllen = sizeof(control),
			};

			n = recvmsg(client.fd, &msg, MSG_CMSG_CLOEXEC);
			assert_int_equal(n, sizeof(header));
			assert_non_null(CMSG_FIRSTHDR(&msg));
			memcpy(&message.fds[0], CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(int));
			assert_int_equal(inode_of(message.fds[0]), inode_of(fd));
			close(message.fds[0]);
		} else {
			n = recv(client.fd, buf, sizeof(buf), MSG_DONTWAIT);
		}
		if (n > 0) {
			assert_memory_equal(buf, bytes + got, n);
			got += (size_t)n;
		}
		assert_int_equal(vfio_user_conn_flush(&conn), 0);
	}
	assert_true(vfio_user_conn_flushed(&conn));

	client_done(&client);
	assert_int_equal(vfio_user_conn_send(&conn, bytes, 16, NULL, 0), -EPIPE);
	close(fd);
}

/* Anything at all, in pieces of any size: it ends, or every message is as its header says. */
static void any_bytes_do_no_harm(void **state)
{
	unsigned int seed = 42;

	for (unsigned int round = 0; round < 300; round++) {
		bool over = false;

		for (unsigned int i = 0; i < 20 && !over; i++) {
			struct vfio_user_message message;
			uint8_t bytes[512];
			size_t n = 1 + (unsigned int)rand_r(&seed) % sizeof(bytes);
			int fd = make_fd(), r;

			for (size_t b = 0; b < n; b++)
				bytes[b] = rand_r(&seed) % 3 ? 0 : (uint8_t)rand_r(&seed);
			if (n >= 16 && rand_r(&seed) % 4)
				put_le32(bytes + 4, 16 + (uint32_t)rand_r(&seed) % 300);
			client_send(&client, bytes, n, &fd, rand_r(&seed) % 2);
			close(fd);
			while (vfio_user_conn_receive(&conn) == 1 && !over)
				while ((r = vfio_user_conn_next(&conn, &message)) != 0) {
					if (r < 0) {
						assert_int_equal(r, -EPROTO);
						over = true;
						break;
					}
					if (!message.oversized)
						assert_int_equal(message.length + 16,
								 message.header.size);
				}
		}
		teardown(NULL);
		setup(NULL);
	}
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(nothing_is_no_message),
		T(a_message_comes_whole),
		T(messages_may_be_split_anywhere),
		T(bytes_may_come_one_at_a_time),
		T(many_messages_may_come_in_one_packet),
		T(the_largest_message_fits_behind_a_small_one),
		T(descriptors_belong_to_the_last_message_of_a_receive),
		T(descriptors_are_taken_over_or_closed),
		T(too_many_descriptors_are_an_error),
		T(descriptors_that_cannot_be_taken_are_an_error),
		T(descriptors_inside_a_message_are_closed),
		T(oversized_messages_are_skipped),
		T(the_stream_stays_in_step_behind_an_oversized_message),
		T(a_size_below_a_header_ends_it),
		T(sending_waits_for_room),
		T(any_bytes_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
