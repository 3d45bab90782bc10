/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A selftest device, used through its regions as a driver does, and memory for it. */
#pragma once

#include "device/selftest.h"
#include "device/selftest_regs.h"
#include "pci/function.h"

enum {
	REGS = SELFTEST_BAR_REGS,
	MSIX = SELFTEST_BAR_MSIX,
	MIXED = SELFTEST_BAR_MIXED,
	APERTURE = SELFTEST_BAR_APERTURE,
	ROM = VFIO_PCI_ROM_REGION_INDEX,
	CONFIG = VFIO_PCI_CONFIG_REGION_INDEX,

	RW = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
	MAPPED = RW | VFIO_REGION_INFO_FLAG_MMAP,
	DMA_RW = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,

	GUEST_SIZE = 4 << 20,
};

#define GUEST 0x100000000ULL /* IOVA */
#define MESSAGES 0x200000000ULL /* likewise, without a descriptor */

extern struct device *device;
extern char *error; /* of the last selftest_create() that failed */
extern uint8_t *guest; /* GUEST_SIZE bytes once give_guest_memory() was called */

/* Makes `device` with n options. As device_create(). */
int selftest_create(const char *const pairs[][2], size_t n);

/* For cmocka. The device of a test has an aperture of 16 MiB. */
int selftest_setup(void **state);
int selftest_teardown(void **state);

/* Accesses of 1, 2, 4 or 8 bytes, which must succeed. */
uint64_t get(unsigned int region, uint64_t offset, unsigned int width);
void set(unsigned int region, uint64_t offset, unsigned int width, uint64_t value);
uint32_t reg(uint64_t offset);
void set_reg(uint64_t offset, uint32_t value);

/* Binds a new eventfd, whose other end (the same counter) is returned. */
int bind_irq(uint32_t index, uint32_t vector);

/* The number of signals since the last look. */
uint64_t signals(int fd);

/* Maps `guest` at GUEST, by descriptor, and makes the function a bus master. */
void give_guest_memory(void);

/* Writes a DMA command. */
void command(uint32_t what, uint64_t source, uint64_t target, uint64_t length);

/* Lets the device work as long as it wants to. Returns how often that was. */
unsigned int work_until_done(void);

uint64_t sum_of(const uint8_t *data, size_t length);

/* How the last command has ended. */
void expect_done(void);
void expect_failed(int with);
