/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "describe.h"

#include "base/cleanup.h"
#include "control/json_text.h"

static json_t *integer(uint64_t n)
{
	return json_integer((json_int_t)n);
}

static json_t *count(const counter_t *c)
{
	return integer(counter_read(c));
}

static json_t *region_flags(uint32_t flags)
{
	static const struct {
		uint32_t flag;
		const char *name;
	} names[] = {
		{ VFIO_REGION_INFO_FLAG_READ, "read" },
		{ VFIO_REGION_INFO_FLAG_WRITE, "write" },
		{ VFIO_REGION_INFO_FLAG_MMAP, "mmap" },
	};
	json_t *array = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (flags & names[i].flag)
			json_array_append_new(array, json_string(names[i].name));
	return array;
}

static json_t *describe_latency(const struct histogram *latency)
{
	struct histogram_summary s;

	histogram_summarize(latency, &s);
	return json_pack("{s:o, s:o, s:o, s:o, s:o}", "count", integer(s.count), "p50",
			 integer(s.p50), "p90", integer(s.p90), "p99", integer(s.p99), "max",
			 integer(s.max));
}

static json_t *describe_region(uint32_t index, const struct vfio_region *region)
{
	const struct vfio_region_stats *stats = &region->stats;

	return json_pack("{s:i, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "index", (int)index,
			 "name", region->name, "size", integer(region->size), "flags",
			 region_flags(region->flags), "reads", count(&stats->reads), "read_bytes",
			 count(&stats->read_bytes), "writes", count(&stats->writes), "write_bytes",
			 count(&stats->write_bytes), "latency_ns",
			 describe_latency(&stats->latency_ns));
}

static json_t *describe_regions(const struct vfio_device *vfio)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < VFIO_PCI_NUM_REGIONS; i++)
		if (vfio->regions[i].size)
			json_array_append_new(array, describe_region(i, &vfio->regions[i]));
	return array;
}

static json_t *describe_irqs(const struct vfio_device *vfio)
{
	json_t *array = json_array();

	for (uint32_t i = 0; i < VFIO_PCI_NUM_IRQS; i++) {
		const struct vfio_irq *irq = &vfio->irqs.index[i];

		if (irq->count)
			json_array_append_new(array, json_pack("{s:s, s:o, s:o, s:o}", "name",
							       vfio_irq_name(i), "count",
							       integer(irq->count), "enabled",
							       count(&irq->bound), "triggered",
							       count(&irq->triggered)));
	}
	return array;
}

static json_t *describe_dma(const struct vfio_dma_space *dma)
{
	return json_pack("{s:o, s:o, s:o}", "maps", count(&dma->stats.maps), "bytes",
			 count(&dma->stats.bytes), "mapped_bytes", count(&dma->stats.mapped_bytes));
}

static json_t *describe_client(const struct door_info *info)
{
	return json_pack("{s:b, s:o, s:o}", "connected", info->connected, "pid",
			 info->client_pid ? integer((uint64_t)info->client_pid) : json_null(),
			 "connections", count(&info->stats->connections));
}

json_t *describe_scanout(struct scanout *so)
{
	struct scanout_info info;

	scanout_get_info(so, &info);
	return json_pack("{s:s, s:i, s:i, s:i, s:i, s:o, s:o, s:o, s:i}", "state",
			 scanout_state_name(info.state), "width", (int)info.mode.width, "height",
			 (int)info.mode.height, "stride", (int)info.mode.stride, "bpp",
			 info.mode.width ? (int)scanout_format_bytes(info.mode.format) * 8 : 0,
			 "offset", integer(info.mode.offset), "frames", integer(info.frames),
			 "scans", integer(info.scans), "viewers", (int)info.viewers);
}

json_t *describe_sandbox(const struct sandbox_info *info)
{
	return json_pack("{s:b, s:b, s:s}", "namespaces", info->namespaces, "landlock",
			 info->landlock > 0, "seccomp", seccomp_mode_name(info->seccomp));
}

json_t *describe_device(const char *id, struct device *device, const struct door *door)
{
	const struct vfio_device *vfio = &device->vfio;
	struct door_info info;
	json_t *object;

	door_get_info(door, &info);
	object = json_pack("{s:s, s:s, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "id", id, "model",
			   device->model->name, "socket", json_text(info.path), "client",
			   describe_client(&info), "regions", describe_regions(vfio), "irqs",
			   describe_irqs(vfio), "dma", describe_dma(&vfio->dma), "resets",
			   count(&vfio->resets), "faults", count(&vfio->dma.stats.faults));
	json_object_set_new(object, "poll",
			    json_pack("{s:o, s:o}", "budget_ns", count(&info.stats->spin_budget_ns),
				      "sleeps", count(&info.stats->sleeps)));
	if (device->scanout)
		json_object_set_new(object, "scanout", describe_scanout(device->scanout));
	return object;
}
