/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every field of every command at the edges of what it can hold, alone and
 * together with every other one, against the rule that says what must be
 * answered. The rules are written here once more, in arithmetic that cannot
 * overflow. Whatever comes, it is answered once and the stream stays in step.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "full_server.h"
#include "unit.h"

enum { FIELDS = 6, FILE_SIZE = 1 << 20 };

typedef unsigned __int128 wide; /* holds the sum of any two fields */

static struct client client;

struct form {
	const char *name;
	uint16_t command;
	struct {
		unsigned int width; /* bytes; 0: no more fields */
		uint64_t normal;
	} fields[FIELDS];
	size_t extra; /* bytes of data behind them, zeros */
	bool with_file; /* a descriptor of memory comes along */
	/* What must be answered; f: the fields. */
	int (*rule)(const uint64_t *f);
};

static bool region_has(uint64_t index, uint32_t flag)
{
	return index < VFIO_PCI_NUM_REGIONS && full.vfio.regions[index].flags & flag;
}

static bool inside(uint64_t index, uint64_t offset, uint64_t count)
{
	return (wide)offset + count <= full.vfio.regions[index].size;
}

static int region_read_rule(const uint64_t *f)
{
	return region_has(f[1], VFIO_REGION_INFO_FLAG_READ) && f[2] <= VFIO_USER_MAX_XFER &&
			       inside(f[1], f[0], f[2])
		       ? 0
		       : -EINVAL;
}

static int region_write_rule(const uint64_t *f)
{
	return region_has(f[1], VFIO_REGION_INFO_FLAG_WRITE) && f[2] == 4 && inside(f[1], f[0], 4)
		       ? 0
		       : -EINVAL;
}

static int write_multi_rule(const uint64_t *f)
{
	return f[0] == 1 && region_has(f[2], VFIO_REGION_INFO_FLAG_WRITE) && f[3] <= 8 &&
			       inside(f[2], f[1], f[3])
		       ? 0
		       : -EINVAL;
}

/* f: argsz, flags, offset, address, size */
static int dma_map_rule(const uint64_t *f)
{
	return f[0] >= 32 && f[1] >= 1 && f[1] <= 3 && f[4] && f[3] % 4096 == 0 &&
			       f[4] % 4096 == 0 && (wide)f[3] + f[4] <= UINT64_MAX
		       ? 0
		       : -EINVAL;
}

static int dma_map_file_rule(const uint64_t *f)
{
	int r = dma_map_rule(f);

	if (r < 0 || f[2] % 4096 || (wide)f[2] + f[4] > INT64_MAX)
		return -EINVAL;
	return f[4] > VFIO_DMA_MAX_MAPPED ? -ENOSPC : 0;
}

/* Nothing is mapped. */
static int dma_unmap_rule(const uint64_t *f)
{
	if (f[0] < 24)
		return -EINVAL;
	if (f[1] == VFIO_DMA_UNMAP_FLAG_ALL)
		return f[2] || f[3] ? -EINVAL : 0;
	return f[1] ? -EINVAL : -ENOENT;
}

static int device_info_rule(const uint64_t *f)
{
	return f[0] >= 16 ? 0 : -EINVAL;
}

static int region_info_rule(const uint64_t *f)
{
	return f[0] >= 32 && f[2] < VFIO_PCI_NUM_REGIONS ? 0 : -EINVAL;
}

static int io_fds_rule(const uint64_t *f)
{
	return f[0] >= 16 && !f[1] && f[2] < VFIO_PCI_NUM_REGIONS && !f[3] ? 0 : -EINVAL;
}

static int irq_info_rule(const uint64_t *f)
{
	return f[0] >= 16 && f[2] < VFIO_PCI_NUM_IRQS ? 0 : -EINVAL;
}

