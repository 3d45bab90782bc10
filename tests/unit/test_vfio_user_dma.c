/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory by message, and what comes across it on the socket. "vfio-user.rst"
 * is docs/interop/vfio-user.rst in QEMU's source.
 */
#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "unit.h"
#include "vfio_user_fixture.h"

static const uint64_t TWO_TO_32 = (uint64_t)1 << 32;

static void answer(struct client *peer, uint16_t command, uint16_t id, const void *payload,
		   size_t length, int error)
{
	struct vfio_user_header header = {
		.id = id,
		.command = command,
		.size = (uint32_t)(sizeof(header) + length),
		.flags = VFIO_USER_TYPE_REPLY | (error ? VFIO_USER_ERROR : 0),
		.error = (uint32_t)error,
	};

	client_send(peer, &header, sizeof(header), NULL, 0);
	client_send(peer, payload, length, NULL, 0);
}

static struct vfio_user_dma_access receive_dma(struct client *peer, uint16_t command,
					       struct client_message *message)
{
	struct vfio_user_dma_access access;

	assert_true(client_receive(peer, message));
	assert_int_equal(message->header.command, command);
	assert_int_equal(message->header.flags, VFIO_USER_TYPE_COMMAND);
	assert_int_equal(message->n_fds, 0);
	assert_true(message->length >= sizeof(access));
	memcpy(&access, message->payload, sizeof(access));
	assert_int_equal(message->length,
			 sizeof(access) + (command == VFIO_USER_DMA_WRITE ? access.count : 0));
	return access;
}

/*
 * The server's command, at a client that counts in 64 bits, as the specification
 * has it: it may be asked first whether it does, and refuses as QEMU 11 does.
 */
static struct vfio_user_dma_access expect_dma_on(struct client *peer, uint16_t command,
						 struct client_message *message)
{
	struct vfio_user_dma_access access;
	struct client_message probe;

	assert_true(client_receive(peer, &probe));
	memcpy(&access, probe.payload, sizeof(access));
	if (probe.header.command == VFIO_USER_DMA_READ && access.count >= TWO_TO_32) {
		answer(peer, VFIO_USER_DMA_READ, probe.header.id, NULL, 0, E2BIG);
		return receive_dma(peer, command, message);
	}
	*message = probe;
	assert_int_equal(message->header.command, command);
	assert_int_equal(message->header.flags, VFIO_USER_TYPE_COMMAND);
	assert_int_equal(message->n_fds, 0);
	assert_int_equal(message->length,
			 sizeof(access) + (command == VFIO_USER_DMA_WRITE ? access.count : 0));
	return access;
}

static struct vfio_user_dma_access expect_dma(uint16_t command, struct client_message *message)
{
	return expect_dma_on(&client, command, message);
}

/* The reply to DMA_READ, in buf: what is read at IOVA i is the low byte of i * 5. */
static size_t make_dma_reply(uint8_t *buf, uint16_t id, const struct vfio_user_dma_access *access)
{
	struct vfio_user_header header = {
		.id = id,
		.command = VFIO_USER_DMA_READ,
		.size = (uint32_t)(sizeof(header) + sizeof(*access) + access->count),
		.flags = VFIO_USER_TYPE_REPLY,
	};

	memcpy(buf, &header, sizeof(header));
	memcpy(buf + sizeof(header), access, sizeof(*access));
	for (size_t i = 0; i < access->count; i++)
		buf[sizeof(header) + sizeof(*access) + i] = (uint8_t)((access->address + i) * 5);
	return header.size;
}

static void answer_read(struct client *peer, uint16_t id, const struct vfio_user_dma_access *access)
{
	static uint8_t buf[VFIO_USER_MAX_MESSAGE];

	client_send(peer, buf, make_dma_reply(buf, id, access), NULL, 0);
}

static void map_without_descriptor(void)
{
	assert_int_equal(client_dma_map(&client, 0x100000, 4 << 20, 3, -1, 0), 0);
}

static void expect_read_data(uint64_t iova, size_t n)
{
	uint8_t seen[REG_BUFFER_SIZE];

	assert_int_equal(client_read(&client, 2, REG_BUFFER, seen, (uint32_t)n), 0);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(seen[i], (uint8_t)((iova + i) * 5));
}

static void dma_by_message(void **state)
{
	struct vfio_user_dma_access access;
	struct client_message message;

	map_without_descriptor();
	for (unsigned int i = 0; i < 2; i++) {
		start_dma(DMA_READ, 0x123456, 64);
		access = expect_dma(VFIO_USER_DMA_READ, &message);
		assert_int_equal(access.address, 0x123456);
		assert_int_equal(access.count, 64);
		answer_read(&client, message.header.id, &access);
		assert_int_equal(dma_result(), 0);
		expect_read_data(0x123456, 64);
	}

	client_write32(&client, 2, REG_BUFFER, 0xaabbccdd);
	start_dma(DMA_WRITE, 0x100010, 4);
	access = expect_dma(VFIO_USER_DMA_WRITE, &message);
	assert_int_equal(access.address, 0x100010);
	assert_int_equal(get_le32(message.payload + sizeof(access)), 0xaabbccdd);
	reply_to_dma(VFIO_USER_DMA_WRITE, message.header.id, NULL, 0, 0); /* QEMU: header alone */
	assert_int_equal(dma_result(), 0);

	/* A scope reads and writes back. */
	start_dma(DMA_SCOPE, 0x100020, 4);
	access = expect_dma(VFIO_USER_DMA_READ, &message);
	answer_read(&client, message.header.id, &access);
	access = expect_dma(VFIO_USER_DMA_WRITE, &message);
	assert_int_equal(access.address, 0x100020);
	assert_int_equal(message.payload[sizeof(access)], (uint8_t)(0x100020 * 5 + 1));
	reply_to_dma(VFIO_USER_DMA_WRITE, message.header.id, &access, sizeof(access), 0);
	assert_int_equal(dma_result(), 0);
}

