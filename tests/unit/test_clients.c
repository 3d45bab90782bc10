/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The clients that there are, each with its habits: what they send, byte for
 * byte, and how they receive. QEMU: hw/vfio-user/. Cloud Hypervisor: the crate
 * vfio_user of rust-vmm/vfio, vfio-user/src/lib.rs. SPDK: lib/vfio_user/host/.
 * QEMU 10's DMA messages are in test_vfio_user_dma.c.
 */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "unit.h"
#include "vfio_user_fixture.h"

enum { HEADER = sizeof(struct vfio_user_header) };

static const uint32_t bind_flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
static const uint32_t none_trigger = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;

static void wait_readable(void)
{
	struct pollfd pfd = { .fd = client.fd, .events = POLLIN };

	if (poll(&pfd, 1, CLIENT_PATIENCE_MS) != 1)
		fail_msg("this client would wait for ever");
}

/* Rust's read_exact(): all of it, whatever it is, or for ever. */
static void read_exact(void *buf, size_t length)
{
	uint8_t *to = buf;

	while (length) {
		ssize_t n;

		wait_readable();
		n = recv(client.fd, to, length, 0);
		assert_true(n > 0);
		to += n;
		length -= (size_t)n;
	}
}

/* One recvmsg(), with room for n_fds descriptors. What does not come with it does not come. */
static size_t receive_once(void *buf, size_t length, int *fds, size_t n_fds, size_t *ret_n_fds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(CLIENT_MAX_FDS * sizeof(int))];
	} control;
	struct iovec iov = { buf, length };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = CMSG_SPACE(n_fds * sizeof(int)),
	};
	struct cmsghdr *c;
	ssize_t n;

	wait_readable();
	n = recvmsg(client.fd, &msg, MSG_CMSG_CLOEXEC);
	assert_true(n > 0);
	assert_false(msg.msg_flags & MSG_CTRUNC);
	c = CMSG_FIRSTHDR(&msg);
	*ret_n_fds = 0;
	if (c) {
		*ret_n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
		memcpy(fds, CMSG_DATA(c), *ret_n_fds * sizeof(int));
	}
	return (size_t)n;
}

/* --- QEMU 11 --- */

/*
 * QEMU receives a reply into the buffer of its request unless it says
 * otherwise, and for VERSION it does not (hw/vfio-user/proxy.c,
 * vfio_user_validate_version()): ours must not be longer.
 */
static void qemu_11_receives_the_version_into_the_buffer_of_its_own(void **state)
{
	static const char shortest[] =
		"{\"capabilities\": {\"migration\": {\"pgsize\": 4096, \"max_bitmap_size\": "
		"4194304}, "
		"\"max_msg_fds\": 16, \"max_data_xfer_size\": 1048576, \"pgsizes\": 4096, "
		"\"max_dma_maps\": 65535, \"write_multiple\": true}}";
	struct client_message reply;

	connect_client(&client);
	assert_int_equal(client_version(&client, 0, 0, shortest, &reply), 0);
	assert_true(reply.length <= sizeof(shortest) + 4);
}

static int qemu_region_info(uint32_t index, uint32_t argsz, struct vfio_region_info *ret,
			    struct client_message *reply)
{
	struct vfio_region_info info = { .argsz = argsz, .index = index };
	int r = client_call(&client, VFIO_USER_DEVICE_GET_REGION_INFO, &info, sizeof(info), NULL, 0,
			    reply);

	if (r == 0)
		memcpy(ret, reply->payload, sizeof(*ret));
	return r;
}

/*
 * device.c, vfio_user_get_region_info(): the reply must fit into argsz, and
 * vfio_user_device_io_get_region_info(): a cap_offset of 0 with CAPS is an error.
 * One descriptor is taken, and more are an error.
 */
