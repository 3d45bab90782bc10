/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Messages as such: framing, types, sizes, descriptors, order. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "check.h"

enum {
	HEADER = sizeof(struct vfio_user_header),
	QUIET_MS = 50, /* how long we look for what must not come */
	GET_INFO_SIZE = HEADER + sizeof(struct vfio_user_device_info),
	MANY = 200, /* commands at once */
};

static const char header_clause[] = "vfio-user: Header";
static const char order_clause[] = "vfio-user: Command Concurrency";
static const char trust_clause[] = "vfio-user: Security Considerations";

static void pause_us(long us)
{
	const struct timespec time = { .tv_nsec = us * 1000 };

	nanosleep(&time, NULL);
}

/* A DEVICE_GET_INFO in bytes. */
static size_t make_get_info(uint16_t id, uint8_t *bytes)
{
	struct vfio_user_header header = {
		.id = id,
		.command = VFIO_USER_DEVICE_GET_INFO,
		.size = HEADER + sizeof(struct vfio_user_device_info),
	};
	struct vfio_user_device_info info = { .argsz = sizeof(info) };

	memcpy(bytes, &header, HEADER);
	memcpy(bytes + HEADER, &info, sizeof(info));
	return header.size;
}

static void expect_info(struct check_run *t, uint16_t id, const char *what)
{
	struct message reply;

	check_ok(t, link_receive_reply(&t->door->link, id, VFIO_USER_DEVICE_GET_INFO, 0, &reply),
		 "DEVICE_GET_INFO, %s", what);
	EXPECT(t, reply.length >= sizeof(struct vfio_user_device_info),
	       "DEVICE_GET_INFO, %s: %zu bytes", what, reply.length);
}

static void send_bytes(struct check_run *t, const void *bytes, size_t length, const char *what)
{
	check_ok(t, link_send(&t->door->link, bytes, length, NULL, 0), "sending %s", what);
}

/* MANY of them, in bytes, and their replies. */
static size_t make_many(uint8_t *bytes)
{
	uint8_t *at = bytes;

	for (unsigned int i = 0; i < MANY; i++)
		at += make_get_info((uint16_t)i, at);
	return (size_t)(at - bytes);
}

static void expect_many(struct check_run *t)
{
	for (unsigned int i = 0; i < MANY; i++)
		expect_info(t, (uint16_t)i, "one of 200 at once");
}

static void ids(struct check_run *t)
{
	static const uint16_t values[] = { 0, 1, 1, 0x7fff, 0x8000, 0xffff, 0xffff, 0 };
	uint8_t bytes[64];

	for (size_t i = 0; i < ARRAY_SIZE(values); i++) {
		send_bytes(t, bytes, make_get_info(values[i], bytes), "DEVICE_GET_INFO");
		expect_info(t, values[i], "whatever its ID");
	}
	/* At the same time, too. */
	for (int i = 0; i < 3; i++)
		send_bytes(t, bytes, make_get_info(7, bytes), "DEVICE_GET_INFO");
	for (int i = 0; i < 3; i++)
		expect_info(t, 7, "three with the same ID");
}

static void reserved(struct check_run *t)
{
	struct vfio_user_header header;
	uint8_t bytes[64];
	size_t length = make_get_info(3, bytes);

	memcpy(&header, bytes, HEADER);
	header.error = EINVAL;
	memcpy(bytes, &header, HEADER);
	send_bytes(t, bytes, length, "a command");
	expect_info(t, 3, "with an error in its header, which is reserved there");
}

static void unknown_command(struct check_run *t)
{
	static const uint16_t commands[] = { 0, 14, 19, 100, 0x7fff, 0xffff };
	static const uint8_t payload[64];

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
		for (size_t length = 0; length <= sizeof(payload); length += 32) {
			int r = link_call(&t->door->link, commands[i], payload, length, NULL, 0, 0,
					  NULL);

			EXPECT(t, r < 0, "command %u is none, and succeeded", commands[i]);
			check_answered(t, r, "command %u, which is none", commands[i]);
			ADVISE_UNLESS(t, r == -ENOTSUP || r == -ENOSYS || r == -EINVAL,
				      "the error is %s; ENOTSUP, ENOSYS or EINVAL are usual",
				      probe_result(r));
		}
	check_in_step(t, "commands that are none");
}