/* --- how the client counts --- */

/*
 * QEMU 10.1 and 10.2, hw/vfio-user/protocol.h and pci.c: VFIOUserDMARW is the
 * header, u64 offset, u32 count, data; 32 bytes with its padding, its data at
 * 28. Messages are sizeof(VFIOUserDMARW) + count bytes; the high half of our
 * count is not looked at.
 */
enum { QEMU_10_SIZE = 32, QEMU_10_DATA = 28 };

static void answer_as_qemu_10(const struct client_message *message)
{
	uint64_t offset = get_le64(message->payload);
	uint32_t count = get_le32(message->payload + 8);
	uint8_t reply[QEMU_10_SIZE + 4096] = { 0 };
	struct vfio_user_header header = message->header;

	assert_int_equal(header.command, VFIO_USER_DMA_READ);
	assert_true(header.size >= QEMU_10_SIZE && count <= 4096);
	header.flags = VFIO_USER_TYPE_REPLY;
	header.size = QEMU_10_SIZE + count;
	memcpy(reply, &header, sizeof(header));
	memcpy(reply + sizeof(header), message->payload, QEMU_10_SIZE - sizeof(header));
	for (uint32_t i = 0; i < count; i++)
		reply[QEMU_10_DATA + i] = (uint8_t)((offset + i) * 5);
	client_send(&client, reply, header.size, NULL, 0);
}

static void qemu_10_counts_in_32_bits(void **state)
{
	struct client_message message;

	map_without_descriptor();
	/* A write first: it must not be put down four bytes off. */
	client_write32(&client, 2, REG_BUFFER, 0xaabbccdd);
	client_write32(&client, 2, REG_BUFFER + 4, 0x11223344);
	start_dma(DMA_WRITE, 0x100010, 8);
	assert_true(client_receive(&client, &message));
	assert_int_equal(get_le64(message.payload), 0x100010);
	assert_int_equal(get_le64(message.payload + 8), TWO_TO_32 + 4);
	answer_as_qemu_10(&message);
	assert_true(client_receive(&client, &message));
	assert_int_equal(message.header.command, VFIO_USER_DMA_WRITE);
	/* "make sure transfer count isn't larger than the message data" */
	assert_int_equal(message.header.size, QEMU_10_SIZE + 8);
	assert_int_equal(get_le32(message.payload + 8), 8);
	assert_int_equal(get_le32(message.payload + QEMU_10_DATA - 16), 0xaabbccdd);
	assert_int_equal(get_le32(message.payload + QEMU_10_DATA - 12), 0x11223344);
	reply_to_dma(VFIO_USER_DMA_WRITE, message.header.id, NULL, 0, 0);
	assert_int_equal(dma_result(), 0);

	/* Once is enough. */
	for (uint64_t iova = 0x200000; iova < 0x200010; iova++) {
		start_dma(DMA_READ, iova, 333);
		assert_true(client_receive(&client, &message));
		assert_int_equal(get_le64(message.payload + 8), 333);
		answer_as_qemu_10(&message);
		assert_int_equal(dma_result(), 0);
		expect_read_data(iova, 333);
	}
}

/* QEMU answers ENODEV while bus mastering is off, whatever its version. */
static void a_refusal_that_tells_nothing_is_the_devices(void **state)
{
	struct vfio_user_dma_access access;
	struct client_message message;

	map_without_descriptor();
	for (unsigned int i = 0; i < 2; i++) {
		start_dma(DMA_WRITE, 0x100010, 8);
		access = receive_dma(&client, VFIO_USER_DMA_READ, &message);
		assert_int_equal(access.count, TWO_TO_32 + 4);
		reply_to_dma(VFIO_USER_DMA_READ, message.header.id, NULL, 0, ENODEV);
		assert_int_equal(dma_result(), -ENODEV);
	}
	start_dma(DMA_WRITE, 0x100010, 8);
	assert_true(client_receive(&client, &message));
	answer_as_qemu_10(&message);
	assert_true(client_receive(&client, &message));
	assert_int_equal(message.header.command, VFIO_USER_DMA_WRITE);
	reply_to_dma(VFIO_USER_DMA_WRITE, message.header.id, NULL, 0, 0);
	assert_int_equal(dma_result(), 0);
}

/* Behind the last byte of a map there may be nothing, and a QEMU of any version says so. */
static void the_question_stays_in_the_map(void **state)
{
	const uint64_t end = 0x100000 + (4 << 20);
	struct client_message message;

	map_without_descriptor();
	client_write32(&client, 2, REG_BUFFER, 0xaabbccdd);
	start_dma(DMA_WRITE, end - 1, 1);
	assert_true(client_receive(&client, &message));
	assert_int_equal(get_le64(message.payload + 8), TWO_TO_32 + 4);
	assert_in_range(get_le64(message.payload), 0x100000, end - 4);
	answer_as_qemu_10(&message);
	assert_true(client_receive(&client, &message));
	assert_int_equal(message.header.command, VFIO_USER_DMA_WRITE);
	assert_int_equal(get_le64(message.payload), end - 1);
	reply_to_dma(VFIO_USER_DMA_WRITE, message.header.id, NULL, 0, 0);
	assert_int_equal(dma_result(), 0);
}