static void qemu_11_asks_region_info_with_argsz_32_and_then_with_what_it_was_told(void **state)
{
	for (uint32_t index = 0; index < VFIO_PCI_NUM_REGIONS; index++) {
		struct client_message reply;
		struct vfio_region_info info;

		assert_int_equal(qemu_region_info(index, 32, &info, &reply), 0);
		assert_int_equal(reply.length, 32);
		assert_false(info.flags & VFIO_REGION_INFO_FLAG_CAPS);
		assert_true(reply.n_fds <= 1);
		close_fds(reply.fds, reply.n_fds);
		if (info.argsz == 32)
			continue;
		assert_int_equal(qemu_region_info(index, info.argsz, &info, &reply), 0);
		assert_int_equal(reply.length, info.argsz);
		assert_true(info.flags & VFIO_REGION_INFO_FLAG_CAPS);
		assert_in_range(info.cap_offset, 32, info.argsz);
		assert_true(reply.n_fds <= 1);
		close_fds(reply.fds, reply.n_fds);
	}
}

/* device.c, vfio_user_device_io_set_irqs(): descriptors of -1 are sent as none, argsz is 20. */
static void qemu_11_unbinds_by_sending_no_descriptors(void **state)
{
	struct vfio_irq_set set = { .argsz = 20, .flags = bind_flags, .index = 1, .count = 3 };
	int fds[3];

	for (unsigned int i = 0; i < 3; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(
		client_call(&client, VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set), fds, 3, NULL),
		0);
	client_write32(&client, 2, REG_MSI, 2);
	assert_int_equal(signals(fds[2]), 1);
	assert_int_equal(
		client_call(&client, VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set), NULL, 0, NULL),
		0);
	client_write32(&client, 2, REG_MSI, 2);
	assert_int_equal(signals(fds[2]), 0);
	close_fds(fds, 3);
}

/* Once more than 1024 messages queue up, up to 200 writes go into one, posted. */
static void qemu_11_puts_many_writes_into_one_message(void **state)
{
	enum { N = 200, ENTRY = sizeof(struct vfio_user_write_multi_entry) };
	uint8_t payload[8 + N * ENTRY] = { 0 };

	put_le64(payload, N);
	for (uint32_t i = 0; i < N; i++) {
		uint8_t *at = payload + 8 + (size_t)i * ENTRY;

		put_le64(at, REG_SCRATCH + 4 * i);
		put_le32(at + 8, 2);
		put_le32(at + 12, 4);
		put_le32(at + 16, i ^ 0x5a5a);
	}
	client_command(&client, VFIO_USER_REGION_WRITE_MULTI, VFIO_USER_NO_REPLY, payload,
		       sizeof(payload), NULL, 0);
	for (uint32_t i = 0; i < N; i++)
		assert_int_equal(client_read32(&client, 2, REG_SCRATCH + 4 * i), i ^ 0x5a5a);
}

/* RESET arrives twice per reboot of the guest, with INTx taken off and put on around it. */
static void qemu_11_resets_twice(void **state)
{
	int intx = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(client_set_irqs(&client, none_trigger, 0, 0, 0, NULL, 0, NULL, 0),
				 0);
		assert_int_equal(
			client_call(&client, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0, NULL), 0);
		assert_int_equal(client_set_irqs(&client, bind_flags, 0, 0, 1, NULL, 0, &intx, 1),
				 0);
	}
	assert_int_equal(client_read32(&client, 2, REG_RESETS), 2);
	client_write32(&client, 2, REG_INTX, 1);
	assert_int_equal(signals(intx), 1);
	close(intx);
}

