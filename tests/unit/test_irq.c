/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vfio/irq.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "irq_fixture.h"
#include "unit.h"

static int set_bools(uint32_t flags, uint32_t index, uint32_t start, uint32_t count,
		     const char *bools, size_t n)
{
	return vfio_irqs_set(&irqs, flags, index, start, count, (const uint8_t *)bools, n, NULL, 0);
}

/* VFIO's own flags for each index: drivers/vfio/pci, vfio_pci_ioctl_get_irq_info(). */
static void info_says_what_vfio_says(void **state)
{
	struct vfio_irq_info info;

	assert_int_equal(vfio_irqs_fill_info(&irqs, INTX, &info), 0);
	assert_int_equal(info.argsz, 16);
	assert_int_equal(info.count, 1);
	assert_int_equal(info.flags,
			 VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED);
	assert_int_equal(vfio_irqs_fill_info(&irqs, MSI, &info), 0);
	assert_int_equal(info.count, VECTORS);
	assert_int_equal(info.flags, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE);
	assert_int_equal(vfio_irqs_fill_info(&irqs, MSIX, &info), 0);
	assert_int_equal(info.index, MSIX);
	assert_int_equal(info.flags, VFIO_IRQ_INFO_EVENTFD);
	for (uint32_t i = ERR; i <= REQ; i++) {
		assert_int_equal(vfio_irqs_fill_info(&irqs, i, &info), 0);
		assert_int_equal(info.count, 1);
		assert_int_equal(info.flags, VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE);
	}
	assert_int_equal(vfio_irqs_fill_info(&irqs, VFIO_PCI_NUM_IRQS, &info), -EINVAL);
	assert_int_equal(vfio_irqs_fill_info(&irqs, UINT32_MAX, &info), -EINVAL);

	assert_string_equal(vfio_irq_name(INTX), "INTx");
	assert_null(vfio_irq_name(VFIO_PCI_NUM_IRQS));

	/* What is not offered has a count of 0, not an error. */
	vfio_irqs_done(&irqs);
	assert_int_equal(vfio_irqs_fill_info(&irqs, MSIX, &info), 0);
	assert_int_equal(info.index, MSIX);
	assert_int_equal(info.count | info.flags, 0);
}

static void offers_are_checked(void **state)
{
	assert_int_equal(vfio_irqs_offer(&irqs, INTX, 1), -EINVAL); /* twice */
	vfio_irqs_done(&irqs);
	assert_int_equal(vfio_irqs_offer(&irqs, MSIX, 0), -EINVAL);
	assert_int_equal(vfio_irqs_offer(&irqs, MSIX, 2049), -EINVAL);
	assert_int_equal(vfio_irqs_offer(&irqs, VFIO_PCI_NUM_IRQS, 1), -EINVAL);
	assert_int_equal(vfio_irqs_offer(&irqs, MSIX, 2048), 0);
}

static void msi_signals_its_vector(void **state)
{
	int fds[VECTORS];

	for (uint32_t i = 0; i < VECTORS; i++)
		fds[i] = bind(MSI, i);
	assert_int_equal(irqs.index[MSI].bound, VECTORS);
	vfio_irq_trigger(&irqs, MSI, 2);
	vfio_irq_trigger(&irqs, MSI, 2);
	vfio_irq_trigger(&irqs, MSI, VECTORS); /* a device's mistake goes nowhere */
	assert_int_equal(signals(fds[2]), 2);
	assert_int_equal(signals(fds[0]) + signals(fds[1]) + signals(fds[3]), 0);
	assert_int_equal(irqs.index[MSI].triggered, 2);

	/* Binding over a bound vector replaces it. */
	close(fds[2]);
	fds[2] = bind(MSI, 2);
	assert_int_equal(irqs.index[MSI].bound, VECTORS);
	vfio_irq_trigger(&irqs, MSI, 2);
	assert_int_equal(signals(fds[2]), 1);

	/* No descriptors: these are unbound, the others stay. */
	assert_int_equal(set(EVENTFD | TRIGGER, MSI, 1, 2), 0);
	assert_int_equal(irqs.index[MSI].bound, 2);
	vfio_irq_trigger(&irqs, MSI, 1);
	vfio_irq_trigger(&irqs, MSI, 3);
	assert_int_equal(signals(fds[1]), 0);
	assert_int_equal(signals(fds[3]), 1);

	assert_int_equal(set(NONE | TRIGGER, MSI, 0, 0), 0);
	assert_int_equal(irqs.index[MSI].bound, 0);
	vfio_irq_trigger(&irqs, MSI, 3);
	assert_int_equal(signals(fds[3]), 0);
	close_fds(fds, VECTORS);
}

