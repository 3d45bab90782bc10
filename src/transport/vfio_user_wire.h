/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The vfio-user wire: docs/interop/vfio-user.rst in QEMU's source, chapter
 * "Protocol Specification". All fields are in the host's byte order, as that
 * specification has it; both ends are on one host.
 */
#pragma once

#include <assert.h>
#include <linux/vfio.h>
#include <stdint.h>

enum vfio_user_command {
	VFIO_USER_VERSION = 1,
	VFIO_USER_DMA_MAP = 2,
	VFIO_USER_DMA_UNMAP = 3,
	VFIO_USER_DEVICE_GET_INFO = 4,
	VFIO_USER_DEVICE_GET_REGION_INFO = 5,
	VFIO_USER_DEVICE_GET_REGION_IO_FDS = 6,
	VFIO_USER_DEVICE_GET_IRQ_INFO = 7,
	VFIO_USER_DEVICE_SET_IRQS = 8,
	VFIO_USER_REGION_READ = 9,
	VFIO_USER_REGION_WRITE = 10,
	VFIO_USER_DMA_READ = 11, /* server to client */
	VFIO_USER_DMA_WRITE = 12, /* server to client */
	VFIO_USER_DEVICE_RESET = 13,
	VFIO_USER_REGION_WRITE_MULTI = 15,
	VFIO_USER_DEVICE_FEATURE = 16,
	VFIO_USER_MIG_DATA_READ = 17,
	VFIO_USER_MIG_DATA_WRITE = 18,
	VFIO_USER_COMMANDS,
};

enum {
	VFIO_USER_MAJOR = 0,
	VFIO_USER_MINOR = 1,

	VFIO_USER_TYPE_MASK = 0xf,
	VFIO_USER_TYPE_COMMAND = 0,
	VFIO_USER_TYPE_REPLY = 1,
	VFIO_USER_NO_REPLY = 1 << 4,
	VFIO_USER_ERROR = 1 << 5,

	VFIO_USER_MAX_XFER = 1 << 20, /* bytes of data in one message, both ways */
	VFIO_USER_MAX_FDS = 16, /* in one message, both ways */
};

struct vfio_user_header {
	uint16_t id;
	uint16_t command;
	uint32_t size; /* of the whole message, this header included */
	uint32_t flags;
	uint32_t error; /* errno, with VFIO_USER_ERROR */
};
static_assert(sizeof(struct vfio_user_header) == 16, "wire");

struct vfio_user_version {
	uint16_t major, minor; /* then JSON, NUL-terminated, optional */
};
static_assert(sizeof(struct vfio_user_version) == 4, "wire");

struct vfio_user_dma_map {
	uint32_t argsz, flags;
	uint64_t offset, address, size;
};
static_assert(sizeof(struct vfio_user_dma_map) == 32, "wire");

struct vfio_user_dma_unmap {
	uint32_t argsz, flags;
	uint64_t address, size;
};
static_assert(sizeof(struct vfio_user_dma_unmap) == 24, "wire");

/* GET_INFO, without the capabilities that <linux/vfio.h> has grown. */
struct vfio_user_device_info {
	uint32_t argsz, flags, num_regions, num_irqs;
};
static_assert(sizeof(struct vfio_user_device_info) == 16, "wire");

static_assert(sizeof(struct vfio_region_info) == 32, "wire");
static_assert(sizeof(struct vfio_irq_info) == 16, "wire");
static_assert(sizeof(struct vfio_irq_set) == 20, "wire");

/* GET_REGION_IO_FDS; the reply goes on with `count` sub-regions. */
struct vfio_user_region_io_fds {
	uint32_t argsz, flags, index, count;
};
static_assert(sizeof(struct vfio_user_region_io_fds) == 16, "wire");

enum { VFIO_USER_IO_FD_TYPE_IOEVENTFD = 0 };

struct vfio_user_sub_region_ioeventfd {
	uint64_t offset, size;
	uint32_t fd_index; /* among the descriptors of the message */
	uint32_t type; /* VFIO_USER_IO_FD_TYPE_IOEVENTFD */
	uint32_t flags; /* KVM_IOEVENTFD_FLAG_*, <linux/kvm.h> */
	uint32_t padding;
	uint64_t datamatch;
};
static_assert(sizeof(struct vfio_user_sub_region_ioeventfd) == 40, "wire");

/* DEVICE_FEATURE: VFIO's struct vfio_device_feature. */
static_assert(sizeof(struct vfio_device_feature) == 8, "wire");

/* MIG_DATA_READ and MIG_DATA_WRITE. */
struct vfio_user_mig_data {
	uint32_t argsz, size; /* then the data */
};
static_assert(sizeof(struct vfio_user_mig_data) == 8, "wire");

/* REGION_READ and REGION_WRITE, and each entry of REGION_WRITE_MULTI. */
struct vfio_user_region_access {
	uint64_t offset;
	uint32_t region, count; /* then count bytes of data, where there are any */
};
static_assert(sizeof(struct vfio_user_region_access) == 16, "wire");

struct vfio_user_write_multi_entry {
	struct vfio_user_region_access access; /* count is at most 8 */
	uint8_t data[8];
};
static_assert(sizeof(struct vfio_user_write_multi_entry) == 24, "wire");

struct vfio_user_dma_access {
	uint64_t address, count; /* then the data */
};
static_assert(sizeof(struct vfio_user_dma_access) == 16, "wire");

enum {
	/* The largest message that either side has a use for. */
	VFIO_USER_MAX_MESSAGE = sizeof(struct vfio_user_header) +
				sizeof(struct vfio_user_region_access) + VFIO_USER_MAX_XFER,
};