/* QEMU 11: the order on realize, with its DMA maps pipelined. */
static void qemu_11_realizes(void **state)
{
	static const uint32_t regions[] = { 0, 1, 2, 3, 4, 5, 7 };
	int ram = make_memory(1 << 20), intx = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	    err = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), vectors[4];
	struct client_message reply;
	struct vfio_region_info info;
	uint8_t config[256];
	uint16_t ids[3];

	connect_client(&client);
	client_negotiate(&client);
	for (unsigned int i = 0; i < 3; i++) {
		struct vfio_user_dma_map map = {
			.argsz = 32,
			.flags = i == 1 ? VFIO_DMA_MAP_FLAG_READ : 3,
			.address = i << 20,
			.size = 1 << 20,
		};

		/* RAM, the firmware's ROM (read-only, no descriptor), our own BAR. */
		ids[i] = client_command(&client, VFIO_USER_DMA_MAP, 0, &map, sizeof(map), &ram,
					i == 0);
	}
	for (unsigned int i = 0; i < 3; i++) {
		assert_true(client_receive(&client, &reply));
		assert_int_equal(reply.header.id, ids[i]);
		assert_int_equal(reply.header.flags, VFIO_USER_TYPE_REPLY);
		assert_int_equal(reply.length, 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(regions); i++) {
		assert_int_equal(qemu_region_info(regions[i], 32, &info, &reply), 0);
		close_fds(reply.fds, reply.n_fds);
		if (info.argsz > 32) {
			assert_int_equal(qemu_region_info(regions[i], info.argsz, &info, &reply),
					 0);
			assert_true(info.flags & VFIO_REGION_INFO_FLAG_CAPS);
			close_fds(reply.fds, reply.n_fds);
		}
	}
	assert_int_equal(client_read(&client, CONFIG, 0, config, sizeof(config)), 0);
	for (uint64_t at = PCI_BASE_ADDRESS_0; at <= PCI_BASE_ADDRESS_5; at += 4) {
		uint32_t old = client_read32(&client, CONFIG, at);

		client_write32(&client, CONFIG, at, 0xffffffff);
		client_read32(&client, CONFIG, at);
		client_write32(&client, CONFIG, at, old);
	}
	assert_int_equal(client_set_irqs(&client, bind_flags, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL,
					 0, &intx, 1),
			 0);
	assert_int_equal(client_set_irqs(&client, bind_flags, VFIO_PCI_ERR_IRQ_INDEX, 0, 1, NULL, 0,
					 &err, 1),
			 0);
	/* A reset: INTx off, RESET, INTx on. */
	assert_int_equal(client_set_irqs(&client, none_trigger, VFIO_PCI_INTX_IRQ_INDEX, 0, 0, NULL,
					 0, NULL, 0),
			 0);
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0, NULL), 0);
	assert_int_equal(client_set_irqs(&client, bind_flags, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL,
					 0, &intx, 1),
			 0);
	/* The driver turns MSI on; firmware moves windows about. */
	for (unsigned int i = 0; i < 4; i++)
		vectors[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(client_set_irqs(&client, bind_flags, VFIO_PCI_MSI_IRQ_INDEX, 0, 4, NULL, 0,
					 vectors, 4),
			 0);
	for (unsigned int i = 0; i < 20; i++) {
		assert_int_equal(client_dma_unmap(&client, 2 << 20, 1 << 20), 0);
		assert_int_equal(client_dma_map(&client, 2 << 20, 1 << 20, 3, i % 2 ? -1 : ram, 0),
				 0);
	}
	client_write32(&client, 2, REG_MSI, 2);
	assert_int_equal(signals(vectors[2]), 1);
	close_fds(vectors, 4);
	close(ram);
	close(intx);
	close(err);
}

/* --- Cloud Hypervisor --- */

static uint16_t rust_id;

static struct vfio_user_header rust_header(uint16_t command, size_t size)
{
	return (struct vfio_user_header){ .id = rust_id++,
					  .command = command,
					  .size = (uint32_t)size };
}

struct rust_access {
	struct vfio_user_header header;
	struct vfio_user_region_access access;
};

struct rust_region_info {
	struct vfio_user_header header;
	struct vfio_region_info info;
};

/* Client::negotiate_version() */
static int setup_cloud_hypervisor(void **state)
{
	static const char data[] = "{\"capabilities\":{\"max_msg_fds\":1,\"max_data_xfer_size\":"
				   "1048576,\"migration\":{\"pgsize\":4096}}}";
	struct {
		struct vfio_user_header header;
		struct vfio_user_version version;
		char data[sizeof(data)];
	} message;
	struct {
		struct vfio_user_header header;
		struct vfio_user_version version;
	} reply;
	char rest[4096];

	setup_unconnected(state);
	connect_client(&client);
	rust_id = 0;
	message.header = rust_header(VFIO_USER_VERSION, HEADER + 4 + sizeof(data));
	message.version = (struct vfio_user_version){ 0, 1 };
	memcpy(message.data, data, sizeof(data));
	client_send(&client, &message, message.header.size, NULL, 0);
	read_exact(&reply, sizeof(reply));
	assert_int_equal(reply.header.id, 0);
	assert_int_equal(reply.version.major, 0);
	read_exact(rest, reply.header.size - sizeof(reply));
	assert_int_equal(rest[reply.header.size - sizeof(reply) - 1], 0);
	return 0;
}

