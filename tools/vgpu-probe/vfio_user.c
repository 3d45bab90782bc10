/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vfio_user.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "region_info.h"

enum {
	REGION_INFO_ROOM = 65536, /* of an answer to GET_REGION_INFO */
	IO_FDS_HEAD = 16, /* of an answer to GET_REGION_IO_FDS, before its entries */
	IO_FD_ENTRY = 40, /* what we know of an entry; a server's may be longer */
};

const char vfio_user_offer[] =
	"{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,"
	"\"max_dma_maps\":65535,\"pgsizes\":4096,\"write_multiple\":true}}";
const char vfio_user_twin_offer[] =
	"{\"capabilities\":{\"max_msg_fds\":16,\"max_data_xfer_size\":1048576,"
	"\"max_dma_maps\":65535,\"pgsizes\":4096,\"write_multiple\":true,"
	"\"twin_socket\":{\"supported\":true}}}";

static struct vfio_user_door *door_of(struct probe_device *dev)
{
	return (struct vfio_user_door *)dev;
}

/*
 * VERSION
 */

static int take_number(struct link *link, const json_t *capabilities, const char *key,
		       uint64_t *value)
{
	const json_t *number = json_object_get(capabilities, key);

	if (!number)
		return 0;
	if (!json_is_integer(number) || json_integer_value(number) < 0)
		return link_fail(link, PROBE_PROTOCOL, "VERSION's reply: %s is no number", key);
	*value = (uint64_t)json_integer_value(number);
	return 0;
}

/* Takes the twin socket out of the message's descriptors. */
static int take_twin(struct vfio_user_door *door, const json_t *twin, struct message *reply)
{
	const json_t *index = json_object_get(twin, "fd_index");
	struct link *link = &door->link;
	json_int_t i = json_integer_value(index);

	if (!json_is_true(json_object_get(twin, "supported")))
		return 0;
	if (!json_is_integer(index) || i < 0 || (uint64_t)i >= reply->n_fds)
		return link_fail(link, PROBE_PROTOCOL,
				 "VERSION's reply has a twin socket, but no descriptor for it");
	close_fd(link->twin_fd);
	link->twin_fd = STEAL_FD(reply->fds[i]);
	door->agreed.twin_socket = true;
	return 0;
}

static int take_capabilities(struct vfio_user_door *door, struct message *reply)
{
	struct vfio_user_agreed *agreed = &door->agreed;
	const json_t *capabilities = json_object_get(agreed->data, "capabilities");
	struct link *link = &door->link;
	int r;

	if (capabilities && !json_is_object(capabilities))
		return link_fail(link, PROBE_PROTOCOL,
				 "VERSION's reply: capabilities is no object");
	r = take_number(link, capabilities, "max_msg_fds", &agreed->max_msg_fds);
	if (r == 0)
		r = take_number(link, capabilities, "max_data_xfer_size",
				&agreed->max_data_xfer_size);
	if (r == 0)
		r = take_number(link, capabilities, "max_dma_maps", &agreed->max_dma_maps);
	if (r == 0)
		r = take_number(link, capabilities, "pgsizes", &agreed->pgsizes);
	if (r == 0)
		r = take_twin(door, json_object_get(capabilities, "twin_socket"), reply);
	agreed->write_multiple = json_is_true(json_object_get(capabilities, "write_multiple"));
	return r;
}

static int take_version(struct vfio_user_door *door, struct message *reply)
{
	const char *text = (const char *)reply->payload + sizeof(struct vfio_user_version);
	struct link *link = &door->link;
	struct vfio_user_version version;
	size_t length;

	if (reply->length < sizeof(version))
		return link_fail(link, PROBE_PROTOCOL, "VERSION's reply has %zu bytes of payload",
				 reply->length);
	memcpy(&version, reply->payload, sizeof(version));
	door->agreed.major = version.major;
	door->agreed.minor = version.minor;
	length = reply->length - sizeof(version);
	if (!length)
		return 0;
	if (text[length - 1])
		return link_fail(link, PROBE_PROTOCOL, "VERSION's reply has data without NUL");
	door->agreed.data = json_loads(text, 0, NULL);
	if (!json_is_object(door->agreed.data))
		return link_fail(link, PROBE_PROTOCOL,
				 "VERSION's reply has data that is no JSON object");
	return take_capabilities(door, reply);
}

