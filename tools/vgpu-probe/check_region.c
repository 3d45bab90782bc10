/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Accesses by message. A device that we don't know may do anything when its
 * registers are read, so what must succeed is done in config space, and other
 * regions see what must fail.
 */
#include <errno.h>
#include <string.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "check.h"

static const char read_clause[] = "vfio-user: VFIO_USER_REGION_READ";
static const char write_clause[] = "vfio-user: VFIO_USER_REGION_WRITE";
static const char multi_clause[] = "vfio-user: VFIO_USER_REGION_WRITE_MULTI";

enum { CONFIG = VFIO_PCI_CONFIG_REGION_INDEX };

static int raw_read(struct check_run *t, uint32_t region, uint64_t offset, uint32_t count)
{
	struct vfio_user_region_access access = { offset, region, count };

	return link_call(&t->door->link, VFIO_USER_REGION_READ, &access, sizeof(access), NULL, 0, 0,
			 NULL);
}

static void widths(struct check_run *t)
{
	struct pci_config *config = check_alloc(t, sizeof(*config));
	uint8_t whole[PCI_CFG_SPACE_SIZE];

	/* As it is now: the server may have kept what others wrote. */
	check_ok(t, pci_config_read(t->dev, config), "a read of config space in dwords");
	for (uint64_t at = 0; at < PCI_STD_HEADER_SIZEOF; at++)
		for (unsigned int width = 1; width <= 4; width++)
			EXPECT(t,
			       check_read(t, CONFIG, at, width) ==
				       get_le(config->bytes + at, width),
			       "config space at %#llx, %u bytes: not what dwords say",
			       (unsigned long long)at, width);
	check_ok(t, t->dev->ops->read(t->dev, CONFIG, 0, whole, sizeof(whole)),
		 "a read of all config space");
	EXPECT(t, memcmp(whole, config->bytes, PCI_STD_HEADER_SIZEOF) == 0,
	       "all of config space in one read is not what dwords say");
}

static void bounds(struct check_run *t)
{
	uint8_t buf[16] = { 0 };

	for (uint32_t i = 0; i < t->facts->n_regions; i++) {
		const struct probe_region *region = &t->facts->regions[i];
		const struct {
			uint64_t offset;
			uint32_t count;
		} bad[] = {
			{ region->size, 1 },	    { region->size, 4 },
			{ region->size - 1, 2 },    { region->size - 3, 4 },
			{ region->size + 4096, 4 }, { UINT64_MAX, 1 },
			{ UINT64_MAX - 3, 4 },	    { UINT64_MAX - 3, 8 },
			{ 1ULL << 63, 4 },	    { UINT64_MAX - 2, 16 },
		};

		for (size_t b = 0; b < ARRAY_SIZE(bad) && region->size; b++) {
			check_refused(
				t, t->dev->ops->read(t->dev, i, bad[b].offset, buf, bad[b].count),
				EINVAL, "a read of %u bytes at %#llx of region %u, which has %#llx",
				bad[b].count, (unsigned long long)bad[b].offset, i,
				(unsigned long long)region->size);
			check_refused(
				t, t->dev->ops->write(t->dev, i, bad[b].offset, buf, bad[b].count),
				EINVAL,
				"a write of %u bytes at %#llx of region %u, which has %#llx",
				bad[b].count, (unsigned long long)bad[b].offset, i,
				(unsigned long long)region->size);
		}
	}
	check_in_step(t, "accesses out of bounds");
}

static void last_byte(struct check_run *t)
{
	const uint64_t size = t->facts->regions[CONFIG].size;

	for (unsigned int width = 1; width <= 4; width *= 2)
		check_read(t, CONFIG, size - width, width);
}

static void absent(struct check_run *t)
{
	uint8_t buf[4] = { 0 };

	for (uint32_t i = 0; i < t->facts->n_regions; i++) {
		if (t->facts->regions[i].size)
			continue;
		check_refused(t, t->dev->ops->read(t->dev, i, 0, buf, 4), EINVAL,
			      "a read of region %u, which has no bytes", i);
		check_refused(t, t->dev->ops->write(t->dev, i, 0, buf, 4), EINVAL,
			      "a write to region %u, which has no bytes", i);
	}
}

