/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The commands of a client, one by one, to a real server thread with a device
 * that has a bit of everything; with those that are refused. "vfio-user.rst" is
 * docs/interop/vfio-user.rst in QEMU's source.
 */
#include "vfio_user_fixture.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "unit.h"

/* --- negotiation: vfio-user.rst, VFIO_USER_VERSION --- */

static json_t *capabilities_of(const struct client_message *reply)
{
	json_t *json, *capabilities;

	assert_int_equal(reply->payload[reply->length - 1], 0);
	json = json_loads((const char *)reply->payload + 4, 0, NULL);
	assert_non_null(json);
	capabilities = json_incref(json_object_get(json, "capabilities"));
	assert_true(json_is_object(capabilities));
	json_decref(json);
	return capabilities;
}

static void expect_version(uint16_t minor, const char *json, uint16_t reply_minor)
{
	struct client_message reply;
	json_t *capabilities;

	connect_client(&client);
	assert_int_equal(client_version(&client, 0, minor, json, &reply), 0);
	assert_int_equal(get_le16(reply.payload), 0);
	assert_int_equal(get_le16(reply.payload + 2), reply_minor);
	capabilities = capabilities_of(&reply);
	assert_int_equal(json_integer_value(json_object_get(capabilities, "max_msg_fds")), 16);
	assert_int_equal(json_integer_value(json_object_get(capabilities, "max_data_xfer_size")),
			 1 << 20);
	assert_int_equal(json_integer_value(json_object_get(capabilities, "max_dma_maps")),
			 VFIO_DMA_MAX_MAPS);
	assert_int_equal(json_integer_value(json_object_get(capabilities, "pgsizes")), 4096);
	/* A subset of what was proposed. */
	assert_null(json_object_get(capabilities, "twin_socket"));
	assert_null(json_object_get(capabilities, "migration"));
	assert_int_equal(json_is_true(json_object_get(capabilities, "write_multiple")),
			 json && strstr(json, "\"write_multiple\":true"));
	json_decref(capabilities);
	expect_in_step();
	/* Once is enough. */
	assert_int_equal(client_version(&client, 0, minor, json, NULL), -EINVAL);
	expect_in_step();
	leave();
}

static void versions_are_negotiated(void **state)
{
	expect_version(0, NULL, 0);
	expect_version(1, NULL, 1); /* SPDK */
	expect_version(9, NULL, 1);
	expect_version(0, "{}", 0);
	expect_version(0, "{\"capabilities\":{}}", 0);
	expect_version(0, "{\"other\":[1,2]}", 0);
	/* Cloud Hypervisor */
	expect_version(1,
		       "{\"capabilities\":{\"max_msg_fds\":1,\"max_data_xfer_size\":1048576,"
		       "\"migration\":{\"pgsize\":4096}}}",
		       1);
	expect_version(0, "{\"capabilities\":{\"write_multiple\":true}}", 0);
	expect_version(0, "{\"capabilities\":{\"write_multiple\":false}}", 0);
	expect_version(0, "{\"capabilities\":{\"write_multiple\":1}}", 0);
}

static void bad_proposals_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"no json",
		"[]",
		"7",
		"null",
		"{\"capabilities\":[]}",
		"{\"capabilities\":7}",
		"{\"capabilities\":{\"max_data_xfer_size\":\"1\"}}",
		"{\"capabilities\":{\"max_data_xfer_size\":-1}}",
		"{\"capabilities\":{\"max_data_xfer_size\":1.5}}",
		"{\"capabilities\":{\"max_data_xfer_size\":99999999999999999999}}",
		"{\"capabilities\":{}",
		"{\"capabilities\":{}} more",
	};
	struct client_message reply;
	uint32_t argsz = 16;

	connect_client(&client);
	/* Nothing goes before VERSION. */
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0, NULL),
			 -EINVAL);
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_GET_INFO, &argsz, 4, NULL, 0, NULL),
			 -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (client_version(&client, 0, 0, bad[i], NULL) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
	/* No terminator, and too short for a version. */
	assert_int_equal(client_call(&client, VFIO_USER_VERSION, "\0\0\0\0{}", 6, NULL, 0, NULL),
			 -EINVAL);
	assert_int_equal(client_call(&client, VFIO_USER_VERSION, "\0\0\0", 3, NULL, 0, NULL),
			 -EINVAL);
	/* The client may think again. */
	assert_int_equal(client_version(&client, 0, 0, "{}", &reply), 0);
	expect_in_step();
	leave();

	/* With another major version there is nothing to talk about. */
	connect_client(&client);
	assert_int_equal(client_version(&client, 1, 0, NULL, NULL), -EPROTONOSUPPORT);
	assert_true(client_is_hung_up(&client));
	wait_until_disconnected();
}

/* --- what the device is: DEVICE_GET_INFO, _REGION_INFO, _IRQ_INFO --- */

static void device_info(void **state)
{
	struct vfio_user_device_info info = { .argsz = sizeof(info) };
	struct client_message reply;

	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(client_call(&client, VFIO_USER_DEVICE_GET_INFO, &info,
					     sizeof(info), NULL, 0, &reply),
				 0);
		assert_int_equal(reply.length, 16);
		memcpy(&info, reply.payload, sizeof(info));
		assert_int_equal(info.argsz, 16);
		assert_int_equal(info.flags, VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI);
		assert_int_equal(info.num_regions, VFIO_PCI_NUM_REGIONS);
		assert_int_equal(info.num_irqs, VFIO_PCI_NUM_IRQS);
		info = (struct vfio_user_device_info){ .argsz = 32 }; /* Cloud Hypervisor */
	}
	info.argsz = 15;
	assert_int_equal(
		client_call(&client, VFIO_USER_DEVICE_GET_INFO, &info, sizeof(info), NULL, 0, NULL),
		-EINVAL);
	info.argsz = 16;
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_GET_INFO, &info, 15, NULL, 0, NULL),
			 -EINVAL);
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_GET_INFO, NULL, 0, NULL, 0, NULL),
			 -EINVAL);
}