/* f: argsz, flags, index, start, count; without data and descriptors. */
static int set_irqs_rule(const uint64_t *f)
{
	uint64_t action = f[1] & VFIO_IRQ_SET_ACTION_TYPE_MASK;
	uint64_t data = f[1] & VFIO_IRQ_SET_DATA_TYPE_MASK;
	bool trigger = action == VFIO_IRQ_SET_ACTION_TRIGGER;

	if (f[0] < 20 || f[1] != (action | data) || __builtin_popcountll(action) != 1 ||
	    __builtin_popcountll(data) != 1 || f[2] >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	if ((wide)f[3] + f[4] > full.vfio.irqs.index[f[2]].count)
		return -EINVAL;
	if (!trigger && (f[2] != VFIO_PCI_INTX_IRQ_INDEX))
		return -EINVAL;
	if (data == VFIO_IRQ_SET_DATA_BOOL)
		return -EINVAL; /* where are they? */
	if (data == VFIO_IRQ_SET_DATA_NONE)
		return f[4] || trigger ? 0 : -EINVAL;
	return f[4] && action != VFIO_IRQ_SET_ACTION_MASK ? 0 : -EINVAL;
}

static int feature_rule(const uint64_t *f)
{
	const uint64_t get = VFIO_DEVICE_FEATURE_GET, set = VFIO_DEVICE_FEATURE_SET,
		       probe = VFIO_DEVICE_FEATURE_PROBE;
	uint64_t ops = f[1] & ~(uint64_t)VFIO_DEVICE_FEATURE_MASK;

	if (f[0] < 8 || ops & ~(get | set | probe) || !ops || ops == (get | set))
		return -EINVAL;
	return -ENOTSUP;
}

static int mig_read_rule(const uint64_t *f)
{
	return f[0] >= 8 && (wide)f[1] + 8 <= f[0] ? -ENOTSUP : -EINVAL;
}

static int mig_write_rule(const uint64_t *f)
{
	return f[1] == 16 && f[0] >= 24 ? -ENOTSUP : -EINVAL;
}

/* What goes from server to client only, and what there is not. */
static int unknown_rule(const uint64_t *f)
{
	return -ENOTSUP;
}

static const struct form forms[] = {
	{ "REGION_READ",
	  VFIO_USER_REGION_READ,
	  { { 8, 0x400 }, { 4, 2 }, { 4, 4 } },
	  .rule = region_read_rule },
	{ "REGION_WRITE",
	  VFIO_USER_REGION_WRITE,
	  { { 8, 0x400 }, { 4, 2 }, { 4, 4 } },
	  .extra = 4,
	  .rule = region_write_rule },
	{ "REGION_WRITE_MULTI",
	  VFIO_USER_REGION_WRITE_MULTI,
	  { { 8, 1 }, { 8, 0x400 }, { 4, 2 }, { 4, 4 }, { 8, 0 } },
	  .rule = write_multi_rule },
	{ "DMA_MAP",
	  VFIO_USER_DMA_MAP,
	  { { 4, 32 }, { 4, 3 }, { 8, 0 }, { 8, 0x10000 }, { 8, 4096 } },
	  .rule = dma_map_rule },
	{ "DMA_MAP of a file",
	  VFIO_USER_DMA_MAP,
	  { { 4, 32 }, { 4, 3 }, { 8, 0 }, { 8, 0x10000 }, { 8, 4096 } },
	  .with_file = true,
	  .rule = dma_map_file_rule },
	{ "DMA_UNMAP",
	  VFIO_USER_DMA_UNMAP,
	  { { 4, 24 }, { 4, 0 }, { 8, 0 }, { 8, 4096 } },
	  .rule = dma_unmap_rule },
	{ "DEVICE_GET_INFO",
	  VFIO_USER_DEVICE_GET_INFO,
	  { { 4, 16 }, { 4, 0 }, { 4, 0 }, { 4, 0 } },
	  .rule = device_info_rule },
	{ "DEVICE_GET_REGION_INFO",
	  VFIO_USER_DEVICE_GET_REGION_INFO,
	  { { 4, 32 }, { 4, 0 }, { 4, 4 }, { 4, 0 }, { 8, 0 }, { 8, 0 } },
	  .rule = region_info_rule },
	{ "DEVICE_GET_REGION_IO_FDS",
	  VFIO_USER_DEVICE_GET_REGION_IO_FDS,
	  { { 4, 1024 }, { 4, 0 }, { 4, 2 }, { 4, 0 } },
	  .rule = io_fds_rule },
	{ "DEVICE_GET_IRQ_INFO",
	  VFIO_USER_DEVICE_GET_IRQ_INFO,
	  { { 4, 16 }, { 4, 0 }, { 4, 1 }, { 4, 0 } },
	  .rule = irq_info_rule },
	{ "DEVICE_SET_IRQS, nothing",
	  VFIO_USER_DEVICE_SET_IRQS,
	  { { 4, 20 }, { 4, 0x21 }, { 4, 1 }, { 4, 0 }, { 4, 1 } },
	  .rule = set_irqs_rule },
	{ "DEVICE_SET_IRQS, eventfds",
	  VFIO_USER_DEVICE_SET_IRQS,
	  { { 4, 20 }, { 4, 0x24 }, { 4, 1 }, { 4, 0 }, { 4, 8 } },
	  .rule = set_irqs_rule },
	{ "DEVICE_SET_IRQS, unmask",
	  VFIO_USER_DEVICE_SET_IRQS,
	  { { 4, 20 }, { 4, 0x11 }, { 4, 0 }, { 4, 0 }, { 4, 1 } },
	  .rule = set_irqs_rule },
	{ "DEVICE_FEATURE",
	  VFIO_USER_DEVICE_FEATURE,
	  { { 4, 8 }, { 4, VFIO_DEVICE_FEATURE_GET } },
	  .rule = feature_rule },
	{ "MIG_DATA_READ",
	  VFIO_USER_MIG_DATA_READ,
	  { { 4, 16 }, { 4, 8 } },
	  .rule = mig_read_rule },
	{ "MIG_DATA_WRITE",
	  VFIO_USER_MIG_DATA_WRITE,
	  { { 4, 24 }, { 4, 16 } },
	  .extra = 16,
	  .rule = mig_write_rule },
	{ "DMA_READ", VFIO_USER_DMA_READ, { { 8, 0 }, { 8, 16 } }, .rule = unknown_rule },
	{ "DMA_WRITE", VFIO_USER_DMA_WRITE, { { 8, 0 }, { 8, 0 } }, .rule = unknown_rule },
	{ "14", 14, { { 8, 0 }, { 8, 0 } }, .rule = unknown_rule },
};

static const uint64_t edges[] = {
	0,
	1,
	2,
	3,
	4,
	7,
	8,
	9,
	15,
	19,
	23,
	31,
	0x3ff,
	0xffc,
	0xffd,
	0x1000,
	0x1001,
	0xffff,
	0x10000,
	0x100000,
	0x100001,
	INT32_MAX,
	(uint64_t)INT32_MAX + 1,
	UINT32_MAX - 4095,
	UINT32_MAX - 1,
	UINT32_MAX,
	(uint64_t)UINT32_MAX + 1,
	VFIO_DMA_MAX_MAPPED,
	VFIO_DMA_MAX_MAPPED + 4096,
	(uint64_t)1 << 47,
	INT64_MAX - 4095,
	INT64_MAX,
	(uint64_t)INT64_MAX + 1,
	(uint64_t)INT64_MAX + 4097,
	UINT64_MAX - 8191,
	UINT64_MAX - 4095,
	UINT64_MAX - 3,
	UINT64_MAX - 1,
	UINT64_MAX,
};

static unsigned int n_requests;

static void forget_maps(void)
{
	const struct vfio_user_dma_unmap all = { .argsz = 24, .flags = VFIO_DMA_UNMAP_FLAG_ALL };

	assert_int_equal(
		client_call(&client, VFIO_USER_DMA_UNMAP, &all, sizeof(all), NULL, 0, NULL), 0);
}

/* A very large mapping may be more than there is address space for: that is no matter of fields. */
static bool is_as_ruled(const struct form *form, int r, int ruled)
{
	return r == ruled || (form->with_file && ruled == 0 && r == -ENOMEM);
}

static void request(const struct form *form, const uint64_t *f, int file)
{
	uint8_t payload[64] = { 0 };
	size_t used = 0;
	int r;

	for (size_t i = 0; i < FIELDS && form->fields[i].width; i++) {
		put_le(payload + used, f[i], form->fields[i].width);
		used += form->fields[i].width;
	}
	r = client_call(&client, form->command, payload, used + form->extra, &file, form->with_file,
			NULL);
	n_requests++;
	if (!is_as_ruled(form, r, form->rule(f)))
		fail_msg("%s {%#llx, %#llx, %#llx, %#llx, %#llx}: %s instead of %s", form->name,
			 (unsigned long long)f[0], (unsigned long long)f[1],
			 (unsigned long long)f[2], (unsigned long long)f[3],
			 (unsigned long long)f[4], strerror(-r), strerror(-form->rule(f)));
	if (r == 0 && form->command == VFIO_USER_DMA_MAP)
		forget_maps();
}

static uint64_t fits(uint64_t value, unsigned int width)
{
	return width == 8 ? value : value & (((uint64_t)1 << width * 8) - 1);
}

/* All pairs of two fields; i == j: one alone. */
static void try_pair(const struct form *form, size_t i, size_t j, int file)
{
	uint64_t f[FIELDS];

	for (size_t k = 0; k < FIELDS; k++)
		f[k] = form->fields[k].normal;
	for (size_t a = 0; a < ARRAY_SIZE(edges); a++) {
		f[i] = fits(edges[a], form->fields[i].width);
		if (f[i] != edges[a])
			continue;
		if (i == j) {
			request(form, f, file);
			continue;
		}
		for (size_t b = 0; b < ARRAY_SIZE(edges); b++) {
			f[j] = fits(edges[b], form->fields[j].width);
			if (f[j] == edges[b])
				request(form, f, file);
		}
	}
}

static void every_pair_of_fields(void **state)
{
	int file = full_make_file(FILE_SIZE);
	unsigned int fds = count_fds();

	for (size_t n = 0; n < ARRAY_SIZE(forms); n++) {
		const struct form *form = &forms[n];

		for (size_t i = 0; i < FIELDS && form->fields[i].width; i++)
			for (size_t j = i; j < FIELDS && form->fields[j].width; j++)
				try_pair(form, i, j, file);
		full_expect_in_step(&client);
	}
	print_message("%u requests\n", n_requests);
	/* The server is in this process too: nothing that came along has stayed, but the doorbells. */
	assert_int_equal(count_fds(), fds + FULL_DOORBELLS);
	close(file);
}

/* The fixed part of each command, cut at every byte: never taken for whole. */
static void every_command_cut_short(void **state)
{
	for (size_t n = 0; n < ARRAY_SIZE(forms); n++) {
		const struct form *form = &forms[n];
		uint8_t payload[64] = { 0 };
		size_t length = 0;

		for (size_t i = 0; i < FIELDS && form->fields[i].width; i++) {
			put_le(payload + length, form->fields[i].normal, form->fields[i].width);
			length += form->fields[i].width;
		}
		for (size_t cut = 0; cut < length; cut++)
			assert_int_equal(
				client_call(&client, form->command, payload, cut, NULL, 0, NULL),
				form->rule == unknown_rule ? -ENOTSUP : -EINVAL);
		full_expect_in_step(&client);
	}
	/* VERSION, which has been said already. */
	for (size_t cut = 0; cut < 4; cut++)
		assert_int_equal(
			client_call(&client, VFIO_USER_VERSION, "\0\0\0\0", cut, NULL, 0, NULL),
			-EINVAL);
	full_expect_in_step(&client);
}

/* And with bytes too many, where a command says how many there are. */
static void every_command_with_a_byte_too_many(void **state)
{
	static const uint16_t exact[] = {
		VFIO_USER_REGION_READ,	      VFIO_USER_REGION_WRITE,
		VFIO_USER_REGION_WRITE_MULTI, VFIO_USER_DMA_MAP,
		VFIO_USER_DMA_UNMAP,	      VFIO_USER_DEVICE_GET_REGION_IO_FDS,
		VFIO_USER_MIG_DATA_READ,      VFIO_USER_MIG_DATA_WRITE
	};

	for (size_t n = 0; n < ARRAY_SIZE(forms); n++) {
		const struct form *form = &forms[n];
		uint8_t payload[64] = { 0 };
		size_t length = 0;
		bool is_exact = false;

		for (size_t i = 0; i < FIELDS && form->fields[i].width; i++) {
			put_le(payload + length, form->fields[i].normal, form->fields[i].width);
			length += form->fields[i].width;
		}
		for (size_t i = 0; i < ARRAY_SIZE(exact); i++)
			is_exact = is_exact || exact[i] == form->command;
		if (is_exact)
			assert_int_equal(client_call(&client, form->command, payload,
						     length + form->extra + 1, NULL, 0, NULL),
					 -EINVAL);
	}
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_RESET, "", 1, NULL, 0, NULL),
			 -EINVAL);
	full_expect_in_step(&client);
}

