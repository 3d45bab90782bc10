/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a device says of itself: GET_INFO, REGION_INFO, IRQ_INFO, REGION_IO_FDS, features. */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/bytes.h"
#include "base/checked.h"
#include "base/cleanup.h"
#include "check.h"
#include "vfio/device.h"

static const char info_clause[] = "vfio-user: VFIO_USER_DEVICE_GET_INFO";
static const char region_clause[] = "vfio-user: VFIO_USER_DEVICE_GET_REGION_INFO";
static const char irq_clause[] = "vfio-user: VFIO_USER_DEVICE_GET_IRQ_INFO";
static const char io_clause[] = "vfio-user: VFIO_USER_DEVICE_GET_REGION_IO_FDS";
static const char size_clause[] = "vfio-user: Message sizes";

enum { PAGE = 4096 };

/*
 * GET_INFO
 */

static void info(struct check_run *t)
{
	struct vfio_device_info first, second;

	check_ok(t, t->dev->ops->get_info(t->dev, &first), "DEVICE_GET_INFO");
	check_ok(t, t->dev->ops->get_info(t->dev, &second), "DEVICE_GET_INFO again");
	EXPECT(t, memcmp(&first, &second, sizeof(first)) == 0, "two answers are not the same");
	EXPECT(t, first.argsz >= sizeof(struct vfio_user_device_info), "argsz is %u", first.argsz);
	EXPECT(t, first.flags & VFIO_DEVICE_FLAGS_PCI, "flags is %#x: no PCI device", first.flags);
	EXPECT(t, first.num_regions > VFIO_PCI_CONFIG_REGION_INDEX,
	       "%u regions: a PCI device has its config space at index %d", first.num_regions,
	       VFIO_PCI_CONFIG_REGION_INDEX);
	EXPECT(t, first.num_irqs > VFIO_PCI_MSIX_IRQ_INDEX,
	       "%u kinds of interrupts: a PCI device "
	       "has MSI-X at index %d, if with none in it",
	       first.num_irqs, VFIO_PCI_MSIX_IRQ_INDEX);
}

static void info_argsz(struct check_run *t)
{
	static const uint32_t small[] = { 0, 1, 15 }, large[] = { 16, 17, 4096, 0xffffffff };
	struct vfio_user_device_info request = { 0 };
	struct message reply;

	for (size_t i = 0; i < ARRAY_SIZE(small); i++) {
		request.argsz = small[i];
		check_refused(t,
			      link_call(&t->door->link, VFIO_USER_DEVICE_GET_INFO, &request,
					sizeof(request), NULL, 0, 0, NULL),
			      EINVAL, "DEVICE_GET_INFO with argsz %u", small[i]);
	}
	for (size_t i = 0; i < ARRAY_SIZE(large); i++) {
		request.argsz = large[i];
		check_ok(t,
			 link_call(&t->door->link, VFIO_USER_DEVICE_GET_INFO, &request,
				   sizeof(request), NULL, 0, 0, &reply),
			 "DEVICE_GET_INFO with argsz %u", large[i]);
		EXPECT(t, reply.length <= large[i] && reply.length == get_le32(reply.payload),
		       "argsz %u: %zu bytes of payload, whose argsz is %u", large[i], reply.length,
		       get_le32(reply.payload));
	}
}

/*
 * GET_REGION_INFO
 */

static void regions(struct check_run *t)
{
	for (uint32_t i = 0; i < t->facts->n_regions; i++) {
		struct probe_region region;
		uint32_t access = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE |
				  VFIO_REGION_INFO_FLAG_MMAP;

		check_region(t, i, &region);
		EXPECT(t, !region.size == !(region.flags & access),
		       "region %u has %#llx bytes and flags %#x", i,
		       (unsigned long long)region.size, region.flags);
		EXPECT(t,
		       i > VFIO_PCI_BAR5_REGION_INDEX || !region.size ||
			       is_power_of_two(region.size),
		       "BAR %u has %#llx bytes, which is no power of two", i,
		       (unsigned long long)region.size);
	}
}

static void config_region(struct check_run *t)
{
	const struct probe_region *region = &t->facts->regions[VFIO_PCI_CONFIG_REGION_INDEX];

	EXPECT(t, region->size == PCI_CFG_SPACE_SIZE || region->size == PCI_CFG_SPACE_EXP_SIZE,
	       "config space has %llu bytes", (unsigned long long)region->size);
	EXPECT(t,
	       region->flags & VFIO_REGION_INFO_FLAG_READ &&
		       region->flags & VFIO_REGION_INFO_FLAG_WRITE,
	       "config space has flags %#x", region->flags);
}