static int region_info(uint32_t index, uint32_t argsz, struct vfio_region_info *ret,
		       struct client_message *reply)
{
	struct vfio_region_info info = { .argsz = argsz, .index = index };
	int r = client_call(&client, VFIO_USER_DEVICE_GET_REGION_INFO, &info, sizeof(info), NULL, 0,
			    reply);

	if (r == 0) {
		memcpy(ret, reply->payload, sizeof(*ret));
		assert_int_equal(ret->index, index);
	}
	return r;
}

static void every_region_index_is_answered(void **state)
{
	static const uint64_t sizes[] = { BAR0_SIZE, 0, BAR2_SIZE, 0, BAR4_SIZE, 0, 0, 256, 0 };
	static const uint32_t flags[] = { RWM, 0, RW, 0, RWM, 0, 0, RW, 0 };

	for (uint32_t index = 0; index < ARRAY_SIZE(sizes); index++) {
		struct client_message reply;
		struct vfio_region_info info;

		/* Cloud Hypervisor waits for ever for the rest of an error reply. */
		assert_int_equal(region_info(index, 32, &info, &reply), 0);
		assert_int_equal(reply.length, 32);
		assert_int_equal(info.size, sizes[index]);
		assert_int_equal(info.flags, flags[index]);
		assert_int_equal(info.cap_offset, 0);
		assert_int_equal(info.argsz, index == 4 ? 32 + 16 + 2 * 16 : 32);
		assert_int_equal(reply.n_fds, flags[index] & VFIO_REGION_INFO_FLAG_MMAP ? 1 : 0);
		close_fds(reply.fds, reply.n_fds);
	}
}

static void bad_region_infos_are_refused(void **state)
{
	struct vfio_region_info info = { .argsz = sizeof(info) };
	struct client_message reply;

	assert_int_equal(region_info(9, 32, &info, &reply), -EINVAL);
	assert_int_equal(region_info(UINT32_MAX, 32, &info, &reply), -EINVAL);
	assert_int_equal(region_info(0, 31, &info, &reply), -EINVAL);
	assert_int_equal(region_info(0, 0, &info, &reply), -EINVAL);
	assert_int_equal(
		client_call(&client, VFIO_USER_DEVICE_GET_REGION_INFO, &info, 31, NULL, 0, NULL),
		-EINVAL);
	expect_in_step();
}

/* QEMU and Cloud Hypervisor ask with 32 bytes, and again with what the answer needs. */
static void a_sparse_region_is_answered_whole_when_there_is_room(void **state)
{
	struct client_message reply;
	struct vfio_region_info info;
	uint32_t needed = 32 + 16 + 2 * 16;
	uint8_t *at;

	assert_int_equal(region_info(4, needed - 1, &info, &reply), 0);
	assert_int_equal(reply.length, 32);
	assert_int_equal(info.argsz, needed);
	close_fds(reply.fds, reply.n_fds);

	for (unsigned int i = 0; i < 2; i++) {
		/* A generous client, too. */
		assert_int_equal(region_info(4, i ? 4096 : needed, &info, &reply), 0);
		assert_int_equal(reply.length, needed);
		assert_int_equal(reply.n_fds, 1);
		assert_int_equal(info.argsz, needed);
		assert_int_equal(info.flags, RWM | VFIO_REGION_INFO_FLAG_CAPS);
		assert_int_equal(info.cap_offset, 32);
		at = reply.payload + 32;
		assert_int_equal(get_le16(at), VFIO_REGION_INFO_CAP_SPARSE_MMAP);
		assert_int_equal(get_le32(at + 8), 2);
		assert_int_equal(get_le64(at + 16), 0x1000);
		assert_int_equal(get_le64(at + 24), 0x2000);
		assert_int_equal(get_le64(at + 32), 0x5000);
		assert_int_equal(get_le64(at + 40), 0x1000);
		close_fds(reply.fds, reply.n_fds);
	}
}

static void mapped_regions_are_the_devices_memory(void **state)
{
	struct client_message reply;
	struct vfio_region_info info;
	uint32_t value;
	uint8_t *p;

	assert_int_equal(region_info(0, 32, &info, &reply), 0);
	p = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, reply.fds[0],
		 (off_t)info.offset);
	assert_ptr_not_equal(p, MAP_FAILED);
	close_fds(reply.fds, reply.n_fds);
	p[0x10004] = 0x5a;
	assert_int_equal(client_read32(&client, 0, 0x10004), 0x5a);
	client_write32(&client, 0, BAR0_SIZE - 4, 0x12345678);
	memcpy(&value, p + BAR0_SIZE - 4, 4);
	assert_int_equal(value, 0x12345678);
	munmap(p, info.size);
}

static void every_irq_index_is_answered(void **state)
{
	static const uint32_t counts[] = { 1, VECTORS, 0, 1, 1 };
	struct client_message reply;

	for (uint32_t index = 0; index < 7; index++) {
		struct vfio_irq_info info = { .argsz = sizeof(info), .index = index };
		int r = client_call(&client, VFIO_USER_DEVICE_GET_IRQ_INFO, &info, sizeof(info),
				    NULL, 0, &reply);

		assert_int_equal(r, index < VFIO_PCI_NUM_IRQS ? 0 : -EINVAL);
		if (r < 0)
			continue;
		assert_int_equal(reply.length, sizeof(info));
		memcpy(&info, reply.payload, sizeof(info));
		assert_int_equal(info.argsz, sizeof(info));
		assert_int_equal(info.index, index);
		assert_int_equal(info.count, counts[index]);
		info.argsz = 15;
		assert_int_equal(client_call(&client, VFIO_USER_DEVICE_GET_IRQ_INFO, &info,
					     sizeof(info), NULL, 0, NULL),
				 -EINVAL);
		assert_int_equal(client_call(&client, VFIO_USER_DEVICE_GET_IRQ_INFO, &info, 12,
					     NULL, 0, NULL),
				 -EINVAL);
	}
}