static void servers_command(struct check_run *t)
{
	struct vfio_user_dma_access access = { .address = 0x1000, .count = 16 };
	uint8_t payload[sizeof(access) + 16] = { 0 };
	int r;

	memcpy(payload, &access, sizeof(access));
	for (unsigned int c = VFIO_USER_DMA_READ; c <= VFIO_USER_DMA_WRITE; c++) {
		r = link_call(&t->door->link, (uint16_t)c, payload, sizeof(payload), NULL, 0, 0,
			      NULL);
		EXPECT(t, r < 0, "a command of the server's, from us, succeeded");
		check_answered(t, r, "a command of the server's, from us");
	}
	check_in_step(t, "commands that are the server's");
}

static void unasked_reply(struct check_run *t)
{
	static const uint16_t commands[] = { VFIO_USER_DEVICE_GET_INFO, VFIO_USER_DMA_READ,
					     0xffff };
	uint8_t payload[24] = { 0 };

	/* That the server has hung up is seen below. */
	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		link_send_message(&t->door->link, commands[i], VFIO_USER_TYPE_REPLY, payload,
				  sizeof(payload), NULL, 0, NULL);
		link_send_message(&t->door->link, commands[i],
				  VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR, NULL, 0, NULL, 0, NULL);
	}
	if (!link_is_quiet(&t->door->link, QUIET_MS)) {
		check_advise(t,
			     "the server answers, or hangs up at, replies that nobody asked for");
		check_survives(t, "replies that nobody asked for");
		return;
	}
	check_in_step(t, "replies that nobody asked for");
}

static void unknown_type(struct check_run *t)
{
	for (uint32_t type = 2; type <= VFIO_USER_TYPE_MASK; type += 13) {
		struct vfio_user_device_info info = { .argsz = sizeof(info) };
		struct message message;
		int r;

		check_ok(t,
			 link_send_message(&t->door->link, VFIO_USER_DEVICE_GET_INFO, type, &info,
					   sizeof(info), NULL, 0, NULL),
			 "sending a message of type %u", type);
		r = link_receive(&t->door->link, link_deadline(&t->door->link), &message);
		EXPECT(t, r == PROBE_CLOSED || r == 0, "a message of type %u: %s", type,
		       probe_error(t->dev));
		if (r == 0) {
			message_done(&message);
			EXPECT(t, message.header.flags & VFIO_USER_ERROR,
			       "a message of type %u was served as a command", type);
		}
		check_survives(t, "a message of an unknown type");
	}
}

static void split(struct check_run *t)
{
	uint8_t bytes[64];
	size_t length = make_get_info(9, bytes);

	for (size_t at = 1; at < length; at++) {
		send_bytes(t, bytes, at, "a part of a command");
		pause_us(300);
		send_bytes(t, bytes + at, length - at, "the rest of it");
		expect_info(t, 9, "cut in two");
	}
	for (size_t i = 0; i < length; i++) {
		send_bytes(t, bytes + i, 1, "a byte");
		pause_us(100);
	}
	expect_info(t, 9, "byte by byte");
}

/* Not even between two packets, each with many messages. */
static void split_among_many(struct check_run *t)
{
	uint8_t bytes[MANY * GET_INFO_SIZE];
	size_t length = make_many(bytes);

	send_bytes(t, bytes, 1000, "31 commands and a part of one");
	pause_us(1000);
	send_bytes(t, bytes + 1000, length - 1000, "the rest of 200 commands");
	expect_many(t);
}

