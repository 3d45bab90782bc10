/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The selftest device: registers, regions, doorbells. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "fault.h"
#include "selftest.h"

static const char clause[] = "selftest_regs.h";
static const char access_clause[] = "vfio-user: Read and Write Operations";

enum { PAGE = 4096 };

static void constants(struct check_run *t)
{
	EXPECT(t, st_get(t, SELFTEST_ID) == SELFTEST_ID_VALUE, "ID is %#x", st_get(t, SELFTEST_ID));
	EXPECT(t, st_get(t, SELFTEST_REVISION) == 1, "REVISION is %u",
	       st_get(t, SELFTEST_REVISION));
	EXPECT(t,
	       st_get(t, SELFTEST_N_MSI) == t->facts->irqs[VFIO_PCI_MSI_IRQ_INDEX].count &&
		       st_get(t, SELFTEST_N_MSIX) == t->facts->irqs[VFIO_PCI_MSIX_IRQ_INDEX].count,
	       "N_MSI is %u and N_MSIX %u, and VFIO has others", st_get(t, SELFTEST_N_MSI),
	       st_get(t, SELFTEST_N_MSIX));
	EXPECT(t, st_get(t, SELFTEST_N_DOORBELLS) == SELFTEST_DOORBELLS, "N_DOORBELLS is %u",
	       st_get(t, SELFTEST_N_DOORBELLS));
	for (uint64_t reg = SELFTEST_ID; reg <= SELFTEST_N_DOORBELLS; reg += 4) {
		uint32_t before = st_get(t, reg);

		st_put(t, reg, ~before);
		EXPECT(t, st_get(t, reg) == before, "the constant at %#llx was written",
		       (unsigned long long)reg);
	}
	EXPECT(t, st_get(t, 0x014) == 0 && st_get(t, SELFTEST_REGS_SIZE - 4) == 0,
	       "a register that there is not does not read as 0");
}

static void widths(struct check_run *t)
{
	for (unsigned int width = 1; width <= 8; width++)
		for (unsigned int at = 0; at + width <= 8; at++) {
			uint8_t expected[8], got[8], value[8];

			for (unsigned int i = 0; i < 8; i++) {
				expected[i] = (uint8_t)(0xa0 + i);
				value[i] = (uint8_t)(width * 16 + at * 3 + i);
			}
			st_put64(t, SELFTEST_SCRATCH, get_le64(expected));
			memcpy(expected + at, value, width);
			check_ok(t,
				 t->dev->ops->write(t->dev, SELFTEST_BAR_REGS,
						    SELFTEST_SCRATCH + at, value, width),
				 "a write of %u bytes at %u", width, at);
			check_ok(t,
				 t->dev->ops->read(t->dev, SELFTEST_BAR_REGS, SELFTEST_SCRATCH, got,
						   8),
				 "a read of 8 bytes");
			EXPECT(t, memcmp(got, expected, 8) == 0,
			       "%u bytes at %u: they went elsewhere", width, at);
			check_ok(t,
				 t->dev->ops->read(t->dev, SELFTEST_BAR_REGS, SELFTEST_SCRATCH + at,
						   got, width),
				 "a read of %u bytes at %u", width, at);
			EXPECT(t, memcmp(got, value, width) == 0, "%u bytes at %u read otherwise",
			       width, at);
		}
}

/* A device sees aligned accesses of a power of two, lowest address first. */
static void splitting(struct check_run *t)
{
	static const struct {
		unsigned int at, width, last_at, last_width;
	} cases[] = {
		{ 0, 8, 0, 8 }, { 4, 4, 4, 4 }, { 6, 2, 6, 2 }, { 3, 1, 3, 1 },
		{ 1, 4, 4, 1 }, { 2, 4, 4, 2 }, { 1, 7, 4, 4 }, { 3, 2, 4, 1 },
		{ 0, 3, 2, 1 }, { 0, 6, 4, 2 }, { 5, 3, 6, 2 },
	};

	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint8_t value[8] = { 1, 2, 3, 4, 5, 6, 7, 8 };
		unsigned int skipped = cases[i].last_at - cases[i].at;

		check_ok(t,
			 t->dev->ops->write(t->dev, SELFTEST_BAR_REGS,
					    SELFTEST_SCRATCH + cases[i].at, value, cases[i].width),
			 "a write of %u bytes at %u", cases[i].width, cases[i].at);
		EXPECT(t,
		       st_get(t, SELFTEST_LAST_OFFSET) == SELFTEST_SCRATCH + cases[i].last_at &&
			       st_get(t, SELFTEST_LAST_WIDTH) == cases[i].last_width,
		       "%u bytes at %u: the last the device saw was %u bytes at %#x, expected %u "
		       "at "
		       "%#x",
		       cases[i].width, cases[i].at, st_get(t, SELFTEST_LAST_WIDTH),
		       st_get(t, SELFTEST_LAST_OFFSET), cases[i].last_width,
		       SELFTEST_SCRATCH + cases[i].last_at);
		EXPECT(t,
		       st_get64(t, SELFTEST_LAST_VALUE) ==
			       get_le(value + skipped, cases[i].last_width),
		       "%u bytes at %u: the last value was %#llx", cases[i].width, cases[i].at,
		       (unsigned long long)st_get64(t, SELFTEST_LAST_VALUE));
	}
}