/* --- interrupts: DEVICE_SET_IRQS --- */

static const uint32_t bind_flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
static const uint32_t none_trigger = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;

static void interrupts_are_signalled(void **state)
{
	int fds[VECTORS];

	for (unsigned int i = 0; i < VECTORS; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	/* All in one message (QEMU: up to 16), then one after the other. */
	assert_int_equal(client_set_irqs(&client, bind_flags, VFIO_PCI_MSI_IRQ_INDEX, 0, VECTORS,
					 NULL, 0, fds, VECTORS),
			 0);
	for (uint32_t i = 0; i < VECTORS; i++) {
		client_write32(&client, 2, REG_MSI, i);
		for (uint32_t j = 0; j < VECTORS; j++)
			assert_int_equal(signals(fds[j]), i == j);
	}
	for (uint32_t i = 0; i < VECTORS; i++)
		assert_int_equal(client_set_irqs(&client, bind_flags, VFIO_PCI_MSI_IRQ_INDEX, i, 1,
						 NULL, 0, &fds[VECTORS - 1 - i], 1),
				 0);
	client_write32(&client, 2, REG_MSI, 0);
	assert_int_equal(signals(fds[VECTORS - 1]), 1);

	/* The client's loop-back test. */
	assert_int_equal(client_set_irqs(&client,
					 VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_TRIGGER,
					 VFIO_PCI_MSI_IRQ_INDEX, 6, 2, "\1\0", 2, NULL, 0),
			 0);
	assert_int_equal(signals(fds[1]), 1);
	assert_int_equal(signals(fds[0]), 0);

	/* No descriptors unbind some; DATA_NONE with count 0 all. */
	assert_int_equal(client_set_irqs(&client, bind_flags, VFIO_PCI_MSI_IRQ_INDEX, 0, 1, NULL, 0,
					 NULL, 0),
			 0);
	client_write32(&client, 2, REG_MSI, 0);
	client_write32(&client, 2, REG_MSI, 1);
	assert_int_equal(signals(fds[VECTORS - 1]), 0);
	assert_int_equal(signals(fds[VECTORS - 2]), 1);
	assert_int_equal(client_set_irqs(&client, none_trigger, VFIO_PCI_MSI_IRQ_INDEX, 0, 0, NULL,
					 0, NULL, 0),
			 0);
	client_write32(&client, 2, REG_MSI, 1);
	assert_int_equal(signals(fds[VECTORS - 2]), 0);
	close_fds(fds, VECTORS);
}

static void intx_is_unmasked_by_message_and_by_eventfd(void **state)
{
	const uint32_t unmask = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK;
	const uint64_t one = 1;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), resample = eventfd(0, EFD_CLOEXEC);

	assert_int_equal(client_set_irqs(&client, bind_flags, 0, 0, 1, NULL, 0, &fd, 1), 0);
	client_write32(&client, 2, REG_INTX, 1);
	assert_int_equal(signals(fd), 1);
	assert_int_equal(client_set_irqs(&client, unmask, 0, 0, 1, NULL, 0, NULL, 0), 0);
	assert_int_equal(signals(fd), 1);

	/* As QEMU has it with KVM: the end of interrupt does not come through QEMU. */
	assert_int_equal(client_set_irqs(&client,
					 VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK, 0,
					 0, 1, NULL, 0, &resample, 1),
			 0);
	for (unsigned int i = 0; i < 20; i++) {
		assert_int_equal(write(resample, &one, sizeof(one)), sizeof(one));
		assert_int_equal(wait_for_signal(fd), 1);
		expect_in_step();
	}
	client_write32(&client, 2, REG_INTX, 0);
	assert_int_equal(write(resample, &one, sizeof(one)), sizeof(one));
	expect_in_step();
	assert_int_equal(signals(fd), 0);
	close(fd);
	close(resample);
}