static void the_client_can_trigger(void **state)
{
	int a = bind(MSI, 0), b = bind(MSI, 1);

	assert_int_equal(set(NONE | TRIGGER, MSI, 0, 2), 0);
	assert_int_equal(signals(a), 1);
	assert_int_equal(signals(b), 1);
	assert_int_equal(set_bools(BOOL | TRIGGER, MSI, 0, 2, "\0\1", 2), 0);
	assert_int_equal(signals(a), 0);
	assert_int_equal(signals(b), 1);
	assert_int_equal(set(NONE | TRIGGER, MSI, 2, 2), 0); /* not bound */
	close(a);
	close(b);
}

static void intx_is_level_triggered_and_masks_itself(void **state)
{
	int fd = bind(INTX, 0);

	vfio_intx_set_level(&irqs, true);
	vfio_intx_set_level(&irqs, true);
	assert_int_equal(signals(fd), 1);
	/* Falls and rises while masked: nothing until the client unmasks. */
	vfio_intx_set_level(&irqs, false);
	vfio_intx_set_level(&irqs, true);
	assert_int_equal(signals(fd), 0);
	assert_int_equal(set(NONE | UNMASK, INTX, 0, 1), 0);
	assert_int_equal(signals(fd), 1);
	/* Down when unmasked: quiet, and armed again. */
	vfio_intx_set_level(&irqs, false);
	assert_int_equal(set(NONE | UNMASK, INTX, 0, 1), 0);
	assert_int_equal(signals(fd), 0);
	vfio_intx_set_level(&irqs, true);
	assert_int_equal(signals(fd), 1);
	close(fd);
}

static void intx_can_be_masked(void **state)
{
	int fd = bind(INTX, 0);

	assert_int_equal(set_bools(BOOL | MASK, INTX, 0, 1, "\1", 1), 0);
	vfio_intx_set_level(&irqs, true);
	assert_int_equal(signals(fd), 0);
	assert_int_equal(set_bools(BOOL | UNMASK, INTX, 0, 1, "\0", 1), 0);
	assert_int_equal(signals(fd), 0);
	assert_int_equal(set_bools(BOOL | UNMASK, INTX, 0, 1, "\1", 1), 0);
	assert_int_equal(signals(fd), 1);
	close(fd);
}

/* QEMU asserts nothing here, but a device may before its driver has set INTx up. */
static void intx_raised_before_it_is_bound_is_delivered(void **state)
{
	int fd;

	vfio_intx_set_level(&irqs, true);
	fd = bind(INTX, 0);
	assert_int_equal(signals(fd), 1);
	/* And only once: binding again does not repeat what is in service. */
	close(fd);
	fd = bind(INTX, 0);
	assert_int_equal(signals(fd), 0);
	close(fd);
}

static void intx_disabled_and_enabled_again_is_delivered(void **state)
{
	int fd = bind(INTX, 0);

	vfio_intx_set_level(&irqs, true);
	assert_int_equal(signals(fd), 1);
	assert_int_equal(set(NONE | TRIGGER, INTX, 0, 0), 0);
	close(fd);
	fd = bind(INTX, 0);
	assert_int_equal(signals(fd), 1);
	close(fd);
}