static void rust_region_read(uint32_t region, uint64_t offset, void *data, uint32_t count)
{
	struct rust_access message = { rust_header(VFIO_USER_REGION_READ, sizeof(message)),
				       { offset, region, count } },
			   reply;

	client_send(&client, &message, sizeof(message), NULL, 0);
	read_exact(&reply, sizeof(reply));
	read_exact(data, count);
	assert_int_equal(reply.header.id, message.header.id);
}

static void rust_region_write(uint32_t region, uint64_t offset, const void *data, uint32_t count)
{
	struct rust_access message = { rust_header(VFIO_USER_REGION_WRITE, sizeof(message) + count),
				       { offset, region, count } },
			   reply;
	uint8_t buf[sizeof(message) + 16];

	memcpy(buf, &message, sizeof(message));
	memcpy(buf + sizeof(message), data, count);
	client_send(&client, buf, sizeof(message) + count, NULL, 0);
	read_exact(&reply, sizeof(reply));
	assert_int_equal(reply.header.id, message.header.id);
}

/* Client::get_regions(): argsz counts the header, too. */
static void cloud_hypervisor_asks_device_info_with_argsz_32(void **state)
{
	struct {
		struct vfio_user_header header;
		struct vfio_user_device_info info;
	} message = { rust_header(VFIO_USER_DEVICE_GET_INFO, 32), { .argsz = 32 } }, reply;

	client_send(&client, &message, sizeof(message), NULL, 0);
	read_exact(&reply, sizeof(reply));
	assert_int_equal(reply.info.num_regions, VFIO_PCI_NUM_REGIONS);
	assert_int_equal(reply.info.num_irqs, VFIO_PCI_NUM_IRQS);
	/* "resettable" is true where the flag is not: ours is set, so it never resets. */
	assert_true(reply.info.flags & VFIO_DEVICE_FLAGS_RESET);
	assert_true(reply.info.flags & VFIO_DEVICE_FLAGS_PCI);
}

/* Client::get_region_info(): 48 bytes with one recvmsg(), the rest with read_exact(). */
static void rust_region_info(uint32_t index, struct vfio_region_info *ret)
{
	struct rust_region_info message = {
		rust_header(VFIO_USER_DEVICE_GET_REGION_INFO, sizeof(message)),
		{ .argsz = 32, .index = index },
	}, reply;
	uint8_t caps[4096];
	size_t n_fds;
	int fd = -1;

	client_send(&client, &message, sizeof(message), NULL, 0);
	assert_int_equal(receive_once(&reply, sizeof(reply), &fd, 1, &n_fds), sizeof(reply));
	assert_int_equal(reply.header.flags, VFIO_USER_TYPE_REPLY);
	if (reply.info.argsz > 32) {
		uint32_t rest = reply.info.argsz - 32;

		close_fd(fd);
		message.info.argsz = reply.info.argsz;
		client_send(&client, &message, sizeof(message), NULL, 0);
		assert_int_equal(receive_once(&reply, sizeof(reply), &fd, 1, &n_fds),
				 sizeof(reply));
		assert_int_equal(rest, reply.header.size - sizeof(reply)); /* its assert_eq! */
		read_exact(caps, rest);
	}
	close_fd(fd);
	*ret = reply.info;
}

static void cloud_hypervisor_gets_every_region_info_in_one_piece(void **state)
{
	for (uint32_t index = 0; index < VFIO_PCI_NUM_REGIONS; index++) {
		struct vfio_region_info info;

		rust_region_info(index, &info);
		assert_int_equal(info.index, index);
		assert_int_equal(info.size, device.vfio.regions[index].size);
	}
	expect_in_step();
}

/* Client::get_irq_info(): it has no eye for errors. */
static void cloud_hypervisor_never_gets_an_error_for_an_irq_index(void **state)
{
	for (uint32_t index = 0; index < VFIO_PCI_NUM_IRQS; index++) {
		struct {
			struct vfio_user_header header;
			struct vfio_irq_info info;
		} message = { rust_header(VFIO_USER_DEVICE_GET_IRQ_INFO, 32),
			      { .argsz = 16, .index = index } },
		  reply;

		client_send(&client, &message, sizeof(message), NULL, 0);
		read_exact(&reply, sizeof(reply));
		assert_int_equal(reply.info.index, index);
	}
	expect_in_step();
}

