/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The registers of the selftest device (`--model=selftest`): one PCI function
 * that has every kind of thing a VFIO device can have, for testing VMMs, doors
 * and drivers. This header is all that a driver needs.
 *
 * PCI 1234:7e57, class 0xff0000, revision 1. Capabilities: PM, MSI (up to 32
 * vectors, with mask and pending bits), MSI-X (up to 2048), and INTx on pin A.
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
 * 64; those take one access of 8 bytes or two of 4. A write of 8 bytes anywhere
 * is one of the lower and then one of the upper 4; narrower ones than 4 are
 * ignored but by SCRATCH, while reads may be of any width. What is not listed
 * reads as 0 and ignores writes. After a reset, registers are 0 but for the
 * constants, and a DMA command under way is forgotten, without a completion;
 * the memory of BAR 2 and BAR 4 stays.
 *
 * Where in memory the BARs are, whether Memory Space Enable lets them be there,
 * and that they are not in D3hot is for the VMM to know: what it sends is served.
 * The SET_IRQS of a client triggers eventfds past all masks, as VFIO has it.
 */
#pragma once

#include <stdint.h>

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
#define SELFTEST_LAST_OFFSET 0x038 /* read-only: where in BAR 0 the last write to SCRATCH went, */
#define SELFTEST_LAST_WIDTH 0x03c /* in how many bytes, */
#define SELFTEST_LAST_VALUE 0x040 /* 64 bits, and of what value, as the handler had it */

/*
 * Interrupts. A write raises; the value is the vector, and one that there is not
 * raises nothing (ERR and REQ have vector 0 only). INTX is the line: 1 asserts,
 * 0 deasserts, and it reads as it is, also while a completion holds it up.
 * Vectors of MSI and MSI-X are pending, and INTX does not reach the pin, while
 * they are masked or the function is not in D0; messages also while it is no bus
 * master. One message comes of it when that is over, however many were raised.
 */
#define SELFTEST_INTX 0x080
#define SELFTEST_MSI 0x084
#define SELFTEST_MSIX 0x088
#define SELFTEST_ERR 0x08c
#define SELFTEST_REQ 0x090

/*
 * DMA. Set up the first registers, then write a command. STATUS is BUSY until
 * it has ended; then it is DONE and RESULT valid, or FAILED and ERROR valid, and
 * after that COMPLETION is raised, either way. The first registers count as they
 * are when the command is written. A command while BUSY is ignored.
 *
 * Other registers are served while a command is under way; of one that failed,
 * any part may have been carried out. ERROR is EPERM if the function is not a
 * bus master in D0, at first or later; EINVAL for a command that there is not, a
 * length out of range, or a copy onto itself; EFAULT for addresses that are not
 * mapped, not with that permission, or wrap; or, where the VMM has to be asked
 * for the bytes, what it answered.
 */
#define SELFTEST_DMA_SOURCE 0x100 /* 64 bits: IOVA */
#define SELFTEST_DMA_TARGET 0x108 /* 64 bits: IOVA */
#define SELFTEST_DMA_LENGTH 0x110 /* 64 bits: bytes, 1 to SELFTEST_DMA_MAX_LENGTH */
#define SELFTEST_DMA_SEED 0x118 /* of what FILL writes */
#define SELFTEST_DMA_COMPLETION 0x11c /* SELFTEST_COMPLETION_*, and a vector in bits 0 to 15 */
#define SELFTEST_DMA_COMMAND 0x120 /* write-only: SELFTEST_DMA_COMMAND_* */
#define SELFTEST_DMA_STATUS 0x124 /* read-only */
#define SELFTEST_DMA_ERROR 0x128 /* read-only: Linux' errno, positive; 0 if there was none */
#define SELFTEST_DMA_RESULT 0x130 /* 64 bits, read-only: of SUM, what SELFTEST_SUM_STEP() makes */
#define SELFTEST_DMA_MAX_LENGTH (1UL << 30)

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
#define SELFTEST_SUM_STEP(sum, byte) ((uint64_t)(sum)*31 + (byte) + 1)

/* The byte that FILL writes at position n, n counted from the target's start. */
#define SELFTEST_FILL_BYTE(seed, n) ((uint8_t)((seed) + (n) + ((n) >> 8) * 5))

/*
 * Doorbells, one dword each: doorbell n is at DOORBELL(n). A write rings it, by
 * message or by the eventfd that a client asked for. The eventfd loses the
 * value, and what was rung before the device looked counts once.
 */
#define SELFTEST_DOORBELL(n) (0x1000 + 4 * (n))
#define SELFTEST_RUNG(n) (0x200 + 4 * (n)) /* read-only: times that doorbell n was rung */
#define SELFTEST_RUNG_VALUE(n)                                                                     \
	(0x240 + 4 * (n)) /* read-only: the last value that came by message */
#define SELFTEST_DOORBELLS 16
