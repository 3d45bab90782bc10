/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "region_info.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"

enum { MAX_CAPS = 64 }; /* a chain that is longer has a loop */

__attribute__((format(printf, 2, 3))) static int wrong(char *ret_why, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(ret_why, PROBE_ERROR_SIZE, format, args);
	va_end(args);
	return -EPROTO;
}

static int parse_areas(const uint8_t *payload, size_t length, size_t at,
		       struct probe_region *region, char *ret_why)
{
	struct vfio_region_info_cap_sparse_mmap cap;

	if (!range_within(at, sizeof(cap), length))
		return wrong(ret_why, "the capability of sparse areas at %zu ends outside", at);
	memcpy(&cap, payload + at, sizeof(cap));
	at += sizeof(cap);
	if (cap.nr_areas > PROBE_MAX_AREAS || cap.nr_areas > (length - at) / sizeof(*cap.areas))
		return wrong(ret_why, "%u sparse areas in %zu bytes", cap.nr_areas, length - at);
	for (uint32_t i = 0; i < cap.nr_areas; i++) {
		struct vfio_region_sparse_mmap_area area;

		memcpy(&area, payload + at + i * sizeof(area), sizeof(area));
		if (!range_within(area.offset, area.size, region->size))
			return wrong(ret_why, "area %#llx+%#llx is not in a region of %#llx bytes",
				     (unsigned long long)area.offset, (unsigned long long)area.size,
				     (unsigned long long)region->size);
		region->areas[i] = (struct probe_area){ area.offset, area.size };
	}
	region->n_areas = cap.nr_areas;
	region->sparse = true;
	return 0;
}

static int parse_caps(const uint8_t *payload, size_t length, size_t at, struct probe_region *region,
		      char *ret_why)
{
	for (int n = 0; at; n++) {
		struct vfio_info_cap_header cap;
		int r = 0;

		if (n == MAX_CAPS)
			return wrong(ret_why, "the chain of capabilities has no end");
		if (at < sizeof(struct vfio_region_info) || !range_within(at, sizeof(cap), length))
			return wrong(ret_why, "a capability at %zu of %zu bytes", at, length);
		memcpy(&cap, payload + at, sizeof(cap));
		if (cap.id == VFIO_REGION_INFO_CAP_SPARSE_MMAP)
			r = parse_areas(payload, length, at, region, ret_why);
		else
			region->n_other_caps++;
		if (r < 0)
			return r;
		at = cap.next;
	}
	return 0;
}

int region_info_parse(const uint8_t *payload, size_t length, uint32_t index,
		      struct probe_region *ret, char *ret_why)
{
	struct probe_region region = { .index = index, .fd = -1 };
	struct vfio_region_info info;
	int r = 0;

	if (length < sizeof(info))
		return wrong(ret_why, "the answer has %zu bytes", length);
	memcpy(&info, payload, sizeof(info));
	if (info.index != index)
		return wrong(ret_why, "the answer is about region %u", info.index);
	region.flags = info.flags;
	region.size = info.size;
	region.offset = info.offset;
	if (info.flags & VFIO_REGION_INFO_FLAG_CAPS)
		r = parse_caps(payload, length, info.cap_offset, &region, ret_why);
	if (r == 0)
		*ret = region;
	return r;
}