/* Each once, and none of those that were refused. */
static void once(struct check_run *t)
{
	uint64_t before = st_get64(t, SELFTEST_WRITES), sum = st_get64(t, SELFTEST_SUM);
	uint8_t buf[8] = { 0 };

	for (uint32_t i = 1; i <= 100; i++)
		st_put(t, SELFTEST_SUM, i);
	EXPECT(t, st_get64(t, SELFTEST_SUM) == sum + 5050, "the sum of 1 to 100 is %llu",
	       (unsigned long long)(st_get64(t, SELFTEST_SUM) - sum));
	check_refused(t,
		      t->dev->ops->write(t->dev, SELFTEST_BAR_REGS, SELFTEST_REGS_SIZE - 4, buf, 8),
		      EINVAL, "a write over the end");
	EXPECT(t, st_get64(t, SELFTEST_WRITES) == before + 100,
	       "100 writes of 4 bytes and one that was refused: the device saw %llu",
	       (unsigned long long)(st_get64(t, SELFTEST_WRITES) - before));
}

static void posted(struct check_run *t)
{
	enum { COUNT = 5000 };
	struct {
		struct vfio_user_region_access access;
		uint32_t value;
	} write = { .access = { SELFTEST_SUM, SELFTEST_BAR_REGS, 4 } };
	uint64_t expected = st_get64(t, SELFTEST_SUM);

	for (uint32_t i = 0; i < COUNT; i++) {
		write.value = htole32(i);
		expected += i;
		check_ok(t,
			 link_send_message(
				 &t->door->link, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, &write,
				 sizeof(write.access) + sizeof(write.value), NULL, 0, NULL),
			 "sending a posted write");
	}
	EXPECT(t, st_get64(t, SELFTEST_SUM) == expected,
	       "%d posted writes: a read after them gives %llu, expected %llu", COUNT,
	       (unsigned long long)st_get64(t, SELFTEST_SUM), (unsigned long long)expected);
}

static void multi(struct check_run *t)
{
	enum { COUNT = 200 };
	struct {
		uint64_t count;
		struct vfio_user_write_multi_entry entries[COUNT];
	} message = { .count = COUNT };
	uint64_t sum = st_get64(t, SELFTEST_SUM), writes = st_get64(t, SELFTEST_WRITES);

	for (uint32_t i = 0; i < COUNT; i++) {
		message.entries[i].access =
			(struct vfio_user_region_access){ i & 1 ? SELFTEST_SCRATCH : SELFTEST_SUM,
							  SELFTEST_BAR_REGS, 4 };
		put_le32(message.entries[i].data, i);
	}
	check_ok(t,
		 link_call(&t->door->link, VFIO_USER_REGION_WRITE_MULTI, &message, sizeof(message),
			   NULL, 0, 0, NULL),
		 "200 writes in one message");
	EXPECT(t, st_get64(t, SELFTEST_SUM) - sum == 9900, "the sum of the even ones below 200");
	EXPECT(t, st_get(t, SELFTEST_SCRATCH) == COUNT - 1, "the last one was not the last");
	EXPECT(t, st_get64(t, SELFTEST_WRITES) - writes == COUNT, "the device saw %llu",
	       (unsigned long long)(st_get64(t, SELFTEST_WRITES) - writes));
	/* A bad one: whatever comes before it, nothing after it. */
	message.entries[10].access.region = 99;
	sum = st_get64(t, SELFTEST_SUM);
	check_refused(t,
		      link_call(&t->door->link, VFIO_USER_REGION_WRITE_MULTI, &message,
				sizeof(message), NULL, 0, 0, NULL),
		      EINVAL, "200 writes, one of them to no region");
	EXPECT(t, st_get64(t, SELFTEST_SUM) - sum <= 20, "writes behind a bad one were done");
}

