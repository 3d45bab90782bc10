/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Each handler is given a payload of at least the length that the table names
 * and checks the rest. Payloads are unaligned, so they are copied out.
 */
#include "transport/vfio_user_command.h"

#include <errno.h>
#include <linux/kvm.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/log.h"

static int dma_map(struct vfio_user_session *session, const struct vfio_user_message *message,
		   struct vfio_user_reply *reply)
{
	struct vfio_user_dma_map map;
	int fd = -1;

	memcpy(&map, message->payload, sizeof(map));
	if (map.argsz < sizeof(map) || message->length != sizeof(map) || message->n_fds > 1)
		return -EINVAL;
	/* vfio_dma_map() keeps no descriptor, so ours is closed with the message. */
	if (message->n_fds)
		fd = message->fds[0];
	return vfio_dma_map(&session->dev->dma, map.address, map.size, map.flags, fd, map.offset);
}

/* An access by message that is under way must end if its memory goes away. */
static void notice_unmap(struct vfio_user_session *session, const struct vfio_user_dma_unmap *unmap)
{
	if (session->in_dma &&
	    (unmap->flags & VFIO_DMA_UNMAP_FLAG_ALL ||
	     ranges_overlap(session->dma_iova, session->dma_length, unmap->address, unmap->size)))
		session->dma_unmapped = true;
}

static int dma_unmap(struct vfio_user_session *session, const struct vfio_user_message *message,
		     struct vfio_user_reply *reply)
{
	struct vfio_user_dma_unmap unmap;
	int r = 0;

	memcpy(&unmap, message->payload, sizeof(unmap));
	if (message->length != sizeof(unmap) || unmap.argsz < sizeof(unmap))
		return -EINVAL;

	if (unmap.flags == VFIO_DMA_UNMAP_FLAG_ALL && !unmap.address && !unmap.size)
		vfio_dma_unmap_all(&session->dev->dma);
	else if (unmap.flags)
		return -EINVAL;
	else
		r = vfio_dma_unmap(&session->dev->dma, unmap.address, unmap.size);
	if (r == 0)
		notice_unmap(session, &unmap);
	memcpy(reply->payload, &unmap, sizeof(unmap));
	reply->length = sizeof(unmap);
	return r;
}

static int get_info(struct vfio_user_session *session, const struct vfio_user_message *message,
		    struct vfio_user_reply *reply)
{
	struct vfio_user_device_info request;
	struct vfio_device_info info;

	memcpy(&request, message->payload, sizeof(request));
	if (request.argsz < sizeof(request))
		return -EINVAL;
	vfio_device_fill_info(session->dev, &info);
	static_assert(VFIO_DEVICE_INFO_SIZE == sizeof(request), "the wire has the fixed part");
	memcpy(reply->payload, &info, sizeof(request));
	reply->length = sizeof(request);
	return 0;
}

static int get_region_info(struct vfio_user_session *session,
			   const struct vfio_user_message *message, struct vfio_user_reply *reply)
{
	struct vfio_region_info request;
	struct vfio_region *region;

	memcpy(&request, message->payload, sizeof(request));
	region = vfio_device_region(session->dev, request.index);
	if (request.argsz < sizeof(request) || !region)
		return -EINVAL;
	reply->length = vfio_region_fill_info(region, request.index, request.argsz, reply->payload,
					      VFIO_USER_MAX_XFER);
	if (region->flags & VFIO_REGION_INFO_FLAG_MMAP)
		reply->fds[reply->n_fds++] = region->fd;
	return 0;
}

static struct vfio_user_sub_region_ioeventfd describe_doorbell(const struct vfio_doorbell *doorbell,
							       uint32_t fd_index)
{
	return (struct vfio_user_sub_region_ioeventfd){
		.offset = doorbell->offset,
		.size = doorbell->size,
		.fd_index = fd_index,
		.type = VFIO_USER_IO_FD_TYPE_IOEVENTFD,
		.flags = doorbell->match ? KVM_IOEVENTFD_FLAG_DATAMATCH : 0,
		.datamatch = doorbell->match ? doorbell->datamatch : 0,
	};
}

/*
 * As many doorbells as the client takes descriptors in one message; the others
 * stay what they are, registers. As with region info, no more than the head
 * where the answer would not fit.
 */
static int get_region_io_fds(struct vfio_user_session *session,
			     const struct vfio_user_message *message, struct vfio_user_reply *reply)
{
	struct vfio_user_region_io_fds info;
	struct vfio_region *region;
	uint32_t argsz;
	int r;

	memcpy(&info, message->payload, sizeof(info));
	argsz = info.argsz;
	region = vfio_device_region(session->dev, info.index);
	if (message->length != sizeof(info) || argsz < sizeof(info) || info.flags || info.count ||
	    !region)
		return -EINVAL;

	info.count = region->n_doorbells;
	if (info.count > VFIO_USER_MAX_FDS)
		info.count = VFIO_USER_MAX_FDS;
	if (info.count > session->peer_max_fds)
		info.count = (uint32_t)session->peer_max_fds;
	info.argsz = (uint32_t)(sizeof(info) +
				info.count * sizeof(struct vfio_user_sub_region_ioeventfd));
	memcpy(reply->payload, &info, sizeof(info));
	reply->length = sizeof(info);
	if (!info.count || argsz < info.argsz)
		return 0;

	r = vfio_region_open_doorbells(region);
	if (r < 0)
		return r;
	for (uint32_t i = 0; i < info.count; i++) {
		struct vfio_user_sub_region_ioeventfd sub =
			describe_doorbell(&region->doorbells[i], i);

		memcpy(reply->payload + reply->length, &sub, sizeof(sub));
		reply->length += sizeof(sub);
		reply->fds[reply->n_fds++] = region->doorbells[i].fd;
	}
	session->has_doorbells = true;
	return 0;
}

