/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Guest memory can vanish under an access: the client truncates the file that
 * it sent. The kernel then raises SIGBUS. Inside a scope that was entered here
 * the missing page is replaced by one of zeros, and the scope is marked as
 * faulted; outside of any, SIGBUS kills as it always does.
 */
#pragma once

#include <stdatomic.h>

#include "vfio/dma.h"

/* The scope that this thread opened last; the handler of SIGBUS goes through it and those around. */
extern _Thread_local struct vfio_dma_access *volatile dma_fault_innermost;

/* Installs the handler, once per process. Returns 0 or a negative errno. */
int dma_fault_init(void);

/* The scope is open on this thread until dma_fault_leave(); scopes nest. */
static inline void dma_fault_enter(struct vfio_dma_access *access)
{
	access->outer = dma_fault_innermost;
	dma_fault_innermost = access;
	atomic_signal_fence(memory_order_seq_cst);
}

/* Releases the mapping that dma_fault_revoke() left to this scope. */
void dma_fault_release(struct vfio_dma_access *access);

static inline void dma_fault_leave(struct vfio_dma_access *access)
{
	atomic_signal_fence(memory_order_seq_cst);
	dma_fault_innermost = access->outer;
	if (access->revoked)
		dma_fault_release(access);
}

/*
 * The mapping is to go away. True if scopes of this thread are still open in
 * it: they have been marked as faulted, see zeros from now on, and the last of
 * them to close releases the mapping. False: the caller releases it.
 */
bool dma_fault_revoke(uint8_t *mapping, size_t size);