/* A client that can't be QEMU is believed to follow the specification. */
static void others_are_not_asked(void **state)
{
	struct vfio_user_dma_access access;
	struct client_message message;

	leave();
	connect_client(&client);
	assert_int_equal(client_version(&client, 0, 1, "{\"capabilities\":{}}", NULL), 0);
	map_without_descriptor();
	start_dma(DMA_WRITE, 0x100010, 8);
	access = receive_dma(&client, VFIO_USER_DMA_WRITE, &message);
	assert_int_equal(access.count, 8);
	reply_to_dma(VFIO_USER_DMA_WRITE, message.header.id, NULL, 0, 0);
	assert_int_equal(dma_result(), 0);
}

/* --- large accesses --- */

enum { PIECE = 100 };

static void connect_one_that_takes_little(const char *json)
{
	leave();
	connect_client(&client);
	assert_int_equal(client_version(&client, 0, 1, json, NULL), 0);
	map_without_descriptor();
}

static const char takes_little[] = "{\"capabilities\":{\"max_data_xfer_size\":100}}";

/* Four messages are under way at once, and may be answered in any order. */
static void pieces_are_under_way_together(void **state)
{
	static const unsigned int orders[][4] = {
		{ 0, 1, 2, 3 }, { 3, 2, 1, 0 }, { 2, 0, 3, 1 }, { 1, 3, 0, 2 }
	};

	connect_one_that_takes_little(takes_little);
	for (size_t order = 0; order < ARRAY_SIZE(orders); order++) {
		struct vfio_user_dma_access accesses[4];
		uint16_t ids[4];
		struct client_message message;
		uint64_t iova = 0x100000 + order;

		start_dma(DMA_READ, iova, 8 * PIECE);
		for (unsigned int i = 0; i < 8; i++) {
			accesses[i % 4] = expect_dma(VFIO_USER_DMA_READ, &message);
			ids[i % 4] = message.header.id;
			assert_int_equal(accesses[i % 4].address, iova + i * PIECE);
			assert_int_equal(accesses[i % 4].count, PIECE);
			if (i % 4 != 3)
				continue;
			assert_true(client_is_quiet(&client)); /* no more than four */
			for (unsigned int j = 0; j < 4; j++) {
				unsigned int which = orders[order][j];

				answer_read(&client, ids[which], &accesses[which]);
			}
		}
		assert_int_equal(dma_result(), 0);
		expect_read_data(iova, 8 * PIECE);
	}
}

/* One that fails fails the whole; those that are out are waited for, no others follow. */
static void a_failed_piece_ends_the_access(void **state)
{
	struct client_message message;
	uint16_t ids[4];

	connect_one_that_takes_little(takes_little);
	start_dma(DMA_WRITE, 0x100000, 8 * PIECE);
	for (unsigned int i = 0; i < 4; i++) {
		expect_dma(VFIO_USER_DMA_WRITE, &message);
		ids[i] = message.header.id;
	}
	reply_to_dma(VFIO_USER_DMA_WRITE, ids[1], NULL, 0, EPERM);
	reply_to_dma(VFIO_USER_DMA_WRITE, ids[0], NULL, 0, EIO);
	assert_true(client_is_quiet(&client));
	expect_in_step(); /* it is not over yet, and commands are served */
	reply_to_dma(VFIO_USER_DMA_WRITE, ids[2], NULL, 0, 0);
	reply_to_dma(VFIO_USER_DMA_WRITE, ids[3], NULL, 0, 0);
	assert_int_equal(dma_result(), -EPERM);
	assert_true(client_is_quiet(&client));
}

/* max_data_xfer_size is the most that goes into one message. */
static void dma_by_message_in_pieces(void **state)
{
	struct vfio_user_dma_access access;
	struct client_message message;
	uint64_t at = 0x100000, left = (2 << 20) + 100;

	map_without_descriptor();
	start_dma(DMA_READ, at, (uint32_t)left);
	while (left) {
		access = expect_dma(VFIO_USER_DMA_READ, &message);
		assert_int_equal(access.address, at);
		assert_int_equal(access.count, left < 1 << 20 ? left : 1 << 20);
		answer_read(&client, message.header.id, &access);
		at += access.count;
		left -= access.count;
	}
	assert_int_equal(dma_result(), 0);
	start_dma(DMA_WRITE, 0x100000, (1 << 20) + 1);
	for (unsigned int i = 0; i < 2; i++) {
		access = expect_dma(VFIO_USER_DMA_WRITE, &message);
		assert_int_equal(access.count, i ? 1 : 1 << 20);
		for (size_t b = 0; b < access.count; b++)
			assert_int_equal(message.payload[sizeof(access) + b],
					 (uint8_t)((access.address + b) * 5));
		reply_to_dma(VFIO_USER_DMA_WRITE, message.header.id, NULL, 0, 0);
	}
	assert_int_equal(dma_result(), 0);
	leave();

	/* A client that takes less, and one that takes nothing. */
	connect_client(&client);
	assert_int_equal(client_version(&client, 0, 0,
					"{\"capabilities\":{\"max_data_xfer_size\":100}}", NULL),
			 0);
	map_without_descriptor();
	start_dma(DMA_READ, 0x100000, 150);
	for (unsigned int i = 0; i < 2; i++) {
		access = expect_dma(VFIO_USER_DMA_READ, &message);
		assert_int_equal(access.count, i ? 50 : 100);
		answer_read(&client, message.header.id, &access);
	}
	assert_int_equal(dma_result(), 0);
	leave();
	connect_client(&client);
	assert_int_equal(client_version(&client, 0, 0,
					"{\"capabilities\":{\"max_data_xfer_size\":0}}", NULL),
			 0);
	map_without_descriptor();
	start_dma(DMA_READ, 0x100000, 150);
	assert_int_equal(dma_result(), -ENOTSUP);
}

