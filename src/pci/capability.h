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

/* After a write was applied: hands the mask bits to the interrupts. */
void pci_msi_config_written(struct pci_function *fn, uint64_t offset, unsigned int width);