static int get_irq_info(struct vfio_user_session *session, const struct vfio_user_message *message,
			struct vfio_user_reply *reply)
{
	struct vfio_irq_info info;
	int r;

	memcpy(&info, message->payload, sizeof(info));
	if (info.argsz < sizeof(info))
		return -EINVAL;
	r = vfio_irqs_fill_info(&session->dev->irqs, info.index, &info);
	memcpy(reply->payload, &info, sizeof(info));
	reply->length = sizeof(info);
	return r;
}

static int set_irqs(struct vfio_user_session *session, const struct vfio_user_message *message,
		    struct vfio_user_reply *reply)
{
	const uint8_t *data = message->payload + sizeof(struct vfio_irq_set);
	size_t length = message->length - sizeof(struct vfio_irq_set);
	struct vfio_irq_set set;

	memcpy(&set, message->payload, sizeof(set));
	/* argsz counts the payload; for eventfds some clients count a word a descriptor too. */
	if (set.argsz < message->length)
		return -EINVAL;
	return vfio_irqs_set(&session->dev->irqs, set.flags, set.index, set.start, set.count, data,
			     length, message->fds, message->n_fds);
}

static int region_read(struct vfio_user_session *session, const struct vfio_user_message *message,
		       struct vfio_user_reply *reply)
{
	struct vfio_user_region_access access;
	struct vfio_region *region;
	int r;

	memcpy(&access, message->payload, sizeof(access));
	region = vfio_device_region(session->dev, access.region);
	if (!region || access.count > VFIO_USER_MAX_XFER || message->length != sizeof(access))
		return -EINVAL;
	r = vfio_region_read(region, access.offset, reply->payload + sizeof(access), access.count);
	if (r < 0)
		return r;
	memcpy(reply->payload, &access, sizeof(access));
	reply->length = sizeof(access) + access.count;
	reply->region = region;
	return 0;
}

static int region_write(struct vfio_user_session *session, const struct vfio_user_message *message,
			struct vfio_user_reply *reply)
{
	struct vfio_user_region_access access;
	struct vfio_region *region;
	int r;

	memcpy(&access, message->payload, sizeof(access));
	region = vfio_device_region(session->dev, access.region);
	if (!region || access.count != message->length - sizeof(access))
		return -EINVAL;
	r = vfio_region_write(region, access.offset, message->payload + sizeof(access),
			      access.count);
	if (r < 0)
		return r;
	memcpy(reply->payload, &access, sizeof(access));
	reply->length = sizeof(access);
	reply->region = region;
	return 0;
}

/* All entries are checked before the first is carried out. */
static int check_entries(struct vfio_user_session *session, const uint8_t *at, uint64_t count)
{
	for (uint64_t i = 0; i < count; i++) {
		struct vfio_user_write_multi_entry entry;
		const struct vfio_region *region;

		memcpy(&entry, at + i * sizeof(entry), sizeof(entry));
		region = vfio_device_region(session->dev, entry.access.region);
		if (!region || entry.access.count > sizeof(entry.data) ||
		    !vfio_region_allows(region, entry.access.offset, entry.access.count,
					VFIO_REGION_INFO_FLAG_WRITE))
			return -EINVAL;
	}
	return 0;
}

static int region_write_multi(struct vfio_user_session *session,
			      const struct vfio_user_message *message,
			      struct vfio_user_reply *reply)
{
	const uint8_t *at = message->payload + sizeof(uint64_t);
	struct vfio_user_write_multi_entry entry;
	size_t room = message->length - sizeof(uint64_t);
	uint64_t count;
	int r;

	memcpy(&count, message->payload, sizeof(count));
	if (room % sizeof(entry) || count != room / sizeof(entry))
		return -EINVAL;
	r = check_entries(session, at, count);

	for (uint64_t i = 0; i < count && r == 0; i++) {
		struct vfio_region *region;

		memcpy(&entry, at + i * sizeof(entry), sizeof(entry));
		region = vfio_device_region(session->dev, entry.access.region);
		r = vfio_region_write(region, entry.access.offset, entry.data, entry.access.count);
		reply->region = region;
	}
	memcpy(reply->payload, &count, sizeof(count));
	reply->length = sizeof(count);
	return r;
}

static int device_reset(struct vfio_user_session *session, const struct vfio_user_message *message,
			struct vfio_user_reply *reply)
{
	if (message->length)
		return -EINVAL;
	vfio_device_reset(session->dev);
	return 0;
}