static void failed_dma_is_told_to_the_device(void **state)
{
	static const struct {
		int error, result;
	} errors[] = {
		{ ENODEV, -ENODEV }, /* QEMU, without bus mastering */
		{ E2BIG, -E2BIG },
		{ 4095, -4095 },
		{ 4096, -EIO }, /* no errno */
	};
	struct vfio_user_dma_access access;
	struct client_message message;
	uint8_t buf[256];

	map_without_descriptor();
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		start_dma(DMA_READ, 0x100000, 64);
		expect_dma(VFIO_USER_DMA_READ, &message);
		reply_to_dma(VFIO_USER_DMA_READ, message.header.id, NULL, 0, errors[i].error);
		assert_int_equal(dma_result(), errors[i].result);
	}
	/* An error without a number: vfio-user.rst, "Header", allows it. */
	start_dma(DMA_READ, 0x100000, 64);
	expect_dma(VFIO_USER_DMA_READ, &message);
	{
		struct vfio_user_header header = {
			.id = message.header.id,
			.command = VFIO_USER_DMA_READ,
			.size = sizeof(header),
			.flags = VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR,
		};

		client_send(&client, &header, sizeof(header), NULL, 0);
	}
	assert_int_equal(dma_result(), -EIO);

	/* Too short, too long, of another address. */
	for (unsigned int i = 0; i < 5; i++) {
		static const size_t lengths[] = { 0, 15, 16 + 63, 16 + 65, 16 + 64 };

		start_dma(DMA_READ, 0x100000, 64);
		access = expect_dma(VFIO_USER_DMA_READ, &message);
		memset(buf, 0, sizeof(buf));
		access.address += i == 4;
		memcpy(buf, &access, sizeof(access));
		reply_to_dma(VFIO_USER_DMA_READ, message.header.id, buf, lengths[i], 0);
		assert_int_equal(dma_result(), -EPROTO);
	}
	/* Replies to something else, or under another number, are none. */
	start_dma(DMA_READ, 0x100000, 64);
	access = expect_dma(VFIO_USER_DMA_READ, &message);
	reply_to_dma(VFIO_USER_DMA_WRITE, message.header.id, NULL, 0, 0);
	reply_to_dma(VFIO_USER_DMA_READ, (uint16_t)(message.header.id + 1), NULL, 0, EINVAL);
	answer_read(&client, message.header.id, &access);
	assert_int_equal(dma_result(), 0);
	expect_in_step();
}

/*
 * vfio-user.rst, "Command Concurrency": messages of both directions may cross.
 * A vCPU that waits for its read may be what keeps the client from answering.
 */
static void commands_are_served_while_dma_waits(void **state)
{
	struct vfio_user_dma_access access;
	struct client_message message, dma;
	uint8_t buf[512];
	size_t n;

	map_without_descriptor();
	for (unsigned int i = 0; i < 50; i++) {
		start_dma(DMA_READ, 0x100000, 64);
		access = expect_dma(VFIO_USER_DMA_READ, &dma);
		expect_in_step();
		assert_int_equal(client_dma_map(&client, 0x10000000, 4096, 3, -1, 0), 0);
		assert_int_equal(client_dma_unmap(&client, 0x10000000, 4096), 0);

		/* The reply, and behind it in the same packet what must not be left lying. */
		n = make_dma_reply(buf, dma.header.id, &access);
		for (unsigned int m = 0; m < 3; m++) {
			struct vfio_user_region_access read = { REG_WORKS, 2, 4 };

			n += client_make(&client, buf + n, VFIO_USER_REGION_READ, 0, &read,
					 sizeof(read), NULL);
		}
		client_send(&client, buf, n, NULL, 0);
		for (unsigned int m = 0; m < 3; m++) {
			assert_true(client_receive(&client, &message));
			assert_int_equal(message.header.command, VFIO_USER_REGION_READ);
			assert_int_equal(get_le32(message.payload + 16), i + 1);
		}
		assert_int_equal(dma_result(), 0);
	}
}

