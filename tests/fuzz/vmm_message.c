/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm_message.h"

#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"

enum { HEADER = sizeof(struct vfio_user_header), FIELDS = 6 };

/* The fields of each command's payload: width in bytes, and a value that is right. */
struct layout {
	uint16_t command;
	struct {
		uint8_t width;
		uint64_t normal;
	} fields[FIELDS];
	bool data; /* then bytes of the input's; a field of COUNT is their number */
};

#define COUNT 0xc0c0c0c0 /* in place of a number */

static const struct layout layouts[] = {
	{ VFIO_USER_REGION_READ, { { 8, 0 }, { 4, 2 }, { 4, 4 } }, false },
	{ VFIO_USER_REGION_WRITE, { { 8, 0 }, { 4, 2 }, { 4, COUNT } }, true },
	{ VFIO_USER_DMA_MAP, { { 4, 32 }, { 4, 3 }, { 8, 0 }, { 8, 0 }, { 8, 0x10000 } }, false },
	{ VFIO_USER_DMA_UNMAP, { { 4, 24 }, { 4, 0 }, { 8, 0 }, { 8, 0x10000 } }, false },
	{ VFIO_USER_DEVICE_GET_INFO, { { 4, 16 }, { 4, 0 }, { 4, 0 }, { 4, 0 } }, false },
	{ VFIO_USER_DEVICE_GET_REGION_INFO,
	  { { 4, 256 }, { 4, 0 }, { 4, 0 }, { 4, 0 }, { 8, 0 }, { 8, 0 } },
	  false },
	{ VFIO_USER_DEVICE_GET_REGION_IO_FDS, { { 4, 256 }, { 4, 0 }, { 4, 2 }, { 4, 0 } }, false },
	{ VFIO_USER_DEVICE_GET_IRQ_INFO, { { 4, 16 }, { 4, 0 }, { 4, 0 }, { 4, 0 } }, false },
	{ VFIO_USER_DEVICE_SET_IRQS,
	  { { 4, 4096 }, { 4, 0x24 }, { 4, 0 }, { 4, 0 }, { 4, 1 } },
	  true },
	{ VFIO_USER_REGION_WRITE_MULTI, { { 8, 1 } }, true },
	{ VFIO_USER_DEVICE_RESET, { { 0 } }, false },
	{ VFIO_USER_VERSION, { { 2, 0 }, { 2, 1 } }, true },
	{ VFIO_USER_DEVICE_FEATURE, { { 4, 8 }, { 4, 0 } }, true },
	{ VFIO_USER_MIG_DATA_READ, { { 4, 16 }, { 4, 0 }, { 4, 16 } }, false },
	{ VFIO_USER_MIG_DATA_WRITE, { { 4, 16 }, { 4, 0 }, { 4, COUNT } }, true },
	{ VFIO_USER_DMA_READ, { { 8, 0 }, { 8, 16 } }, false },
};

static size_t put_fields(struct fuzz_input *in, const struct layout *layout, uint8_t *at,
			 size_t *ret_count_at)
{
	size_t used = 0;

	*ret_count_at = SIZE_MAX;
	for (size_t i = 0; i < FIELDS && layout->fields[i].width; i++) {
		uint64_t normal = layout->fields[i].normal;
		uint64_t value = fuzz_number(in, normal);

		if (normal == COUNT && value == normal)
			*ret_count_at = used;
		put_le(at + used, value, layout->fields[i].width);
		used += layout->fields[i].width;
	}
	return used;
}

/* Entries of WRITE_MULTI, field by field as well: bytes alone would seldom name a region. */
static size_t put_entries(struct fuzz_input *in, uint8_t *at)
{
	size_t n = fuzz_u8(in) % 32;

	put_le64(at, n);
	at += sizeof(uint64_t);
	for (size_t i = 0; i < n; i++) {
		struct vfio_user_write_multi_entry entry = {
			.access = { .offset = fuzz_number(in, 0x400 + 4 * i),
				    .region = (uint32_t)fuzz_number(in, 2),
				    .count = (uint32_t)fuzz_number(in, 4) },
		};

		put_le64(entry.data, fuzz_number(in, i));
		memcpy(at + i * sizeof(entry), &entry, sizeof(entry));
	}
	return sizeof(uint64_t) + n * sizeof(struct vfio_user_write_multi_entry);
}

