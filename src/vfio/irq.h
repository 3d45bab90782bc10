/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The interrupts of a VFIO PCI device: per index (INTx, MSI, MSI-X, ERR, REQ)
 * a number of vectors, each bound by the client to an eventfd that we signal
 * (struct vfio_irq_info, struct vfio_irq_set, <linux/vfio.h>).
 *
 * All of it belongs to the device thread.
 */
#pragma once

#include <linux/vfio.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/counter.h"

enum { VFIO_IRQ_MAX_VECTORS = 2048 }; /* MSI-X' limit, PCI 3.0 6.8.2 */

struct vfio_irq_vector {
	int trigger_fd; /* -1: not bound */
	bool masked;
	bool pending; /* raised while masked */
};

/* One index. Zero-initialised: offers no vector. */
struct vfio_irq {
	uint32_t flags; /* VFIO_IRQ_INFO_* */
	uint32_t count; /* vectors offered */
	struct vfio_irq_vector *vectors; /* count of them */
	bool level; /* INTx: the device asserts its line */
	int unmask_fd; /* INTx: signalled by the client instead of an UNMASK; -1 if none */
	counter_t bound; /* vectors with an eventfd */
	counter_t triggered; /* eventfds signalled */
};

struct vfio_irqs {
	struct vfio_irq index[VFIO_PCI_NUM_IRQS];
};

/* "INTx", "MSI", "MSI-X", "ERR", "REQ"; NULL beyond. */
const char *vfio_irq_name(uint32_t index);

void vfio_irqs_init(struct vfio_irqs *irqs);

/*
 * Offers count vectors at an index (one of VFIO_PCI_*_IRQ_INDEX), with the
 * flags that VFIO gives it. Returns 0, -EINVAL or -ENOMEM.
 */
int vfio_irqs_offer(struct vfio_irqs *irqs, uint32_t index, uint32_t count);

/*
 * Closes every eventfd and forgets what the client had masked. What the device
 * drives (the line of INTx, its own mask bits and what they hold back) stays.
 */
void vfio_irqs_unbind(struct vfio_irqs *irqs);

/* As unbind, and offers nothing any more. */
void vfio_irqs_done(struct vfio_irqs *irqs);

/*
 * VFIO_DEVICE_RESET: nothing is asserted, pending or masked any more; the
 * client's eventfds stay bound.
 */
void vfio_irqs_reset(struct vfio_irqs *irqs);

/* Fills the answer to VFIO_DEVICE_GET_IRQ_INFO. Returns 0, or -EINVAL for a bad index. */
int vfio_irqs_fill_info(const struct vfio_irqs *irqs, uint32_t index, struct vfio_irq_info *ret);

/*
 * VFIO_DEVICE_SET_IRQS. flags holds exactly one VFIO_IRQ_SET_DATA_* and one
 * VFIO_IRQ_SET_ACTION_*.
 *
 *   DATA_NONE     acts on all of [start, start + count); with ACTION_TRIGGER
 *                 and count 0 it unbinds the whole index
 *   DATA_BOOL     bools[0..n_bools) says for which; n_bools == count
 *   DATA_EVENTFD  fds[0..n_fds) are bound (ACTION_TRIGGER: signalled by us;
 *                 ACTION_UNMASK, INTx only: signalled by the client);
 *                 n_fds == count, or 0 to unbind them. Descriptors that were
 *                 taken over are set to -1 in fds, the rest stay the caller's.
 *
 * Returns 0; -EINVAL for a combination that VFIO does not know, a bad index,
 * range or number of entries; -EBADF for a descriptor that is no eventfd.
 * On an error nothing has changed.
 */
int vfio_irqs_set(struct vfio_irqs *irqs, uint32_t flags, uint32_t index, uint32_t start,
		  uint32_t count, const uint8_t *bools, size_t n_bools, int *fds, size_t n_fds);

/* Signals a vector of an edge-triggered index (all but INTx); pending while masked. */
void vfio_irq_trigger(struct vfio_irqs *irqs, uint32_t index, uint32_t vector);

/* The device's own mask bits (MSI, MSI-X); a pending vector is signalled on unmask. */
void vfio_irq_set_mask(struct vfio_irqs *irqs, uint32_t index, uint32_t vector, bool masked);

/*
 * INTx is level-triggered: asserting signals the eventfd once and masks the
 * line (AUTOMASKED) until the client unmasks it, which signals again if the
 * level is still up.
 */
void vfio_intx_set_level(struct vfio_irqs *irqs, bool level);

/* To be called when unmask_fd of INTx is readable. */
void vfio_intx_unmask_event(struct vfio_irqs *irqs);
