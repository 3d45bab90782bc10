/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vfio/dma_fault.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>

#include "base/checked.h"
#include "base/log.h"
#include "base/syscalls.h"

SYSCALLS(SYSCALL_IF(rt_sigaction, ARG_IS(0, SIGBUS)));

_Thread_local struct vfio_dma_access *volatile dma_fault_innermost;
static int init_result;

/*
 * Runs on the thread that touched the page. Of what it calls, mmap() is a bare
 * system call; the rest is this thread's own memory.
 */
static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	uintptr_t addr = (uintptr_t)info->si_addr;

	for (struct vfio_dma_access *a = dma_fault_innermost; a; a = a->outer) {
		void *page = (void *)round_down(addr, a->page_size);
		int saved = errno;

		if (a->bounce || addr < (uintptr_t)a->data ||
		    addr >= (uintptr_t)a->data + a->length)
			continue;
		if (mmap(page, a->page_size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) == MAP_FAILED)
			break;
		a->faulted = true;
		errno = saved;
		return;
	}

	signal(sig, SIG_DFL);
	raise(sig);
}

static void install(void)
{
	struct sigaction action = {
		.sa_sigaction = on_sigbus,
		.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER,
	};

	init_result = sigaction(SIGBUS, &action, NULL) < 0 ? -errno : 0;
}

int dma_fault_init(void)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;

	pthread_once(&once, install);
	return init_result;
}

void dma_fault_release(struct vfio_dma_access *access)
{
	munmap(access->revoked, access->revoked_size);
	access->revoked = NULL;
}

bool dma_fault_revoke(uint8_t *mapping, size_t size)
{
	struct vfio_dma_access *last = NULL;

	for (struct vfio_dma_access *a = dma_fault_innermost; a; a = a->outer) {
		if (a->bounce || a->data < mapping || a->data >= mapping + size)
			continue;
		a->faulted = true;
		last = a;
	}
	if (!last)
		return false;
	if (mmap(mapping, size, PROT_READ | PROT_WRITE,
		 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED, -1, 0) == MAP_FAILED)
		log_debug("memory that is unmapped while it is used stays mapped until then");
	last->revoked = mapping;
	last->revoked_size = size;
	return true;
}