static void intx_is_unmasked_by_an_eventfd(void **state)
{
	const uint64_t one = 1;
	int fd = bind(INTX, 0), unmask = eventfd(0, EFD_CLOEXEC), theirs = dup(unmask);

	assert_int_equal(vfio_irqs_set(&irqs, EVENTFD | UNMASK, INTX, 0, 1, NULL, 0, &theirs, 1),
			 0);
	assert_int_equal(theirs, -1);
	assert_true(irqs.index[INTX].unmask_fd >= 0);

	vfio_intx_set_level(&irqs, true);
	assert_int_equal(signals(fd), 1);
	vfio_intx_unmask_event(&irqs); /* nothing there: must not block */
	assert_int_equal(signals(fd), 0);
	assert_int_equal(write(unmask, &one, sizeof(one)), sizeof(one));
	vfio_intx_unmask_event(&irqs);
	assert_int_equal(signals(fd), 1);

	assert_int_equal(set(EVENTFD | UNMASK, INTX, 0, 1), 0);
	assert_int_equal(irqs.index[INTX].unmask_fd, -1);
	vfio_intx_unmask_event(&irqs);
	close(fd);
	close(unmask);
}

static int bind_unmask(int fd)
{
	return vfio_irqs_set(&irqs, EVENTFD | UNMASK, INTX, 0, 1, NULL, 0, &fd, 1);
}

/* The door calls us as long as it is readable: it may not stay so without the client's doing. */
static void what_never_runs_empty_does_not_unmask(void **state)
{
	const struct itimerspec ticking = { { 0, 1 }, { 0, 1 } };
	int timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), many, few;
	const uint64_t full = UINT64_MAX - 1;

	assert_int_equal(timerfd_settime(timer, 0, &ticking, NULL), 0);
	assert_int_equal(bind_unmask(timer), -EBADF);
	close(timer);

	many = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	assert_int_equal(bind_unmask(dup(many)), 0);
	assert_int_equal(write(many, &full, sizeof(full)), sizeof(full));
	for (unsigned int i = 0; i < 100; i++)
		vfio_intx_unmask_event(&irqs);
	assert_int_equal(irqs.index[INTX].unmask_fd, -1);
	close(many);

	few = eventfd(0, EFD_CLOEXEC | EFD_SEMAPHORE);
	assert_int_equal(bind_unmask(dup(few)), 0);
	for (uint64_t n = 3; n; n--) {
		assert_int_equal(write(few, &n, sizeof(n)), sizeof(n));
		vfio_intx_unmask_event(&irqs);
		assert_int_equal(poll(&(struct pollfd){ few, POLLIN, 0 }, 1, 0), 0);
	}
	assert_true(irqs.index[INTX].unmask_fd >= 0);
	close(few);
}

static void invalid_combinations_change_nothing(void **state)
{
	static const struct {
		uint32_t flags, index, start, count;
		size_t n_bools;
	} bad[] = {
		{ NONE | TRIGGER, VFIO_PCI_NUM_IRQS, 0, 0, 0 },
		{ NONE | TRIGGER, UINT32_MAX, 0, 0, 0 },
		/* Not exactly one of each kind of flag. */
		{ 0, MSI, 0, 1, 0 },
		{ NONE, MSI, 0, 1, 0 },
		{ TRIGGER, MSI, 0, 1, 0 },
		{ NONE | BOOL | TRIGGER, MSI, 0, 1, 1 },
		{ NONE | MASK | UNMASK, INTX, 0, 1, 0 },
		{ NONE | TRIGGER | 1U << 6, MSI, 0, 1, 0 },
		/* Ranges. */
		{ NONE | TRIGGER, MSI, 0, VECTORS + 1, 0 },
		{ NONE | TRIGGER, MSI, VECTORS, 1, 0 },
		{ NONE | TRIGGER, MSI, 1, UINT32_MAX, 0 },
		{ NONE | TRIGGER, MSI, UINT32_MAX, 2, 0 },
		{ NONE | TRIGGER, MSIX, VECTORS, 1, 0 },
		/* Data that does not fit the count. */
		{ BOOL | TRIGGER, MSI, 0, 2, 1 },
		{ BOOL | TRIGGER, MSI, 0, 1, 2 },
		{ BOOL | TRIGGER, MSI, 0, 0, 0 },
		{ NONE | TRIGGER, MSI, 0, 1, 1 },
		{ EVENTFD | TRIGGER, MSI, 0, 1, 1 },
		{ EVENTFD | TRIGGER, MSI, 0, 0, 0 },
		{ NONE | MASK, INTX, 0, 0, 0 },
		/* MSI is not MASKABLE; nobody signals a mask by eventfd. */
		{ NONE | MASK, MSI, 0, 1, 0 },
		{ NONE | UNMASK, MSI, 0, 1, 0 },
		{ EVENTFD | UNMASK, MSI, 0, 1, 0 },
		{ EVENTFD | MASK, INTX, 0, 1, 0 },
	};
	int fd = bind(MSI, 0), intx = bind(INTX, 0);

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
		int r = set_bools(bad[i].flags, bad[i].index, bad[i].start, bad[i].count, "\1\1\1",
				  bad[i].n_bools);

		if (r != -EINVAL)
			fail_msg("combination %zu: %d", i, r);
	}
	assert_int_equal(irqs.index[MSI].bound, 1);
	assert_int_equal(irqs.index[INTX].bound, 1);
	assert_int_equal(signals(fd) + signals(intx), 0);
	vfio_intx_set_level(&irqs, true);
	assert_int_equal(signals(intx), 1);
	close(fd);
	close(intx);
}