static void split_with_fds(struct check_run *t)
{
	struct vfio_user_header header = {
		.id = 5,
		.command = VFIO_USER_DMA_MAP,
		.size = HEADER + sizeof(struct vfio_user_dma_map),
	};
	struct vfio_user_dma_map map = { .argsz = sizeof(map),
					 .flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
					 .size = 4096 };
	uint8_t bytes[HEADER + sizeof(map)];
	int fd = check_memfd(t, 4096);

	for (size_t at = 1; at < sizeof(bytes); at += 7) {
		map.address = at << 20;
		memcpy(bytes, &header, HEADER);
		memcpy(bytes + HEADER, &map, sizeof(map));
		check_ok(t, link_send(&t->door->link, bytes, at, &fd, 1), "a part of DMA_MAP");
		pause_us(300);
		send_bytes(t, bytes + at, sizeof(bytes) - at, "the rest of it");
		check_ok(t,
			 link_receive_reply(&t->door->link, header.id, VFIO_USER_DMA_MAP, 0, NULL),
			 "DMA_MAP with its descriptor on the first of two parts");
	}
	check_in_step(t, "DMA_MAPs cut in two");
}

static void pipelined(struct check_run *t)
{
	uint8_t bytes[MANY * GET_INFO_SIZE];

	send_bytes(t, bytes, make_many(bytes), "200 commands");
	expect_many(t);
}

/* Bad ones among them; each has its own answer, in its place. */
static void pipelined_errors(struct check_run *t)
{
	struct link *link = &t->door->link;
	struct vfio_region_info bad = { .argsz = sizeof(bad), .index = 0xfffffff0 };
	uint8_t bytes[64];

	for (uint16_t i = 0; i < 20; i++) {
		send_bytes(t, bytes, make_get_info(i, bytes), "a command");
		check_ok(t,
			 link_send_message(link, VFIO_USER_DEVICE_GET_REGION_INFO, 0, &bad,
					   sizeof(bad), NULL, 0, NULL),
			 "sending a bad command");
	}
	for (uint16_t i = 0; i < 20; i++) {
		expect_info(t, i, "a bad one behind it");
		check_errno(t,
			    link_receive_reply(link, (uint16_t)(link->next_id - 20 + i),
					       VFIO_USER_DEVICE_GET_REGION_INFO, 1, NULL),
			    EINVAL, "DEVICE_GET_REGION_INFO of region 0xfffffff0");
	}
}

static void no_reply(struct check_run *t)
{
	struct link *link = &t->door->link;
	struct vfio_user_region_access access = { .offset = PCI_INTERRUPT_LINE,
						  .region = VFIO_PCI_CONFIG_REGION_INDEX,
						  .count = 1 };
	uint64_t before = check_read(t, VFIO_PCI_CONFIG_REGION_INDEX, PCI_INTERRUPT_LINE, 1);
	uint8_t payload[sizeof(access) + 1];

	memcpy(payload, &access, sizeof(access));
	for (uint8_t value = 0x55; value; value = value == 0x55 ? 0xaa : 0) {
		payload[sizeof(access)] = value;
		check_ok(t,
			 link_send_message(link, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY,
					   payload, sizeof(payload), NULL, 0, NULL),
			 "sending a posted write");
		EXPECT(t,
		       check_read(t, VFIO_PCI_CONFIG_REGION_INDEX, PCI_INTERRUPT_LINE, 1) == value,
		       "a read after a posted write of %#x does not give that", value);
	}
	check_write(t, VFIO_PCI_CONFIG_REGION_INDEX, PCI_INTERRUPT_LINE, 1, before);
	EXPECT(t, link_is_quiet(link, QUIET_MS), "something came after the reply to the read");
}

static void no_reply_error(struct check_run *t)
{
	struct link *link = &t->door->link;
	struct vfio_user_region_access access = { .offset = UINT64_MAX, .region = 7, .count = 4 };
	uint8_t payload[sizeof(access) + 4] = { 0 };

	memcpy(payload, &access, sizeof(access));
	check_ok(t,
		 link_send_message(link, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, payload,
				   sizeof(payload), NULL, 0, NULL),
		 "sending a bad posted write");
	check_ok(t, link_send_message(link, 99, VFIO_USER_NO_REPLY, NULL, 0, NULL, 0, NULL),
		 "sending an unknown command without a reply");
	EXPECT(t, link_is_quiet(link, QUIET_MS), "a reply came that was not to be");
	check_in_step(t, "bad commands that want no reply");
}

