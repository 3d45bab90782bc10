/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * While bytes travel as messages, the device's handlers can run, and among
 * them a reset or the next command. So a step works on a copy of the state, and
 * looks after every call that may have let somebody in whether it still counts.
 */
#include "device/selftest_dma.h"

#include <errno.h>
#include <string.h>

#include "base/checked.h"
#include "device/selftest_regs.h"

enum { PIECE = 256 << 10 };

static bool is_command(uint32_t command)
{
	return command == SELFTEST_DMA_COMMAND_SUM || command == SELFTEST_DMA_COMMAND_FILL ||
	       command == SELFTEST_DMA_COMMAND_COPY;
}

static bool has_source(const struct selftest_dma_command *c)
{
	return c->command != SELFTEST_DMA_COMMAND_FILL;
}

static bool has_target(const struct selftest_dma_command *c)
{
	return c->command != SELFTEST_DMA_COMMAND_SUM;
}

int selftest_dma_start(struct selftest_dma *dma, const struct selftest_dma_command *c)
{
	uint64_t end;

	selftest_dma_cancel(dma);
	if (!is_command(c->command) || !c->length || c->length > SELFTEST_DMA_MAX_LENGTH)
		return -EINVAL;
	if ((has_source(c) && __builtin_add_overflow(c->source, c->length, &end)) ||
	    (has_target(c) && __builtin_add_overflow(c->target, c->length, &end)))
		return -EFAULT;
	if (has_source(c) && has_target(c) &&
	    ranges_overlap(c->source, c->length, c->target, c->length))
		return -EINVAL;
	dma->command = *c;
	return 0;
}

void selftest_dma_cancel(struct selftest_dma *dma)
{
	*dma = (struct selftest_dma){ .generation = dma->generation + 1 };
}

/*
 * SELFTEST_SUM_STEP() for each byte, eight at a time: as one chain of products
 * they would wait for each other.
 */
static uint64_t sum_bytes(uint64_t sum, const uint8_t *data, size_t length)
{
	static const uint64_t powers[8] = {
		27512614111ULL, 887503681, 28629151, 923521, 29791, 961, 31, 1,
	};
	size_t i = 0;

	for (; i + 8 <= length; i += 8) {
		uint64_t step = 0;

		for (unsigned int k = 0; k < 8; k++)
			step += (data[i + k] + 1) * powers[k];
		sum = sum * powers[0] * 31 + step;
	}
	for (; i < length; i++)
		sum = SELFTEST_SUM_STEP(sum, data[i]);
	return sum;
}

/* SELFTEST_FILL_BYTE(seed, at) and so on: the bytes of 256 positions follow each other. */
static void fill_bytes(uint8_t *data, size_t length, uint32_t seed, uint64_t at)
{
	while (length) {
		size_t run = 256 - (at & 255);
		uint8_t first = SELFTEST_FILL_BYTE(seed, at);

		if (run > length)
			run = length;
		for (size_t i = 0; i < run; i++)
			data[i] = (uint8_t)(first + i);
		data += run;
		at += run;
		length -= run;
	}
}

/* One piece of a command, as it was when the step began. */
struct piece {
	const struct selftest_dma *dma; /* as it is */
	struct selftest_dma job;
	struct vfio_dma_space *space;
	size_t length;
};

static bool still_counts(const struct piece *p)
{
	return p->dma->generation == p->job.generation;
}

static int sum(struct piece *p)
{
	struct vfio_dma_access from;
	int r = vfio_dma_begin(p->space, p->job.command.source + p->job.done, p->length,
			       VFIO_DMA_MAP_FLAG_READ, &from);

	if (r < 0)
		return r;
	p->job.sum = sum_bytes(p->job.sum, from.data, p->length);
	return vfio_dma_end(&from, 0);
}

static int fill(struct piece *p)
{
	struct vfio_dma_access to;
	int r = vfio_dma_begin(p->space, p->job.command.target + p->job.done, p->length,
			       VFIO_DMA_MAP_FLAG_WRITE, &to);

	if (r < 0)
		return r;
	fill_bytes(to.data, p->length, p->job.command.seed, p->job.done);
	return vfio_dma_end(&to, p->length);
}

static int copy_from(struct piece *p, const struct vfio_dma_access *from)
{
	struct vfio_dma_access to;
	int r = vfio_dma_begin(p->space, p->job.command.target + p->job.done, p->length,
			       VFIO_DMA_MAP_FLAG_WRITE, &to);

	if (r < 0)
		return r;
	memcpy(to.data, from->data, p->length);
	return vfio_dma_end(&to, p->length);
}

static int copy(struct piece *p)
{
	struct vfio_dma_access from;
	int r = vfio_dma_begin(p->space, p->job.command.source + p->job.done, p->length,
			       VFIO_DMA_MAP_FLAG_READ, &from);
	int end;

	if (r < 0)
		return r;
	r = still_counts(p) ? copy_from(p, &from) : -ECANCELED;
	end = vfio_dma_end(&from, 0);
	return r < 0 ? r : end;
}

static int carry_out(struct piece *p)
{
	switch (p->job.command.command) {
	case SELFTEST_DMA_COMMAND_SUM:
		return sum(p);
	case SELFTEST_DMA_COMMAND_FILL:
		return fill(p);
	default:
		return copy(p);
	}
}

int selftest_dma_step(struct selftest_dma *dma, struct vfio_dma_space *space)
{
	uint64_t left = dma->command.length - dma->done;
	struct piece p = {
		.dma = dma,
		.job = *dma,
		.space = space,
		.length = left < PIECE ? (size_t)left : PIECE,
	};
	int r;

	if (!left)
		return -ECANCELED; /* there is no command */
	r = carry_out(&p);
	if (!still_counts(&p))
		return -ECANCELED;
	if (r < 0)
		return r;
	p.job.done += p.length;
	*dma = p.job;
	return dma->done < dma->command.length;
}