static size_t put_payload(struct fuzz_input *in, const struct layout *layout, uint8_t *at)
{
	size_t used, count_at, data = 0;

	if (layout->command == VFIO_USER_REGION_WRITE_MULTI && fuzz_u8(in) % 4)
		return put_entries(in, at);
	used = put_fields(in, layout, at, &count_at);
	if (layout->data)
		data = fuzz_bytes(in, at + used, fuzz_u8(in));
	if (count_at != SIZE_MAX)
		put_le32(at + count_at, (uint32_t)data);
	return used + data;
}

/* Which descriptors come along: one byte says how many, and which is the first. */
static void choose_fds(struct fuzz_input *in, struct vmm_message *message)
{
	uint8_t how = fuzz_u8(in);

	message->n_fds = how >> 4;
	if (message->n_fds == 15)
		message->n_fds = 15 + how % 6; /* around the protocol's 16 */
	for (size_t i = 0; i < message->n_fds; i++)
		message->fds[i] = fuzz_pool_fd((unsigned int)(how % 16 + i));
}

void vmm_make_command(struct fuzz_input *in, uint16_t id, struct vmm_message *ret)
{
	const struct layout *layout = &layouts[fuzz_u8(in) % ARRAY_SIZE(layouts)];
	struct vfio_user_header header = { .id = id, .command = layout->command };
	uint8_t odd = fuzz_u8(in);

	*ret = (struct vmm_message){ .length = HEADER };
	choose_fds(in, ret);
	ret->length += put_payload(in, layout, ret->bytes + HEADER);
	header.size = (uint32_t)ret->length;

	/* Mostly as it should be. */
	if (odd & 1)
		header.flags |= VFIO_USER_NO_REPLY;
	switch (odd >> 4) {
	case 15:
		header.flags = (uint32_t)fuzz_number(in, 0);
		break;
	case 14:
		header.size = (uint32_t)fuzz_number(in, header.size);
		break;
	case 13:
		header.command = (uint16_t)fuzz_number(in, 0);
		break;
	case 12:
		header.error = (uint32_t)fuzz_number(in, 0);
		break;
	case 11: /* a payload that is cut short */
		header.size = HEADER + fuzz_u8(in) % (header.size - HEADER + 1);
		ret->length = header.size;
		break;
	default:
		break;
	}
	ret->broken = header.size != ret->length ||
		      (header.flags & VFIO_USER_TYPE_MASK) > VFIO_USER_TYPE_REPLY;
	ret->answered = !(header.flags & VFIO_USER_NO_REPLY) &&
			(header.flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_COMMAND;
	memcpy(ret->bytes, &header, HEADER);
}

static void make(uint16_t id, uint16_t command, size_t payload, struct vmm_message *ret)
{
	struct vfio_user_header header = { .id = id, .command = command };

	header.size = (uint32_t)(HEADER + payload);
	ret->length = header.size;
	ret->n_fds = 0;
	ret->broken = false;
	ret->answered = true;
	memcpy(ret->bytes, &header, HEADER);
}

void vmm_make_write(uint16_t id, uint32_t region, uint64_t offset, uint64_t value, uint32_t width,
		    struct vmm_message *ret)
{
	struct vfio_user_region_access access = { offset, region, width };

	make(id, VFIO_USER_REGION_WRITE, sizeof(access) + width, ret);
	memcpy(ret->bytes + HEADER, &access, sizeof(access));
	put_le(ret->bytes + HEADER + sizeof(access), value, width);
}

void vmm_make_version(unsigned int client, uint16_t id, struct vmm_message *ret)
{
	static const char *const texts[] = {
		NULL, /* SPDK */
		"{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,"
		"\"write_multiple\":true}}",
		"{\"capabilities\":{\"max_data_xfer_size\":4096,\"twin_socket\":"
		"{\"supported\":true}}}",
		"{\"capabilities\":{\"max_msg_fds\":1,\"max_data_xfer_size\":1}}",
	};
	const char *text = texts[client % ARRAY_SIZE(texts)];
	struct vfio_user_version version = { 0, 1 };
	size_t length = text ? strlen(text) + 1 : 0;

	make(id, VFIO_USER_VERSION, sizeof(version) + length, ret);
	memcpy(ret->bytes + HEADER, &version, sizeof(version));
	if (length)
		memcpy(ret->bytes + HEADER + sizeof(version), text, length);
}