/* Nobody knows where the next message begins. A server that takes it for a header goes on in step. */
static void undersized(struct check_run *t)
{
	for (uint32_t size = 0; size < HEADER; size += 5) {
		struct vfio_user_header header = { .id = 1,
						   .command = VFIO_USER_DEVICE_GET_INFO,
						   .size = size };
		int r;

		send_bytes(t, &header, sizeof(header), "a header that says less than its own size");
		r = link_receive_reply(&t->door->link, 1, VFIO_USER_DEVICE_GET_INFO, 0, NULL);
		EXPECT(t, r != 0, "a message of %u bytes was served", size);
		if (r != PROBE_CLOSED && !link_is_closed(&t->door->link)) {
			check_answered(t, r, "a message of %u bytes", size);
			check_in_step(t, "a message smaller than its header");
			check_advise(
				t,
				"a message of %u bytes: %s, and the server goes on in a stream "
				"that can't be trusted any more",
				size, probe_result(r));
		}
		check_survives(t, "a message smaller than its header");
	}
}

/* All of its bytes come: what follows is a message again. */
static void oversized(struct check_run *t)
{
	struct link *link = &t->door->link;
	uint32_t payload = 2 * VFIO_USER_MAX_MESSAGE;
	uint8_t *bytes = check_alloc(t, HEADER + payload);
	struct vfio_user_header header = { .id = 1,
					   .command = VFIO_USER_REGION_WRITE,
					   .size = HEADER + payload };
	int r;

	memcpy(bytes, &header, HEADER);
	r = link_send(link, bytes, header.size, NULL, 0);
	if (r == 0)
		r = link_receive_reply(link, 1, VFIO_USER_REGION_WRITE, 0, NULL);
	if (r == PROBE_CLOSED) {
		check_survives(t, "a message of 2 MiB");
		return;
	}
	EXPECT(t, r < 0, "a write of 2 MiB succeeded");
	check_answered(t, r, "a message of 2 MiB");
	check_in_step(t, "a message of 2 MiB");
}

/* The server must neither wait for memory nor for us. */
static void claims_4g(struct check_run *t)
{
	static const uint32_t sizes[] = { 0x7fffffff, 0x80000000, 0xfffffff0, 0xffffffff };

	for (size_t i = 0; i < ARRAY_SIZE(sizes); i++) {
		struct vfio_user_header header = { .id = 1,
						   .command = VFIO_USER_REGION_WRITE,
						   .size = sizes[i] };
		uint8_t rest[4096] = { 0 };

		send_bytes(t, &header, sizeof(header), "a header that promises gigabytes");
		link_send(&t->door->link, rest, sizeof(rest), NULL, 0);
		check_survives(t, "a message that promised gigabytes");
	}
}

static const struct {
	uint16_t command;
	size_t length; /* of its fixed payload */
} fixed[] = {
	{ VFIO_USER_DMA_MAP, sizeof(struct vfio_user_dma_map) },
	{ VFIO_USER_DMA_UNMAP, sizeof(struct vfio_user_dma_unmap) },
	{ VFIO_USER_DEVICE_GET_INFO, sizeof(struct vfio_user_device_info) },
	{ VFIO_USER_DEVICE_GET_REGION_INFO, sizeof(struct vfio_region_info) },
	{ VFIO_USER_DEVICE_GET_IRQ_INFO, sizeof(struct vfio_irq_info) },
	{ VFIO_USER_DEVICE_SET_IRQS, sizeof(struct vfio_irq_set) },
	{ VFIO_USER_REGION_READ, sizeof(struct vfio_user_region_access) },
	{ VFIO_USER_REGION_WRITE, sizeof(struct vfio_user_region_access) },
};

