/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * SET_IRQS. A trigger from the client is VFIO's loop-back test, so that eventfds
 * can be seen to work on a device that we know nothing of.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "check.h"
#include "vfio/device.h"

static const char clause[] = "linux/vfio.h: VFIO_DEVICE_SET_IRQS";
static const char user_clause[] = "vfio-user: VFIO_USER_DEVICE_SET_IRQS";

enum {
	NONE = VFIO_IRQ_SET_DATA_NONE,
	BOOL = VFIO_IRQ_SET_DATA_BOOL,
	EVENTFD = VFIO_IRQ_SET_DATA_EVENTFD,
	MASK = VFIO_IRQ_SET_ACTION_MASK,
	UNMASK = VFIO_IRQ_SET_ACTION_UNMASK,
	TRIGGER = VFIO_IRQ_SET_ACTION_TRIGGER,
};

static int set(struct check_run *t, uint32_t flags, uint32_t index, uint32_t start, uint32_t count)
{
	return t->dev->ops->set_irqs(t->dev, flags, index, start, count, NULL, 0, NULL, 0);
}

static int set_bools(struct check_run *t, uint32_t flags, uint32_t index, uint32_t start,
		     uint32_t count, const uint8_t *bools, size_t n)
{
	return t->dev->ops->set_irqs(t->dev, flags, index, start, count, bools, n, NULL, 0);
}

static int set_fds(struct check_run *t, uint32_t flags, uint32_t index, uint32_t start,
		   uint32_t count, const int *fds, size_t n)
{
	return t->dev->ops->set_irqs(t->dev, flags, index, start, count, NULL, 0, fds, n);
}

static void bind_fd(struct check_run *t, uint32_t index, uint32_t vector, int fd)
{
	check_ok(t, set_fds(t, EVENTFD | TRIGGER, index, vector, 1, &fd, 1), "an eventfd for %s %u",
		 vfio_irq_name(index), vector);
}

/* The next index after `index` whose vectors can be signalled. */
static bool next_index(struct check_run *t, uint32_t *index)
{
	while (++*index < t->facts->n_irqs && *index < VFIO_PCI_NUM_IRQS)
		if (t->facts->irqs[*index].count &&
		    t->facts->irqs[*index].flags & VFIO_IRQ_INFO_EVENTFD)
			return true;
	return false;
}

#define FOR_EACH_INDEX(t, index) for (uint32_t index = UINT32_MAX; next_index(t, &index);)

static void expect_signal(struct check_run *t, int fd, uint64_t times, uint32_t index,
			  const char *what)
{
	uint64_t n = check_signalled(t, fd, times > 0);

	EXPECT(t, n == times, "%s: the eventfd was signalled %llu times after %s, expected %llu",
	       vfio_irq_name(index), (unsigned long long)n, what, (unsigned long long)times);
}

static void loopback(struct check_run *t)
{
	static const uint8_t one = 1, zero = 0;

	FOR_EACH_INDEX(t, index)
	{
		int fd = check_eventfd(t);

		bind_fd(t, index, 0, fd);
		expect_signal(t, fd, 0, index, "it was bound");
		check_ok(t, set(t, NONE | TRIGGER, index, 0, 1), "%s: DATA_NONE, TRIGGER",
			 vfio_irq_name(index));
		expect_signal(t, fd, 1, index, "DATA_NONE, TRIGGER");
		check_ok(t, set_bools(t, BOOL | TRIGGER, index, 0, 1, &one, 1),
			 "%s: DATA_BOOL of 1, TRIGGER", vfio_irq_name(index));
		expect_signal(t, fd, 1, index, "DATA_BOOL of 1, TRIGGER");
		check_ok(t, set_bools(t, BOOL | TRIGGER, index, 0, 1, &zero, 1),
			 "%s: DATA_BOOL of 0, TRIGGER", vfio_irq_name(index));
		expect_signal(t, fd, 0, index, "DATA_BOOL of 0, TRIGGER");
		check_ok(t, set(t, NONE | TRIGGER, index, 0, 0), "%s: tearing down",
			 vfio_irq_name(index));
	}
}

