/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * DMA by message: we are the VMM that owns the memory, with work of its own in
 * the meantime, and not always a good one.
 */
#include <errno.h>
#include <string.h>

#include "base/cleanup.h"
#include "selftest.h"

static const char read_clause[] = "vfio-user: VFIO_USER_DMA_READ";
static const char write_clause[] = "vfio-user: VFIO_USER_DMA_WRITE";
static const char order_clause[] = "vfio-user: Command Concurrency";

enum {
	PAGE = 4096,
	SIZE = 64 * PAGE,
	SUM = SELFTEST_DMA_COMMAND_SUM,
	FILL = SELFTEST_DMA_COMMAND_FILL,
};

static const uint64_t high = 0x4000000000;

static void chunks(struct check_run *t)
{
	enum { LARGE = 4 << 20 };
	static const char offer[] = "{\"capabilities\":{\"max_data_xfer_size\":8192}}";

	st_bus_master(t, true);
	st_expect_sum(t, st_memory(t, high, LARGE, false), 0, LARGE);
	EXPECT(t, t->guest->largest <= VFIO_USER_MAX_XFER,
	       "a DMA_READ of %llu bytes, which is more than max_data_xfer_size",
	       (unsigned long long)t->guest->largest);
	check_close(t);
	guest_done(t->guest);
	check_connect(t);
	check_ok(t, vfio_user_propose(t->door, 0, 1, offer, sizeof(offer)),
		 "VERSION with max_data_xfer_size 8192");
	st_bus_master(t, true);
	st_expect_sum(t, st_memory(t, high, SIZE, false), 0, SIZE);
	EXPECT(t, t->guest->largest <= 8192,
	       "a DMA_READ of %llu bytes, and max_data_xfer_size is 8192",
	       (unsigned long long)t->guest->largest);
}

/* What the guest's CPUs do while its memory is asked for. */
static int reads_in_between(void *opaque, struct link *link)
{
	struct check_run *t = opaque;
	uint64_t value = 0;
	int r = 0;

	for (int i = 0; i < 5 && r == 0; i++)
		r = probe_read(t->dev, SELFTEST_BAR_REGS, SELFTEST_ID, 4, &value);
	if (r == 0 && value != SELFTEST_ID_VALUE)
		r = link_fail(link, PROBE_PROTOCOL, "ID reads as %#llx while DMA is under way",
			      (unsigned long long)value);
	if (r == 0)
		r = probe_write(t->dev, SELFTEST_BAR_REGS, SELFTEST_SUM, 4, 1);
	return r;
}

static bool all_read(void *opaque)
{
	const struct guest *guest = opaque;

	return guest->reads >= 4;
}

/* Neither side waits for the other: the guest's accesses are served while its memory is asked for. */
static void crossing(struct check_run *t)
{
	struct guest_range *range;
	struct st_dma dma = { .command = SUM, .source = high, .length = 4 * 0x100000 };
	struct link *link = &t->door->link;

	st_bus_master(t, true);
	range = st_memory(t, high, dma.length, false);
	t->guest->before = reads_in_between;
	t->guest->opaque = t;
	st_start(t, &dma);
	check_ok(t, link_serve(link, link_deadline(link), all_read, t->guest),
		 "serving DMA_READs, with accesses in between");
	t->guest->before = NULL;
	EXPECT(t, st_wait(t) == SELFTEST_DMA_STATUS_DONE, "SUM did not succeed: error %u",
	       st_get(t, SELFTEST_DMA_ERROR));
	EXPECT(t, st_get64(t, SELFTEST_DMA_RESULT) == st_sum(range->data, dma.length),
	       "SUM with accesses in between is wrong");
	EXPECT(t, st_get64(t, SELFTEST_SUM) >= 4, "writes in between were lost");
}

static void twin(struct check_run *t)
{
	struct guest_range *range;

	check_close(t);
	check_connect(t);
	check_ok(t,
		 vfio_user_propose(t->door, 0, 1, vfio_user_twin_offer,
				   strlen(vfio_user_twin_offer) + 1),
		 "VERSION with twin_socket");
	EXPECT(t, t->door->agreed.twin_socket, "this time there is no twin socket");
	st_bus_master(t, true);
	range = st_memory(t, high, SIZE, false);
	for (uint64_t offset = 0; offset < SIZE; offset += 5 * PAGE + 77) {
		st_expect_sum(t, range, offset, SIZE - offset);
		st_expect_fill(t, range, offset, SIZE - offset);
	}
}