static void bad_index(struct check_run *t)
{
	const uint32_t n = t->facts->info.num_regions;
	const uint32_t bad[] = { n, n + 1, 0x7fffffff, 0x80000000, 0xffffffff };
	uint8_t buf[4] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		check_refused(t, t->dev->ops->read(t->dev, bad[i], 0, buf, 4), EINVAL,
			      "a read of region %#x of %u", bad[i], n);
		check_refused(t, t->dev->ops->write(t->dev, bad[i], 0, buf, 4), EINVAL,
			      "a write to region %#x of %u", bad[i], n);
	}
	check_in_step(t, "regions that there are not");
}

static void direction(struct check_run *t)
{
	uint8_t buf[4] = { 0 };
	bool any = false;

	for (uint32_t i = 0; i < t->facts->n_regions; i++) {
		const struct probe_region *region = &t->facts->regions[i];

		if (!region->size)
			continue;
		if (!(region->flags & VFIO_REGION_INFO_FLAG_READ))
			check_refused(t, t->dev->ops->read(t->dev, i, 0, buf, 4), EINVAL,
				      "a read of region %u, which has flags %#x", i, region->flags);
		else if (!(region->flags & VFIO_REGION_INFO_FLAG_WRITE))
			check_refused(t, t->dev->ops->write(t->dev, i, 0, buf, 4), EINVAL,
				      "a write to region %u, which has flags %#x", i,
				      region->flags);
		else
			continue;
		any = true;
	}
	if (!any)
		check_skip(t, "every region can be read and written");
}

static void count_zero(struct check_run *t)
{
	check_answered(t, t->dev->ops->read(t->dev, CONFIG, 0, NULL, 0), "a read of 0 bytes");
	check_answered(t, t->dev->ops->write(t->dev, CONFIG, 0, NULL, 0), "a write of 0 bytes");
	check_in_step(t, "accesses of 0 bytes");
}

static void count_too_large(struct check_run *t)
{
	const uint64_t max = t->facts->max_data_xfer_size;
	const uint32_t counts[] = { max < UINT32_MAX ? (uint32_t)max + 1 : UINT32_MAX, 0x7fffffff,
				    0x80000000, 0xfffffff0, 0xffffffff };

	for (uint32_t region = 0; region < t->facts->n_regions; region++)
		for (size_t i = 0; i < ARRAY_SIZE(counts); i++)
			if (t->facts->regions[region].size < counts[i])
				check_refused(t, raw_read(t, region, 0, counts[i]), EINVAL,
					      "a read of %#x bytes", counts[i]);
	check_in_step(t, "reads of more than a message holds");
}

static void largest(struct check_run *t)
{
	for (uint32_t i = 0; i < t->facts->n_regions; i++) {
		const struct probe_region *region = &t->facts->regions[i];
		uint64_t max = t->facts->max_data_xfer_size < VFIO_USER_MAX_XFER
				       ? t->facts->max_data_xfer_size
				       : VFIO_USER_MAX_XFER;
		void *buf;

		/* Memory, so that reading it does nothing. */
		if (!(region->flags & VFIO_REGION_INFO_FLAG_MMAP) || region->sparse ||
		    region->size < max)
			continue;
		buf = check_alloc(t, max);
		check_ok(t, t->dev->ops->read(t->dev, i, 0, buf, (uint32_t)max),
			 "a read of %llu bytes, which max_data_xfer_size allows",
			 (unsigned long long)max);
		return;
	}
	check_skip(t, "no region is memory and that large");
}

/* The count is not what came. */
static void count_and_data(struct check_run *t)
{
	static const uint32_t counts[] = { 0, 1, 3, 5, 8, 4096, 0xfffffff0, 0xffffffff };
	struct {
		struct vfio_user_region_access access;
		uint8_t data[4];
	} write = { .access = { .offset = PCI_VENDOR_ID, .region = CONFIG } };

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		write.access.count = counts[i];
		check_refused(t,
			      link_call(&t->door->link, VFIO_USER_REGION_WRITE, &write,
					sizeof(write.access) + sizeof(write.data), NULL, 0, 0,
					NULL),
			      EINVAL, "a write of %u bytes that has 4", counts[i]);
	}
	check_in_step(t, "writes whose count is not what came");
}

/*
 * WRITE_MULTI
 */

struct multi {
	uint64_t count;
	struct vfio_user_write_multi_entry entries[4];
};