static void short_payload(struct check_run *t)
{
	uint8_t payload[64];

	/* So that argsz and all else is no reason to refuse. */
	memset(payload, 0, sizeof(payload));
	payload[0] = sizeof(payload);
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
		for (size_t length = 0; length < fixed[i].length; length++) {
			int r = link_call(&t->door->link, fixed[i].command, payload, length, NULL,
					  0, 1, NULL);

			if (r == 0 && fixed[i].command >= VFIO_USER_DEVICE_GET_INFO &&
			    fixed[i].command <= VFIO_USER_DEVICE_GET_IRQ_INFO) {
				check_advise(t, "command %u with %zu of its %zu bytes was served",
					     fixed[i].command, length, fixed[i].length);
				continue;
			}
			check_refused(t, r, EINVAL, "command %u with %zu of its %zu bytes",
				      fixed[i].command, length, fixed[i].length);
		}
	check_in_step(t, "payloads that were too short");
}

static void long_payload(struct check_run *t)
{
	uint8_t payload[256] = { 0 };

	payload[0] = 64;
	for (size_t i = 0; i < ARRAY_SIZE(fixed); i++) {
		check_answered(t,
			       link_call(&t->door->link, fixed[i].command, payload,
					 fixed[i].length + 100, NULL, 0, 1, NULL),
			       "command %u with 100 bytes too many", fixed[i].command);
		check_in_step(t, "a payload that was too long");
	}
}

/*
 * Descriptors that a command has no use for. They are the ends of pipes, whose
 * other ends tell us whether the server has closed them.
 */
static void surplus(struct check_run *t, size_t n, bool may_hang_up)
{
	struct vfio_user_device_info info = { .argsz = sizeof(info) };
	struct pollfd pfd = { .fd = -1 };
	int ends[2], fds[PROBE_MAX_FDS], r;
	uint16_t id;

	EXPECT(t, pipe(ends) == 0, "internal: pipe");
	pfd.fd = check_keep_fd(t, ends[0]);
	for (size_t i = 0; i < n; i++)
		fds[i] = ends[1];
	r = link_send_message(&t->door->link, VFIO_USER_DEVICE_GET_INFO, 0, &info, sizeof(info),
			      fds, n, &id);
	close_fd(ends[1]);
	if (r == 0)
		r = link_receive_reply(&t->door->link, id, VFIO_USER_DEVICE_GET_INFO, 0, NULL);
	if (r == PROBE_CLOSED && may_hang_up) {
		check_survives(t, "too many descriptors");
	} else {
		check_answered(t, r, "DEVICE_GET_INFO with %zu descriptors", n);
		check_in_step(t, "a command with descriptors");
	}
	EXPECT(t, poll(&pfd, 1, (int)t->timeout_ms) == 1 && pfd.revents & POLLHUP,
	       "of %zu descriptors with DEVICE_GET_INFO some are still open in the server", n);
}

static void surplus_fds(struct check_run *t)
{
	surplus(t, 1, false);
	if (t->facts->max_msg_fds > 1)
		surplus(t, t->facts->max_msg_fds < 16 ? t->facts->max_msg_fds : 16, false);
}

static void too_many_fds(struct check_run *t)
{
	surplus(t, PROBE_MAX_FDS, true);
}

/* With payload bytes rather than with a header. */
static void fds_in_the_middle(struct check_run *t)
{
	uint8_t bytes[64];
	size_t length = make_get_info(11, bytes);
	struct pollfd pfd = { .fd = -1 };
	int ends[2], r;

	EXPECT(t, pipe(ends) == 0, "internal: pipe");
	pfd.fd = check_keep_fd(t, ends[0]);
	send_bytes(t, bytes, 20, "a part of a command");
	link_send(&t->door->link, bytes + 20, length - 20, &ends[1], 1);
	close_fd(ends[1]);
	r = link_receive_reply(&t->door->link, 11, VFIO_USER_DEVICE_GET_INFO, 0, NULL);
	if (r == PROBE_CLOSED) {
		check_survives(t, "a descriptor in the middle of a message");
	} else {
		check_answered(t, r, "DEVICE_GET_INFO with a descriptor on its second part");
		check_in_step(t, "a descriptor in the middle of a message");
	}
	EXPECT(t, poll(&pfd, 1, (int)t->timeout_ms) == 1 && pfd.revents & POLLHUP,
	       "a descriptor in the middle of a message is still open in the server");
}