static void region_index(struct check_run *t)
{
	const uint32_t n = t->facts->info.num_regions;
	const uint32_t bad[] = { n, n + 1, 0x7fffffff, 0x80000000, 0xffffffff };
	struct probe_region region;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check_errno(t, t->dev->ops->get_region(t->dev, bad[i], &region), EINVAL,
			    "DEVICE_GET_REGION_INFO of region %#x of %u", bad[i], n);
	check_in_step(t, "regions that there are not");
}

static void region_argsz(struct check_run *t)
{
	static const uint32_t small[] = { 0, 16, 31 };
	struct message reply;

	for (size_t i = 0; i < ARRAY_SIZE(small); i++)
		check_refused(t, vfio_user_region_info(t->door, 0, small[i], NULL), EINVAL,
			      "DEVICE_GET_REGION_INFO with argsz %u", small[i]);
	check_ok(t, vfio_user_region_info(t->door, 0, 0xffffffff, &reply),
		 "DEVICE_GET_REGION_INFO with argsz 0xffffffff");
	message_done(&reply);
}

/* First 32 bytes, then what they say is needed: how QEMU asks. */
static void region_two_steps(struct check_run *t)
{
	for (uint32_t i = 0; i < t->facts->n_regions; i++) {
		struct vfio_region_info info = { 0 };
		struct message reply;
		uint32_t full;

		check_ok(t, vfio_user_region_info(t->door, i, sizeof(info), &reply),
			 "DEVICE_GET_REGION_INFO of %u with argsz 32", i);
		message_done(&reply);
		EXPECT(t, reply.length == sizeof(info),
		       "region %u: argsz 32 is answered with %zu bytes", i, reply.length);
		memcpy(&info, reply.payload, sizeof(info));
		full = info.argsz;
		EXPECT(t, full >= sizeof(info), "region %u: the reply's argsz is %u", i, full);
		ADVISE_UNLESS(t,
			      full > sizeof(info) ? !(info.flags & VFIO_REGION_INFO_FLAG_CAPS) ||
							    !info.cap_offset
						  : true,
			      "region %u: capabilities at %u, outside of the 32 bytes that were "
			      "asked for",
			      i, info.cap_offset);
		ADVISE_UNLESS(t, !(info.flags & VFIO_REGION_INFO_FLAG_CAPS) || info.cap_offset,
			      "region %u: CAPS without capabilities, which ends QEMU's patience",
			      i);
		check_ok(t, vfio_user_region_info(t->door, i, full, &reply),
			 "DEVICE_GET_REGION_INFO of %u with argsz %u", i, full);
		message_done(&reply);
		EXPECT(t, reply.length == full && get_le32(reply.payload) == full,
		       "region %u: argsz %u is answered with %zu bytes that say %u", i, full,
		       reply.length, get_le32(reply.payload));
		check_ok(t, vfio_user_region_info(t->door, i, full + 100, &reply),
			 "DEVICE_GET_REGION_INFO of %u with argsz %u", i, full + 100);
		message_done(&reply);
		EXPECT(t, reply.length == full, "region %u: argsz %u is answered with %zu bytes", i,
		       full + 100, reply.length);
	}
}

static void region_mmap(struct check_run *t)
{
	for (uint32_t i = 0; i < t->facts->n_regions; i++) {
		struct probe_region region;
		struct stat st;

		if (!(t->facts->regions[i].flags & VFIO_REGION_INFO_FLAG_MMAP))
			continue;
		check_region(t, i, &region);
		EXPECT(t, region.fd >= 0, "region %u has MMAP and came without a descriptor", i);
		EXPECT(t, region.offset % PAGE == 0, "region %u lies at offset %#llx of its file",
		       i, (unsigned long long)region.offset);
		EXPECT(t, region.flags & VFIO_REGION_INFO_FLAG_READ,
		       "region %u can be mapped, and not read", i);
		ADVISE_UNLESS(t, region.flags & VFIO_REGION_INFO_FLAG_WRITE,
			      "region %u can be mapped but not written: a guest's store there ends "
			      "the VMM",
			      i);
		EXPECT(t, fstat(region.fd, &st) == 0, "region %u: fstat: %s", i, strerror(errno));
		EXPECT(t,
		       !S_ISREG(st.st_mode) || region.sparse ||
			       range_within(region.offset, region.size, (uint64_t)st.st_size),
		       "region %u has %#llx bytes at %#llx of a file of %#llx", i,
		       (unsigned long long)region.size, (unsigned long long)region.offset,
		       (unsigned long long)st.st_size);
	}
}

