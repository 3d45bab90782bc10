/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "guest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/memfd.h"

enum {
	HEADER = sizeof(struct vfio_user_header),
	ACCESS = sizeof(struct vfio_user_dma_access),
	SHORT_ACCESS = ACCESS - 4,
	LATE_MS = 150,
};

struct guest_range *guest_add(struct guest *guest, uint64_t iova, uint64_t size)
{
	struct guest_range *range = &guest->ranges[guest->n_ranges];
	_cleanup_close_ int fd = -1;
	void *p;

	if (guest->n_ranges == GUEST_MAX_RANGES)
		return NULL;
	fd = memfd_new("guest");
	if (fd < 0 || ftruncate(fd, (off_t)size) < 0)
		return NULL;
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		return NULL;
	*range = (struct guest_range){ .iova = iova, .size = size, .data = p, .fd = STEAL_FD(fd) };
	guest->n_ranges++;
	return range;
}

void guest_done(struct guest *guest)
{
	for (size_t i = 0; i < guest->n_ranges; i++) {
		munmap(guest->ranges[i].data, guest->ranges[i].size);
		close_fd(guest->ranges[i].fd);
	}
	*guest = (struct guest){ 0 };
}

static uint8_t *find(struct guest *guest, uint64_t iova, uint64_t size)
{
	for (size_t i = 0; i < guest->n_ranges; i++) {
		struct guest_range *range = &guest->ranges[i];

		if (iova >= range->iova && range_within(iova - range->iova, size, range->size))
			return range->data + (iova - range->iova);
	}
	return NULL;
}

static int reply_error(struct link *link, const struct vfio_user_header *command, uint32_t error)
{
	struct vfio_user_header header = *command;

	header.size = HEADER;
	header.flags = VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR;
	header.error = error;
	return link_send_reply(link, &header, HEADER);
}

static int send_in_pieces(struct link *link, const uint8_t *bytes, size_t length)
{
	int r = 0;

	for (size_t i = 0; i < HEADER + ACCESS && r == 0; i++)
		r = link_send_reply(link, bytes + i, 1);
	return r < 0 ? r : link_send_reply(link, bytes + HEADER + ACCESS, length - HEADER - ACCESS);
}

/* The reply to a command, which has `extra` bytes of data; bent as the manner says. */
static int reply(struct guest *guest, struct link *link, const struct vfio_user_header *command,
		 struct vfio_user_dma_access access, const uint8_t *data, size_t extra)
{
	static const struct timespec late = { .tv_nsec = LATE_MS * 1000000L };
	struct vfio_user_header header = *command;
	size_t head = guest->manner == GUEST_WITH_SHORT_COUNT ? SHORT_ACCESS : ACCESS;
	_cleanup_free_ uint8_t *bytes = calloc(1, HEADER + ACCESS + extra + 8);
	int r;

	if (!bytes)
		return -ENOMEM;
	if (guest->manner == GUEST_ABOUT_OTHER)
		access.address += 4096;
	memcpy(bytes + HEADER, &access, sizeof(access));
	memcpy(bytes + HEADER + head, data, extra);
	if (guest->manner == GUEST_WITH_SHORT_COUNT)
		head = ACCESS; /* all of it is as long as ever */
	if (guest->manner == GUEST_TOO_SHORT)
		extra = extra ? extra - 1 : 0;
	if (guest->manner == GUEST_TOO_SHORT && !extra)
		head -= 8;
	if (guest->manner == GUEST_TOO_LONG)
		extra += 8;
	header.size = (uint32_t)(HEADER + head + extra);
	header.flags = VFIO_USER_TYPE_REPLY;
	header.error = 0;
	if (guest->manner == GUEST_WITH_OTHER_ID) {
		header.id ^= 0x5555;
		memcpy(bytes, &header, HEADER);
		r = link_send_reply(link, bytes, header.size);
		if (r < 0)
			return r;
		header.id ^= 0x5555;
	}
	memcpy(bytes, &header, HEADER);
	if (guest->manner == GUEST_LATE)
		nanosleep(&late, NULL);
	if (guest->manner == GUEST_IN_PIECES)
		return send_in_pieces(link, bytes, header.size);
	return link_send_reply(link, bytes, header.size);
}

int guest_on_command(void *opaque, struct link *link, const struct message *message)
{
	struct guest *guest = opaque;
	bool write = message->header.command == VFIO_USER_DMA_WRITE;
	struct vfio_user_dma_access access;
	size_t head = ACCESS;
	uint8_t *memory;
	int r;

	if (!write && message->header.command != VFIO_USER_DMA_READ)
		return reply_error(link, &message->header, ENOTSUP);
	if (message->length < ACCESS)
		return reply_error(link, &message->header, EINVAL);
	memcpy(&access, message->payload, sizeof(access));
	if (guest->manner == GUEST_WITH_SHORT_COUNT) {
		access.count = (uint32_t)access.count;
		head = SHORT_ACCESS;
	}
	if (access.count > VFIO_USER_MAX_XFER ||
	    message->length != ACCESS + (write ? access.count : 0))
		return reply_error(link, &message->header, E2BIG);
	guest->reads += !write;
	guest->writes += write;
	if (access.count > guest->largest)
		guest->largest = access.count;
	memory = find(guest, access.address, access.count);
	if (!memory) {
		guest->outside++;
		return reply_error(link, &message->header, EFAULT);
	}
	/* Before anything else uses the link's buffer. */
	if (write && guest->manner != GUEST_WITH_ERROR)
		memcpy(memory, message->payload + head, access.count);
	if (guest->before) {
		r = guest->before(guest->opaque, link);
		if (r < 0)
			return r;
	}
	switch (guest->manner) {
	case GUEST_WITH_ERROR:
		return reply_error(link, &message->header, EIO);
	case GUEST_WITH_ERROR_UNNAMED:
		return reply_error(link, &message->header, 0);
	case GUEST_NEVER:
		return 0;
	default:
		return reply(guest, link, &message->header, access, memory,
			     write ? 0 : (size_t)access.count);
	}
}