/* Client::region_read(): an error reply is 16 bytes, and it waits for 32 and the data. */
static void cloud_hypervisor_never_gets_an_error_for_a_region_read_within_bounds(void **state)
{
	for (uint32_t index = 0; index < VFIO_PCI_NUM_REGIONS; index++) {
		uint64_t size = device.vfio.regions[index].size, step = size > 0x10000 ? 0x3333 : 1;

		for (uint64_t offset = 0; offset + 8 <= size; offset += step) {
			uint64_t value;

			rust_region_read(index, offset, &value, 1 << (offset & 3));
		}
	}
	/* Nothing is there: all ones, as on the bus. */
	{
		uint32_t value = 0;

		rust_region_read(2, 0x7f0, &value, 4);
		assert_int_equal(value, UINT32_MAX);
	}
	expect_in_step();
}

static void cloud_hypervisor_never_gets_an_error_for_a_region_write_within_bounds(void **state)
{
	static const uint8_t zeros[8];

	for (uint64_t offset = 0x600; offset + 8 <= BAR2_SIZE; offset++)
		rust_region_write(2, offset, zeros, 1 << (offset & 3));
	for (uint64_t offset = 0; offset + 8 <= 256; offset++)
		rust_region_write(CONFIG, offset, zeros, 1 << (offset & 3));
	expect_in_step();
}

/* Client::dma_map() and dma_unmap(): always with a descriptor, and the reply is the request. */
static void cloud_hypervisor_reads_the_whole_entry_back_on_dma_unmap(void **state)
{
	int memory = make_memory(8192);
	struct {
		struct vfio_user_header header;
		struct vfio_user_dma_map map;
	} map = { rust_header(VFIO_USER_DMA_MAP, 48), { 32, 3, 0, 0x100000, 8192 } };
	struct {
		struct vfio_user_header header;
		struct vfio_user_dma_unmap unmap;
	} unmap = { rust_header(VFIO_USER_DMA_UNMAP, 40), { 24, 0, 0x100000, 8192 } }, reply;
	struct vfio_user_header header;

	client_send(&client, &map, sizeof(map), &memory, 1);
	read_exact(&header, sizeof(header));
	assert_int_equal(header.size, sizeof(header));
	client_send(&client, &unmap, sizeof(unmap), NULL, 0);
	read_exact(&reply, sizeof(reply));
	assert_memory_equal(&reply.unmap, &unmap.unmap, sizeof(unmap.unmap));
	expect_in_step();
	close(memory);
}