/* Both kinds of parts of BAR 2: no byte reaches the other kind. */
static void mixed(struct check_run *t)
{
	struct probe_region region;
	uint8_t buf[64], got[64];

	check_region(t, SELFTEST_BAR_MIXED, &region);
	for (uint64_t at = 0; at < SELFTEST_MIXED_SIZE; at += PAGE) {
		memset(buf, (int)(0x11 + at / PAGE), sizeof(buf));
		check_ok(t, t->dev->ops->write(t->dev, SELFTEST_BAR_MIXED, at, buf, sizeof(buf)),
			 "a write to BAR 2");
	}
	for (uint64_t at = 0; at < SELFTEST_MIXED_SIZE; at += PAGE) {
		memset(buf, (int)(0x11 + at / PAGE), sizeof(buf));
		check_ok(t, t->dev->ops->read(t->dev, SELFTEST_BAR_MIXED, at, got, sizeof(got)),
			 "a read of BAR 2");
		EXPECT(t, memcmp(buf, got, sizeof(buf)) == 0, "BAR 2 at %#llx reads otherwise",
		       (unsigned long long)at);
		if (!probe_is_mappable(&region, at, PAGE))
			continue;
		EXPECT(t,
		       guarded_copy(got, check_map(t, &region, at, PAGE), sizeof(got)) == 0 &&
			       memcmp(buf, got, sizeof(buf)) == 0,
		       "BAR 2 at %#llx: the mapping has something else", (unsigned long long)at);
	}
}

static void over_edges(struct check_run *t)
{
	uint8_t buf[PAGE * 2], got[PAGE * 2];

	for (size_t i = 0; i < sizeof(buf); i++)
		buf[i] = (uint8_t)(i * 7 + i / 256);
	for (uint64_t at = PAGE / 2; at + sizeof(buf) <= SELFTEST_MIXED_SIZE; at += PAGE) {
		buf[0]++;
		check_ok(t, t->dev->ops->write(t->dev, SELFTEST_BAR_MIXED, at, buf, sizeof(buf)),
			 "a write of 8 KiB at %#llx of BAR 2", (unsigned long long)at);
		check_ok(t, t->dev->ops->read(t->dev, SELFTEST_BAR_MIXED, at, got, sizeof(got)),
			 "a read of 8 KiB at %#llx of BAR 2", (unsigned long long)at);
		EXPECT(t, memcmp(buf, got, sizeof(buf)) == 0,
		       "8 KiB at %#llx of BAR 2 read otherwise", (unsigned long long)at);
	}
}

/* Addresses beyond 32 bits are not cut. */
static void aperture(struct check_run *t)
{
	const uint64_t size = t->facts->regions[SELFTEST_BAR_APERTURE].size, four = 1ULL << 32;
	const uint64_t places[] = { 0, four - 8, four, four + PAGE, size - 8, size / 2 + 2 * PAGE };
	struct probe_region region;

	if (size <= four)
		check_skip(t, "the aperture has %llu bytes, and no address beyond 32 bits",
			   (unsigned long long)size);
	check_region(t, SELFTEST_BAR_APERTURE, &region);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++)
		check_write(t, SELFTEST_BAR_APERTURE, places[i], 8, places[i] + i + 1);
	for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
		uint64_t value = 0, page = places[i] & ~(uint64_t)(PAGE - 1);

		EXPECT(t, check_read(t, SELFTEST_BAR_APERTURE, places[i], 8) == places[i] + i + 1,
		       "BAR 4 at %#llx reads otherwise", (unsigned long long)places[i]);
		if (region.fd < 0)
			continue;
		EXPECT(t,
		       guarded_copy(&value, check_map(t, &region, page, PAGE) + (places[i] - page),
				    8) == 0 &&
			       le64toh(value) == places[i] + i + 1,
		       "BAR 4 at %#llx: the mapping has something else",
		       (unsigned long long)places[i]);
	}
}

static void rom(struct check_run *t)
{
	uint8_t *image = check_alloc(t, SELFTEST_ROM_SIZE);

	check_ok(t,
		 t->dev->ops->read(t->dev, VFIO_PCI_ROM_REGION_INDEX, 0, image, SELFTEST_ROM_SIZE),
		 "a read of the ROM");
	for (uint32_t i = SELFTEST_ROM_PATTERN; i < SELFTEST_ROM_SIZE; i++)
		EXPECT(t, image[i] == SELFTEST_ROM_BYTE(i), "the ROM at %#x has %#x, expected %#x",
		       i, image[i], SELFTEST_ROM_BYTE(i));
}