/* A client that does not read for a while loses nothing. */
static void backpressure(struct check_run *t)
{
	enum { COUNT = 3000, BYTES = 256 };
	struct vfio_user_region_access access = { .region = VFIO_PCI_CONFIG_REGION_INDEX,
						  .count = BYTES };
	struct {
		struct vfio_user_header header;
		struct vfio_user_region_access access;
	} command = { .header = { .command = VFIO_USER_REGION_READ, .size = sizeof(command) },
		      .access = access };
	unsigned int sent = 0, received = 0;

	for (; sent < COUNT; sent++) {
		command.header.id = (uint16_t)sent;
		if (send(t->door->link.fd, &command, sizeof(command),
			 MSG_DONTWAIT | MSG_NOSIGNAL) != (ssize_t)sizeof(command))
			break;
	}
	pause_us(20000);
	for (; received < sent; received++) {
		struct message reply;

		check_ok(t,
			 link_receive_reply(&t->door->link, (uint16_t)received,
					    VFIO_USER_REGION_READ, 0, &reply),
			 "read %u of %u that were sent before any reply was received", received,
			 sent);
		EXPECT(t, reply.length == sizeof(access) + BYTES, "a reply of %zu bytes",
		       reply.length);
	}
	check_in_step(t, "reads whose replies waited");
}

#define CHECK(name, what, clause, needs, run)                                                      \
	{                                                                                          \
		"header." name, what, clause, NEED_SOCKET | (needs), run                           \
	}

const struct check checks_header[] = {
	CHECK("id", "an ID is the client's, and is echoed", header_clause, 0, ids),
	CHECK("reserved", "error is reserved in a command", header_clause, 0, reserved),
	CHECK("unknown-command", "a command that is none is refused", header_clause, 0,
	      unknown_command),
	CHECK("servers-command", "a command of the server's is refused", "vfio-user: Commands", 0,
	      servers_command),
	CHECK("unasked-reply", "a reply to nothing is ignored", header_clause, 0, unasked_reply),
	CHECK("unknown-type", "a message of no type is not served", header_clause, 0, unknown_type),
	CHECK("split", "a message may be cut at any byte", trust_clause, 0, split),
	CHECK("split-many", "also where many come at once", trust_clause, 0, split_among_many),
	CHECK("split-fds", "its descriptors come with its first byte", trust_clause, 0,
	      split_with_fds),
	CHECK("pipelined", "many commands at once are answered in order", order_clause, 0,
	      pipelined),
	CHECK("pipelined-errors", "bad ones among them are, too", order_clause, 0,
	      pipelined_errors),
	CHECK("backpressure", "replies wait for a client that does not read", order_clause,
	      NEED_PCI, backpressure),
	CHECK("no-reply", "a posted write is done before what follows", order_clause, NEED_PCI,
	      no_reply),
	CHECK("no-reply-error", "No_reply means none, not even an error", header_clause, 0,
	      no_reply_error),
	CHECK("undersized", "less than a header ends the connection", header_clause, 0, undersized),
	CHECK("oversized", "too much is refused, and skipped", "vfio-user: Message sizes", 0,
	      oversized),
	CHECK("claims-4g", "a size that never comes harms nobody else", trust_clause, 0, claims_4g),
	CHECK("short-payload", "a payload that is too short is refused", trust_clause, 0,
	      short_payload),
	CHECK("long-payload", "one that is too long keeps the stream in step", trust_clause, 0,
	      long_payload),
	CHECK("surplus-fds", "descriptors that nobody wants are closed", trust_clause, 0,
	      surplus_fds),
	CHECK("too-many-fds", "more than were agreed are, too", trust_clause, 0, too_many_fds),
	CHECK("stray-fds", "and those inside of a message", trust_clause, 0, fds_in_the_middle),
	{ 0 },
};