int vfio_user_propose(struct vfio_user_door *door, uint16_t major, uint16_t minor, const char *data,
		      size_t length)
{
	struct vfio_user_version version = { major, minor };
	_cleanup_free_ uint8_t *payload = malloc(sizeof(version) + length);
	struct message reply;
	int r;

	if (!payload)
		return -ENOMEM;
	json_decref(door->agreed.data);
	door->agreed = (struct vfio_user_agreed){
		.max_msg_fds = 1,
		.max_data_xfer_size = 1 << 20,
		.max_dma_maps = 65535,
		.pgsizes = 4096,
	};
	memcpy(payload, &version, sizeof(version));
	if (length)
		memcpy(payload + sizeof(version), data, length);
	r = link_call(&door->link, VFIO_USER_VERSION, payload, sizeof(version) + length, NULL, 0, 1,
		      &reply);
	if (r < 0)
		return r;
	r = take_version(door, &reply);
	if (r == 0 && reply.n_fds && !door->agreed.twin_socket)
		r = link_fail(&door->link, PROBE_PROTOCOL,
			      "VERSION's reply has a descriptor that is no twin socket");
	message_done(&reply);
	return r;
}

/*
 * The device
 */

static int short_reply(struct vfio_user_door *door, const char *what, size_t length)
{
	return link_fail(&door->link, PROBE_PROTOCOL, "the reply to %s has %zu bytes of payload",
			 what, length);
}

static int get_info(struct probe_device *dev, struct vfio_device_info *ret)
{
	struct vfio_user_door *door = door_of(dev);
	struct vfio_user_device_info info = { .argsz = sizeof(info) };
	struct message reply;
	int r = link_call(&door->link, VFIO_USER_DEVICE_GET_INFO, &info, sizeof(info), NULL, 0, 0,
			  &reply);

	if (r < 0)
		return r;
	if (reply.length < sizeof(info))
		return short_reply(door, "DEVICE_GET_INFO", reply.length);
	memcpy(&info, reply.payload, sizeof(info));
	*ret = (struct vfio_device_info){
		.argsz = info.argsz,
		.flags = info.flags,
		.num_regions = info.num_regions,
		.num_irqs = info.num_irqs,
	};
	return 0;
}

int vfio_user_region_info(struct vfio_user_door *door, uint32_t index, uint32_t argsz,
			  struct message *ret)
{
	struct vfio_region_info info = { .argsz = argsz, .index = index };

	return link_call(&door->link, VFIO_USER_DEVICE_GET_REGION_INFO, &info, sizeof(info), NULL,
			 0, 1, ret);
}

static int get_region(struct probe_device *dev, uint32_t index, struct probe_region *ret)
{
	struct vfio_user_door *door = door_of(dev);
	struct probe_region region;
	struct message reply;
	char why[PROBE_ERROR_SIZE];
	int r = vfio_user_region_info(door, index, REGION_INFO_ROOM, &reply);

	if (r < 0)
		return r;
	r = region_info_parse(reply.payload, reply.length, index, &region, why);
	if (r < 0) {
		message_done(&reply);
		return link_fail(&door->link, PROBE_PROTOCOL, "region %u: %.200s", index, why);
	}
	if (reply.n_fds && region.flags & VFIO_REGION_INFO_FLAG_MMAP)
		region.fd = STEAL_FD(reply.fds[0]);
	message_done(&reply);
	*ret = region;
	return 0;
}

static int get_irq(struct probe_device *dev, uint32_t index, struct vfio_irq_info *ret)
{
	struct vfio_user_door *door = door_of(dev);
	struct vfio_irq_info info = { .argsz = sizeof(info), .index = index };
	struct message reply;
	int r = link_call(&door->link, VFIO_USER_DEVICE_GET_IRQ_INFO, &info, sizeof(info), NULL, 0,
			  0, &reply);

	if (r < 0)
		return r;
	if (reply.length < sizeof(info))
		return short_reply(door, "DEVICE_GET_IRQ_INFO", reply.length);
	memcpy(ret, reply.payload, sizeof(info));
	if (ret->index != index)
		return link_fail(&door->link, PROBE_PROTOCOL,
				 "DEVICE_GET_IRQ_INFO answered for index %u instead of %u",
				 ret->index, index);
	return 0;
}

/* One entry, which must name a descriptor that came. */
static int take_io_fd(struct vfio_user_door *door, const uint8_t *at, size_t n_fds,
		      struct probe_io_fd *ret)
{
	struct {
		uint64_t offset, size;
		uint32_t fd_index, type, flags, padding;
		uint64_t datamatch;
	} entry;