/* Every 16 bits of command: what there is not is not supported, and harms nothing. */
static void every_command_there_is_not(void **state)
{
	for (uint32_t command = 0; command < 65536; command += command < 256 ? 1 : 251) {
		if (command >= VFIO_USER_VERSION && command <= VFIO_USER_MIG_DATA_WRITE &&
		    command != VFIO_USER_DMA_READ && command != VFIO_USER_DMA_WRITE &&
		    command != 14)
			continue;
		assert_int_equal(client_call(&client, (uint16_t)command, NULL, 0, NULL, 0, NULL),
				 -ENOTSUP);
	}
	full_expect_in_step(&client);
}

/* Numbers in VERSION's JSON: none is taken for another, and none for a smaller one. */
static void numbers_in_the_version(void **state)
{
	static const struct {
		const char *number;
		int r;
	} cases[] = {
		{ "0", 0 },
		{ "1", 0 },
		{ "4294967295", 0 },
		{ "4294967296", 0 },
		{ "9223372036854775807", 0 },
		{ "9223372036854775808",
		  -EINVAL }, /* no integer for jansson: the text is no JSON */
		{ "18446744073709551616", -EINVAL },
		{ "-1", -EINVAL },
		{ "-9223372036854775808", -EINVAL },
		{ "1e308", -EINVAL },
		{ "1e999", -EINVAL },
		{ "1.5", -EINVAL },
		{ "\"16\"", -EINVAL },
		{ "null", -EINVAL },
		{ "true", -EINVAL },
		{ "[]", -EINVAL },
	};
	static const char *const keys[] = { "max_data_xfer_size", "max_msg_fds" };

	full_server_leave(&client);
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
		for (size_t k = 0; k < ARRAY_SIZE(keys); k++) {
			char json[128];

			snprintf(json, sizeof(json), "{\"capabilities\":{\"%s\":%s}}", keys[k],
				 cases[i].number);
			full_server_connect(&client);
			assert_int_equal(client_version(&client, 0, 1, json, NULL), cases[i].r);
			if (cases[i].r < 0)
				client_negotiate(&client); /* it may try again */
			full_expect_in_step(&client);
			full_server_leave(&client);
		}
	full_server_connect(&client);
}

