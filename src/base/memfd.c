/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/memfd.h"
#include "base/syscalls.h"

#include <errno.h>
#include <sys/mman.h>

SYSCALLS(SYSCALL(memfd_create));

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 8U /* Linux 6.3; <linux/memfd.h> */
#endif

int memfd_new(const char *name)
{
	const unsigned int flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int fd = memfd_create(name, flags | MFD_NOEXEC_SEAL);

	return fd < 0 && errno == EINVAL ? memfd_create(name, flags) : fd;
}