static void region_sparse(struct check_run *t)
{
	for (uint32_t i = 0; i < t->facts->n_regions; i++) {
		const struct probe_region *region = &t->facts->regions[i];
		uint64_t end = 0;

		for (uint32_t a = 0; a < region->n_areas; a++) {
			const struct probe_area *area = &region->areas[a];

			EXPECT(t, area->size && (area->offset | area->size) % PAGE == 0,
			       "region %u, area %u: %#llx+%#llx are no pages", i, a,
			       (unsigned long long)area->offset, (unsigned long long)area->size);
			EXPECT(t, area->offset >= end,
			       "region %u, area %u: it overlaps, or the "
			       "areas are not in order",
			       i, a);
			end = area->offset + area->size;
		}
	}
}

/*
 * GET_IRQ_INFO
 */

static void irqs(struct check_run *t)
{
	static const struct {
		uint32_t max, flags;
	} known[] = {
		[VFIO_PCI_INTX_IRQ_INDEX] = { 1,
					      VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED },
		[VFIO_PCI_MSI_IRQ_INDEX] = { 32, 0 },
		[VFIO_PCI_MSIX_IRQ_INDEX] = { 2048, 0 },
		[VFIO_PCI_ERR_IRQ_INDEX] = { 1, 0 },
		[VFIO_PCI_REQ_IRQ_INDEX] = { 1, 0 },
	};

	for (uint32_t i = 0; i < t->facts->n_irqs && i < ARRAY_SIZE(known); i++) {
		struct vfio_irq_info irq;

		check_ok(t, t->dev->ops->get_irq(t->dev, i, &irq), "DEVICE_GET_IRQ_INFO of %u", i);
		EXPECT(t, irq.argsz == sizeof(irq), "%s: argsz is %u", vfio_irq_name(i), irq.argsz);
		EXPECT(t, irq.count <= known[i].max, "%s: %u vectors", vfio_irq_name(i), irq.count);
		if (!irq.count)
			continue;
		EXPECT(t, irq.flags & VFIO_IRQ_INFO_EVENTFD, "%s: no EVENTFD (flags %#x)",
		       vfio_irq_name(i), irq.flags);
		ADVISE_UNLESS(t, (irq.flags & known[i].flags) == known[i].flags,
			      "%s: flags %#x, without %#x, which Linux has", vfio_irq_name(i),
			      irq.flags, known[i].flags & ~irq.flags);
	}
}

static void irqs_and_config(struct check_run *t)
{
	const struct pci_config *config = &t->facts->config;
	const struct vfio_irq_info *known = t->facts->irqs;
	uint16_t msi = pci_config_find(config, PCI_CAP_ID_MSI);
	uint16_t msix = pci_config_find(config, PCI_CAP_ID_MSIX);
	uint32_t vectors;

	EXPECT(t, !config->bytes[PCI_INTERRUPT_PIN] == !known[VFIO_PCI_INTX_IRQ_INDEX].count,
	       "the interrupt pin is %u and INTx has %u vectors", config->bytes[PCI_INTERRUPT_PIN],
	       known[VFIO_PCI_INTX_IRQ_INDEX].count);
	vectors = msi ? 1U << ((get_le16(config->bytes + msi + PCI_MSI_FLAGS) &
				PCI_MSI_FLAGS_QMASK) >>
			       1)
		      : 0;
	EXPECT(t, vectors == known[VFIO_PCI_MSI_IRQ_INDEX].count,
	       "MSI has %u vectors in config space and %u in VFIO", vectors,
	       known[VFIO_PCI_MSI_IRQ_INDEX].count);
	vectors =
		msix ? (get_le16(config->bytes + msix + PCI_MSIX_FLAGS) & PCI_MSIX_FLAGS_QSIZE) + 1U
		     : 0;
	EXPECT(t, vectors == known[VFIO_PCI_MSIX_IRQ_INDEX].count,
	       "MSI-X has %u vectors in config space and %u in VFIO", vectors,
	       known[VFIO_PCI_MSIX_IRQ_INDEX].count);
}