static void answers_with(struct check_run *t, enum guest_manner manner, const char *what)
{
	struct guest_range *range;
	struct st_dma dma = { .command = SUM, .source = high, .length = 2 * PAGE };

	st_bus_master(t, true);
	range = st_memory(t, high, 4 * PAGE, false);
	t->guest->manner = manner;
	st_run_failing(t, &dma, what);
	dma = (struct st_dma){ .command = FILL, .target = high, .length = PAGE };
	st_start(t, &dma);
	EXPECT(t, st_wait(t) != SELFTEST_DMA_STATUS_BUSY, "FILL, %s: it does not end", what);
	t->guest->manner = GUEST_WELL;
	check_in_step(t, what);
	st_expect_sum(t, range, 0, 4 * PAGE);
}

static void error_reply(struct check_run *t)
{
	struct st_dma dma = { .command = SUM, .source = high, .length = PAGE };
	uint32_t error;

	answers_with(t, GUEST_WITH_ERROR, "an error reply to DMA_READ");
	t->guest->manner = GUEST_WITH_ERROR;
	error = st_run_failing(t, &dma, "an error reply to DMA_READ");
	EXPECT(t, error == EIO, "EIO was answered, and the device says %s",
	       probe_result(-(int)error));
	dma = (struct st_dma){ .command = FILL, .target = high, .length = PAGE };
	error = st_run_failing(t, &dma, "an error reply to DMA_WRITE");
	EXPECT(t, error == EIO, "EIO was answered, and the device says %s",
	       probe_result(-(int)error));
}

static void unnamed_error(struct check_run *t)
{
	answers_with(t, GUEST_WITH_ERROR_UNNAMED, "an error reply without an errno");
}

static void short_reply(struct check_run *t)
{
	answers_with(t, GUEST_TOO_SHORT, "a reply with too little data");
}

static void long_reply(struct check_run *t)
{
	answers_with(t, GUEST_TOO_LONG, "a reply with too much data");
}

static void other_address(struct check_run *t)
{
	answers_with(t, GUEST_ABOUT_OTHER, "a reply about another address");
}

static void still_works(struct check_run *t, enum guest_manner manner)
{
	struct guest_range *range;

	st_bus_master(t, true);
	range = st_memory(t, high, 4 * PAGE, false);
	t->guest->manner = manner;
	st_expect_sum(t, range, 10, 3 * PAGE);
	st_expect_fill(t, range, 20, 2 * PAGE);
	t->guest->manner = GUEST_WELL;
	check_in_step(t, "DMA by message");
}

static void other_id(struct check_run *t)
{
	still_works(t, GUEST_WITH_OTHER_ID);
}

static void in_pieces(struct check_run *t)
{
	still_works(t, GUEST_IN_PIECES);
}

static void late(struct check_run *t)
{
	still_works(t, GUEST_LATE);
}

/* As QEMU up to 10.2 does, whose counts have 32 bits, with the data right behind. */
static void short_count(struct check_run *t)
{
	struct guest_range *range;
	struct st_dma dma = { .command = SUM, .source = high, .length = PAGE };
	bool right;

	st_bus_master(t, true);
	range = st_memory(t, high, PAGE, false);
	t->guest->manner = GUEST_WITH_SHORT_COUNT;
	st_start(t, &dma);
	right = st_wait(t) == SELFTEST_DMA_STATUS_DONE &&
		st_get64(t, SELFTEST_DMA_RESULT) == st_sum(range->data, PAGE);
	if (right)
		st_expect_fill(t, range, 100, 1000);
	else
		check_advise(t,
			     "QEMU up to 10.2 is not understood: its data is taken from elsewhere");
	check_in_step(t, "DMA by messages with a count of 32 bits");
}

static bool was_asked(void *opaque)
{
	const struct guest *guest = opaque;

	return guest->reads > 0;
}

/* It is served all the same, and so is who comes after it. */
static void never(struct check_run *t)
{
	struct st_dma dma = { .command = SUM, .source = high, .length = PAGE };
	struct link *link = &t->door->link;

	st_bus_master(t, true);
	st_memory(t, high, PAGE, false);
	t->guest->manner = GUEST_NEVER;
	st_start(t, &dma);
	check_ok(t, link_serve(link, link_deadline(link), was_asked, t->guest),
		 "waiting for DMA_READ");
	for (int i = 0; i < 10; i++)
		EXPECT(t, st_get(t, SELFTEST_ID) == SELFTEST_ID_VALUE,
		       "accesses are not served while a DMA_READ waits");
	EXPECT(t, st_get(t, SELFTEST_DMA_STATUS) == SELFTEST_DMA_STATUS_BUSY,
	       "SUM ended without an answer");
	check_survives(t, "a client that never answered");
	EXPECT(t, st_get(t, SELFTEST_DMA_STATUS) == SELFTEST_DMA_STATUS_IDLE,
	       "the next client sees the last one's DMA");
}