static void bad_set_irqs_are_refused(void **state)
{
	struct vfio_irq_set set = { .argsz = sizeof(set),
				    .flags = none_trigger,
				    .index = VFIO_PCI_MSI_IRQ_INDEX,
				    .count = 1 };
	int fds[VECTORS * 3];
	uint8_t bytes[8] = { 0 };
	unsigned int open_now;

	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(
		client_set_irqs(&client, bind_flags, VFIO_PCI_MSI_IRQ_INDEX, 0, 2, NULL, 0, fds, 2),
		0);
	open_now = count_fds();

#define BAD(error, ...) assert_int_equal(client_set_irqs(&client, __VA_ARGS__), error)
	BAD(-EINVAL, bind_flags, 5, 0, 1, NULL, 0, fds, 1); /* index */
	BAD(-EINVAL, bind_flags, VFIO_PCI_MSIX_IRQ_INDEX, 0, 1, NULL, 0, fds, 1); /* not offered */
	BAD(-EINVAL, bind_flags, 1, 0, 3, NULL, 0, fds, 2); /* fewer than count */
	BAD(-EINVAL, bind_flags, 1, 0, 1, NULL, 0, fds, 2); /* more */
	BAD(-EINVAL, bind_flags, 1, VECTORS, 1, NULL, 0, fds, 1); /* range */
	BAD(-EINVAL, bind_flags, 1, VECTORS - 1, 2, NULL, 0, fds, 2);
	BAD(-EINVAL, bind_flags, 1, UINT32_MAX, 2, NULL, 0, fds, 2);
	BAD(-EINVAL, bind_flags, 1, 0, 1, bytes, 4, fds, 1); /* descriptors do not go in data */
	BAD(-EINVAL, none_trigger, 1, 0, 1, NULL, 0, fds, 1);
	BAD(-EINVAL, none_trigger, 1, 0, 1, bytes, 1, NULL, 0);
	BAD(-EINVAL, none_trigger, 1, 0, VECTORS + 1, NULL, 0, NULL, 0);
	BAD(-EINVAL, VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_TRIGGER, 1, 0, 2, bytes, 1, NULL,
	    0);
	BAD(-EINVAL, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, 1, 0, 1, NULL, 0, NULL, 0);
	BAD(-EINVAL, 0, 1, 0, 1, NULL, 0, NULL, 0);
	BAD(-EINVAL, 0xffffffff, 1, 0, 1, NULL, 0, NULL, 0);
	/* More than a message holds: it must not be taken for one that unbinds. */
	BAD(-EINVAL, bind_flags, 1, 0, 2, NULL, 0, fds, 17);
	{
		int not_eventfds[2] = { fds[0], client.fd };

		BAD(-EBADF, bind_flags, 1, 0, 2, NULL, 0, not_eventfds, 2);
	}
#undef BAD
	/* argsz is the whole payload, and may be more (vfio-user.rst, VFIO_USER_DEVICE_SET_IRQS). */
	set.argsz = 19;
	assert_int_equal(
		client_call(&client, VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set), NULL, 0, NULL),
		-EINVAL);
	set.argsz = 24;
	assert_int_equal(
		client_call(&client, VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set), NULL, 0, NULL),
		0);
	assert_int_equal(signals(fds[0]), 1);
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_SET_IRQS, &set, 19, NULL, 0, NULL),
			 -EINVAL);

	/* After all that, what was bound is bound, and no descriptor has stayed here. */
	client_write32(&client, 2, REG_MSI, 1);
	assert_int_equal(signals(fds[1]), 1);
	assert_int_equal(count_fds(), open_now);
	close_fds(fds, ARRAY_SIZE(fds));
}

/* --- accesses: REGION_READ, REGION_WRITE, REGION_WRITE_MULTI --- */

static void registers_are_accessed_at_any_width_and_offset(void **state)
{
	uint8_t model[64], buf[64];

	for (size_t i = 0; i < sizeof(model); i++)
		model[i] = (uint8_t)(i * 3 + 1);
	assert_int_equal(client_write(&client, 2, REG_SCRATCH, model, sizeof(model)), 0);
	for (uint32_t width = 0; width <= 16; width++)
		for (uint64_t offset = 0; offset < 24; offset++) {
			assert_int_equal(client_read(&client, 2, REG_SCRATCH + offset, buf, width),
					 0);
			assert_memory_equal(buf, model + offset, width);
			for (uint32_t i = 0; i < width; i++)
				model[offset + i] = (uint8_t)(model[offset + i] + 101);
			assert_int_equal(client_write(&client, 2, REG_SCRATCH + offset,
						      model + offset, width),
					 0);
			assert_int_equal(client_read(&client, 2, REG_SCRATCH, buf, sizeof(buf)), 0);
			assert_memory_equal(buf, model, sizeof(model));
		}

	/* The whole of config space, as QEMU reads it. */
	{
		uint8_t config[256];

		assert_int_equal(client_read(&client, CONFIG, 0, config, sizeof(config)), 0);
		assert_int_equal(get_le16(config), 0x1234);
		assert_int_equal(get_le16(config + 2), 0xcafe);
		assert_int_equal(config[PCI_INTERRUPT_PIN], 1);
	}
}

static void memory_is_accessed_by_message_too(void **state)
{
	static uint8_t out[1 << 20], in[1 << 20];

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + (i >> 12));
	assert_int_equal(client_write(&client, 0, 0x1234, out, sizeof(out)), 0);
	assert_int_equal(client_read(&client, 0, 0x1234, in, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(out));
	assert_int_equal(client_read(&client, 0, 0x1000, in, 0x234), 0);
	assert_int_equal(in[0x233], 0);

	/* Trapped, mapped, trapped in one. */
	assert_int_equal(client_write(&client, 4, 0xffe, "\1\2\3\4", 4), 0);
	assert_int_equal(client_read(&client, 4, 0xffe, in, 4), 0);
	assert_memory_equal(in, "\xfe\xfe\3\4", 4);
	assert_int_equal(client_write(&client, 4, 0x2ffe, "\1\2\3\4", 4), 0);
	assert_int_equal(client_read(&client, 4, 0x2ffe, in, 4), 0);
	assert_memory_equal(in, "\1\2\0\0", 4);
}

