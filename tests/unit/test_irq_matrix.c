/* SPDX-License-Identifier: GPL-2.0-or-later */
/* VFIO_DEVICE_SET_IRQS: every index with every kind of data, action and range. */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "irq_fixture.h"
#include "unit.h"

/* What a combination does to every vector of its range. */
enum effect {
	NOTHING, /* refused */
	SIGNALS, /* VFIO's loop-back test */
	BINDS,
	MASKS,
	UNMASKS,
	BINDS_UNMASK, /* the client's eventfd unmasks */
};

/*
 * <linux/vfio.h>, "VFIO_DEVICE_SET_IRQS", as drivers/vfio/pci/vfio_pci_intrs.c
 * carries it out: masking is INTx' alone, and nobody signals a mask by eventfd.
 */
static const struct {
	uint32_t index, data, action;
	enum effect effect;
} combinations[] = {
	{ INTX, NONE, MASK, MASKS },	   { INTX, NONE, UNMASK, UNMASKS },
	{ INTX, NONE, TRIGGER, SIGNALS },  { INTX, BOOL, MASK, MASKS },
	{ INTX, BOOL, UNMASK, UNMASKS },   { INTX, BOOL, TRIGGER, SIGNALS },
	{ INTX, EVENTFD, MASK, NOTHING },  { INTX, EVENTFD, UNMASK, BINDS_UNMASK },
	{ INTX, EVENTFD, TRIGGER, BINDS },

	{ MSI, NONE, MASK, NOTHING },	   { MSI, NONE, UNMASK, NOTHING },
	{ MSI, NONE, TRIGGER, SIGNALS },   { MSI, BOOL, MASK, NOTHING },
	{ MSI, BOOL, UNMASK, NOTHING },	   { MSI, BOOL, TRIGGER, SIGNALS },
	{ MSI, EVENTFD, MASK, NOTHING },   { MSI, EVENTFD, UNMASK, NOTHING },
	{ MSI, EVENTFD, TRIGGER, BINDS },

	{ MSIX, NONE, MASK, NOTHING },	   { MSIX, NONE, UNMASK, NOTHING },
	{ MSIX, NONE, TRIGGER, SIGNALS },  { MSIX, BOOL, MASK, NOTHING },
	{ MSIX, BOOL, UNMASK, NOTHING },   { MSIX, BOOL, TRIGGER, SIGNALS },
	{ MSIX, EVENTFD, MASK, NOTHING },  { MSIX, EVENTFD, UNMASK, NOTHING },
	{ MSIX, EVENTFD, TRIGGER, BINDS },

	{ ERR, NONE, MASK, NOTHING },	   { ERR, NONE, UNMASK, NOTHING },
	{ ERR, NONE, TRIGGER, SIGNALS },   { ERR, BOOL, MASK, NOTHING },
	{ ERR, BOOL, UNMASK, NOTHING },	   { ERR, BOOL, TRIGGER, SIGNALS },
	{ ERR, EVENTFD, MASK, NOTHING },   { ERR, EVENTFD, UNMASK, NOTHING },
	{ ERR, EVENTFD, TRIGGER, BINDS },

	{ REQ, NONE, MASK, NOTHING },	   { REQ, NONE, UNMASK, NOTHING },
	{ REQ, NONE, TRIGGER, SIGNALS },   { REQ, BOOL, MASK, NOTHING },
	{ REQ, BOOL, UNMASK, NOTHING },	   { REQ, BOOL, TRIGGER, SIGNALS },
	{ REQ, EVENTFD, MASK, NOTHING },   { REQ, EVENTFD, UNMASK, NOTHING },
	{ REQ, EVENTFD, TRIGGER, BINDS },
};

/* An index with all its vectors bound; theirs[v] is the client's end. */
struct matrix_case {
	uint32_t index, data, action, start, count;
	enum effect effect;
	int theirs[2 * VECTORS];
	uint32_t vectors;
};

static bool in_range(const struct matrix_case *c, uint32_t v)
{
	return v >= c->start && v - c->start < c->count;
}