static void teardown(struct check_run *t)
{
	FOR_EACH_INDEX(t, index)
	{
		int fd = check_eventfd(t), r;

		bind_fd(t, index, 0, fd);
		check_ok(t, set(t, NONE | TRIGGER, index, 0, 0), "%s: DATA_NONE of 0, TRIGGER",
			 vfio_irq_name(index));
		r = set(t, NONE | TRIGGER, index, 0, 1);
		check_answered(t, r, "%s: a trigger of what is torn down", vfio_irq_name(index));
		expect_signal(t, fd, 0, index, "all of it was torn down");
		bind_fd(t, index, 0, fd);
		check_ok(t, set_fds(t, EVENTFD | TRIGGER, index, 0, 1, NULL, 0),
			 "%s: DATA_EVENTFD without a descriptor", vfio_irq_name(index));
		r = set(t, NONE | TRIGGER, index, 0, 1);
		check_answered(t, r, "%s: a trigger of what has no eventfd", vfio_irq_name(index));
		expect_signal(t, fd, 0, index, "its eventfd was taken away");
	}
}

static void rebind(struct check_run *t)
{
	FOR_EACH_INDEX(t, index)
	{
		int first = check_eventfd(t), second = check_eventfd(t);

		bind_fd(t, index, 0, first);
		bind_fd(t, index, 0, second);
		check_ok(t, set(t, NONE | TRIGGER, index, 0, 1), "%s: TRIGGER",
			 vfio_irq_name(index));
		expect_signal(t, second, 1, index, "another was bound before");
		expect_signal(t, first, 0, index, "it was replaced");
	}
}

/* Vectors have eventfds of their own. */
static void vectors(struct check_run *t)
{
	bool any = false;

	FOR_EACH_INDEX(t, index)
	{
		uint32_t n = t->facts->irqs[index].count;
		uint8_t bools[16];
		int fds[16];

		if (n > t->facts->max_msg_fds)
			n = (uint32_t)t->facts->max_msg_fds;
		if (n > 16)
			n = 16;
		if (n < 2)
			continue;
		any = true;
		for (uint32_t v = 0; v < n; v++) {
			fds[v] = check_eventfd(t);
			bools[v] = v & 1;
		}
		check_ok(t, set_fds(t, EVENTFD | TRIGGER, index, 0, n, fds, n), "%s: %u eventfds",
			 vfio_irq_name(index), n);
		for (uint32_t v = 0; v < n; v++) {
			check_ok(t, set(t, NONE | TRIGGER, index, v, 1), "%s: TRIGGER of %u",
				 vfio_irq_name(index), v);
			for (uint32_t other = 0; other < n; other++)
				expect_signal(t, fds[other], other == v, index,
					      "one vector was triggered");
		}
		check_ok(t, set(t, NONE | TRIGGER, index, 0, n), "%s: TRIGGER of all",
			 vfio_irq_name(index));
		for (uint32_t v = 0; v < n; v++)
			expect_signal(t, fds[v], 1, index, "all vectors were triggered");
		check_ok(t, set_bools(t, BOOL | TRIGGER, index, 0, n, bools, n),
			 "%s: TRIGGER of every other", vfio_irq_name(index));
		for (uint32_t v = 0; v < n; v++)
			expect_signal(t, fds[v], v & 1, index, "every other was triggered");
	}
	if (!any)
		check_skip(t, "no interrupt has two vectors");
}

static void bad_ranges(struct check_run *t)
{
	int fd = check_eventfd(t);

	FOR_EACH_INDEX(t, index)
	{
		const uint32_t n = t->facts->irqs[index].count;
		const struct {
			uint32_t start, count;
		} bad[] = { { n, 1 },	       { 0, n + 1 },
			    { n - 1, 2 },      { UINT32_MAX, 1 },
			    { 0, UINT32_MAX }, { 1, UINT32_MAX },
			    { UINT32_MAX, 2 }, { 0x80000000, 0x80000000 } };

		for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
			check_errno(t, set(t, NONE | TRIGGER, index, bad[i].start, bad[i].count),
				    EINVAL, "%s has %u vectors: TRIGGER of %u from %u",
				    vfio_irq_name(index), n, bad[i].count, bad[i].start);
			check_refused(t,
				      set_fds(t, EVENTFD | TRIGGER, index, bad[i].start,
					      bad[i].count, &fd, 1),
				      EINVAL, "%s has %u vectors: an eventfd for %u from %u",
				      vfio_irq_name(index), n, bad[i].count, bad[i].start);
		}
	}
	check_in_step(t, "vectors that there are not");
}

static void bad_index(struct check_run *t)
{
	static const uint32_t bad[] = { 0x7fffffff, 0x80000000, 0xffffffff };
	int fd = check_eventfd(t);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		check_errno(t, set(t, NONE | TRIGGER, bad[i], 0, 1), EINVAL, "index %#x", bad[i]);
		check_errno(t, set_fds(t, EVENTFD | TRIGGER, bad[i], 0, 1, &fd, 1), EINVAL,
			    "an eventfd for index %#x", bad[i]);
	}
	check_errno(t, set(t, NONE | TRIGGER, t->facts->info.num_irqs, 0, 1), EINVAL, "index %u",
		    t->facts->info.num_irqs);
}