/* Client::set_irqs(): it proposes to take 1, and sends as many as there are vectors. */
static void cloud_hypervisor_sends_more_descriptors_than_it_takes(void **state)
{
	struct {
		struct vfio_user_header header;
		struct vfio_irq_set set;
	} message = { rust_header(VFIO_USER_DEVICE_SET_IRQS, 36),
		      { .argsz = 20, .flags = bind_flags, .index = 1, .count = VECTORS } };
	struct vfio_user_header reply;
	int fds[VECTORS];
	uint32_t vector = VECTORS - 1;

	for (unsigned int i = 0; i < VECTORS; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	client_send(&client, &message, 36, fds, VECTORS);
	read_exact(&reply, sizeof(reply));
	assert_int_equal(reply.flags, VFIO_USER_TYPE_REPLY);
	rust_region_write(2, REG_MSI, &vector, 4);
	assert_int_equal(signals(fds[vector]), 1);
	/* Off again. */
	message.header = rust_header(VFIO_USER_DEVICE_SET_IRQS, 36);
	message.set.flags = none_trigger;
	message.set.count = 0;
	client_send(&client, &message, 36, NULL, 0);
	read_exact(&reply, sizeof(reply));
	assert_int_equal(reply.flags, VFIO_USER_TYPE_REPLY);
	rust_region_write(2, REG_MSI, &vector, 4);
	assert_int_equal(signals(fds[vector]), 0);
	close_fds(fds, VECTORS);
}

/* Doorbells that it could not receive are none: max_msg_fds is 1. */
static void cloud_hypervisor_gets_no_more_doorbells_than_it_takes(void **state)
{
	struct {
		struct vfio_user_header header;
		struct vfio_user_region_io_fds info;
	} message = { rust_header(VFIO_USER_DEVICE_GET_REGION_IO_FDS, 32), { 4096, 0, 2, 0 } };
	uint8_t reply[4096];
	size_t n_fds;
	int fd;

	client_send(&client, &message, sizeof(message), NULL, 0);
	assert_int_equal(receive_once(reply, sizeof(reply), &fd, 1, &n_fds), 16 + 16 + 40);
	assert_int_equal(n_fds, 1);
	assert_int_equal(get_le32(reply + HEADER + 12), 1);
	close(fd);
}

/* Client::shutdown(), both directions, with nothing said before. */
static void cloud_hypervisor_shuts_the_socket_down(void **state)
{
	assert_int_equal(shutdown(client.fd, SHUT_RDWR), 0);
	wait_until_disconnected();
	assert_int_equal(atomic_load(&disconnect_reason), -ECONNRESET);
}

/* --- SPDK --- */

enum { SPDK_PAYLOAD = 4096 };

/*
 * vfio_user_dev_send_request(): one request, with id 0 as ever; of the reply the
 * header, with the descriptors, then the payload with a single read().
 */
static int spdk_request(uint16_t command, void *arg, size_t arg_length, size_t buf_length, int *fds,
			size_t n_fds, size_t *ret_n_fds)
{
	struct {
		struct vfio_user_header header;
		uint8_t payload[SPDK_PAYLOAD];
	} request = { .header = { .command = command, .size = (uint32_t)(HEADER + arg_length) } };
	bool sends_fds = command == VFIO_USER_DMA_MAP || command == VFIO_USER_DMA_UNMAP;
	int received[CLIENT_MAX_FDS];
	size_t n_received, length;

	memcpy(request.payload, arg, arg_length);
	client_send(&client, &request, request.header.size, fds, sends_fds ? n_fds : 0);

	memset(&request, 0, sizeof(request));
	assert_int_equal(receive_once(&request, HEADER, received, CLIENT_MAX_FDS, &n_received),
			 HEADER);
	assert_int_equal(request.header.id, 0);
	if (request.header.flags & VFIO_USER_ERROR)
		return -(int)request.header.error;
	length = request.header.size - HEADER;
	assert_true(length <= SPDK_PAYLOAD);
	if (length) {
		wait_readable();
		assert_int_equal(read(client.fd, request.payload, length), length);
	}
	if (ret_n_fds)
		*ret_n_fds = n_received;
	if (sends_fds || !length)
		return 0;
	assert_true(length <= buf_length);
	memcpy(arg, request.payload, length);
	if (n_received) {
		assert_true(n_received < n_fds); /* its own assertion */
		memcpy(fds, received, n_received * sizeof(int));
	}
	return 0;
}

/* vfio_user_check_version() */
static int setup_spdk(void **state)
{
	struct vfio_user_version version[SPDK_PAYLOAD / 4] = { { 0, 1 } };

	setup_unconnected(state);
	connect_client(&client);
	assert_int_equal(
		spdk_request(VFIO_USER_VERSION, version, 4, sizeof(version), NULL, 0, NULL), 0);
	assert_int_equal(version[0].major, 0);
	assert_int_equal(version[0].minor, 1);
	return 0;
}

static void spdk_sends_no_json(void **state)
{
	expect_in_step(); /* set-up has negotiated without */
}

/* vfio_user_get_dev_region_info(): as long as the buffer for the reply is. */
static void spdk_asks_region_info_with_4064_bytes(void **state)
{
	struct vfio_user_device_info dev = { .argsz = sizeof(dev) };

	assert_int_equal(spdk_request(VFIO_USER_DEVICE_GET_INFO, &dev, sizeof(dev), sizeof(dev),
				      NULL, 0, NULL),
			 0);
	for (uint32_t index = 0; index < dev.num_regions; index++) {
		struct vfio_region_info buf[SPDK_PAYLOAD / sizeof(struct vfio_region_info)] = {
			{ .argsz = SPDK_PAYLOAD - sizeof(struct vfio_region_info), .index = index },
		};
		bool mapped = device.vfio.regions[index].flags & VFIO_REGION_INFO_FLAG_MMAP;
		int fds[8];
		size_t n_fds;

		assert_int_equal(spdk_request(VFIO_USER_DEVICE_GET_REGION_INFO, buf, buf->argsz,
					      sizeof(buf), fds, 8, &n_fds),
				 0);
		assert_int_equal(buf->size, device.vfio.regions[index].size);
		assert_int_equal(n_fds, mapped);
		if (mapped) {
			uint8_t *p = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED, fds[0],
					  (off_t)buf->offset);

			assert_ptr_not_equal(p, MAP_FAILED);
			munmap(p, 0x1000);
		}
		close_fds(fds, n_fds);
	}
}

