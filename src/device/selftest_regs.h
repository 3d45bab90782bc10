/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers of the selftest device (`--model=selftest`): one PCI function
 * that has every kind of thing a VFIO device can have, for testing VMMs, doors
 * and drivers. This header is all that a driver needs.
 *
 * PCI 1234:7e57, class 0xff0000, revision 1. Capabilities: PM, MSI (up to 32
 * vectors, with mask and pending bits), MSI-X, and INTx on pin A.
 *
 *   BAR 0   16 KiB, 32-bit   trapped    the registers below, and doorbells
 *   BAR 1   64 KiB, 32-bit   trapped    MSI-X table at 0, PBA at 0x8000
 *   BAR 2   64 KiB, 64-bit, prefetchable   mixed: memory; [0x1000, 0x2000) and
 *                                       [0x4000, 0xc000) are mapped, the rest
 *                                       is trapped and holds what was written
 *   BAR 4   option aperture=, 64-bit, prefetchable   mapped memory; by default
 *                                       larger than 4 GiB
 *   ROM     64 KiB           trapped    byte n is SELFTEST_ROM_BYTE(n) behind
 *                                       a header that no firmware executes
 *
 * With the option mmap=off no region is mapped and all of them are trapped.
 *
 * All registers are little-endian and 32 bits wide unless they are said to have
 * 64; those take one access of 8 bytes or two of 4. What is not listed reads as
 * 0 and ignores writes. After a reset, registers are 0 but for the constants;
 * the memory of BAR 2 and BAR 4 stays.
 */
#pragma once

#define SELFTEST_VENDOR 0x1234
#define SELFTEST_DEVICE 0x7e57

#define SELFTEST_BAR_REGS 0
#define SELFTEST_BAR_MSIX 1
#define SELFTEST_BAR_MIXED 2
#define SELFTEST_BAR_APERTURE 4

#define SELFTEST_REGS_SIZE 0x4000
#define SELFTEST_MSIX_SIZE 0x10000
#define SELFTEST_MSIX_PBA 0x8000
#define SELFTEST_MIXED_SIZE 0x10000
#define SELFTEST_ROM_SIZE 0x10000

/* Bytes of the ROM from SELFTEST_ROM_PATTERN on. */
#define SELFTEST_ROM_PATTERN 0x100
#define SELFTEST_ROM_BYTE(n) ((uint8_t)((n)*7 + ((n) >> 8)))

/* Identity: constants. */
#define SELFTEST_ID 0x000 /* SELFTEST_ID_VALUE */
#define SELFTEST_ID_VALUE 0x74736574 /* "test" */
#define SELFTEST_REVISION 0x004 /* 1 */
#define SELFTEST_N_MSI 0x008 /* vectors */
#define SELFTEST_N_MSIX 0x00c /* vectors */
#define SELFTEST_N_DOORBELLS 0x010 /* 16 */

/* Accesses. */
#define SELFTEST_SCRATCH 0x020 /* 64 bits, read-write, any width and alignment */
#define SELFTEST_SUM 0x028 /* 64 bits: a write adds its value; a read gives the sum */
#define SELFTEST_WRITES 0x030 /* 64 bits, read-only: writes that reached BAR 0's handler */
#define SELFTEST_LAST_OFFSET 0x038 /* read-only: where the last write to SCRATCH went, */
#define SELFTEST_LAST_WIDTH 0x03c /* in how many bytes, */
#define SELFTEST_LAST_VALUE 0x040 /* 64 bits, and of what value, as the handler had it */

/*
 * Interrupts. A write raises; the value is the vector. INTX is the line: 1
 * asserts, 0 deasserts, and it reads as it is.
 */
#define SELFTEST_INTX 0x080
#define SELFTEST_MSI 0x084
#define SELFTEST_MSIX 0x088
#define SELFTEST_ERR 0x08c
#define SELFTEST_REQ 0x090

/*
 * DMA. Set up the first registers, then write a command. STATUS is BUSY until
 * it is done; then RESULT or ERROR is valid, and COMPLETION is raised. The
 * function must be a bus master. A command while BUSY is ignored.
 */
#define SELFTEST_DMA_SOURCE 0x100 /* 64 bits: IOVA */
#define SELFTEST_DMA_TARGET 0x108 /* 64 bits: IOVA */
#define SELFTEST_DMA_LENGTH 0x110 /* 64 bits: bytes, at most 1 GiB */
#define SELFTEST_DMA_SEED 0x118 /* of what FILL writes */
#define SELFTEST_DMA_COMPLETION 0x11c /* SELFTEST_COMPLETION_*, and a vector in bits 0 to 15 */
#define SELFTEST_DMA_COMMAND 0x120 /* write-only: SELFTEST_DMA_COMMAND_* */
#define SELFTEST_DMA_STATUS 0x124 /* read-only */
#define SELFTEST_DMA_ERROR 0x128 /* read-only: an errno (EFAULT, EPERM, …); 0 if there was none */
#define SELFTEST_DMA_RESULT 0x130 /* 64 bits, read-only: of SUM, what SELFTEST_SUM_STEP() makes */

#define SELFTEST_DMA_COMMAND_SUM 1 /* reads [source, source + length) */
#define SELFTEST_DMA_COMMAND_FILL 2 /* writes [target, target + length) */
#define SELFTEST_DMA_COMMAND_COPY 3 /* from source to target; they don't overlap */

#define SELFTEST_DMA_STATUS_IDLE 0
#define SELFTEST_DMA_STATUS_BUSY 1
#define SELFTEST_DMA_STATUS_DONE 2
#define SELFTEST_DMA_STATUS_FAILED 3

#define SELFTEST_COMPLETION_NONE 0
#define SELFTEST_COMPLETION_INTX (1U << 16)
#define SELFTEST_COMPLETION_MSI (2U << 16)
#define SELFTEST_COMPLETION_MSIX (3U << 16)

/* SUM over bytes in their order, from 0: a position-dependent checksum. */
#define SELFTEST_SUM_STEP(sum, byte) ((sum)*31 + (byte) + 1)

/* The byte that FILL writes at position n, n counted from the target's start. */
#define SELFTEST_FILL_BYTE(seed, n) ((uint8_t)((seed) + (n) + ((n) >> 8) * 5))

/*
 * Doorbells, one dword each: doorbell n is at DOORBELL(n). A write rings it,
 * by message or by the eventfd that a client asked for (which loses the value).
 */
#define SELFTEST_DOORBELL(n) (0x1000 + 4 * (n))
#define SELFTEST_RUNG(n) (0x200 + 4 * (n)) /* read-only: times that doorbell n was rung */
#define SELFTEST_RUNG_VALUE(n)                                                                     \
	(0x240 + 4 * (n)) /* read-only: the last value that came by message */
#define SELFTEST_DOORBELLS 16