static void accesses_outside_are_refused(void **state)
{
	struct vfio_user_region_access access = { .region = 2, .count = 4 };
	uint8_t buf[sizeof(access) + 64] = { 0 };

	assert_int_equal(client_read(&client, 2, BAR2_SIZE - 3, buf, 4), -EINVAL);
	assert_int_equal(client_read(&client, 2, BAR2_SIZE, buf, 1), -EINVAL);
	assert_int_equal(client_read(&client, 2, UINT64_MAX, buf, 2), -EINVAL);
	assert_int_equal(client_read(&client, 1, 0, buf, 4), -EINVAL); /* no such BAR */
	assert_int_equal(client_read(&client, 8, 0, buf, 4), -EINVAL); /* VGA */
	assert_int_equal(client_read(&client, 9, 0, buf, 4), -EINVAL);
	assert_int_equal(client_read(&client, UINT32_MAX, 0, buf, 4), -EINVAL);
	assert_int_equal(client_write(&client, 2, BAR2_SIZE - 3, buf, 4), -EINVAL);
	assert_int_equal(client_write(&client, 9, 0, buf, 4), -EINVAL);
	assert_int_equal(client_read(&client, CONFIG, 254, buf, 4), -EINVAL);
	assert_int_equal(client_read(&client, 0, 0, buf, (1 << 20) + 1), -EINVAL);
	assert_int_equal(client_read(&client, 0, 0, buf, UINT32_MAX), -EINVAL);

	/* A message whose length is not what it says. */
#define CALL(command, length) client_call(&client, command, buf, length, NULL, 0, NULL)
	memcpy(buf, &access, sizeof(access));
	assert_int_equal(CALL(VFIO_USER_REGION_READ, 15), -EINVAL);
	assert_int_equal(CALL(VFIO_USER_REGION_READ, 17), -EINVAL);
	assert_int_equal(CALL(VFIO_USER_REGION_WRITE, 15), -EINVAL);
	assert_int_equal(CALL(VFIO_USER_REGION_WRITE, 16), -EINVAL);
	assert_int_equal(CALL(VFIO_USER_REGION_WRITE, 19), -EINVAL);
	assert_int_equal(CALL(VFIO_USER_REGION_WRITE, 21), -EINVAL);
	assert_int_equal(CALL(VFIO_USER_REGION_WRITE, 20), 0);
#undef CALL
	expect_in_step();
}

/* A WRITE_MULTI of n entries: scratch dword i := base + i. Returns its length. */
static size_t make_multi(uint8_t *payload, uint64_t n, uint32_t base)
{
	put_le64(payload, n);
	for (uint64_t i = 0; i < n; i++) {
		struct vfio_user_write_multi_entry entry = {
			.access = { .offset = REG_SCRATCH + 4 * i, .region = 2, .count = 4 },
		};

		put_le32(entry.data, base + (uint32_t)i);
		memcpy(payload + 8 + i * sizeof(entry), &entry, sizeof(entry));
	}
	return 8 + n * sizeof(struct vfio_user_write_multi_entry);
}

static void many_writes_come_in_one_message(void **state)
{
	enum { N = 200 }; /* QEMU's most */
	uint8_t payload[8 + (N + 1) * sizeof(struct vfio_user_write_multi_entry)] = { 0 };
	struct client_message reply;
	size_t length = make_multi(payload, N, 1000);

	assert_int_equal(client_call(&client, VFIO_USER_REGION_WRITE_MULTI, payload, length, NULL,
				     0, &reply),
			 0);
	assert_int_equal(reply.length, 8);
	assert_int_equal(get_le64(reply.payload), N);
	for (uint32_t i = 0; i < N; i++)
		assert_int_equal(client_read32(&client, 2, REG_SCRATCH + 4 * i), 1000 + i);

	/* As QEMU sends it: posted. */
	make_multi(payload, N, 5000);
	client_command(&client, VFIO_USER_REGION_WRITE_MULTI, VFIO_USER_NO_REPLY, payload, length,
		       NULL, 0);
	assert_int_equal(client_read32(&client, 2, REG_SCRATCH + 4 * (N - 1)), 5000 + N - 1);

	put_le64(payload, 0);
	assert_int_equal(
		client_call(&client, VFIO_USER_REGION_WRITE_MULTI, payload, 8, NULL, 0, &reply), 0);
	assert_int_equal(get_le64(reply.payload), 0);
}

static void a_bad_write_multi_writes_nothing(void **state)
{
	enum { N = 4 };
	uint8_t payload[8 + (N + 1) * sizeof(struct vfio_user_write_multi_entry)] = { 0 };
	uint8_t *last = payload + 8 + (N - 1) * sizeof(struct vfio_user_write_multi_entry);
	size_t length = make_multi(payload, N, 7);

#define CALL(length)                                                                               \
	client_call(&client, VFIO_USER_REGION_WRITE_MULTI, payload, length, NULL, 0, NULL)
	/* A count that is not what the message holds. */
	assert_int_equal(CALL(7), -EINVAL);
	assert_int_equal(CALL(8), -EINVAL);
	assert_int_equal(CALL(length - 1), -EINVAL);
	assert_int_equal(CALL(length + 1), -EINVAL);
	put_le64(payload, N - 1);
	assert_int_equal(CALL(length), -EINVAL);
	put_le64(payload, N + 1);
	assert_int_equal(CALL(length), -EINVAL);
	put_le64(payload, UINT64_MAX);
	assert_int_equal(CALL(length), -EINVAL);
	/* So many that the product of count and size wraps to what is there. */
	put_le64(payload, N + ((uint64_t)1 << 61));
	assert_int_equal(CALL(length), -EINVAL);
	put_le64(payload, N);

	put_le32(last + 12, 9); /* bytes: at most 8 */
	assert_int_equal(CALL(length), -EINVAL);
	put_le32(last + 12, 4);
	put_le32(last + 8, 9); /* region */
	assert_int_equal(CALL(length), -EINVAL);
	put_le32(last + 8, 1); /* of size 0 */
	assert_int_equal(CALL(length), -EINVAL);
	put_le32(last + 8, 2);
	put_le64(last, BAR2_SIZE - 3); /* offset */
	assert_int_equal(CALL(length), -EINVAL);
#undef CALL
	for (uint32_t i = 0; i < N; i++)
		assert_int_equal(client_read32(&client, 2, REG_SCRATCH + 4 * i), 0);
	expect_in_step();
}

