/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "device.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"

const char *probe_result(int r)
{
	const char *name;

	switch (r) {
	case 0:
		return "success";
	case PROBE_REFUSED:
		return "an error without an errno";
	case PROBE_TIMEOUT:
		return "no answer in time";
	case PROBE_CLOSED:
		return "a closed connection";
	case PROBE_PROTOCOL:
		return "an answer that is none";
	default:
		name = strerrorname_np(-r);
		return name ? name : "an unknown errno";
	}
}

int probe_read(struct probe_device *dev, uint32_t region, uint64_t offset, unsigned int width,
	       uint64_t *ret)
{
	uint8_t buf[8] = { 0 };
	int r = dev->ops->read(dev, region, offset, buf, width);

	if (r == 0)
		*ret = get_le(buf, width);
	return r;
}

int probe_write(struct probe_device *dev, uint32_t region, uint64_t offset, unsigned int width,
		uint64_t value)
{
	uint8_t buf[8];

	put_le(buf, value, width);
	return dev->ops->write(dev, region, offset, buf, width);
}

bool probe_is_mappable(const struct probe_region *region, uint64_t offset, uint64_t size)
{
	if (region->fd < 0 || !range_within(offset, size, region->size))
		return false;
	if (!region->sparse)
		return true;
	for (uint32_t i = 0; i < region->n_areas; i++)
		if (offset >= region->areas[i].offset &&
		    range_within(offset - region->areas[i].offset, size, region->areas[i].size))
			return true;
	return false;
}

int probe_map(const struct probe_region *region, uint64_t offset, uint64_t size, void **ret)
{
	int prot = 0;
	uint64_t start, end;
	struct stat st;
	void *p;

	if (!size || size > SIZE_MAX / 2 || !probe_is_mappable(region, offset, size) ||
	    __builtin_add_overflow(region->offset, offset, &start) ||
	    __builtin_add_overflow(start, size, &end) || end > INT64_MAX)
		return -EINVAL;
	if (fstat(region->fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode) && (uint64_t)st.st_size < end)
		return -ENXIO;
	if (region->flags & VFIO_REGION_INFO_FLAG_READ)
		prot |= PROT_READ;
	if (region->flags & VFIO_REGION_INFO_FLAG_WRITE)
		prot |= PROT_WRITE;
	p = mmap(NULL, size, prot, MAP_SHARED, region->fd, (off_t)start);
	if (p == MAP_FAILED)
		return -errno;
	*ret = p;
	return 0;
}

void probe_region_done(struct probe_region *region)
{
	region->fd = close_fd(region->fd);
}