static void bad_flags(struct check_run *t)
{
	static const uint32_t bad[] = {
		0,
		NONE,
		TRIGGER,
		NONE | BOOL | TRIGGER,
		NONE | EVENTFD | TRIGGER,
		NONE | MASK | UNMASK,
		NONE | UNMASK | TRIGGER,
		NONE | TRIGGER | 1 << 6,
		NONE | TRIGGER | 1U << 31,
		0xffffffff,
	};

	FOR_EACH_INDEX(t, index)
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check_errno(t, set(t, bad[i], index, 0, 1), EINVAL, "%s: flags %#x",
			    vfio_irq_name(index), bad[i]);
	check_in_step(t, "flags that make no sense");
}

static void bad_data(struct check_run *t)
{
	int fds[2] = { check_eventfd(t), check_eventfd(t) };
	static const uint8_t bools[4] = { 1, 1, 1, 1 };

	FOR_EACH_INDEX(t, index)
	{
		const char *name = vfio_irq_name(index);

		check_refused(t, set_bools(t, BOOL | TRIGGER, index, 0, 1, NULL, 0), EINVAL,
			      "%s: DATA_BOOL without one", name);
		check_refused(t, set_fds(t, EVENTFD | TRIGGER, index, 0, 1, fds, 2), EINVAL,
			      "%s: two eventfds for one vector", name);
		check_answered(t, set_bools(t, BOOL | TRIGGER, index, 0, 1, bools, 4),
			       "%s: 4 booleans for one vector", name);
		check_answered(t, set_fds(t, NONE | TRIGGER, index, 0, 1, fds, 1),
			       "%s: a descriptor with DATA_NONE", name);
		check_refused(t, set_bools(t, BOOL | TRIGGER, index, 0, 0, NULL, 0), EINVAL,
			      "%s: DATA_BOOL of 0 vectors", name);
	}
	check_in_step(t, "data that does not fit");
}

static void argsz(struct check_run *t)
{
	struct vfio_irq_set request = { .argsz = 19, .flags = NONE | TRIGGER, .count = 0 };
	uint32_t index = UINT32_MAX;

	next_index(t, &index);
	request.index = index;
	check_refused(t,
		      link_call(&t->door->link, VFIO_USER_DEVICE_SET_IRQS, &request,
				sizeof(request), NULL, 0, 0, NULL),
		      EINVAL, "argsz 19");
	request.argsz = 4096;
	check_answered(t,
		       link_call(&t->door->link, VFIO_USER_DEVICE_SET_IRQS, &request,
				 sizeof(request), NULL, 0, 0, NULL),
		       "argsz 4096");
	check_in_step(t, "other sizes than there were");
}

static void not_an_eventfd(struct check_run *t)
{
	int ends[2], fds[3];

	EXPECT(t, pipe(ends) == 0, "internal: pipe");
	fds[0] = check_keep_fd(t, ends[0]);
	check_keep_fd(t, ends[1]);
	fds[1] = check_memfd(t, 4096);
	fds[2] = check_keep_fd(t, open("/dev/null", O_RDWR | O_CLOEXEC));
	FOR_EACH_INDEX(t, index)
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		int r = set_fds(t, EVENTFD | TRIGGER, index, 0, 1, &fds[i], 1);

		check_answered(t, r, "%s: a descriptor that is no eventfd", vfio_irq_name(index));
		ADVISE_UNLESS(t, r < 0, "%s: a pipe, a file or a device was taken as an eventfd",
			      vfio_irq_name(index));
		if (r == 0)
			check_answered(t, set(t, NONE | TRIGGER, index, 0, 1),
				       "%s: a trigger of it", vfio_irq_name(index));
	}
	check_in_step(t, "descriptors that are no eventfds");
}

