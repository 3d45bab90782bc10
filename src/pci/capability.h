/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What config space and its capabilities tell each other; private to src/pci. */
#pragma once

#include "pci/function.h"

/*
 * Before a write is applied: a power state that the function does not have
 * (D1, D2) leaves the state as it is (PCI PM 1.2, 3.2.4).
 */
void pci_pm_filter_write(const struct pci_function *fn, uint64_t offset, uint64_t *value,
			 unsigned int width);

/*
 * Hand on to the interrupts which vectors are held back, by their masks or
 * because a message is a write that the function may not make; what was pending
 * and is not any more is delivered. After each change of config space.
 */
void pci_msi_update(struct pci_function *fn);
void pci_msix_update(struct pci_function *fn);

/* The table to its power-on values. */
void pci_msix_reset(struct pci_function *fn);

void pci_msix_done(struct pci_function *fn);