/* BOOL picks; a descriptor of -1 among others leaves its vector without one. */
static void entries_are_taken_one_by_one(void **state)
{
	int theirs[VECTORS], ends[VECTORS];

	for (uint32_t v = 0; v < VECTORS; v++)
		ends[v] = bind(MSIX, v);
	assert_int_equal(set_bools(BOOL | TRIGGER, MSIX, 1, 3, "\1\0\xff", 3), 0);
	assert_int_equal(signals(ends[0]), 0);
	assert_int_equal(signals(ends[1]), 1);
	assert_int_equal(signals(ends[2]), 0);
	assert_int_equal(signals(ends[3]), 1);

	for (uint32_t v = 0; v < VECTORS; v++)
		theirs[v] = v % 2 ? -1 : dup(ends[v]);
	assert_int_equal(
		vfio_irqs_set(&irqs, EVENTFD | TRIGGER, MSIX, 0, VECTORS, NULL, 0, theirs, VECTORS),
		0);
	assert_int_equal(irqs.index[MSIX].bound, VECTORS / 2);
	for (uint32_t v = 0; v < VECTORS; v++) {
		vfio_irq_trigger(&irqs, MSIX, v);
		assert_int_equal(signals(ends[v]), v % 2 ? 0 : 1);
	}
	theirs[0] = -1;
	assert_int_equal(vfio_irqs_set(&irqs, EVENTFD | UNMASK, INTX, 0, 1, NULL, 0, theirs, 1), 0);
	assert_int_equal(irqs.index[INTX].unmask_fd, -1);
	close_fds(ends, VECTORS);
}

/* The loop-back test goes past masks, leaves them, and is no interrupt of the device. */
static void loop_back_ignores_masks(void **state)
{
	int intx = bind(INTX, 0), msi = bind(MSI, 0);

	assert_int_equal(set(NONE | TRIGGER, INTX, 0, 1), 0);
	assert_int_equal(set(NONE | TRIGGER, INTX, 0, 1), 0); /* has not masked itself */
	assert_int_equal(signals(intx), 2);
	assert_int_equal(set(NONE | MASK, INTX, 0, 1), 0);
	assert_int_equal(set(NONE | TRIGGER, INTX, 0, 1), 0);
	assert_int_equal(signals(intx), 1);
	assert_int_equal(set(NONE | UNMASK, INTX, 0, 1), 0);
	assert_int_equal(signals(intx), 0); /* nothing was pending */

	vfio_irq_set_mask(&irqs, MSI, 0, true);
	assert_int_equal(set(NONE | TRIGGER, MSI, 0, 1), 0);
	assert_int_equal(signals(msi), 1);
	vfio_irq_set_mask(&irqs, MSI, 0, false);
	assert_int_equal(signals(msi), 0);
	close(intx);
	close(msi);
}