static void reset(struct check_run *t)
{
	static const uint16_t registers[] = { SELFTEST_SCRATCH,	     SELFTEST_SUM,
					      SELFTEST_WRITES,	     SELFTEST_DMA_SOURCE,
					      SELFTEST_DMA_LENGTH,   SELFTEST_RUNG(3),
					      SELFTEST_RUNG_VALUE(3) };

	st_put64(t, SELFTEST_SCRATCH, 0x1122334455667788);
	st_put(t, SELFTEST_SUM, 5);
	st_put64(t, SELFTEST_DMA_SOURCE, 0x1000);
	st_put64(t, SELFTEST_DMA_LENGTH, 0x1000);
	st_put(t, SELFTEST_DOORBELL(3), 9);
	st_put(t, SELFTEST_INTX, 1);
	check_write(t, SELFTEST_BAR_MIXED, 0, 4, 0xabcd);
	check_write(t, SELFTEST_BAR_APERTURE, 64, 4, 0xef01);
	check_ok(t, t->dev->ops->reset(t->dev), "DEVICE_RESET");
	for (size_t i = 0; i < ARRAY_SIZE(registers); i++)
		EXPECT(t, st_get64(t, registers[i]) == 0,
		       "the register at %#x is not 0 after a reset", registers[i]);
	EXPECT(t, st_get(t, SELFTEST_INTX) == 0, "INTX is asserted after a reset");
	EXPECT(t, st_get(t, SELFTEST_ID) == SELFTEST_ID_VALUE, "ID is lost after a reset");
	EXPECT(t, check_read(t, SELFTEST_BAR_MIXED, 0, 4) == 0xabcd, "BAR 2 is lost after a reset");
	EXPECT(t, check_read(t, SELFTEST_BAR_APERTURE, 64, 4) == 0xef01,
	       "BAR 4 is lost after a reset");
}

static void next_client(struct check_run *t)
{
	st_put64(t, SELFTEST_SCRATCH, 0x1122334455667788);
	st_put(t, SELFTEST_DOORBELL(0), 7);
	check_write(t, SELFTEST_BAR_MIXED, 0, 4, 0xabcd);
	check_write(t, SELFTEST_BAR_MIXED, 0x1000, 4, 0xabcd);
	check_write(t, SELFTEST_BAR_APERTURE, 64, 4, 0xef01);
	check_close(t);
	check_open(t);
	EXPECT(t, st_get64(t, SELFTEST_SCRATCH) == 0,
	       "the next client sees the last one's SCRATCH");
	EXPECT(t, st_get(t, SELFTEST_RUNG(0)) == 0,
	       "the next client sees the last one's doorbells");
	EXPECT(t,
	       check_read(t, SELFTEST_BAR_MIXED, 0, 4) == 0 &&
		       check_read(t, SELFTEST_BAR_MIXED, 0x1000, 4) == 0,
	       "the next client sees the last one's BAR 2");
	EXPECT(t, check_read(t, SELFTEST_BAR_APERTURE, 64, 4) == 0,
	       "the next client sees the last one's BAR 4");
}

/*
 * Doorbells
 */

static void doorbells(struct check_run *t)
{
	for (uint32_t n = 0; n < SELFTEST_DOORBELLS; n++) {
		st_put(t, SELFTEST_DOORBELL(n), 100 + n);
		st_put(t, SELFTEST_DOORBELL(n), 200 + n);
	}
	for (uint32_t n = 0; n < SELFTEST_DOORBELLS; n++)
		EXPECT(t,
		       st_get(t, SELFTEST_RUNG(n)) == 2 &&
			       st_get(t, SELFTEST_RUNG_VALUE(n)) == 200 + n,
		       "doorbell %u was written twice: it rang %u times, at last with %u", n,
		       st_get(t, SELFTEST_RUNG(n)), st_get(t, SELFTEST_RUNG_VALUE(n)));
}

