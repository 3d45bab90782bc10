/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Interrupts of every kind, for the tests that use and abuse them. */
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include "unit.h"
#include "vfio/irq.h"

enum {
	NONE = VFIO_IRQ_SET_DATA_NONE,
	BOOL = VFIO_IRQ_SET_DATA_BOOL,
	EVENTFD = VFIO_IRQ_SET_DATA_EVENTFD,
	MASK = VFIO_IRQ_SET_ACTION_MASK,
	UNMASK = VFIO_IRQ_SET_ACTION_UNMASK,
	TRIGGER = VFIO_IRQ_SET_ACTION_TRIGGER,

	INTX = VFIO_PCI_INTX_IRQ_INDEX,
	MSI = VFIO_PCI_MSI_IRQ_INDEX,
	MSIX = VFIO_PCI_MSIX_IRQ_INDEX,
	ERR = VFIO_PCI_ERR_IRQ_INDEX,
	REQ = VFIO_PCI_REQ_IRQ_INDEX,

	VECTORS = 4,
};

static struct vfio_irqs irqs;

static inline int setup(void **state)
{
	vfio_irqs_init(&irqs);
	return vfio_irqs_offer(&irqs, INTX, 1) || vfio_irqs_offer(&irqs, MSI, VECTORS) ||
	       vfio_irqs_offer(&irqs, MSIX, VECTORS) || vfio_irqs_offer(&irqs, ERR, 1) ||
	       vfio_irqs_offer(&irqs, REQ, 1);
}

static inline int teardown(void **state)
{
	vfio_irqs_done(&irqs);
	return 0;
}

static inline int set(uint32_t flags, uint32_t index, uint32_t start, uint32_t count)
{
	return vfio_irqs_set(&irqs, flags, index, start, count, NULL, 0, NULL, 0);
}

/* Binds a new eventfd, whose other end (the same counter) is returned. */
static inline int bind(uint32_t index, uint32_t vector)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), theirs = dup(fd);

	assert_int_equal(
		vfio_irqs_set(&irqs, EVENTFD | TRIGGER, index, vector, 1, NULL, 0, &theirs, 1), 0);
	assert_int_equal(theirs, -1);
	return fd;
}

/* The number of signals since the last look. */
static inline uint64_t signals(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}