static void irq_index(struct check_run *t)
{
	const uint32_t n = t->facts->info.num_irqs;
	const uint32_t bad[] = { n, n + 1, 0x80000000, 0xffffffff };
	struct vfio_irq_info irq;

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check_errno(t, t->dev->ops->get_irq(t->dev, bad[i], &irq), EINVAL,
			    "DEVICE_GET_IRQ_INFO of %#x of %u", bad[i], n);
}

static void irq_argsz(struct check_run *t)
{
	static const uint32_t small[] = { 0, 8, 15 };
	struct vfio_irq_info request = { .index = VFIO_PCI_MSI_IRQ_INDEX };
	struct message reply;

	for (size_t i = 0; i < ARRAY_SIZE(small); i++) {
		request.argsz = small[i];
		check_refused(t,
			      link_call(&t->door->link, VFIO_USER_DEVICE_GET_IRQ_INFO, &request,
					sizeof(request), NULL, 0, 0, NULL),
			      EINVAL, "DEVICE_GET_IRQ_INFO with argsz %u", small[i]);
	}
	request.argsz = 4096;
	check_ok(t,
		 link_call(&t->door->link, VFIO_USER_DEVICE_GET_IRQ_INFO, &request, sizeof(request),
			   NULL, 0, 0, &reply),
		 "DEVICE_GET_IRQ_INFO with argsz 4096");
	EXPECT(t, reply.length == sizeof(request), "%zu bytes of payload", reply.length);
}

/*
 * REGION_IO_FDS
 */

static void io_fds(struct check_run *t)
{
	for (uint32_t i = 0; i < t->facts->n_regions; i++) {
		const struct probe_region *region = &t->facts->regions[i];
		struct probe_io_fds found;
		int r = t->dev->ops->get_io_fds(t->dev, i, &found);

		check_answered(t, r, "DEVICE_GET_REGION_IO_FDS of %u", i);
		if (r < 0)
			continue;
		for (size_t f = 0; f < found.n_fds; f++)
			check_keep_fd(t, found.fds[f]);
		for (uint32_t e = 0; e < found.n; e++) {
			const struct probe_io_fd *entry = &found.entries[e];

			EXPECT(t, range_within(entry->offset, entry->size, region->size),
			       "region %u: %#llx+%llu is not in it", i,
			       (unsigned long long)entry->offset, (unsigned long long)entry->size);
			EXPECT(t, entry->type <= 1, "region %u: a descriptor of type %u", i,
			       entry->type);
			EXPECT(t,
			       entry->type || !entry->size ||
				       (is_power_of_two(entry->size) && entry->size <= 8),
			       "region %u: an ioeventfd of %llu bytes", i,
			       (unsigned long long)entry->size);
		}
	}
}

/* A client that has too little room asks again with what it is told. */
static void io_fds_argsz(struct check_run *t)
{
	struct {
		uint32_t argsz, flags, index, count;
	} request = { .argsz = sizeof(request) }, answer = { 0 };
	struct message reply;

	for (; request.index < t->facts->n_regions; request.index++) {
		struct probe_io_fds found;

		if (t->dev->ops->get_io_fds(t->dev, request.index, &found) < 0)
			continue;
		for (size_t f = 0; f < found.n_fds; f++)
			check_keep_fd(t, found.fds[f]);
		if (!found.n)
			continue;
		check_ok(t,
			 link_call(&t->door->link, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &request,
				   sizeof(request), NULL, 0, PROBE_MAX_FDS, &reply),
			 "DEVICE_GET_REGION_IO_FDS with argsz 16");
		message_done(&reply);
		EXPECT(t, reply.length == sizeof(answer), "argsz 16 is answered with %zu bytes",
		       reply.length);
		memcpy(&answer, reply.payload, sizeof(answer));
		EXPECT(t, answer.argsz > sizeof(answer),
		       "argsz 16, and %u entries: the reply's argsz is %u", found.n, answer.argsz);
	}
	request.argsz = 8;
	request.index = 0;
	check_refused(t,
		      link_call(&t->door->link, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &request,
				sizeof(request), NULL, 0, PROBE_MAX_FDS, NULL),
		      EINVAL, "DEVICE_GET_REGION_IO_FDS with argsz 8");
}

static void io_fds_index(struct check_run *t)
{
	struct probe_io_fds found;
	int r = t->dev->ops->get_io_fds(t->dev, t->facts->info.num_regions, &found);

	EXPECT(t, r < 0, "DEVICE_GET_REGION_IO_FDS of a region that there is not succeeded");
	check_answered(t, r, "DEVICE_GET_REGION_IO_FDS of a region that there is not");
	ADVISE_UNLESS(t, r == -EINVAL || r == -ENOTSUP, "the error is %s; EINVAL is usual",
		      probe_result(r));
}