/* A reset, or an unmap, while the memory is asked for. */
static int reset_in_between(void *opaque, struct link *link)
{
	struct check_run *t = opaque;

	t->guest->before = NULL;
	return t->dev->ops->reset(t->dev);
}

static int unmap_in_between(void *opaque, struct link *link)
{
	struct check_run *t = opaque;

	t->guest->before = NULL;
	return t->dev->ops->dma_unmap(t->dev, high, 4 * PAGE);
}

static void reset_under_way(struct check_run *t)
{
	struct st_dma dma = { .command = SUM, .source = high, .length = PAGE };
	struct link *link = &t->door->link;
	struct guest_range *range;

	st_bus_master(t, true);
	range = st_memory(t, high, 4 * PAGE, false);
	t->guest->before = reset_in_between;
	t->guest->opaque = t;
	st_start(t, &dma);
	check_ok(t, link_serve(link, link_deadline(link), was_asked, t->guest),
		 "DEVICE_RESET while DMA_READ waits");
	EXPECT(t, st_get(t, SELFTEST_DMA_STATUS) == SELFTEST_DMA_STATUS_IDLE,
	       "a command is under way after a reset");
	st_bus_master(t, true);
	st_expect_sum(t, range, 0, PAGE);
}

static void unmap_under_way(struct check_run *t)
{
	struct st_dma dma = { .command = SUM, .source = high, .length = 4 * PAGE };
	struct link *link = &t->door->link;

	st_bus_master(t, true);
	st_memory(t, high, 4 * PAGE, false);
	t->guest->before = unmap_in_between;
	t->guest->opaque = t;
	st_start(t, &dma);
	check_ok(t, link_serve(link, link_deadline(link), was_asked, t->guest),
		 "DMA_UNMAP while DMA_READ waits");
	EXPECT(t, st_wait(t) != SELFTEST_DMA_STATUS_BUSY,
	       "SUM of memory that was unmapped under way does not end");
	EXPECT(t, st_run_failing(t, &dma, "SUM after that") == EFAULT, "it is still mapped");
}

#define CHECK(name, what, clause, needs, run)                                                      \
	{                                                                                          \
		"selftest." name, what, clause, NEED_SELFTEST | (needs), run                       \
	}

const struct check checks_selftest_message[] = {
	CHECK("dma-chunks", "no message is longer than max_data_xfer_size",
	      "vfio-user: Read and Write Operations", NEED_SOCKET, chunks),
	CHECK("dma-crossing", "accesses are served while memory is asked for", order_clause,
	      NEED_SOCKET, crossing),
	CHECK("dma-twin", "the twin socket carries it", "vfio-user: VFIO_USER_VERSION",
	      NEED_SOCKET | NEED_TWIN, twin),
	CHECK("dma-error", "an error reply is the device's error", read_clause, NEED_SOCKET,
	      error_reply),
	CHECK("dma-error-unnamed", "also one without an errno", "vfio-user: Header", NEED_SOCKET,
	      unnamed_error),
	CHECK("dma-short", "too little data is an error", read_clause, NEED_SOCKET, short_reply),
	CHECK("dma-long", "so is too much", read_clause, NEED_SOCKET, long_reply),
	CHECK("dma-address", "so is a reply about something else", read_clause, NEED_SOCKET,
	      other_address),
	CHECK("dma-other-id", "a reply to nothing in between is ignored", "vfio-user: Header",
	      NEED_SOCKET, other_id),
	CHECK("dma-pieces", "a reply may come in pieces", read_clause, NEED_SOCKET, in_pieces),
	CHECK("dma-late", "a reply may take its time", read_clause, NEED_SOCKET, late),
	CHECK("dma-count32", "QEMU's older replies are understood", write_clause, NEED_SOCKET,
	      short_count),
	CHECK("dma-never", "who never answers harms only itself", order_clause, NEED_SOCKET, never),
	CHECK("dma-reset", "a reset ends it, also while memory is asked for",
	      "linux/vfio.h: VFIO_DEVICE_RESET", NEED_SOCKET | NEED_RESET, reset_under_way),
	CHECK("dma-unmap", "so does an unmap", "vfio-user: VFIO_USER_DMA_UNMAP", NEED_SOCKET,
	      unmap_under_way),
	{ 0 },
};
