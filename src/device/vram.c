/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "device/vram.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/memfd.h"
#include "base/syscalls.h"

/* A power cycle takes another memory. */
SYSCALLS(SYSCALL(ftruncate), SYSCALL_IF(fcntl, ARG_IS(1, F_ADD_SEALS)), SYSCALL(munmap));

/* New memory at `at`, or anywhere if that is NULL. */
static int allocate(size_t size, uint8_t *at, int *ret_fd, uint8_t **ret_memory)
{
	_cleanup_close_ int fd = memfd_new("vgpud-vram");
	void *memory;

	if (fd < 0 || ftruncate(fd, (off_t)size) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
		return -errno;
	memory = mmap(at, size, PROT_READ | PROT_WRITE, MAP_SHARED | (at ? MAP_FIXED : 0), fd, 0);
	if (memory == MAP_FAILED)
		return -errno;
	madvise(memory, size, MADV_DONTDUMP);
	*ret_fd = STEAL_FD(fd);
	*ret_memory = memory;
	return 0;
}

int vram_init(struct vram *vram, size_t size)
{
	*vram = (struct vram){ .fd = -1, .size = size };
	return allocate(size, NULL, &vram->fd, &vram->memory);
}

int vram_renew(struct vram *vram)
{
	int fd = -1, r;

	r = allocate(vram->size, vram->memory, &fd, &vram->memory);
	if (r < 0)
		return r;
	close_fd(vram->fd);
	vram->fd = fd;
	return 0;
}

void vram_done(struct vram *vram)
{
	if (vram->memory)
		munmap(vram->memory, vram->size);
	vram->memory = NULL;
	vram->fd = close_fd(vram->fd);
}