/* All of DATA x ACTION: what VFIO has must work, and nothing else. */
static void matrix(struct check_run *t)
{
	static const uint8_t one = 1;

	FOR_EACH_INDEX(t, index)
	{
		bool maskable = t->facts->irqs[index].flags & VFIO_IRQ_INFO_MASKABLE;
		const char *name = vfio_irq_name(index);
		int fd = check_eventfd(t);

		bind_fd(t, index, 0, fd);
		for (uint32_t action = MASK; action <= UNMASK; action <<= 1) {
			int none = set(t, NONE | action, index, 0, 1);
			int booleans = set_bools(t, BOOL | action, index, 0, 1, &one, 1);

			if (maskable) {
				check_ok(t, none, "%s: DATA_NONE with action %#x", name, action);
				check_ok(t, booleans, "%s: DATA_BOOL with action %#x", name,
					 action);
				continue;
			}
			ADVISE_UNLESS(t, none < 0 && booleans < 0,
				      "%s is not MASKABLE, and action %#x succeeded", name, action);
			check_answered(t, none, "%s: action %#x", name, action);
			check_answered(t, booleans, "%s: action %#x", name, action);
		}
		check_answered(t, set_fds(t, EVENTFD | MASK, index, 0, 1, &fd, 1),
			       "%s: DATA_EVENTFD, MASK", name);
		if (index == VFIO_PCI_INTX_IRQ_INDEX && maskable) {
			check_ok(t, set_fds(t, EVENTFD | UNMASK, index, 0, 1, &fd, 1),
				 "%s: an eventfd for UNMASK", name);
			check_ok(t, set_fds(t, EVENTFD | UNMASK, index, 0, 1, NULL, 0),
				 "%s: none for UNMASK", name);
		}
	}
	check_in_step(t, "every combination of data and action");
}

/* A counter that is full must not stop the device. */
static void full(struct check_run *t)
{
	const uint64_t most = UINT64_MAX - 1;

	FOR_EACH_INDEX(t, index)
	{
		int fd = check_eventfd(t);

		bind_fd(t, index, 0, fd);
		EXPECT(t, write(fd, &most, sizeof(most)) == (ssize_t)sizeof(most),
		       "internal: write: %s", strerror(errno));
		fcntl(fd, F_SETFL, 0); /* so that a write to it blocks */
		check_ok(t, set(t, NONE | TRIGGER, index, 0, 1), "%s: a trigger of a full eventfd",
			 vfio_irq_name(index));
		check_in_step(t, "a full eventfd was triggered");
		fcntl(fd, F_SETFL, O_NONBLOCK);
	}
}

static void failure_changes_nothing(struct check_run *t)
{
	FOR_EACH_INDEX(t, index)
	{
		int fd = check_eventfd(t), other = check_eventfd(t);

		bind_fd(t, index, 0, fd);
		check_refused(t,
			      set_fds(t, EVENTFD | TRIGGER, index, 0, 1,
				      (const int[2]){ other, other }, 2),
			      EINVAL, "%s: two eventfds for one vector", vfio_irq_name(index));
		check_ok(t, set(t, NONE | TRIGGER, index, 0, 1), "%s: TRIGGER",
			 vfio_irq_name(index));
		expect_signal(t, fd, 1, index, "another was refused");
		expect_signal(t, other, 0, index, "it was refused");
	}
}

static void forgotten(struct check_run *t)
{
	FOR_EACH_INDEX(t, index)
	{
		int fd = check_eventfd(t);

		bind_fd(t, index, 0, fd);
		check_close(t);
		check_open(t);
		check_answered(t, set(t, NONE | TRIGGER, index, 0, 1), "%s: TRIGGER",
			       vfio_irq_name(index));
		EXPECT(t, check_signalled(t, fd, false) == 0,
		       "%s: the eventfd of a client that is gone was signalled",
		       vfio_irq_name(index));
	}
}

#define CHECK(name, what, needs, run)                                                              \
	{                                                                                          \
		"irqs." name, what, clause, NEED_IRQ | (needs), run                                \
	}

const struct check checks_irq[] = {
	CHECK("loopback", "a trigger of the client's arrives at its eventfd", 0, loopback),
	CHECK("teardown", "count 0, or no descriptor, ends that", 0, teardown),
	CHECK("rebind", "a new eventfd replaces the old one", 0, rebind),
	CHECK("vectors", "each vector has its own", 0, vectors),
	CHECK("matrix", "data and actions combine as VFIO has it", 0, matrix),
	CHECK("ranges", "vectors that there are not are refused", 0, bad_ranges),
	CHECK("index", "so are interrupts that there are not", 0, bad_index),
	CHECK("flags", "flags are one DATA and one ACTION", 0, bad_flags),
	CHECK("data", "data fits the count", 0, bad_data),
	{ "irqs.argsz", "argsz is the size of the request", user_clause, NEED_SOCKET | NEED_IRQ,
	  argsz },
	CHECK("no-eventfd", "what is no eventfd is refused", 0, not_an_eventfd),
	CHECK("full", "an eventfd that is full stops nobody", 0, full),
	CHECK("failure", "what is refused changes nothing", 0, failure_changes_nothing),
	{ "irqs.forgotten", "no eventfd outlives its client", "vfio-user: Client Disconnection",
	  NEED_IRQ, forgotten },
	{ 0 },
};
