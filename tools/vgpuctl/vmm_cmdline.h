/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What a VMM's command line says about the two mistakes that are easy to make. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum vmm_kind { VMM_UNKNOWN, VMM_QEMU, VMM_CLOUD_HYPERVISOR };

enum vmm_memory {
	VMM_MEMORY_UNKNOWN, /* the command line does not tell */
	VMM_MEMORY_SHARED,
	VMM_MEMORY_PRIVATE, /* in a file, and not shared: the device maps other pages */
	VMM_MEMORY_ANONYMOUS, /* in no file: the device cannot map it */
};

struct vmm_cmdline {
	enum vmm_kind kind;
	enum vmm_memory memory;
	bool other_display; /* the machine has one of its own beside the vGPU */
	bool display_device; /* there is a -device that is one */
};

/* data is /proc/PID/cmdline: arguments that end with NUL. */
void vmm_cmdline_parse(const char *data, size_t size, struct vmm_cmdline *ret);
