/* SPDX-License-Identifier: GPL-2.0-or-later */
/* A driver of the selftest device, for checks: everything here must succeed, or the check fails. */
#pragma once

#include "check.h"
#include "device/selftest_regs.h"

uint32_t st_get(struct check_run *t, uint64_t reg);
uint64_t st_get64(struct check_run *t, uint64_t reg);
void st_put(struct check_run *t, uint64_t reg, uint32_t value);
void st_put64(struct check_run *t, uint64_t reg, uint64_t value);

void st_bus_master(struct check_run *t, bool on);

struct st_dma {
	uint32_t command;
	uint64_t source, target, length;
	uint32_t seed, completion;
};

/* Writes a command's registers and the command. */
void st_start(struct check_run *t, const struct st_dma *dma);

/*
 * Waits for its end, answering for the guest's memory. Returns SELFTEST_DMA_STATUS_*;
 * BUSY if it has none within the timeout.
 */
uint32_t st_wait(struct check_run *t);

/* Both; it must end with success. Returns RESULT. */
uint64_t st_run(struct check_run *t, const struct st_dma *dma, const char *what);

/* Both; it must fail. Returns ERROR. */
uint32_t st_run_failing(struct check_run *t, const struct st_dma *dma, const char *what);

/* What SUM gives. */
uint64_t st_sum(const uint8_t *data, uint64_t length);

/* Memory with something in it, and mapped: by its descriptor, or by message. */
struct guest_range *st_memory(struct check_run *t, uint64_t iova, uint64_t size, bool by_fd);

/* SUM and FILL of a part of it are right; FILL leaves the bytes around as they are. */
void st_expect_sum(struct check_run *t, const struct guest_range *range, uint64_t offset,
		   uint64_t length);
void st_expect_fill(struct check_run *t, struct guest_range *range, uint64_t offset,
		    uint64_t length);

/* Binds an eventfd to each of n vectors of an index, one message each. */
void st_bind(struct check_run *t, uint32_t index, int *fds, uint32_t n);