static int write_multi(struct check_run *t, const struct multi *multi, size_t n)
{
	struct message reply;
	int r = link_call(&t->door->link, VFIO_USER_REGION_WRITE_MULTI, multi,
			  sizeof(multi->count) + n * sizeof(multi->entries[0]), NULL, 0, 0, &reply);

	if (r == 0)
		EXPECT(t, reply.length == 8 && get_le64(reply.payload) == multi->count,
		       "%llu writes: the reply has %zu bytes", (unsigned long long)multi->count,
		       reply.length);
	return r;
}

static void fill(struct multi *multi)
{
	static const uint8_t values[] = { 1, 2, 3, 0x5a };

	*multi = (struct multi){ .count = ARRAY_SIZE(multi->entries) };
	for (size_t i = 0; i < ARRAY_SIZE(multi->entries); i++) {
		multi->entries[i].access = (struct vfio_user_region_access){
			.offset = PCI_INTERRUPT_LINE, .region = CONFIG, .count = 1
		};
		multi->entries[i].data[0] = values[i];
	}
}

static void multi_order(struct check_run *t)
{
	struct multi multi;

	fill(&multi);
	check_ok(t, write_multi(t, &multi, 4), "4 writes in one message");
	EXPECT(t, check_read(t, CONFIG, PCI_INTERRUPT_LINE, 1) == 0x5a,
	       "the last of 4 writes is not what is read");
	check_ok(t,
		 link_send_message(&t->door->link, VFIO_USER_REGION_WRITE_MULTI, VFIO_USER_NO_REPLY,
				   &multi, sizeof(multi), NULL, 0, NULL),
		 "sending them without a reply");
	check_in_step(t, "writes without a reply");
}

static void multi_bad(struct check_run *t)
{
	static const uint64_t counts[] = { 3, 5, 0x100000000ULL, 1ULL << 61, UINT64_MAX };
	struct multi multi;

	for (size_t i = 0; i < ARRAY_SIZE(counts); i++) {
		fill(&multi);
		multi.count = counts[i];
		check_refused(t, write_multi(t, &multi, 4), EINVAL, "%llu writes, of which 4 came",
			      (unsigned long long)counts[i]);
	}
	fill(&multi);
	multi.entries[2].access.count = 9;
	check_refused(t, write_multi(t, &multi, 4), EINVAL, "one of 4 writes of 9 bytes");
	fill(&multi);
	multi.entries[2].access.region = 0xffffffff;
	check_refused(t, write_multi(t, &multi, 4), EINVAL, "one of 4 writes to no region");
	fill(&multi);
	multi.entries[2].access.offset = UINT64_MAX;
	check_refused(t, write_multi(t, &multi, 4), EINVAL, "one of 4 writes out of bounds");
	multi.count = 0;
	check_answered(t, write_multi(t, &multi, 0), "no writes");
	check_refused(t,
		      link_call(&t->door->link, VFIO_USER_REGION_WRITE_MULTI, &multi, 4, NULL, 0, 0,
				NULL),
		      EINVAL, "half a count of writes");
	check_in_step(t, "bad writes in one message");
}

const struct check checks_region[] = {
	{ "region.widths", "an access may have any width and place", read_clause, NEED_PCI,
	  widths },
	{ "region.bounds", "an access that ends outside is refused",
	  "linux/vfio.h: vfio_region_info", 0, bounds },
	{ "region.last-byte", "one that ends at the end is not", read_clause, NEED_PCI, last_byte },
	{ "region.absent", "a region without bytes is not accessed", read_clause, 0, absent },
	{ "region.index", "nor is one that there is not", read_clause, 0, bad_index },
	{ "region.direction", "READ and WRITE say what may be done",
	  "linux/vfio.h: VFIO_REGION_INFO_FLAG_READ", 0, direction },
	{ "region.count-zero", "an access of nothing is answered", read_clause, NEED_PCI,
	  count_zero },
	{ "region.count-large", "more than max_data_xfer_size is refused",
	  "vfio-user: Read and Write Operations", NEED_SOCKET, count_too_large },
	{ "region.largest", "max_data_xfer_size itself is served",
	  "vfio-user: Read and Write Operations", NEED_SOCKET | NEED_MMAP, largest },
	{ "region.count-data", "count is the size of the data", write_clause,
	  NEED_SOCKET | NEED_PCI, count_and_data },
	{ "region.multi", "many writes in one message are done in order", multi_clause,
	  NEED_SOCKET | NEED_WRITE_MULTI | NEED_PCI, multi_order },
	{ "region.multi-bad", "a bad one among them is refused", multi_clause,
	  NEED_SOCKET | NEED_WRITE_MULTI, multi_bad },
	{ 0 },
};
