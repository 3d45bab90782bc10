/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts that a device raises by itself: levels, masks, pending bits. */
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "selftest.h"

static const char intx_clause[] = "linux/vfio.h: VFIO_IRQ_INFO_AUTOMASKED";
static const char msi_clause[] = "PCI 3.0: 6.8.1";
static const char msix_clause[] = "PCI 3.0: 6.8.2";

enum {
	CONFIG = VFIO_PCI_CONFIG_REGION_INDEX,
	INTX = VFIO_PCI_INTX_IRQ_INDEX,
	MSI = VFIO_PCI_MSI_IRQ_INDEX,
	MSIX = VFIO_PCI_MSIX_IRQ_INDEX,
};

/* A read is answered after what came before it, and so is what it caused. */
static void expect(struct check_run *t, int fd, uint64_t times, const char *when)
{
	uint64_t n = check_signalled(t, fd, times > 0);

	EXPECT(t, n == times, "%s: the eventfd was signalled %llu times, expected %llu", when,
	       (unsigned long long)n, (unsigned long long)times);
}

static void act(struct check_run *t, uint32_t action)
{
	check_ok(t,
		 t->dev->ops->set_irqs(t->dev, VFIO_IRQ_SET_DATA_NONE | action, INTX, 0, 1, NULL, 0,
				       NULL, 0),
		 "INTx: action %#x", action);
}

static void intx(struct check_run *t)
{
	int fd;

	st_bind(t, INTX, &fd, 1);
	st_put(t, SELFTEST_INTX, 1);
	expect(t, fd, 1, "INTx was asserted");
	st_put(t, SELFTEST_INTX, 1);
	expect(t, fd, 0, "INTx was asserted again");
	act(t, VFIO_IRQ_SET_ACTION_UNMASK);
	expect(t, fd, 1, "INTx was unmasked while it is asserted");
	st_put(t, SELFTEST_INTX, 0);
	act(t, VFIO_IRQ_SET_ACTION_UNMASK);
	expect(t, fd, 0, "INTx was unmasked while it is not asserted");
	st_put(t, SELFTEST_INTX, 1);
	expect(t, fd, 1, "INTx was asserted a second time");
	st_put(t, SELFTEST_INTX, 0);
	st_put(t, SELFTEST_INTX, 1);
	expect(t, fd, 0, "INTx was asserted while it is masked by itself");
}

static void intx_mask(struct check_run *t)
{
	int fd;

	st_bind(t, INTX, &fd, 1);
	act(t, VFIO_IRQ_SET_ACTION_MASK);
	st_put(t, SELFTEST_INTX, 1);
	expect(t, fd, 0, "INTx was asserted while it is masked");
	act(t, VFIO_IRQ_SET_ACTION_UNMASK);
	expect(t, fd, 1, "it was unmasked after that");
	st_put(t, SELFTEST_INTX, 0);
	act(t, VFIO_IRQ_SET_ACTION_UNMASK);
	expect(t, fd, 0, "it was unmasked and deasserted");
}

/* How QEMU's KVM irqfd does it: no message on the way. */
static void intx_unmask_fd(struct check_run *t)
{
	int fd, unmask = check_eventfd(t);

	st_bind(t, INTX, &fd, 1);
	check_ok(t,
		 t->dev->ops->set_irqs(t->dev,
				       VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK, INTX,
				       0, 1, NULL, 0, &unmask, 1),
		 "INTx: an eventfd to unmask");
	st_put(t, SELFTEST_INTX, 1);
	expect(t, fd, 1, "INTx was asserted");
	for (int i = 0; i < 3; i++) {
		EXPECT(t, eventfd_write(unmask, 1) == 0, "internal: eventfd_write");
		expect(t, fd, 1, "the eventfd to unmask was signalled while INTx is asserted");
	}
	st_put(t, SELFTEST_INTX, 0);
}