static int call(const struct matrix_case *c, bool with_fds, int fds[2 * VECTORS])
{
	static const uint8_t ones[2 * VECTORS] = { 1, 1, 1, 1, 1, 1, 1, 1 };
	size_t n_fds = with_fds && c->count <= 2 * VECTORS ? c->count : 0;
	int r;

	for (size_t i = 0; i < n_fds; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	r = vfio_irqs_set(&irqs, c->data | c->action, c->index, c->start, c->count,
			  c->data == BOOL ? ones : NULL, c->data == BOOL ? c->count : 0, fds,
			  n_fds);
	/* Taken over is what was set to -1, and on an error nothing is. */
	for (size_t i = 0; i < n_fds; i++)
		assert_int_equal(fds[i] < 0, r == 0);
	return r;
}

static void expect_signals(const struct matrix_case *c, bool inside, bool outside)
{
	for (uint32_t v = 0; v < c->vectors; v++)
		assert_int_equal(signals(c->theirs[v]), in_range(c, v) ? inside : outside);
}

static void raise_all(const struct matrix_case *c)
{
	if (c->index == INTX) {
		vfio_intx_set_level(&irqs, false);
		vfio_intx_set_level(&irqs, true);
		vfio_intx_set_level(&irqs, false);
		return;
	}
	for (uint32_t v = 0; v < c->vectors; v++)
		vfio_irq_trigger(&irqs, c->index, v);
}

static void check_effect(const struct matrix_case *c)
{
	int fds[2 * VECTORS];

	switch (c->effect) {
	case SIGNALS:
		assert_int_equal(call(c, false, fds), 0);
		expect_signals(c, true, false);
		break;
	case BINDS:
		assert_int_equal(call(c, true, fds), 0);
		assert_int_equal(irqs.index[c->index].bound, c->vectors);
		raise_all(c);
		expect_signals(c, false, true); /* replaced */
		assert_int_equal(call(c, false, fds), 0); /* without descriptors: unbound */
		assert_int_equal(irqs.index[c->index].bound, c->vectors - c->count);
		break;
	case MASKS:
		assert_int_equal(call(c, false, fds), 0);
		raise_all(c);
		expect_signals(c, false, true);
		break;
	case UNMASKS:
		assert_int_equal(set(NONE | MASK, c->index, c->start, c->count), 0);
		assert_int_equal(call(c, false, fds), 0);
		raise_all(c);
		expect_signals(c, true, true);
		break;
	case BINDS_UNMASK:
		assert_int_equal(call(c, true, fds), 0);
		assert_true(irqs.index[c->index].unmask_fd >= 0);
		assert_int_equal(call(c, false, fds), 0);
		assert_int_equal(irqs.index[c->index].unmask_fd, -1);
		break;
	case NOTHING:
		assert_int_equal(call(c, true, fds), -EINVAL);
		close_fds(fds, c->count);
		assert_int_equal(call(c, false, fds), -EINVAL);
		break;
	}
}

/* Refused, and all is as it was: bound, not masked, not signalled. */
static void check_refused(const struct matrix_case *c)
{
	int fds[2 * VECTORS];

	assert_int_equal(call(c, false, fds), -EINVAL);
	assert_int_equal(irqs.index[c->index].bound, c->vectors);
	raise_all(c);
	for (uint32_t v = 0; v < c->vectors; v++)
		assert_int_equal(signals(c->theirs[v]), 1);
}

static void check_teardown(const struct matrix_case *c)
{
	int fds[2 * VECTORS];

	assert_int_equal(call(c, false, fds), 0);
	assert_int_equal(irqs.index[c->index].bound, 0);
	raise_all(c);
	for (uint32_t v = 0; v < c->vectors; v++)
		assert_int_equal(signals(c->theirs[v]), 0);
}

static void check_case(struct matrix_case *c, void (*check)(const struct matrix_case *c))
{
	teardown(NULL);
	assert_int_equal(setup(NULL), 0);
	c->vectors = irqs.index[c->index].count;
	for (uint32_t v = 0; v < c->vectors; v++)
		c->theirs[v] = bind(c->index, v);
	check(c);
	close_fds(c->theirs, c->vectors);
}

/* Every index with every data, action, and kind of range. */
static void the_matrix(void **state)
{
	uint32_t seen = 0;

	for (size_t i = 0; i < ARRAY_SIZE(combinations); i++) {
		uint32_t index = combinations[i].index, n = irqs.index[index].count;
		struct matrix_case c = {
			.index = index,
			.data = combinations[i].data,
			.action = combinations[i].action,
			.effect = combinations[i].effect,
		};
		const struct {
			uint32_t start, count;
		} good[] = { { 0, 1 }, { 0, n }, { n - 1, 1 }, { n / 2, n - n / 2 } },
		  bad[] = { { 0, n + 1 },      { n, 1 },	  { n - 1, 2 },
			    { UINT32_MAX, 1 }, { UINT32_MAX, 2 }, { 1, UINT32_MAX },
			    { n, UINT32_MAX } },
		  empty[] = { { 0, 0 }, { n - 1, 0 } };

		for (size_t j = 0; j < ARRAY_SIZE(good); j++) {
			c.start = good[j].start;
			c.count = good[j].count;
			check_case(&c, check_effect);
		}
		for (size_t j = 0; j < ARRAY_SIZE(bad); j++) {
			c.start = bad[j].start;
			c.count = bad[j].count;
			check_case(&c, check_refused);
		}
		for (size_t j = 0; j < ARRAY_SIZE(empty); j++) {
			c.start = empty[j].start;
			c.count = 0;
			check_case(&c, c.data == NONE && c.action == TRIGGER ? check_teardown
									     : check_refused);
		}
		seen++;
	}
	assert_int_equal(seen, VFIO_PCI_NUM_IRQS * 3 * 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_matrix, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