/* Asked for anew while it works: it works again, and answers in between. */
static void work_may_be_asked_for_while_it_is_done(void **state)
{
	struct vfio_user_dma_access access;
	struct client_message message;

	map_without_descriptor();
	start_dma(DMA_READ, 0x100000, 64);
	for (unsigned int i = 0; i < 20; i++) {
		access = expect_dma(VFIO_USER_DMA_READ, &message);
		client_write32(&client, 2, REG_DMA_COMMAND, DMA_READ);
		answer_read(&client, message.header.id, &access);
	}
	access = expect_dma(VFIO_USER_DMA_READ, &message);
	answer_read(&client, message.header.id, &access);
	assert_int_equal(client_read32(&client, 2, REG_WORKS), 21);
	assert_true(client_is_quiet(&client));
}

static void unmap_is_answered_while_dma_waits(void **state)
{
	struct client_message message;

	map_without_descriptor();
	/* The next piece of it lies in another map, which goes away in the meantime. */
	assert_int_equal(client_dma_map(&client, 0x500000, 1 << 20, 3, -1, 0), 0);
	start_dma(DMA_WRITE, 0x500000 - 32, 64);
	expect_dma(VFIO_USER_DMA_WRITE, &message);
	assert_int_equal(client_dma_unmap(&client, 0x500000, 1 << 20), 0);
	reply_to_dma(VFIO_USER_DMA_WRITE, message.header.id, NULL, 0, 0);
	assert_int_equal(dma_result(), -EFAULT);
}

/* Of the very memory that is being transferred, all of it or by its range. */
static void unmapping_ends_the_access(void **state)
{
	connect_one_that_takes_little(takes_little);
	for (unsigned int i = 0; i < 2; i++) {
		struct vfio_user_dma_unmap all = { .argsz = 24, .flags = VFIO_DMA_UNMAP_FLAG_ALL };
		struct client_message messages[4];

		start_dma(i ? DMA_WRITE : DMA_READ, 0x100000, 8 * PIECE);
		for (unsigned int j = 0; j < 4; j++)
			expect_dma(i ? VFIO_USER_DMA_WRITE : VFIO_USER_DMA_READ, &messages[j]);
		if (i)
			assert_int_equal(client_dma_unmap(&client, 0x100000, 4 << 20), 0);
		else
			assert_int_equal(client_call(&client, VFIO_USER_DMA_UNMAP, &all,
						     sizeof(all), NULL, 0, NULL),
					 0);
		for (unsigned int j = 0; j < 4; j++)
			reply_to_dma(messages[j].header.command, messages[j].header.id, NULL, 0,
				     EINVAL);
		assert_int_equal(dma_result(), -EFAULT);
		assert_true(client_is_quiet(&client));
		map_without_descriptor();
	}
}

/* A device that was reset must not go on writing to the guest's memory. */
static void a_reset_ends_the_access(void **state)
{
	struct client_message messages[4];

	connect_one_that_takes_little(takes_little);
	start_dma(DMA_WRITE, 0x100000, 8 * PIECE);
	for (unsigned int i = 0; i < 4; i++)
		expect_dma(VFIO_USER_DMA_WRITE, &messages[i]);
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0, NULL), 0);
	for (unsigned int i = 0; i < 4; i++)
		reply_to_dma(VFIO_USER_DMA_WRITE, messages[i].header.id, NULL, 0, 0);
	assert_int_equal(dma_result(), -ECANCELED);
	assert_true(client_is_quiet(&client));
}

/* Whatever it is, it is answered as at any other time. */
static void any_command_may_come_while_dma_waits(void **state)
{
	static const uint8_t zeros[4096];
	const uint32_t bind = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
	struct vfio_user_header oversized = { .id = 77, .command = 10, .size = (2 << 20) + 16 };
	int irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), memory = make_memory(4096);
	struct vfio_user_dma_access access;
	struct client_message message, dma;

	map_without_descriptor();
	start_dma(DMA_READ, 0x100000, 64);
	access = expect_dma(VFIO_USER_DMA_READ, &dma);

	assert_int_equal(client_version(&client, 0, 0, "{}", NULL), -EINVAL);
	assert_int_equal(client_set_irqs(&client, bind, 1, 0, 1, NULL, 0, &irq, 1), 0);
	client_write32(&client, 2, REG_MSI, 0);
	assert_int_equal(signals(irq), 1);
	assert_int_equal(client_dma_map(&client, 0x100000, 4096, 3, memory, 0), -EEXIST);
	assert_int_equal(client_dma_map(&client, 0x10000000, 4096, 3, memory, 0), 0);
	assert_int_equal(client_call(&client, 99, NULL, 0, NULL, 0, NULL), -ENOTSUP);
	client_send(&client, &oversized, sizeof(oversized), NULL, 0);
	for (unsigned int i = 0; i < 512; i++)
		client_send(&client, zeros, sizeof(zeros), NULL, 0);
	assert_true(client_receive(&client, &message));
	assert_int_equal(message.header.id, 77);
	assert_int_equal(message.header.error, EINVAL);
	/* A reply that is longer than any may be. */
	oversized.command = VFIO_USER_DMA_READ;
	oversized.flags = VFIO_USER_TYPE_REPLY;
	client_send(&client, &oversized, sizeof(oversized), NULL, 0);
	for (unsigned int i = 0; i < 512; i++)
		client_send(&client, zeros, sizeof(zeros), NULL, 0);
	expect_in_step();

	answer_read(&client, dma.header.id, &access);
	assert_int_equal(dma_result(), 0);
	expect_read_data(0x100000, 64);
	close(irq);
	close(memory);
}