static void intx_disable(struct check_run *t)
{
	int fd;

	st_bind(t, INTX, &fd, 1);
	check_write(t, CONFIG, PCI_COMMAND, 2, PCI_COMMAND_INTX_DISABLE);
	st_put(t, SELFTEST_INTX, 1);
	EXPECT(t, check_read(t, CONFIG, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT,
	       "the status register does not show an interrupt that is disabled");
	expect(t, fd, 0, "INTx was asserted while it is disabled");
	check_write(t, CONFIG, PCI_COMMAND, 2, 0);
	expect(t, fd, 1, "it was enabled again");
	st_put(t, SELFTEST_INTX, 0);
	EXPECT(t, !(check_read(t, CONFIG, PCI_STATUS, 2) & PCI_STATUS_INTERRUPT),
	       "the status register shows an interrupt that there is not");
}

static void intx_reset(struct check_run *t)
{
	int fd;

	st_bind(t, INTX, &fd, 1);
	st_put(t, SELFTEST_INTX, 1);
	expect(t, fd, 1, "INTx was asserted");
	check_ok(t, t->dev->ops->reset(t->dev), "DEVICE_RESET");
	act(t, VFIO_IRQ_SET_ACTION_UNMASK);
	expect(t, fd, 0, "INTx was unmasked after a reset");
	st_put(t, SELFTEST_INTX, 1);
	expect(t, fd, 1, "INTx was asserted after a reset");
}

/* Before anybody listens: whoever does finds the line up. */
static void intx_early(struct check_run *t)
{
	int fd;

	st_put(t, SELFTEST_INTX, 1);
	st_bind(t, INTX, &fd, 1);
	expect(t, fd, 1, "an eventfd was bound while INTx is asserted");
}

/*
 * MSI
 */

static uint16_t msi_enable(struct check_run *t)
{
	uint16_t at = pci_config_find(&t->facts->config, PCI_CAP_ID_MSI);
	uint16_t flags = get_le16(t->facts->config.bytes + at + PCI_MSI_FLAGS);

	st_bus_master(t, true);
	check_write(t, CONFIG, at + PCI_MSI_FLAGS, 2,
		    flags | PCI_MSI_FLAGS_ENABLE | (flags & PCI_MSI_FLAGS_QMASK) << 3);
	return at;
}

static void msi(struct check_run *t)
{
	uint32_t n = t->facts->irqs[MSI].count;
	int fds[32];

	msi_enable(t);
	st_bind(t, MSI, fds, n);
	for (uint32_t v = 0; v < n; v++) {
		st_put(t, SELFTEST_MSI, v);
		st_put(t, SELFTEST_MSI, v);
		for (uint32_t other = 0; other < n; other++)
			expect(t, fds[other], other == v ? 2 : 0, "an MSI was raised twice");
	}
	st_put(t, SELFTEST_MSI, n);
	st_put(t, SELFTEST_MSI, UINT32_MAX);
	for (uint32_t v = 0; v < n; v++)
		expect(t, fds[v], 0, "an MSI that there is not was raised");
}

static void msi_mask(struct check_run *t)
{
	uint32_t n = t->facts->irqs[MSI].count;
	uint64_t mask = (uint64_t)msi_enable(t) + PCI_MSI_MASK_64, pending = mask + 4;
	int fds[32];

	st_bind(t, MSI, fds, n);
	for (uint32_t v = 0; v < n; v++) {
		check_write(t, CONFIG, mask, 4, 1U << v);
		st_put(t, SELFTEST_MSI, v);
		st_put(t, SELFTEST_MSI, v);
		expect(t, fds[v], 0, "an MSI was raised while it is masked");
		EXPECT(t, check_read(t, CONFIG, pending, 4) == 1U << v,
		       "MSI %u was raised while it is masked: the pending bits are %#llx", v,
		       (unsigned long long)check_read(t, CONFIG, pending, 4));
		check_write(t, CONFIG, mask, 4, 0);
		expect(t, fds[v], 1, "a pending MSI was unmasked");
		EXPECT(t, check_read(t, CONFIG, pending, 4) == 0,
		       "MSI %u was delivered, and is pending", v);
	}
}

/*
 * MSI-X
 */

static uint16_t msix_enable(struct check_run *t, uint16_t more)
{
	uint16_t at = pci_config_find(&t->facts->config, PCI_CAP_ID_MSIX);

	st_bus_master(t, true);
	check_write(t, CONFIG, at + PCI_MSIX_FLAGS, 2, PCI_MSIX_FLAGS_ENABLE | more);
	return at;
}

static void msix_entry(struct check_run *t, uint32_t vector, bool masked)
{
	uint64_t at = vector * 16ULL;

	check_write(t, SELFTEST_BAR_MSIX, at, 4, 0xfee00000);
	check_write(t, SELFTEST_BAR_MSIX, at + 4, 4, 0);
	check_write(t, SELFTEST_BAR_MSIX, at + 8, 4, 0x4000 + vector);
	check_write(t, SELFTEST_BAR_MSIX, at + 12, 4, masked);
}

static bool msix_pending(struct check_run *t, uint32_t vector)
{
	uint64_t at = SELFTEST_MSIX_PBA + vector / 32 * 4ULL;

	return check_read(t, SELFTEST_BAR_MSIX, at, 4) >> (vector % 32) & 1;
}

static uint32_t msix_vectors(struct check_run *t)
{
	uint32_t n = t->facts->irqs[MSIX].count;

	return n < 64 ? n : 64;
}

static void msix(struct check_run *t)
{
	uint32_t n = msix_vectors(t);
	int fds[64];

	msix_enable(t, 0);
	st_bind(t, MSIX, fds, n);
	for (uint32_t v = 0; v < n; v++)
		msix_entry(t, v, false);
	for (uint32_t v = 0; v < n; v++) {
		st_put(t, SELFTEST_MSIX, v);
		for (uint32_t other = 0; other < n; other++)
			expect(t, fds[other], other == v, "an MSI-X vector was raised");
		EXPECT(t, !msix_pending(t, v), "MSI-X %u was delivered, and is pending", v);
	}
	st_put(t, SELFTEST_MSIX, t->facts->irqs[MSIX].count);
	st_put(t, SELFTEST_MSIX, UINT32_MAX);
	for (uint32_t v = 0; v < n; v++)
		expect(t, fds[v], 0, "an MSI-X vector that there is not was raised");
}

static void msix_mask(struct check_run *t)
{
	uint32_t n = msix_vectors(t);
	int fds[64];

	msix_enable(t, 0);
	st_bind(t, MSIX, fds, n);
	for (uint32_t v = 0; v < n; v++) {
		msix_entry(t, v, true);
		st_put(t, SELFTEST_MSIX, v);
		expect(t, fds[v], 0, "an MSI-X vector was raised while it is masked");
		EXPECT(t, msix_pending(t, v),
		       "MSI-X %u was raised while it is masked, and the PBA "
		       "does not show it",
		       v);
		check_write(t, SELFTEST_BAR_MSIX, v * 16ULL + 12, 4, 0);
		expect(t, fds[v], 1, "a pending MSI-X vector was unmasked");
		EXPECT(t, !msix_pending(t, v), "MSI-X %u was delivered, and is pending", v);
	}
}

static void msix_function_mask(struct check_run *t)
{
	uint32_t n = msix_vectors(t);
	int fds[64];

	st_bind(t, MSIX, fds, n);
	msix_enable(t, PCI_MSIX_FLAGS_MASKALL);
	for (uint32_t v = 0; v < n; v++) {
		msix_entry(t, v, false);
		st_put(t, SELFTEST_MSIX, v);
		expect(t, fds[v], 0, "an MSI-X vector was raised while all are masked");
		EXPECT(t, msix_pending(t, v), "MSI-X %u: the PBA does not show it", v);
	}
	msix_enable(t, 0);
	for (uint32_t v = 0; v < n; v++) {
		expect(t, fds[v], 1, "all MSI-X vectors were unmasked");
		EXPECT(t, !msix_pending(t, v), "MSI-X %u was delivered, and is pending", v);
	}
}

/* A message is a write to memory. Vector 0 of an index, raised by reg. */
static void waits_for_master(struct check_run *t, uint32_t index, uint64_t reg)
{
	int fd;

	st_bind(t, index, &fd, 1);
	st_bus_master(t, false);
	st_put(t, reg, 0);
	st_put(t, reg, 0);
	expect(t, fd, 0, "a vector was raised while the function is no bus master");
	st_bus_master(t, true);
	expect(t, fd, 1, "the function became a bus master again");
}

static void msi_master(struct check_run *t)
{
	msi_enable(t);
	waits_for_master(t, MSI, SELFTEST_MSI);
}

static void msix_master(struct check_run *t)
{
	msix_enable(t, 0);
	msix_entry(t, 0, false);
	waits_for_master(t, MSIX, SELFTEST_MSIX);
}

static void msix_table(struct check_run *t)
{
	uint32_t n = t->facts->irqs[MSIX].count;

	for (uint32_t v = 0; v < n; v += 7) {
		uint64_t at = v * 16ULL;

		EXPECT(t, check_read(t, SELFTEST_BAR_MSIX, at + 12, 4) & 1,
		       "MSI-X %u is not masked at power-on", v);
		msix_entry(t, v, false);
		EXPECT(t,
		       check_read(t, SELFTEST_BAR_MSIX, at, 8) == 0xfee00000 &&
			       check_read(t, SELFTEST_BAR_MSIX, at + 8, 8) == 0x4000 + v,
		       "MSI-X %u: the entry does not hold what was written", v);
		msix_entry(t, v, true);
	}
	check_write(t, SELFTEST_BAR_MSIX, SELFTEST_MSIX_PBA, 4, 0xffffffff);
	EXPECT(t, check_read(t, SELFTEST_BAR_MSIX, SELFTEST_MSIX_PBA, 4) == 0,
	       "MSI-X: the PBA can be written");
}

static void err_and_req(struct check_run *t)
{
	int err, req;

	st_bind(t, VFIO_PCI_ERR_IRQ_INDEX, &err, 1);
	st_bind(t, VFIO_PCI_REQ_IRQ_INDEX, &req, 1);
	st_put(t, SELFTEST_ERR, 0);
	expect(t, err, 1, "ERR was raised");
	expect(t, req, 0, "ERR was raised");
	st_put(t, SELFTEST_REQ, 0);
	expect(t, err, 0, "REQ was raised");
	expect(t, req, 1, "REQ was raised");
}

/* What KVM's irqfd leaves unread, or a VMM that is slow. */
static void full(struct check_run *t)
{
	int fd;

	st_bind(t, MSI, &fd, 1);
	msi_enable(t);
	EXPECT(t, eventfd_write(fd, UINT64_MAX - 1) == 0, "internal: eventfd_write");
	for (int i = 0; i < 3; i++)
		st_put(t, SELFTEST_MSI, 0);
	check_in_step(t, "a vector was raised whose eventfd is full");
	check_signalled(t, fd, false);
	st_put(t, SELFTEST_MSI, 0);
	expect(t, fd, 1, "a vector was raised whose eventfd was full before");
}

#define CHECK(name, what, clause, needs, run)                                                      \
	{                                                                                          \
		"selftest." name, what, clause, NEED_SELFTEST | (needs), run                       \
	}

const struct check checks_selftest_irq[] = {
	CHECK("intx", "INTx is a level that masks itself", intx_clause, NEED_INTX, intx),
	CHECK("intx-mask", "masked, it waits", "linux/vfio.h: VFIO_IRQ_SET_ACTION_MASK", NEED_INTX,
	      intx_mask),
	CHECK("intx-unmask-fd", "an eventfd unmasks it", "linux/vfio.h: VFIO_IRQ_SET_ACTION_UNMASK",
	      NEED_INTX, intx_unmask_fd),
	CHECK("intx-disable", "so does the command register", "PCI 3.0: 6.2.2", NEED_INTX,
	      intx_disable),
	CHECK("intx-reset", "a reset takes it down", "linux/vfio.h: VFIO_DEVICE_RESET",
	      NEED_INTX | NEED_RESET, intx_reset),
	CHECK("intx-early", "who comes later finds it up", intx_clause, NEED_INTX, intx_early),
	CHECK("msi", "each MSI arrives at its eventfd", msi_clause, NEED_MSI, msi),
	CHECK("msi-mask", "masked, it is pending", msi_clause, NEED_MSI, msi_mask),
	CHECK("msi-master", "it waits for bus mastering", "PCI 3.0: 6.2.2", NEED_MSI, msi_master),
	CHECK("msix", "each MSI-X vector arrives at its eventfd", msix_clause, NEED_MSIX, msix),
	CHECK("msix-mask", "masked, it is pending in the PBA", msix_clause, NEED_MSIX, msix_mask),
	CHECK("msix-mask-all", "so are all, masked at once", msix_clause, NEED_MSIX,
	      msix_function_mask),
	CHECK("msix-master", "it waits for bus mastering", "PCI 3.0: 6.2.2", NEED_MSIX,
	      msix_master),
	CHECK("msix-table", "the table holds entries, masked at first", msix_clause, NEED_MSIX,
	      msix_table),
	CHECK("err-req", "ERR and REQ arrive", "linux/vfio.h: VFIO_PCI_ERR_IRQ_INDEX", NEED_IRQ,
	      err_and_req),
	CHECK("irq-full", "an eventfd that is full stops nobody",
	      "linux/vfio.h: VFIO_DEVICE_SET_IRQS", NEED_MSI, full),
	{ 0 },
};