/* Replies to DMA messages at their edges: the device is told, and memory is not touched. */
static void fields_of_dma_replies(void **state)
{
	assert_int_equal(client_dma_map(&client, 0, 1 << 20, 3, -1, 0), 0);
	/* From now on the server knows how we count. */
	assert_int_equal(full_dma(&client, FULL_DMA_READ, 0, 64, true), 0);
	for (size_t i = 0; i < 3 * ARRAY_SIZE(edges); i++) {
		struct vfio_user_region_access access = { FULL_COMMAND, 2, 4 };
		uint32_t length = 64, command = FULL_DMA_READ;
		uint64_t iova = 0x1000;
		uint8_t bytes[96] = { 0 };
		struct {
			struct vfio_user_header header;
			struct vfio_user_dma_access access;
			uint8_t data[64];
		} reply = { 0 };
		struct client_message message;

		assert_int_equal(client_write(&client, 2, FULL_IOVA, &iova, 8), 0);
		assert_int_equal(client_write(&client, 2, FULL_LENGTH, &length, 4), 0);
		memcpy(bytes, &access, sizeof(access));
		memcpy(bytes + sizeof(access), &command, 4);
		client_command(&client, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, bytes, 20, NULL,
			       0);
		assert_true(client_receive(&client, &message));
		assert_int_equal(message.header.command, VFIO_USER_DMA_READ);
		reply.header = message.header;
		reply.header.flags = VFIO_USER_TYPE_REPLY;
		reply.header.size = sizeof(reply);
		memcpy(&reply.access, message.payload, sizeof(reply.access));
		switch (i % 3) {
		case 0:
			reply.access.address = edges[i / 3];
			break;
		case 1:
			reply.header.size = (uint32_t)(sizeof(reply.header) +
						       edges[i / 3] % (sizeof(reply) - 15));
			break;
		default:
			reply.header.flags |= VFIO_USER_ERROR;
			reply.header.error = (uint32_t)edges[i / 3];
			reply.header.size = sizeof(reply.header);
		}
		client_send(&client, &reply, reply.header.size, NULL, 0);
		full_expect_in_step(&client);
		if (i % 3 == 0)
			assert_int_equal(client_read32(&client, 2, FULL_RESULT),
					 (uint32_t)(reply.access.address == 0x1000 ? 0 : -EPROTO));
		if (i % 3 == 1)
			assert_int_equal(
				client_read32(&client, 2, FULL_RESULT),
				(uint32_t)(reply.header.size == sizeof(reply) ? 0 : -EPROTO));
		if (i % 3 == 2)
			assert_true((int)client_read32(&client, 2, FULL_RESULT) < 0);
	}
}

static int setup(void **state)
{
	full_server_start_with(&client);
	return 0;
}

static int teardown(void **state)
{
	full_server_stop_with(&client);
	return 0;
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(every_pair_of_fields),
		T(every_command_cut_short),
		T(every_command_with_a_byte_too_many),
		T(every_command_there_is_not),
		T(numbers_in_the_version),
		T(fields_of_dma_replies),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