/* What is not offered: ranges in it are refused; to tear nothing down succeeds. */
static void an_absent_index_has_no_vectors(void **state)
{
	vfio_irqs_done(&irqs);
	for (uint32_t index = 0; index < VFIO_PCI_NUM_IRQS; index++) {
		assert_int_equal(set(NONE | TRIGGER, index, 0, 0), 0);
		assert_int_equal(set(NONE | TRIGGER, index, 0, 1), -EINVAL);
		assert_int_equal(set(NONE | TRIGGER, index, 1, 0), -EINVAL);
		assert_int_equal(set(NONE | MASK, index, 0, 1), -EINVAL);
		assert_int_equal(set(EVENTFD | TRIGGER, index, 0, 1), -EINVAL);
	}
}

static void descriptors_are_checked(void **state)
{
	int bound = bind(MSI, 0), pipe_fds[2], fds[2];

	/* A number of descriptors that is not the count. */
	fds[0] = eventfd(0, EFD_CLOEXEC);
	fds[1] = eventfd(0, EFD_CLOEXEC);
	assert_int_equal(vfio_irqs_set(&irqs, EVENTFD | TRIGGER, MSI, 0, 3, NULL, 0, fds, 2),
			 -EINVAL);
	assert_int_equal(vfio_irqs_set(&irqs, EVENTFD | TRIGGER, MSI, 0, 1, NULL, 0, fds, 2),
			 -EINVAL);
	assert_int_equal(vfio_irqs_set(&irqs, NONE | TRIGGER, MSI, 0, 2, NULL, 0, fds, 2), -EINVAL);
	assert_true(fds[0] >= 0 && fds[1] >= 0); /* still ours */

	/* The second is no eventfd: neither is taken over, what was bound stays. */
	close(fds[1]);
	assert_int_equal(pipe(pipe_fds), 0);
	for (unsigned int i = 0; i < 2; i++) {
		fds[1] = pipe_fds[i];
		assert_int_equal(
			vfio_irqs_set(&irqs, EVENTFD | TRIGGER, MSI, 0, 2, NULL, 0, fds, 2),
			-EBADF);
	}
	fds[1] = pipe_fds[0];
	assert_int_equal(vfio_irqs_set(&irqs, EVENTFD | UNMASK, INTX, 0, 1, NULL, 0, fds + 1, 1),
			 -EBADF);
	fds[1] = open("/dev/zero", O_RDWR | O_CLOEXEC);
	assert_int_equal(vfio_irqs_set(&irqs, EVENTFD | TRIGGER, MSI, 0, 2, NULL, 0, fds, 2),
			 -EBADF);
	assert_int_equal(vfio_irqs_set(&irqs, EVENTFD | UNMASK, INTX, 0, 1, NULL, 0, fds + 1, 1),
			 -EBADF);
	assert_true(fds[0] >= 0);
	vfio_irq_trigger(&irqs, MSI, 0);
	assert_int_equal(signals(bound), 1);
	close_fds(fds, 2);
	close_fds(pipe_fds, 2);
	close(bound);
}

/* A client can leave its eventfd blocking and full; we must not hang on it. */
static void a_full_eventfd_does_not_block(void **state)
{
	const uint64_t full = UINT64_MAX - 1;

	for (unsigned int i = 0; i < 3; i++) {
		int fd = eventfd(0, EFD_CLOEXEC | (i ? EFD_NONBLOCK : 0)), theirs = dup(fd);

		assert_int_equal(write(fd, &full, sizeof(full)), sizeof(full));
		assert_int_equal(
			vfio_irqs_set(&irqs, EVENTFD | TRIGGER, MSI, 0, 1, NULL, 0, &theirs, 1), 0);
		if (i == 2) /* once we have looked, for who looks once */
			assert_int_equal(fcntl(fd, F_SETFL, 0), 0);
		vfio_irq_trigger(&irqs, MSI, 0);
		assert_int_equal(signals(fd), full);
		vfio_irq_trigger(&irqs, MSI, 0);
		assert_int_equal(signals(fd), 1);
		close(fd);
	}
}