/* vfio-user.rst, "Command Concurrency": done before the reply to what follows. */
static void posted_commands_are_not_answered(void **state)
{
	uint8_t payload[sizeof(struct vfio_user_region_access) + 4];
	struct vfio_user_region_access access = { REG_SCRATCH, 2, 4 };

	memcpy(payload, &access, sizeof(access));
	for (uint32_t i = 0; i < 500; i++) {
		put_le32(payload + sizeof(access), i);
		client_command(&client, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, payload,
			       sizeof(payload), NULL, 0);
	}
	assert_int_equal(client_read32(&client, 2, REG_SCRATCH), 499);

	/* Nor are their errors, or reads that nobody wants. */
	payload[8] = 9;
	client_command(&client, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, payload,
		       sizeof(payload), NULL, 0);
	client_command(&client, VFIO_USER_REGION_READ, VFIO_USER_NO_REPLY, &access, sizeof(access),
		       NULL, 0);
	client_command(&client, 99, VFIO_USER_NO_REPLY, NULL, 0, NULL, 0);
	assert_true(client_is_quiet(&client));
	expect_in_step();
}

static void what_is_not_known_is_not_supported(void **state)
{
	/* Unknown, or the server's to send. */
	static const uint16_t commands[] = { 0, 11, 12, 14, 19, 20, 255, 256, 0x8001, 65535 };
	uint8_t payload[64] = { 16 };
	int fd = eventfd(0, EFD_CLOEXEC);
	unsigned int open_now = count_fds();

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		assert_int_equal(client_call(&client, commands[i], NULL, 0, NULL, 0, NULL),
				 -ENOTSUP);
		assert_int_equal(
			client_call(&client, commands[i], payload, sizeof(payload), &fd, 1, NULL),
			-ENOTSUP);
	}
	expect_in_step();
	assert_int_equal(count_fds(), open_now);
	close(fd);
}

/*
 * What VFIO says of a bad request comes first, drivers/vfio/vfio_main.c,
 * vfio_ioctl_device_feature(); then that there is no such feature.
 */