static void the_client_may_go_while_dma_waits(void **state)
{
	for (unsigned int i = 0; i < 3; i++) {
		struct client_message message;

		map_without_descriptor();
		start_dma(DMA_WRITE, 0x100000, 2 << 20);
		expect_dma(VFIO_USER_DMA_WRITE, &message);
		switch (i) {
		case 0:
			break;
		case 1: /* in the middle of the reply */
			client_send(&client, &message.header, 7, NULL, 0);
			break;
		default: /* out of step */
			client_command(&client, VFIO_USER_REGION_READ, 5, NULL, 0, NULL, 0);
			assert_true(client_is_hung_up(&client));
		}
		leave();
		if (i == 2)
			assert_int_equal(atomic_load(&disconnect_reason), -EPROTO);
		else if (atomic_load(&disconnect_reason) != -EPIPE)
			assert_int_equal(atomic_load(&disconnect_reason), -ECONNRESET);
		connect_client(&client);
		client_negotiate(&client);
		assert_int_equal(client_dma_unmap(&client, 0x100000, 4 << 20), -ENOENT);
	}
}

/* Five seconds, also if commands come all the while. Then the device goes on without. */
static void dma_that_is_not_answered_times_out(void **state)
{
	struct vfio_user_dma_access access;
	struct client_message message, late;
	uint64_t before = clock_ns(), took;

	map_without_descriptor();
	start_dma(DMA_READ, 0x100000, 64);
	access = expect_dma(VFIO_USER_DMA_READ, &late);
	while (dma_result() != -ETIMEDOUT)
		assert_true(clock_ns() - before < 15000000000);
	took = clock_ns() - before;
	assert_true(took >= 4900000000);

	answer_read(&client, late.header.id, &access);
	start_dma(DMA_READ, 0x100000, 64);
	access = expect_dma(VFIO_USER_DMA_READ, &message);
	assert_int_not_equal(message.header.id, late.header.id);
	answer_read(&client, message.header.id, &access);
	assert_int_equal(dma_result(), 0);
}

/*
 * Work that a doorbell asked for is no different: a message that the client does
 * not take, and can't be taken back, ends the connection there and then.
 */
static void dma_that_is_not_taken_ends_it(void **state)
{
	struct vfio_user_region_io_fds info = { .argsz = 4096, .index = 2 };
	const uint64_t iova = 0x100000, one = 1;
	struct vfio_user_dma_access access;
	struct client_message message;
	int bell;

	map_without_descriptor();
	start_dma(DMA_READ, iova, 4);
	access = expect_dma(VFIO_USER_DMA_READ, &message);
	answer_read(&client, message.header.id, &access);
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &info,
				     sizeof(info), NULL, 0, &message),
			 0);
	bell = message.fds[0];
	close_fds(message.fds + 1, message.n_fds - 1);
	/* Work that does nothing, but to leave its command for the doorbell. */
	client_write32(&client, 2, REG_DMA_LENGTH, 0);
	client_write32(&client, 2, REG_DMA_COMMAND, DMA_WRITE);
	client_write32(&client, 2, REG_DMA_LENGTH, BUFFER_SIZE);
	assert_int_equal(write(bell, &one, sizeof(one)), sizeof(one));
	close(bell);
	wait_until_disconnected();
	assert_int_equal(atomic_load(&disconnect_reason), -ETIMEDOUT);
}

struct waited_order {
	struct order order;
	sem_t done;
};

static void run_nothing(struct order *order)
{
	sem_post(&((struct waited_order *)order)->done);
}

/* A doorbell that is rung again and again by a guest must not shut the main thread out. */
static void orders_are_taken_while_the_device_works_on(void **state)
{
	struct vfio_user_dma_access access;
	struct client_message message;
	struct waited_order order = { .order.run = run_nothing };
	uint8_t buf[512];
	unsigned int i;

	map_without_descriptor();
	sem_init(&order.done, 0, 0);
	start_dma(DMA_READ, 0x100000, 64);
	for (i = 0; i < 1000; i++) {
		struct vfio_user_region_access write = { REG_DMA_COMMAND, 2, 4 };
		uint8_t payload[20];
		size_t n = 0;

		access = expect_dma(VFIO_USER_DMA_READ, &message);
		if (i == 5)
			vfio_user_server_order(server, &order.order);
		memcpy(payload, &write, sizeof(write));
		put_le32(payload + 16, DMA_READ);
		n += client_make(&client, buf, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, payload,
				 sizeof(payload), NULL);
		n += make_dma_reply(buf + n, message.header.id, &access);
		client_send(&client, buf, n, NULL, 0);
		if (sem_trywait(&order.done) == 0)
			break;
	}
	assert_true(i < 1000);
	expect_dma(VFIO_USER_DMA_READ, &message);
	sem_destroy(&order.done);
}

/* Nor must a client that does not answer. */
static void orders_are_taken_while_dma_waits(void **state)
{
	struct waited_order order = { .order.run = run_nothing };
	struct client_message message;
	struct timespec deadline;

	map_without_descriptor();
	sem_init(&order.done, 0, 0);
	start_dma(DMA_READ, 0x100000, 64);
	expect_dma(VFIO_USER_DMA_READ, &message);
	vfio_user_server_order(server, &order.order);
	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += 2; /* less than what a reply may take */
	assert_int_equal(sem_timedwait(&order.done, &deadline), 0);
	sem_destroy(&order.done);
}

