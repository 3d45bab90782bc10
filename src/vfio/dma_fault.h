/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory can vanish under an access: the client truncates the file that
 * it sent. The kernel then raises SIGBUS. Inside a scope that was entered here
 * the missing page is replaced by one of zeros, and the scope is marked as
 * faulted; outside of any, SIGBUS kills as it always does.
 */
#pragma once

#include "vfio/dma.h"

/* Installs the handler, once per process. Returns 0 or a negative errno. */
int dma_fault_init(void);

/* The scope is open on this thread until dma_fault_leave(); scopes nest. */
void dma_fault_enter(struct vfio_dma_access *access);
void dma_fault_leave(struct vfio_dma_access *access);

/*
 * The mapping is to go away. True if scopes of this thread are still open in
 * it: they have been marked as faulted, see zeros from now on, and the last of
 * them to close releases the mapping. False: the caller releases it.
 */
bool dma_fault_revoke(uint8_t *mapping, size_t size);