static void no_feature_is_there_yet(void **state)
{
	static const uint32_t get = VFIO_DEVICE_FEATURE_GET, set = VFIO_DEVICE_FEATURE_SET,
			      probe = VFIO_DEVICE_FEATURE_PROBE;
	const struct {
		uint32_t argsz, flags;
		size_t length;
		int result;
	} requests[] = {
		{ 8, get | VFIO_DEVICE_FEATURE_MIGRATION, 8, -ENOTSUP },
		{ 16, get | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, 8, -ENOTSUP },
		{ 16, set | VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, 16, -ENOTSUP },
		{ 8, get | set | probe | 6, 8, -ENOTSUP },
		{ 4096, probe | 0xffff, 8, -ENOTSUP },
		{ 7, get | 1, 8, -EINVAL },
		{ 0, get | 1, 8, -EINVAL },
		{ 8, get | 1, 7, -EINVAL },
		{ 8, get | 1, 0, -EINVAL },
		{ 8, get | set | 1, 8, -EINVAL },
		{ 8, 1, 8, -EINVAL },
		{ 8, get | 1 << 19 | 1, 8, -EINVAL },
		{ 8, get | (uint32_t)1 << 31 | 1, 8, -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		uint8_t payload[16] = { 0 };

		put_le32(payload, requests[i].argsz);
		put_le32(payload + 4, requests[i].flags);
		if (client_call(&client, VFIO_USER_DEVICE_FEATURE, payload, requests[i].length,
				NULL, 0, NULL) != requests[i].result)
			fail_msg("request %zu", i);
	}
	expect_in_step();
}

/* vfio-user.rst, VFIO_USER_MIG_DATA_READ and VFIO_USER_MIG_DATA_WRITE. */
static void nothing_migrates_yet(void **state)
{
	const struct {
		uint16_t command;
		uint32_t argsz, size;
		size_t length;
		int result;
	} requests[] = {
		{ VFIO_USER_MIG_DATA_READ, 8, 0, 8, -ENOTSUP },
		{ VFIO_USER_MIG_DATA_READ, 4104, 4096, 8, -ENOTSUP },
		{ VFIO_USER_MIG_DATA_READ, 4103, 4096, 8, -EINVAL }, /* no room for it */
		{ VFIO_USER_MIG_DATA_READ, 7, 0, 8, -EINVAL },
		{ VFIO_USER_MIG_DATA_READ, UINT32_MAX, UINT32_MAX, 8, -EINVAL },
		{ VFIO_USER_MIG_DATA_READ, 8, 0, 7, -EINVAL },
		{ VFIO_USER_MIG_DATA_READ, 8, 0, 9, -EINVAL },
		{ VFIO_USER_MIG_DATA_READ, 0, 0, 0, -EINVAL },
		{ VFIO_USER_MIG_DATA_WRITE, 16, 8, 16, -ENOTSUP },
		{ VFIO_USER_MIG_DATA_WRITE, 8, 0, 8, -ENOTSUP },
		{ VFIO_USER_MIG_DATA_WRITE, 15, 8, 16, -EINVAL },
		{ VFIO_USER_MIG_DATA_WRITE, 16, 8, 15, -EINVAL },
		{ VFIO_USER_MIG_DATA_WRITE, 16, 7, 16, -EINVAL },
		{ VFIO_USER_MIG_DATA_WRITE, 16, UINT32_MAX, 16, -EINVAL },
		{ VFIO_USER_MIG_DATA_WRITE, 8, 0, 4, -EINVAL },
	};

	for (size_t i = 0; i < ARRAY_SIZE(requests); i++) {
		uint8_t payload[16] = { 0 };

		put_le32(payload, requests[i].argsz);
		put_le32(payload + 4, requests[i].size);
		if (client_call(&client, requests[i].command, payload, requests[i].length, NULL, 0,
				NULL) != requests[i].result)
			fail_msg("request %zu", i);
	}
	expect_in_step();
}

static void oversized_commands_are_refused(void **state)
{
	static const uint8_t zeros[4096];
	struct vfio_user_header header = { .id = 77, .command = 10, .size = (2 << 20) + 16 };
	struct client_message reply;

	client_send(&client, &header, sizeof(header), NULL, 0);
	for (unsigned int i = 0; i < 512; i++)
		client_send(&client, zeros, sizeof(zeros), NULL, 0);
	assert_true(client_receive(&client, &reply));
	assert_int_equal(reply.header.id, 77);
	assert_int_equal(reply.header.flags, VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR);
	assert_int_equal(reply.header.error, EINVAL);
	expect_in_step();
}

static void replies_that_nobody_asked_for_are_ignored(void **state)
{
	uint8_t payload[64] = { 0 };

	for (uint16_t command = 0; command < 20; command++)
		client_command(&client, command, VFIO_USER_TYPE_REPLY, payload, sizeof(payload),
			       NULL, 0);
	client_command(&client, VFIO_USER_DMA_READ, VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR, NULL, 0,
		       NULL, 0);
	expect_in_step();
}

static void messages_of_no_type_end_it(void **state)
{
	for (uint32_t type = 2; type < 16; type++) {
		client_command(&client, VFIO_USER_REGION_READ, type, NULL, 0, NULL, 0);
		assert_true(client_is_hung_up(&client));
		wait_until_disconnected();
		assert_int_equal(atomic_load(&disconnect_reason), -EPROTO);
		client_done(&client);
		connect_client(&client);
		client_negotiate(&client);
	}
}

static void a_size_below_a_header_ends_it(void **state)
{
	struct vfio_user_header header = { .command = 9, .size = 15 };

	client_send(&client, &header, sizeof(header), NULL, 0);
	assert_true(client_is_hung_up(&client));
	wait_until_disconnected();
	assert_int_equal(atomic_load(&disconnect_reason), -EPROTO);
}

/* --- DMA_MAP, DMA_UNMAP --- */

static void maps_are_checked(void **state)
{
	struct vfio_user_dma_map map = { .argsz = sizeof(map), .flags = 3, .size = 4096 };
	struct vfio_user_dma_unmap unmap = { .argsz = sizeof(unmap), .size = 4096 };
	int fds[2] = { make_memory(4096), make_memory(4096) };
	unsigned int open_now = count_fds();

	assert_int_equal(client_dma_map(&client, 0x1000, 4096, 3, fds[0], 0), 0);
	assert_int_equal(client_dma_map(&client, 0x1000, 4096, 3, fds[0], 0), -EEXIST);
	assert_int_equal(client_dma_map(&client, 0x2000, 0, 3, -1, 0), -EINVAL);
	assert_int_equal(client_dma_map(&client, 0x2000, 4096, 0, -1, 0), -EINVAL);
	assert_int_equal(client_dma_map(&client, 0x2000, 4096, 7, -1, 0), -EINVAL);
	assert_int_equal(client_dma_map(&client, 0x2000, 100, 3, -1, 0), -EINVAL);
	assert_int_equal(client_dma_map(&client, 0x2000, 4096, 3, fds[0], 5), -EINVAL);
	assert_int_equal(client_dma_map(&client, UINT64_MAX - 4095, 4096, 3, -1, 0), -EINVAL);
	assert_int_equal(client_dma_map(&client, 0x2000, 4096, 3, client.fd, 0), -ENODEV);

#define CALL(command, what, length, n) client_call(&client, command, &(what), length, fds, n, NULL)
	assert_int_equal(CALL(VFIO_USER_DMA_MAP, map, sizeof(map), 2), -EINVAL);
	assert_int_equal(CALL(VFIO_USER_DMA_MAP, map, 31, 1), -EINVAL);
	map.argsz = 31;
	assert_int_equal(CALL(VFIO_USER_DMA_MAP, map, sizeof(map), 1), -EINVAL);
	assert_int_equal(CALL(VFIO_USER_DMA_UNMAP, unmap, 23, 0), -EINVAL);
	unmap.argsz = 23;
	assert_int_equal(CALL(VFIO_USER_DMA_UNMAP, unmap, sizeof(unmap), 0), -EINVAL);
	unmap.argsz = 24;
	unmap.flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
	unmap.address = 0x1000;
	assert_int_equal(CALL(VFIO_USER_DMA_UNMAP, unmap, sizeof(unmap), 0), -EINVAL);
	unmap.flags = VFIO_DMA_UNMAP_FLAG_ALL;
	assert_int_equal(CALL(VFIO_USER_DMA_UNMAP, unmap, sizeof(unmap), 0), -EINVAL);

	assert_int_equal(client_dma_unmap(&client, 0x2000, 4096), -ENOENT);
	assert_int_equal(client_dma_unmap(&client, 0x1000, 8192), -ENOENT);
	/* SPDK sends a descriptor along. */
	unmap.flags = 0;
	assert_int_equal(CALL(VFIO_USER_DMA_UNMAP, unmap, sizeof(unmap), 1), 0);
	assert_int_equal(CALL(VFIO_USER_DMA_UNMAP, unmap, sizeof(unmap), 0), -ENOENT);
	/* Everything: QEMU, when it resets its view of memory. */
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(client_dma_map(&client, i * 8192, 4096, 3, i % 2 ? fds[0] : -1, 0),
				 0);
	unmap = (struct vfio_user_dma_unmap){ .argsz = 24, .flags = VFIO_DMA_UNMAP_FLAG_ALL };
	assert_int_equal(CALL(VFIO_USER_DMA_UNMAP, unmap, sizeof(unmap), 0), 0);
	assert_int_equal(client_dma_unmap(&client, 0, 4096), -ENOENT);
#undef CALL
	assert_int_equal(count_fds(), open_now);
	close_fds(fds, 2);
}

static void dma_by_descriptor(void **state)
{
	int fd = make_memory(1 << 20);
	uint8_t byte, buf[256];

	assert_int_equal(client_dma_map(&client, 0x100000, 1 << 20, 3, fd, 0), 0);
	start_dma(DMA_READ, 0x100000 + 100, 256);
	assert_int_equal(dma_result(), 0);
	assert_int_equal(client_read(&client, 2, REG_BUFFER, buf, sizeof(buf)), 0);
	assert_int_equal(buf[0], (uint8_t)(100 * 3));
	assert_int_equal(buf[255], (uint8_t)(355 * 3 + 1));

	start_dma(DMA_SCOPE, 0x100000, 1 << 20);
	assert_int_equal(dma_result(), 0);
	assert_int_equal(pread(fd, &byte, 1, 5), 1);
	assert_int_equal(byte, 16);

	/* What is not mapped. */
	start_dma(DMA_READ, 0x100000 + (1 << 20) - 4, 8);
	assert_int_equal(dma_result(), -EFAULT);
	/* The device works on after the client pulled the file away. */
	assert_int_equal(client_dma_unmap(&client, 0x100000, 1 << 20), 0);
	start_dma(DMA_WRITE, 0x100000, 4);
	assert_int_equal(dma_result(), -EFAULT);
	close(fd);
}

/* --- whatever else comes --- */

/* Numbers that are likely to be a bound of something, or one off. */
static uint32_t interesting(unsigned int *seed)
{
	static const uint32_t values[] = {
		0,	1,	  2,	      3,	  4,	      7,	  8,
		9,	16,	  20,	      24,	  32,	      0x100,	  0x400,
		0x408,	0x40c,	  0x418,      0x41c,	  0xffc,      0x1000,	  0x2000,
		0x6000, 0x100000, 0x7fffffff, 0x80000000, 0xfffff000, 0xffffffff,
	};

	return rand_r(seed) % 8 ? values[(unsigned int)rand_r(seed) % ARRAY_SIZE(values)]
				: (uint32_t)rand_r(seed);
}

/* The reply to id; commands of the server's in between are refused. */
static void expect_reply(uint16_t id)
{
	struct client_message message;

	for (;;) {
		assert_true(client_receive(&client, &message));
		close_fds(message.fds, message.n_fds);
		if ((message.header.flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_REPLY)
			break;
		reply_to_dma(message.header.command, message.header.id, NULL, 0, EFAULT);
	}
	assert_int_equal(message.header.id, id);
}

static void any_command_is_answered(void **state)
{
	int fds[2] = { make_memory(1 << 20), eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	unsigned int seed = 3, open_now = count_fds();

	for (unsigned int i = 0; i < 20000; i++) {
		uint16_t command = (uint16_t)((unsigned int)rand_r(&seed) % 20), id;
		uint32_t flags = rand_r(&seed) % 4 ? 0 : VFIO_USER_NO_REPLY;
		size_t length = (unsigned int)rand_r(&seed) % 24 * 4;
		uint8_t payload[96];

		for (size_t at = 0; at < sizeof(payload); at += 4)
			put_le32(payload + at, interesting(&seed));
		switch (rand_r(&seed) % 3) { /* mostly what gets past the first check */
		case 0:
			put_le32(payload, 1024);
			put_le32(payload + 4, (uint32_t)rand_r(&seed) % 64);
			put_le32(payload + 8, (uint32_t)rand_r(&seed) % 10);
			break;
		case 1:
			put_le32(payload + 4, 0);
			put_le32(payload + 8, (uint32_t)rand_r(&seed) % 10);
			put_le32(payload + 12, (uint32_t)length - 16);
			break;
		default:
			break;
		}
		id = client_command(&client, command, flags, payload, length,
				    fds + (unsigned int)rand_r(&seed) % 2,
				    (unsigned int)rand_r(&seed) % 2);
		if (!flags)
			expect_reply(id);
	}
	{
		struct vfio_user_region_access access = { REG_SCRATCH, 2, 4 };

		expect_reply(client_command(&client, VFIO_USER_REGION_READ, 0, &access,
					    sizeof(access), NULL, 0));
	}
	/* Descriptors that stay are those of interrupts: one a vector at most, and INTx' unmask. */
	assert_true(count_fds() <= open_now + 1 + VECTORS + 2 + 1);
	close_fds(fds, 2);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define U(test) cmocka_unit_test_setup_teardown(test, setup_unconnected, teardown)
	const struct CMUnitTest tests[] = {
		U(versions_are_negotiated),
		U(bad_proposals_are_refused),
		T(device_info),
		T(every_region_index_is_answered),
		T(bad_region_infos_are_refused),
		T(a_sparse_region_is_answered_whole_when_there_is_room),
		T(mapped_regions_are_the_devices_memory),
		T(every_irq_index_is_answered),
		T(interrupts_are_signalled),
		T(intx_is_unmasked_by_message_and_by_eventfd),
		T(bad_set_irqs_are_refused),
		T(registers_are_accessed_at_any_width_and_offset),
		T(memory_is_accessed_by_message_too),
		T(accesses_outside_are_refused),
		T(many_writes_come_in_one_message),
		T(a_bad_write_multi_writes_nothing),
		T(posted_commands_are_not_answered),
		T(what_is_not_known_is_not_supported),
		T(no_feature_is_there_yet),
		T(nothing_migrates_yet),
		T(oversized_commands_are_refused),
		T(replies_that_nobody_asked_for_are_ignored),
		T(messages_of_no_type_end_it),
		T(a_size_below_a_header_ends_it),
		T(maps_are_checked),
		T(dma_by_descriptor),
		T(any_command_is_answered),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