static void the_server_may_end_while_dma_waits(void **state)
{
	uint64_t before = clock_ns();
	struct client_message message;

	map_without_descriptor();
	start_dma(DMA_WRITE, 0x100000, 3 << 20);
	expect_dma(VFIO_USER_DMA_WRITE, &message);
	vfio_user_server_free(server);
	server = NULL;
	assert_true(clock_ns() - before < 2000000000);
	assert_true(client_is_hung_up(&client));
}

/* --- the twin socket: vfio-user.rst, VFIO_USER_VERSION, twin_socket --- */

static const char with_twin[] = "{\"capabilities\":{\"max_data_xfer_size\":100,"
				"\"twin_socket\":{\"supported\":true}}}";

static struct client twin = { .fd = -1 };

static int setup_twin(void **state)
{
	static const char said[] = "\"twin_socket\":{\"supported\":true,\"fd_index\":0}";
	struct client_message reply;

	setup_unconnected(state);
	connect_client(&client);
	assert_int_equal(client_version(&client, 0, 1, with_twin, &reply), 0);
	assert_non_null(strstr((const char *)reply.payload + 4, said));
	assert_int_equal(reply.n_fds, 1);
	client_init(&twin, reply.fds[0]);
	map_without_descriptor();
	return 0;
}

static int teardown_twin(void **state)
{
	client_done(&twin);
	return teardown(state);
}

/* What is read on one socket may be older than what was said on the other. */
static int final_result(void)
{
	uint64_t before = clock_ns();
	int result;

	do {
		result = dma_result();
		assert_true(clock_ns() - before < 4000000000);
	} while (result == -EINPROGRESS);
	return result;
}

static void dma_takes_the_twin(void **state)
{
	struct vfio_user_dma_access access;
	struct client_message messages[4];

	for (unsigned int round = 0; round < 20; round++) {
		start_dma(DMA_READ, 0x100000 + round, 4 * PIECE);
		for (unsigned int i = 0; i < 4; i++) {
			access = receive_dma(&twin, VFIO_USER_DMA_READ, &messages[i]);
			expect_in_step(); /* meanwhile the other socket goes on */
			answer_read(&twin, messages[i].header.id, &access);
		}
		assert_int_equal(final_result(), 0);
		expect_read_data(0x100000 + round, 4 * PIECE);

		client_write32(&client, 2, REG_BUFFER, round);
		start_dma(DMA_WRITE, 0x100000, 4);
		receive_dma(&twin, VFIO_USER_DMA_WRITE, &messages[0]);
		assert_int_equal(get_le32(messages[0].payload + sizeof(access)), round);
		expect_in_step();
		answer(&twin, VFIO_USER_DMA_WRITE, messages[0].header.id, NULL, 0,
		       round % 2 ? EPERM : 0);
		assert_int_equal(final_result(), round % 2 ? -EPERM : 0);
	}
	assert_true(client_is_quiet(&client));
	assert_true(client_is_quiet(&twin));
}

/* Not there, it is not to be taken for one. */
static void replies_do_not_come_on_the_main_socket(void **state)
{
	struct vfio_user_dma_access access;
	struct client_message message;

	start_dma(DMA_READ, 0x100000, PIECE);
	access = receive_dma(&twin, VFIO_USER_DMA_READ, &message);
	reply_to_dma(VFIO_USER_DMA_READ, message.header.id, NULL, 0, EPERM);
	expect_in_step();
	answer_read(&twin, message.header.id, &access);
	assert_int_equal(final_result(), 0);
}

/* Several read replies unsent on the main socket do not keep it from going on. */
static void a_full_main_socket_does_not_stop_the_twin(void **state)
{
	struct vfio_user_dma_access access;
	struct client_message message;

	start_dma(DMA_READ, 0x100000, 2 * PIECE);
	access = receive_dma(&twin, VFIO_USER_DMA_READ, &message);
	for (unsigned int i = 0; i < 8; i++)
		send_read(0, 0, 1 << 20);
	usleep(50000);
	answer_read(&twin, message.header.id, &access);
	access = receive_dma(&twin, VFIO_USER_DMA_READ, &message);
	answer_read(&twin, message.header.id, &access);
	for (unsigned int i = 0; i < 8; i++)
		assert_true(client_receive(&client, &message));
	assert_int_equal(final_result(), 0);
	expect_read_data(0x100000, 2 * PIECE);
}

/* DMA fails for as long as this client is there; nothing else does. */
static void expect_only_dma_to_fail(int result)
{
	uint64_t before = clock_ns();

	assert_int_equal(final_result(), result);
	start_dma(DMA_READ, 0x100000, 64);
	assert_int_equal(final_result(), -ECONNRESET);
	expect_in_step();
	assert_true(clock_ns() - before < 2000000000);
	client_done(&twin);
	leave();

	connect_client(&client);
	client_negotiate(&client);
	map_without_descriptor();
	start_dma(DMA_READ, 0x100000, 64);
	{
		struct client_message message;
		struct vfio_user_dma_access access = expect_dma(VFIO_USER_DMA_READ, &message);

		answer_read(&client, message.header.id, &access);
		assert_int_equal(final_result(), 0);
	}
}

static void a_twin_may_be_closed(void **state)
{
	struct client_message message;

	start_dma(DMA_READ, 0x100000, 64);
	receive_dma(&twin, VFIO_USER_DMA_READ, &message);
	client_done(&twin);
	expect_only_dma_to_fail(-ECONNRESET);
}