/*
 * Migration: there, or clearly not
 */

static void features(struct check_run *t)
{
	static const uint32_t known[] = { VFIO_DEVICE_FEATURE_MIGRATION,
					  VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE, 0xffff };
	struct {
		uint32_t argsz, flags;
	} request = { .argsz = sizeof(request) };

	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		int r;

		request.flags = VFIO_DEVICE_FEATURE_PROBE | VFIO_DEVICE_FEATURE_GET | known[i];
		r = link_call(&t->door->link, VFIO_USER_DEVICE_FEATURE, &request, sizeof(request),
			      NULL, 0, 0, NULL);
		check_answered(t, r, "DEVICE_FEATURE, a probe of feature %u", known[i]);
		EXPECT(t, known[i] != 0xffff || r < 0, "there is a feature 65535");
	}
	check_answered(
		t,
		link_call(&t->door->link, VFIO_USER_DEVICE_FEATURE, &request, 4, NULL, 0, 0, NULL),
		"DEVICE_FEATURE of 4 bytes");
	check_in_step(t, "DEVICE_FEATURE");
}

/* Nothing is being migrated. */
static void migration_data(struct check_run *t)
{
	struct {
		uint32_t argsz, size;
		uint8_t data[8];
	} request = { .argsz = sizeof(request), .size = 8 };

	for (unsigned int c = VFIO_USER_MIG_DATA_READ; c <= VFIO_USER_MIG_DATA_WRITE; c++) {
		int r = link_call(&t->door->link, (uint16_t)c, &request,
				  c == VFIO_USER_MIG_DATA_READ ? 8 : sizeof(request), NULL, 0, 0,
				  NULL);

		EXPECT(t, r < 0, "command %u succeeded while nothing is migrated", c);
		check_answered(t, r, "command %u while nothing is migrated", c);
	}
	check_in_step(t, "MIG_DATA_READ and WRITE");
}

const struct check checks_info[] = {
	{ "info.device", "a PCI device, with the regions and interrupts that those have",
	  info_clause, 0, info },
	{ "info.argsz", "argsz is what the reply may have", size_clause, NEED_SOCKET, info_argsz },
	{ "info.regions", "each region has a size and flags that fit", region_clause, 0, regions },
	{ "info.config", "config space is a region", "linux/vfio.h: vfio_region_info", NEED_PCI,
	  config_region },
	{ "info.region-index", "a region that there is not is refused",
	  "linux/vfio.h: VFIO_DEVICE_GET_REGION_INFO", 0, region_index },
	{ "info.region-argsz", "so is an argsz below 32", size_clause, NEED_SOCKET, region_argsz },
	{ "info.region-two-steps", "a small argsz is told how much is needed", size_clause,
	  NEED_SOCKET, region_two_steps },
	{ "info.region-mmap", "a region to map has a file that holds it", region_clause, NEED_MMAP,
	  region_mmap },
	{ "info.region-sparse", "areas are pages, in order, and apart", region_clause, NEED_SPARSE,
	  region_sparse },
	{ "info.irqs", "each interrupt has a count and flags that fit", irq_clause, 0, irqs },
	{ "info.irqs-config", "config space has the same interrupts", "PCI 3.0: 6.8", NEED_PCI,
	  irqs_and_config },
	{ "info.irq-index", "an interrupt that there is not is refused",
	  "linux/vfio.h: VFIO_DEVICE_GET_IRQ_INFO", 0, irq_index },
	{ "info.irq-argsz", "so is an argsz below 16", size_clause, NEED_SOCKET, irq_argsz },
	{ "info.io-fds", "doorbells lie in their region", io_clause, NEED_IO_FDS, io_fds },
	{ "info.io-fds-argsz", "a small argsz is told how much is needed", io_clause,
	  NEED_SOCKET | NEED_IO_FDS, io_fds_argsz },
	{ "info.io-fds-index", "doorbells of no region are refused", io_clause, NEED_SOCKET,
	  io_fds_index },
	{ "info.features", "features are there, or clearly not",
	  "vfio-user: VFIO_USER_DEVICE_FEATURE", NEED_SOCKET, features },
	{ "info.migration-data", "there is no data of a migration that is not",
	  "vfio-user: VFIO_USER_MIG_DATA_READ", NEED_SOCKET, migration_data },
	{ 0 },
};