/* What KVM does with the descriptor; the device looks in its own time. */
static void ring(struct check_run *t, int fd, uint32_t n)
{
	uint64_t deadline_ns = clock_ns() + (uint64_t)t->timeout_ms * 1000000;
	uint32_t before = st_get(t, SELFTEST_RUNG(n));

	EXPECT(t, eventfd_write(fd, 1) == 0, "doorbell %u: its descriptor is no eventfd", n);
	while (st_get(t, SELFTEST_RUNG(n)) == before && clock_ns() < deadline_ns)
		;
	EXPECT(t, st_get(t, SELFTEST_RUNG(n)) == before + 1,
	       "doorbell %u: it rang %u times after its eventfd was signalled once", n,
	       st_get(t, SELFTEST_RUNG(n)) - before);
}

static void doorbell_fds(struct check_run *t)
{
	struct probe_io_fds found;

	check_ok(t, t->dev->ops->get_io_fds(t->dev, SELFTEST_BAR_REGS, &found),
		 "DEVICE_GET_REGION_IO_FDS");
	for (size_t i = 0; i < found.n_fds; i++)
		check_keep_fd(t, found.fds[i]);
	EXPECT(t, found.n == SELFTEST_DOORBELLS, "%u of %d doorbells have an eventfd", found.n,
	       SELFTEST_DOORBELLS);
	for (uint32_t i = 0; i < found.n; i++) {
		const struct probe_io_fd *entry = &found.entries[i];
		uint32_t n = (uint32_t)((entry->offset - SELFTEST_DOORBELL(0)) / 4);

		EXPECT(t, entry->type == 0 && entry->size == 4 && n < SELFTEST_DOORBELLS,
		       "entry %u: type %u, %llu bytes at %#llx", i, entry->type,
		       (unsigned long long)entry->size, (unsigned long long)entry->offset);
		ring(t, found.fds[entry->fd], n);
		st_put(t, SELFTEST_DOORBELL(n), 5);
		EXPECT(t, st_get(t, SELFTEST_RUNG_VALUE(n)) == 5,
		       "doorbell %u: a message does not ring it any more", n);
	}
}

static void doorbell_fds_forgotten(struct check_run *t)
{
	struct probe_io_fds found;

	check_ok(t, t->dev->ops->get_io_fds(t->dev, SELFTEST_BAR_REGS, &found),
		 "DEVICE_GET_REGION_IO_FDS");
	for (size_t i = 0; i < found.n_fds; i++)
		check_keep_fd(t, found.fds[i]);
	check_close(t);
	check_open(t);
	for (size_t i = 0; i < found.n_fds; i++)
		eventfd_write(found.fds[i], 1);
	usleep(20000);
	for (uint32_t n = 0; n < SELFTEST_DOORBELLS; n++)
		EXPECT(t, st_get(t, SELFTEST_RUNG(n)) == 0,
		       "doorbell %u was rung by a client that is gone", n);
}

#define CHECK(name, what, needs, run)                                                              \
	{                                                                                          \
		"selftest." name, what, clause, NEED_SELFTEST | (needs), run                       \
	}

const struct check checks_selftest[] = {
	CHECK("constants", "it is the selftest device", 0, constants),
	{ "selftest.widths", "accesses of 1 to 8 bytes go where they should", access_clause,
	  NEED_SELFTEST, widths },
	CHECK("splitting", "unaligned ones are split, lowest first", 0, splitting),
	CHECK("once", "each write is done once, a refused one not at all", 0, once),
	{ "selftest.posted", "posted writes are all done before a read",
	  "vfio-user: Command Concurrency", NEED_SELFTEST | NEED_SOCKET, posted },
	{ "selftest.multi", "many writes in one message are done in order",
	  "vfio-user: VFIO_USER_REGION_WRITE_MULTI", NEED_SELFTEST | NEED_SOCKET | NEED_WRITE_MULTI,
	  multi },
	CHECK("mixed", "mapped and trapped parts of a BAR are its own", 0, mixed),
	CHECK("edges", "an access over their edges is whole", 0, over_edges),
	CHECK("aperture", "memory beyond 4 GiB is not the memory below", 0, aperture),
	CHECK("rom", "the ROM has its bytes", NEED_ROM, rom),
	CHECK("reset", "a reset undoes registers, and no memory", NEED_RESET, reset),
	CHECK("next-client", "the next client finds nothing of it", 0, next_client),
	CHECK("doorbells", "doorbells ring", 0, doorbells),
	CHECK("doorbell-fds", "and by their eventfds", NEED_IO_FDS, doorbell_fds),
	CHECK("doorbell-forgotten", "but not for who is gone", NEED_IO_FDS, doorbell_fds_forgotten),
	{ 0 },
};