	static_assert(sizeof(entry) == IO_FD_ENTRY, "wire");
	memcpy(&entry, at, sizeof(entry));
	if (entry.fd_index >= n_fds)
		return link_fail(&door->link, PROBE_PROTOCOL,
				 "DEVICE_GET_REGION_IO_FDS names descriptor %u of %zu",
				 entry.fd_index, n_fds);
	*ret = (struct probe_io_fd){ .offset = entry.offset,
				     .size = entry.size,
				     .type = entry.type,
				     .flags = entry.flags,
				     .datamatch = entry.datamatch,
				     .fd = (int)entry.fd_index };
	return 0;
}

/*
 * The specification has entry i at i * ((argsz - 32) / count), and means the
 * head's 16: that is where everybody puts them.
 */
static int take_io_fds(struct vfio_user_door *door, const struct message *reply,
		       struct probe_io_fds *ret)
{
	struct {
		uint32_t argsz, flags, index, count;
	} head;
	size_t step;

	if (reply->length < IO_FDS_HEAD)
		return short_reply(door, "DEVICE_GET_REGION_IO_FDS", reply->length);
	memcpy(&head, reply->payload, sizeof(head));
	if (!head.count)
		return 0;
	step = (reply->length - IO_FDS_HEAD) / head.count;
	if (head.count > PROBE_MAX_IO_FDS || step < IO_FD_ENTRY)
		return link_fail(&door->link, PROBE_PROTOCOL,
				 "DEVICE_GET_REGION_IO_FDS: %u entries in %zu bytes", head.count,
				 reply->length);
	for (uint32_t i = 0; i < head.count; i++) {
		int r = take_io_fd(door, reply->payload + IO_FDS_HEAD + i * step, reply->n_fds,
				   &ret->entries[i]);

		if (r < 0)
			return r;
	}
	ret->n = head.count;
	return 0;
}

static int get_io_fds(struct probe_device *dev, uint32_t index, struct probe_io_fds *ret)
{
	struct vfio_user_door *door = door_of(dev);
	struct {
		uint32_t argsz, flags, index, count;
	} request = { .argsz = IO_FDS_HEAD + PROBE_MAX_IO_FDS * 64, .index = index };
	struct message reply;
	int r = link_call(&door->link, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &request,
			  sizeof(request), NULL, 0, PROBE_MAX_FDS, &reply);

	if (r < 0)
		return r;
	memset(ret, 0, sizeof(*ret));
	r = take_io_fds(door, &reply, ret);
	if (r < 0) {
		message_done(&reply);
		return r;
	}
	memcpy(ret->fds, reply.fds, sizeof(ret->fds));
	ret->n_fds = reply.n_fds;
	return 0;
}

static int check_echo(struct vfio_user_door *door, const struct message *reply,
		      const struct vfio_user_region_access *access, size_t data)
{
	if (reply->length == sizeof(*access) + data &&
	    memcmp(reply->payload, access, sizeof(*access)) == 0)
		return 0;
	return link_fail(
		&door->link, PROBE_PROTOCOL,
		"the reply to an access of %u bytes at %#llx of region %u has %zu bytes, or "
		"is about another access",
		access->count, (unsigned long long)access->offset, access->region, reply->length);
}

static int read_region(struct probe_device *dev, uint32_t region, uint64_t offset, void *buf,
		       uint32_t count)
{
	struct vfio_user_door *door = door_of(dev);
	struct vfio_user_region_access access = { offset, region, count };
	struct message reply;
	int r = link_call(&door->link, VFIO_USER_REGION_READ, &access, sizeof(access), NULL, 0, 0,
			  &reply);

	if (r == 0)
		r = check_echo(door, &reply, &access, count);
	if (r == 0 && count)
		memcpy(buf, reply.payload + sizeof(access), count);
	return r;
}

static int write_region(struct probe_device *dev, uint32_t region, uint64_t offset, const void *buf,
			uint32_t count)
{
	struct vfio_user_door *door = door_of(dev);
	struct vfio_user_region_access access = { offset, region, count };
	_cleanup_free_ uint8_t *payload = malloc(sizeof(access) + count);
	struct message reply;
	int r;

	if (!payload)
		return -ENOMEM;
	memcpy(payload, &access, sizeof(access));
	if (count)
		memcpy(payload + sizeof(access), buf, count);
	r = link_call(&door->link, VFIO_USER_REGION_WRITE, payload, sizeof(access) + count, NULL, 0,
		      0, &reply);
	return r < 0 ? r : check_echo(door, &reply, &access, 0);
}