static void a_masked_vector_is_pending(void **state)
{
	int fd = bind(MSI, 1);

	vfio_irq_set_mask(&irqs, MSI, 1, true);
	vfio_irq_trigger(&irqs, MSI, 1);
	vfio_irq_trigger(&irqs, MSI, 1);
	assert_int_equal(signals(fd), 0);
	vfio_irq_set_mask(&irqs, MSI, 1, false);
	assert_int_equal(signals(fd), 1);
	vfio_irq_set_mask(&irqs, MSI, 1, false);
	assert_int_equal(signals(fd), 0);
	vfio_irq_set_mask(&irqs, MSI, VECTORS, true);
	close(fd);
}

/*
 * The mask bits of MSI are the guest's, in config space. A client that unbinds
 * and binds again (a guest that turns MSI off and on) has not touched them.
 */
static void the_devices_masks_outlive_a_binding(void **state)
{
	int fd = bind(MSI, 1);

	vfio_irq_set_mask(&irqs, MSI, 1, true);
	vfio_irq_trigger(&irqs, MSI, 1);
	assert_int_equal(set(NONE | TRIGGER, MSI, 0, 0), 0);
	close(fd);
	fd = bind(MSI, 1);
	vfio_irq_trigger(&irqs, MSI, 1);
	assert_int_equal(signals(fd), 0);
	vfio_irq_set_mask(&irqs, MSI, 1, false);
	assert_int_equal(signals(fd), 1);
	close(fd);
}

static void reset_forgets_all_but_the_bindings(void **state)
{
	int msi = bind(MSI, 0), intx = bind(INTX, 0);

	vfio_irq_set_mask(&irqs, MSI, 0, true);
	vfio_irq_trigger(&irqs, MSI, 0);
	vfio_intx_set_level(&irqs, true);
	assert_int_equal(signals(intx), 1);

	vfio_irqs_reset(&irqs);
	assert_int_equal(irqs.index[MSI].bound, 1);
	assert_int_equal(signals(msi), 0);
	vfio_irq_set_mask(&irqs, MSI, 0, false);
	assert_int_equal(signals(msi), 0); /* nothing is pending */
	vfio_irq_trigger(&irqs, MSI, 0);
	assert_int_equal(signals(msi), 1);
	vfio_intx_set_level(&irqs, true); /* neither asserted nor masked any more */
	assert_int_equal(signals(intx), 1);
	close(msi);
	close(intx);
}

/* A new client of a device that kept its state finds the line as the device drives it. */
static void the_line_outlives_the_client(void **state)
{
	int fd = bind(INTX, 0);

	vfio_intx_set_level(&irqs, true);
	vfio_irqs_unbind(&irqs);
	assert_int_equal(irqs.index[INTX].bound, 0);
	close(fd);
	fd = bind(INTX, 0);
	assert_int_equal(signals(fd), 1);
	close(fd);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(info_says_what_vfio_says),
		T(offers_are_checked),
		T(msi_signals_its_vector),
		T(the_client_can_trigger),
		T(intx_is_level_triggered_and_masks_itself),
		T(intx_can_be_masked),
		T(intx_raised_before_it_is_bound_is_delivered),
		T(intx_disabled_and_enabled_again_is_delivered),
		T(intx_is_unmasked_by_an_eventfd),
		T(what_never_runs_empty_does_not_unmask),
		T(invalid_combinations_change_nothing),
		T(entries_are_taken_one_by_one),
		T(loop_back_ignores_masks),
		T(an_absent_index_has_no_vectors),
		T(descriptors_are_checked),
		T(a_full_eventfd_does_not_block),
		T(a_masked_vector_is_pending),
		T(the_devices_masks_outlive_a_binding),
		T(reset_forgets_all_but_the_bindings),
		T(the_line_outlives_the_client),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