static void a_twin_may_be_closed_at_rest(void **state)
{
	client_done(&twin);
	expect_in_step();
	start_dma(DMA_WRITE, 0x100000, 64);
	expect_only_dma_to_fail(-EPIPE);
}

static void a_twin_may_send_garbage(void **state)
{
	struct client_message message;

	start_dma(DMA_READ, 0x100000, 64);
	receive_dma(&twin, VFIO_USER_DMA_READ, &message);
	client_send(&twin, "\1\0\13\0\5\0\0\0\1\0\0\0\0\0\0", 16, NULL, 0);
	expect_only_dma_to_fail(-EPROTO);
}

static void a_twin_may_send_commands(void **state)
{
	struct vfio_user_region_access access = { REG_SCRATCH, 2, 4 };
	struct client_message message;

	start_dma(DMA_READ, 0x100000, 64);
	receive_dma(&twin, VFIO_USER_DMA_READ, &message);
	client_command(&twin, VFIO_USER_REGION_READ, 0, &access, sizeof(access), NULL, 0);
	expect_only_dma_to_fail(-EPROTO);
}

/* Also with descriptors, and before anything was asked. */
static void a_twin_may_send_replies_unasked(void **state)
{
	struct vfio_user_dma_access access;
	struct client_message message;
	unsigned int open_now = count_fds();
	uint8_t zeros[64] = { 0 };

	for (uint16_t i = 0; i < 100; i++)
		answer(&twin, VFIO_USER_DMA_READ, (uint16_t)(i + 1000), zeros, i % 64, 0);
	client_command(&twin, VFIO_USER_DMA_READ, VFIO_USER_TYPE_REPLY, zeros, 3, &client.fd, 1);
	for (unsigned int i = 0; i < 3; i++) {
		start_dma(DMA_READ, 0x100000, 64);
		access = receive_dma(&twin, VFIO_USER_DMA_READ, &message);
		answer(&twin, VFIO_USER_DMA_WRITE, message.header.id, NULL, 0, EPERM);
		answer_read(&twin, message.header.id, &access);
		answer_read(&twin, message.header.id, &access); /* twice */
		assert_int_equal(final_result(), 0);
		expect_read_data(0x100000, 64);
	}
	assert_int_equal(count_fds(), open_now);
}

static void a_twin_that_is_silent_times_out(void **state)
{
	struct client_message message;
	uint64_t before = clock_ns();

	start_dma(DMA_READ, 0x100000, 64);
	receive_dma(&twin, VFIO_USER_DMA_READ, &message);
	while (dma_result() != -ETIMEDOUT)
		assert_true(clock_ns() - before < 15000000000);
	assert_true(clock_ns() - before >= 4900000000);
	expect_in_step();
}

/* Offered only to those who ask, and can take a descriptor. */
static void nobody_else_has_a_twin(void **state)
{
	static const char *const json[] = {
		"{\"capabilities\":{}}",
		"{\"capabilities\":{\"twin_socket\":{\"supported\":false}}}",
		"{\"capabilities\":{\"twin_socket\":{}}}",
		"{\"capabilities\":{\"twin_socket\":true}}",
		"{\"capabilities\":{\"max_msg_fds\":0,\"twin_socket\":{\"supported\":true}}}",
	};

	for (size_t i = 0; i < ARRAY_SIZE(json); i++) {
		struct client_message reply;

		leave();
		connect_client(&client);
		assert_int_equal(client_version(&client, 0, 1, json[i], &reply), 0);
		assert_null(strstr((const char *)reply.payload + 4, "twin_socket"));
		assert_int_equal(reply.n_fds, 0);
	}
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define W(test) cmocka_unit_test_setup_teardown(test, setup_twin, teardown_twin)
	const struct CMUnitTest tests[] = {
		T(dma_by_message),
		T(qemu_10_counts_in_32_bits),
		T(a_refusal_that_tells_nothing_is_the_devices),
		T(the_question_stays_in_the_map),
		T(others_are_not_asked),
		T(pieces_are_under_way_together),
		T(a_failed_piece_ends_the_access),
		T(dma_by_message_in_pieces),
		T(failed_dma_is_told_to_the_device),
		T(commands_are_served_while_dma_waits),
		T(work_may_be_asked_for_while_it_is_done),
		T(unmap_is_answered_while_dma_waits),
		T(unmapping_ends_the_access),
		T(a_reset_ends_the_access),
		T(any_command_may_come_while_dma_waits),
		T(the_client_may_go_while_dma_waits),
		T(dma_that_is_not_answered_times_out),
		T(dma_that_is_not_taken_ends_it),
		T(orders_are_taken_while_the_device_works_on),
		T(orders_are_taken_while_dma_waits),
		T(the_server_may_end_while_dma_waits),
		W(dma_takes_the_twin),
		W(replies_do_not_come_on_the_main_socket),
		W(a_full_main_socket_does_not_stop_the_twin),
		W(a_twin_may_be_closed),
		W(a_twin_may_be_closed_at_rest),
		W(a_twin_may_send_garbage),
		W(a_twin_may_send_commands),
		W(a_twin_may_send_replies_unasked),
		W(a_twin_that_is_silent_times_out),
		T(nobody_else_has_a_twin),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