static int set_irqs(struct probe_device *dev, uint32_t flags, uint32_t index, uint32_t start,
		    uint32_t count, const uint8_t *bools, size_t n_bools, const int *fds,
		    size_t n_fds)
{
	struct vfio_user_door *door = door_of(dev);
	size_t length = sizeof(struct vfio_irq_set) + n_bools;
	struct vfio_irq_set set = {
		.argsz = (uint32_t)length,
		.flags = flags,
		.index = index,
		.start = start,
		.count = count,
	};
	_cleanup_free_ uint8_t *payload = malloc(length);

	if (!payload)
		return -ENOMEM;
	memcpy(payload, &set, sizeof(set));
	if (n_bools)
		memcpy(payload + sizeof(set), bools, n_bools);
	return link_call(&door->link, VFIO_USER_DEVICE_SET_IRQS, payload, length, fds, n_fds, 0,
			 NULL);
}

static int dma_map(struct probe_device *dev, uint64_t iova, uint64_t size, uint32_t prot, int fd,
		   uint64_t offset)
{
	struct vfio_user_dma_map map = {
		.argsz = sizeof(map), .flags = prot, .offset = offset, .address = iova, .size = size
	};

	return link_call(&door_of(dev)->link, VFIO_USER_DMA_MAP, &map, sizeof(map), &fd, fd >= 0, 0,
			 NULL);
}

static int dma_unmap(struct probe_device *dev, uint64_t iova, uint64_t size)
{
	struct vfio_user_door *door = door_of(dev);
	struct vfio_user_dma_unmap unmap = { .argsz = sizeof(unmap),
					     .address = iova,
					     .size = size };
	struct message reply;
	int r = link_call(&door->link, VFIO_USER_DMA_UNMAP, &unmap, sizeof(unmap), NULL, 0, 0,
			  &reply);

	if (r < 0)
		return r;
	if (reply.length != sizeof(unmap) || memcmp(reply.payload, &unmap, sizeof(unmap)) != 0)
		return link_fail(&door->link, PROBE_PROTOCOL,
				 "the reply to DMA_UNMAP is not the entry that was asked for");
	return 0;
}

static int reset(struct probe_device *dev)
{
	return link_call(&door_of(dev)->link, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0, 0, NULL);
}

static const char *error_text(const struct probe_device *dev)
{
	return ((const struct vfio_user_door *)dev)->link.error;
}

static void close_door(struct probe_device *dev)
{
	vfio_user_close(door_of(dev));
}

static const struct probe_door_ops ops = {
	.name = "vfio-user",
	.get_info = get_info,
	.get_region = get_region,
	.get_irq = get_irq,
	.get_io_fds = get_io_fds,
	.read = read_region,
	.write = write_region,
	.set_irqs = set_irqs,
	.dma_map = dma_map,
	.dma_unmap = dma_unmap,
	.reset = reset,
	.error = error_text,
	.close = close_door,
};

int vfio_user_connect(const char *path, unsigned int timeout_ms, struct vfio_user_door **ret,
		      char *error)
{
	struct vfio_user_door *door = calloc(1, sizeof(*door));
	int r;

	if (!door)
		return -ENOMEM;
	door->dev = (struct probe_device){ .ops = &ops, .timeout_ms = timeout_ms };
	r = link_open(&door->link, path, timeout_ms);
	if (r < 0) {
		snprintf(error, PROBE_ERROR_SIZE, "cannot connect to %.180s: %s", path,
			 r == PROBE_TIMEOUT ? "it is busy with others" : strerror(-r));
		free(door);
		return r;
	}
	*ret = door;
	return 0;
}

int vfio_user_open(const char *path, unsigned int timeout_ms, struct vfio_user_door **ret,
		   char *error)
{
	struct vfio_user_door *door;
	int r = vfio_user_connect(path, timeout_ms, &door, error);

	if (r < 0)
		return r;
	r = vfio_user_propose(door, VFIO_USER_MAJOR, VFIO_USER_MINOR, vfio_user_offer,
			      strlen(vfio_user_offer) + 1);
	if (r == 0 && door->agreed.major != VFIO_USER_MAJOR)
		r = link_fail(&door->link, PROBE_PROTOCOL, "the server speaks vfio-user %u.%u",
			      door->agreed.major, door->agreed.minor);
	if (r < 0) {
		snprintf(error, PROBE_ERROR_SIZE, "VERSION: %.230s",
			 probe_is_broken(r) ? door->link.error : probe_result(r));
		vfio_user_close(door);
		return r;
	}
	*ret = door;
	return 0;
}

void vfio_user_close(struct vfio_user_door *door)
{
	if (!door)
		return;
	link_close(&door->link);
	json_decref(door->agreed.data);
	free(door);
}