/* vfio_user_dev_dma_map_unmap(): &mr->fd, both ways. It must be closed, and is no mapping. */
static void spdk_sends_an_fd_with_dma_unmap(void **state)
{
	struct vfio_user_dma_map map = { 32, 3, 0, 0x7f0000000000, 2 << 20 };
	struct vfio_user_dma_unmap unmap = { 24, 0, 0x7f0000000000, 2 << 20 };
	int memory = make_memory(2 << 20);
	unsigned int open_now = count_fds();

	for (unsigned int i = 0; i < 3; i++) {
		assert_int_equal(spdk_request(VFIO_USER_DMA_MAP, &map, sizeof(map), sizeof(map),
					      &memory, 1, NULL),
				 0);
		assert_int_equal(spdk_request(VFIO_USER_DMA_UNMAP, &unmap, sizeof(unmap),
					      sizeof(unmap), &memory, 1, NULL),
				 0);
	}
	expect_in_step();
	assert_int_equal(count_fds(), open_now);
	close(memory);
}

/* vfio_user_dev_mmio_access(): at most 4096 bytes with the head of the access. */
static void spdk_reads_and_writes_registers(void **state)
{
	struct {
		struct vfio_user_region_access access;
		uint8_t data[64];
	} access = { { REG_SCRATCH, 2, 64 }, { 0 } };

	for (size_t i = 0; i < 64; i++)
		access.data[i] = (uint8_t)(i * 7);
	assert_int_equal(spdk_request(VFIO_USER_REGION_WRITE, &access, 80, 80, NULL, 0, NULL), 0);
	memset(access.data, 0, sizeof(access.data));
	assert_int_equal(spdk_request(VFIO_USER_REGION_READ, &access, 16, 80, NULL, 0, NULL), 0);
	for (size_t i = 0; i < 64; i++)
		assert_int_equal(access.data[i], (uint8_t)(i * 7));
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define U(test) cmocka_unit_test_setup_teardown(test, setup_unconnected, teardown)
#define C(test) cmocka_unit_test_setup_teardown(test, setup_cloud_hypervisor, teardown)
#define S(test) cmocka_unit_test_setup_teardown(test, setup_spdk, teardown)
	const struct CMUnitTest tests[] = {
		U(qemu_11_realizes),
		U(qemu_11_receives_the_version_into_the_buffer_of_its_own),
		T(qemu_11_asks_region_info_with_argsz_32_and_then_with_what_it_was_told),
		T(qemu_11_unbinds_by_sending_no_descriptors),
		T(qemu_11_puts_many_writes_into_one_message),
		T(qemu_11_resets_twice),
		C(cloud_hypervisor_asks_device_info_with_argsz_32),
		C(cloud_hypervisor_gets_every_region_info_in_one_piece),
		C(cloud_hypervisor_never_gets_an_error_for_an_irq_index),
		C(cloud_hypervisor_never_gets_an_error_for_a_region_read_within_bounds),
		C(cloud_hypervisor_never_gets_an_error_for_a_region_write_within_bounds),
		C(cloud_hypervisor_reads_the_whole_entry_back_on_dma_unmap),
		C(cloud_hypervisor_sends_more_descriptors_than_it_takes),
		C(cloud_hypervisor_gets_no_more_doorbells_than_it_takes),
		C(cloud_hypervisor_shuts_the_socket_down),
		S(spdk_sends_no_json),
		S(spdk_asks_region_info_with_4064_bytes),
		S(spdk_sends_an_fd_with_dma_unmap),
		S(spdk_reads_and_writes_registers),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