/* Nothing here can migrate yet; what makes no sense is refused as VFIO refuses it. */
static int device_feature(struct vfio_user_session *session,
			  const struct vfio_user_message *message, struct vfio_user_reply *reply)
{
	const uint32_t get = VFIO_DEVICE_FEATURE_GET, set = VFIO_DEVICE_FEATURE_SET,
		       probe = VFIO_DEVICE_FEATURE_PROBE;
	struct vfio_device_feature feature;

	memcpy(&feature, message->payload, sizeof(feature));
	if (feature.argsz < sizeof(feature) ||
	    feature.flags & ~(VFIO_DEVICE_FEATURE_MASK | get | set | probe) ||
	    !(feature.flags & (get | set | probe)) ||
	    (feature.flags & get && feature.flags & set && !(feature.flags & probe)))
		return -EINVAL;
	return -ENOTSUP;
}

static int mig_data_read(struct vfio_user_session *session, const struct vfio_user_message *message,
			 struct vfio_user_reply *reply)
{
	struct vfio_user_mig_data data;

	memcpy(&data, message->payload, sizeof(data));
	if (message->length != sizeof(data) || data.argsz < sizeof(data) ||
	    data.size > data.argsz - sizeof(data))
		return -EINVAL;
	return -ENOTSUP;
}

static int mig_data_write(struct vfio_user_session *session,
			  const struct vfio_user_message *message, struct vfio_user_reply *reply)
{
	struct vfio_user_mig_data data;

	memcpy(&data, message->payload, sizeof(data));
	if (data.size != message->length - sizeof(data) || data.argsz < message->length)
		return -EINVAL;
	return -ENOTSUP;
}

static const struct command {
	const char *name;
	int (*handle)(struct vfio_user_session *session, const struct vfio_user_message *message,
		      struct vfio_user_reply *reply);
	size_t min_length; /* of the payload */
} commands[VFIO_USER_COMMANDS] = {
	[VFIO_USER_VERSION] = { "VERSION", vfio_user_version, sizeof(struct vfio_user_version) },
	[VFIO_USER_DMA_MAP] = { "DMA_MAP", dma_map, sizeof(struct vfio_user_dma_map) },
	[VFIO_USER_DMA_UNMAP] = { "DMA_UNMAP", dma_unmap, sizeof(struct vfio_user_dma_unmap) },
	[VFIO_USER_DEVICE_GET_INFO] = { "DEVICE_GET_INFO", get_info,
					sizeof(struct vfio_user_device_info) },
	[VFIO_USER_DEVICE_GET_REGION_INFO] = { "DEVICE_GET_REGION_INFO", get_region_info,
					       sizeof(struct vfio_region_info) },
	[VFIO_USER_DEVICE_GET_REGION_IO_FDS] = { "DEVICE_GET_REGION_IO_FDS", get_region_io_fds,
						 sizeof(struct vfio_user_region_io_fds) },
	[VFIO_USER_DEVICE_GET_IRQ_INFO] = { "DEVICE_GET_IRQ_INFO", get_irq_info,
					    sizeof(struct vfio_irq_info) },
	[VFIO_USER_DEVICE_SET_IRQS] = { "DEVICE_SET_IRQS", set_irqs, sizeof(struct vfio_irq_set) },
	[VFIO_USER_REGION_READ] = { "REGION_READ", region_read,
				    sizeof(struct vfio_user_region_access) },
	[VFIO_USER_REGION_WRITE] = { "REGION_WRITE", region_write,
				     sizeof(struct vfio_user_region_access) },
	[VFIO_USER_DEVICE_RESET] = { "DEVICE_RESET", device_reset, 0 },
	[VFIO_USER_REGION_WRITE_MULTI] = { "REGION_WRITE_MULTI", region_write_multi,
					   sizeof(uint64_t) },
	[VFIO_USER_DEVICE_FEATURE] = { "DEVICE_FEATURE", device_feature,
				       sizeof(struct vfio_device_feature) },
	[VFIO_USER_MIG_DATA_READ] = { "MIG_DATA_READ", mig_data_read,
				      sizeof(struct vfio_user_mig_data) },
	[VFIO_USER_MIG_DATA_WRITE] = { "MIG_DATA_WRITE", mig_data_write,
				       sizeof(struct vfio_user_mig_data) },
};

const char *vfio_user_command_name(uint16_t command)
{
	return command < ARRAY_SIZE(commands) && commands[command].name ? commands[command].name
									: "unknown";
}

int vfio_user_command(struct vfio_user_session *session, const struct vfio_user_message *message,
		      struct vfio_user_reply *reply)
{
	const struct command *command;

	if (message->header.command >= ARRAY_SIZE(commands) ||
	    !commands[message->header.command].handle)
		return -ENOTSUP;
	command = &commands[message->header.command];
	if (message->oversized || message->length < command->min_length)
		return -EINVAL;
	if (message->fds_error)
		return message->fds_error;
	if (!session->negotiated && message->header.command != VFIO_USER_VERSION)
		return -EINVAL;
	return command->handle(session, message, reply);
}
