/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "check_run.h"

#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/eventfd.h"
#include "base/memfd.h"
#include "device/selftest_regs.h"

enum {
	MAX_DOORS = 64,
	MAX_KEPT_FDS = 256,
	MAX_KEPT_MAPS = 64,
	MAX_KEPT_MEMORY = 16,
};

struct run {
	struct check_run t; /* first: what a check sees */
	const struct probe_options *options;
	jmp_buf end;
	enum result result;
	char *reason;
	bool refused; /* the server did not let us in */
	struct vfio_user_door *doors[MAX_DOORS];
	size_t n_doors;
	unsigned int n_opened; /* so far */
	int fds[MAX_KEPT_FDS];
	size_t n_fds;
	struct {
		void *data;
		size_t size;
	} maps[MAX_KEPT_MAPS];
	size_t n_maps;
	void *memory[MAX_KEPT_MEMORY];
	size_t n_memory;
	struct guest guest;
};

static struct run *run_of(struct check_run *t)
{
	return (struct run *)t;
}

/*
 * How a check ends
 */

__attribute__((format(printf, 3, 0))) static void set_reason(struct run *run, enum result result,
							     const char *format, va_list args)
{
	/* The first advice is kept, and failure says more. */
	if (result == RESULT_ADVICE && run->result == RESULT_ADVICE)
		return;
	run->result = result;
	vsnprintf(run->reason, CHECK_REASON_SIZE, format, args);
}

void check_fail(struct check_run *t, const char *format, ...)
{
	struct run *run = run_of(t);
	va_list args;

	va_start(args, format);
	set_reason(run, RESULT_FAIL, format, args);
	va_end(args);
	longjmp(run->end, 1);
}

void check_skip(struct check_run *t, const char *format, ...)
{
	struct run *run = run_of(t);
	va_list args;

	va_start(args, format);
	set_reason(run, RESULT_SKIP, format, args);
	va_end(args);
	longjmp(run->end, 1);
}

void check_advise(struct check_run *t, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	set_reason(run_of(t), RESULT_ADVICE, format, args);
	va_end(args);
}

static const char *came(struct check_run *t, int r)
{
	return probe_is_broken(r) ? probe_error(t->dev) : probe_result(r);
}

/* What was done, in a buffer of the caller's. */
#define FORMAT_WHAT(what, format)                                                                  \
	do {                                                                                       \
		va_list args_;                                                                     \
		va_start(args_, format);                                                           \
		vsnprintf(what, sizeof(what), format, args_);                                      \
		va_end(args_);                                                                     \
	} while (0)

void check_ok(struct check_run *t, int r, const char *format, ...)
{
	char what[384];

	if (r == 0)
		return;
	FORMAT_WHAT(what, format);
	check_fail(t, "%s: expected success; came: %s", what, came(t, r));
}

void check_errno(struct check_run *t, int r, int error, const char *format, ...)
{
	char what[384];

	if (r == -error)
		return;
	FORMAT_WHAT(what, format);
	check_fail(t, "%s: expected %s; came: %s", what, probe_result(-error), came(t, r));
}

static void take_error(struct check_run *t, int r, int error, const char *what)
{
	if (probe_is_broken(r))
		check_fail(t, "%s: expected %s; came: %s", what, probe_result(-error), came(t, r));
	if (r != -error)
		check_advise(t, "%s: an error, as it should be, but %s; %s is usual", what,
			     probe_result(r), probe_result(-error));
}

void check_refused(struct check_run *t, int r, int error, const char *format, ...)
{
	char what[384];

	FORMAT_WHAT(what, format);
	if (r == 0)
		check_fail(t, "%s: expected %s; came: %s", what, probe_result(-error), came(t, r));
	take_error(t, r, error, what);
}

void check_better_refused(struct check_run *t, int r, int error, const char *format, ...)
{
	char what[384];

	FORMAT_WHAT(what, format);
	if (r == 0)
		check_advise(t, "%s: success; %s is usual", what, probe_result(-error));
	else
		take_error(t, r, error, what);
}

void check_answered(struct check_run *t, int r, const char *format, ...)
{
	char what[384];

	if (!probe_is_broken(r))
		return;
	FORMAT_WHAT(what, format);
	check_fail(t, "%s: expected an answer; came: %s", what, came(t, r));
}

/*
 * Connections
 */

static void use_door(struct check_run *t, struct vfio_user_door *door)
{
	struct run *run = run_of(t);

	if (run->n_doors == MAX_DOORS) {
		vfio_user_close(door);
		check_fail(t, "internal: too many connections");
	}
	run->doors[run->n_doors++] = door;
	t->door = door;
	t->dev = &door->dev;
	door->link.on_command = guest_on_command;
	door->link.opaque = &run->guest;
}

typedef int (*open_fn)(struct server *server, unsigned int timeout_ms, struct vfio_user_door **ret,
		       char *error);

/* What happened to the server before the check's first words is not its finding. */
static void blame_earlier(struct server *server)
{
	char death[sizeof(server->death)];

	memcpy(death, server->death, sizeof(death));
	snprintf(server->death, sizeof(server->death), "after the check before this %.200s", death);
}

/* A server of ours that hangs gets a successor. */
static void open_door(struct check_run *t, open_fn open)
{
	char error[PROBE_ERROR_SIZE] = "";
	struct vfio_user_door *door;
	struct run *run = run_of(t);
	struct server *server = run->options->server;
	bool first = run->n_opened++ == 0;

	run->refused = open(server, t->timeout_ms, &door, error) < 0;
	if (run->refused && first && server_give_up(server))
		run->refused = open(server, t->timeout_ms, &door, error) < 0;
	if (first && *server->death)
		blame_earlier(server);
	if (run->refused)
		check_fail(t, "the server does not serve a new client: %s", error);
	use_door(t, door);
}

void check_connect(struct check_run *t)
{
	open_door(t, server_connect);
}

void check_open(struct check_run *t)
{
	open_door(t, server_open);
}

void check_close(struct check_run *t)
{
	struct run *run = run_of(t);

	for (size_t i = 0; i < run->n_doors; i++)
		if (run->doors[i] == t->door)
			run->doors[i] = run->doors[--run->n_doors];
	vfio_user_close(t->door);
	t->door = NULL;
	t->dev = NULL;
}

void check_in_step(struct check_run *t, const char *after)
{
	struct vfio_device_info info;
	int r = t->dev->ops->get_info(t->dev, &info);

	check_ok(t, r, "DEVICE_GET_INFO after %s", after);
	EXPECT(t,
	       info.num_regions == t->facts->info.num_regions &&
		       info.num_irqs == t->facts->info.num_irqs,
	       "DEVICE_GET_INFO after %s: another answer than at first (%u regions, %u interrupts)",
	       after, info.num_regions, info.num_irqs);
}

void check_survives(struct check_run *t, const char *what)
{
	check_close(t);
	check_open(t);
	check_in_step(t, what);
}

/*
 * Things
 */

uint64_t check_read(struct check_run *t, uint32_t region, uint64_t offset, unsigned int width)
{
	uint64_t value = 0;

	check_ok(t, probe_read(t->dev, region, offset, width, &value),
		 "a read of %u bytes at %#llx of region %u", width, (unsigned long long)offset,
		 region);
	return value;
}

void check_write(struct check_run *t, uint32_t region, uint64_t offset, unsigned int width,
		 uint64_t value)
{
	check_ok(t, probe_write(t->dev, region, offset, width, value),
		 "a write of %#llx in %u bytes at %#llx of region %u", (unsigned long long)value,
		 width, (unsigned long long)offset, region);
}

void *check_alloc(struct check_run *t, size_t size)
{
	struct run *run = run_of(t);
	void *memory = run->n_memory < MAX_KEPT_MEMORY ? calloc(1, size) : NULL;

	EXPECT(t, memory, "internal: no memory");
	return run->memory[run->n_memory++] = memory;
}

int check_keep_fd(struct check_run *t, int fd)
{
	struct run *run = run_of(t);

	if (fd < 0 || run->n_fds == MAX_KEPT_FDS) {
		close_fd(fd);
		check_fail(t, "internal: no descriptor: %s", strerror(errno));
	}
	run->fds[run->n_fds++] = fd;
	return fd;
}

int check_eventfd(struct check_run *t)
{
	return check_keep_fd(t, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
}

int check_memfd(struct check_run *t, uint64_t size)
{
	int fd = check_keep_fd(t, memfd_new("probe"));

	EXPECT(t, ftruncate(fd, (off_t)size) == 0, "internal: ftruncate: %s", strerror(errno));
	return fd;
}

struct guest_range *check_memory(struct check_run *t, uint64_t iova, uint64_t size)
{
	struct guest_range *range = guest_add(t->guest, iova, size);

	EXPECT(t, range, "internal: no memory");
	return range;
}

void check_region(struct check_run *t, uint32_t index, struct probe_region *ret)
{
	check_ok(t, t->dev->ops->get_region(t->dev, index, ret), "DEVICE_GET_REGION_INFO of %u",
		 index);
	if (ret->fd >= 0)
		check_keep_fd(t, ret->fd);
}

uint8_t *check_map(struct check_run *t, const struct probe_region *region, uint64_t offset,
		   uint64_t size)
{
	struct run *run = run_of(t);
	void *data = NULL;
	int r;

	EXPECT(t, run->n_maps < MAX_KEPT_MAPS, "internal: too many mappings");
	r = probe_map(region, offset, size, &data);
	EXPECT(t, r == 0, "region %u cannot be mapped at %#llx, %#llx bytes: %s", region->index,
	       (unsigned long long)offset, (unsigned long long)size,
	       r == -ENXIO ? "its file ends before that" : strerror(-r));
	run->maps[run->n_maps].data = data;
	run->maps[run->n_maps++].size = size;
	return data;
}

uint32_t check_mappable(struct check_run *t, bool sparse)
{
	for (uint32_t i = 0; i < t->facts->n_regions; i++)
		if (t->facts->regions[i].flags & VFIO_REGION_INFO_FLAG_MMAP &&
		    (!sparse || t->facts->regions[i].sparse))
			return i;
	check_skip(t, "no region can be mapped");
}

uint64_t check_signalled(struct check_run *t, int fd, bool wait)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };
	uint64_t n = 0;

	poll(&pfd, 1, wait ? (int)t->timeout_ms : 0);
	return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

/*
 * Running
 */

static void release(struct run *run)
{
	while (run->n_doors)
		vfio_user_close(run->doors[--run->n_doors]);
	for (size_t i = 0; i < run->n_maps; i++)
		munmap(run->maps[i].data, run->maps[i].size);
	for (size_t i = 0; i < run->n_memory; i++)
		free(run->memory[i]);
	close_fds(run->fds, run->n_fds);
	guest_done(&run->guest);
}

/* No client may end a server, but some are made for one client and end as they like. */
static enum result look_at_server(struct server *server, enum result result, char *reason)
{
	size_t length = strlen(reason);

	server_check(server);
	if (!*server->death)
		return result;
	snprintf(reason + length, CHECK_REASON_SIZE - length, "%s%s", length ? "; " : "",
		 server->death);
	*server->death = 0;
	if (server->crashed)
		return RESULT_FAIL;
	return result == RESULT_FAIL ? RESULT_FAIL : RESULT_ADVICE;
}

enum result check_run(const struct check *check, const struct probe_options *options,
		      const struct check_facts *facts, char *reason, bool *ret_served)
{
	struct run *run = calloc(1, sizeof(*run));
	enum result result;

	reason[0] = 0;
	*ret_served = true;
	if (!run)
		return RESULT_SKIP;
	run->t = (struct check_run){
		.facts = facts,
		.timeout_ms = options->timeout_ms,
		.path = options->server->path,
		.guest = &run->guest,
	};
	run->options = options;
	run->reason = reason;
	if (setjmp(run->end) == 0) {
		if (!(check->needs & CHECK_UNCONNECTED))
			check_open(&run->t);
		check->run(&run->t);
	}
	release(run);
	result = run->result;
	*ret_served = !run->refused;
	free(run);
	return look_at_server(options->server, result, reason);
}

/*
 * Facts
 */

static const unsigned int irq_needs[] = {
	[VFIO_PCI_INTX_IRQ_INDEX] = NEED_INTX,
	[VFIO_PCI_MSI_IRQ_INDEX] = NEED_MSI,
	[VFIO_PCI_MSIX_IRQ_INDEX] = NEED_MSIX,
};

static int find_regions(struct probe_device *dev, struct check_facts *facts)
{
	facts->n_regions = facts->info.num_regions < PROBE_MAX_REGIONS ? facts->info.num_regions
								       : PROBE_MAX_REGIONS;
	for (uint32_t i = 0; i < facts->n_regions; i++) {
		struct probe_region *region = &facts->regions[i];
		struct probe_io_fds io_fds;
		int r = dev->ops->get_region(dev, i, region);

		if (probe_is_broken(r))
			return r;
		if (r < 0)
			*region = (struct probe_region){ .index = i, .fd = -1 };
		probe_region_done(region);
		if (region->flags & VFIO_REGION_INFO_FLAG_MMAP)
			facts->have |= NEED_MMAP | (region->sparse ? NEED_SPARSE : 0U);
		if (i == VFIO_PCI_ROM_REGION_INDEX && region->size)
			facts->have |= NEED_ROM;
		if (!region->size)
			continue;
		r = dev->ops->get_io_fds(dev, i, &io_fds);
		if (probe_is_broken(r))
			return r;
		if (r < 0)
			continue;
		if (io_fds.n)
			facts->have |= NEED_IO_FDS;
		close_fds(io_fds.fds, io_fds.n_fds);
	}
	return 0;
}

static int find_irqs(struct probe_device *dev, struct check_facts *facts)
{
	facts->n_irqs =
		facts->info.num_irqs < PROBE_MAX_IRQS ? facts->info.num_irqs : PROBE_MAX_IRQS;
	for (uint32_t i = 0; i < facts->n_irqs; i++) {
		struct vfio_irq_info *irq = &facts->irqs[i];
		int r = dev->ops->get_irq(dev, i, irq);

		if (probe_is_broken(r))
			return r;
		if (r < 0)
			*irq = (struct vfio_irq_info){ .index = i };
		if (!irq->count)
			continue;
		if (i < ARRAY_SIZE(irq_needs))
			facts->have |= irq_needs[i];
		if (irq->flags & VFIO_IRQ_INFO_EVENTFD)
			facts->have |= NEED_IRQ;
	}
	return 0;
}

static int find_config(struct probe_device *dev, struct check_facts *facts)
{
	const uint8_t *c = facts->config.bytes;
	int r;

	if (!(facts->info.flags & VFIO_DEVICE_FLAGS_PCI))
		return 0;
	r = pci_config_read(dev, &facts->config);
	if (r < 0)
		return r;
	facts->have |= NEED_PCI;
	if (facts->config.size > PCI_CFG_SPACE_SIZE)
		facts->have |= NEED_EXPRESS;
	if (get_le16(c + PCI_VENDOR_ID) == SELFTEST_VENDOR &&
	    get_le16(c + PCI_DEVICE_ID) == SELFTEST_DEVICE)
		facts->have |= NEED_SELFTEST;
	return 0;
}

static void find_twin(const struct probe_options *options, struct check_facts *facts)
{
	char error[PROBE_ERROR_SIZE];
	struct vfio_user_door *door;

	if (server_connect(options->server, options->timeout_ms, &door, error) < 0)
		return;
	if (vfio_user_propose(door, VFIO_USER_MAJOR, VFIO_USER_MINOR, vfio_user_twin_offer,
			      strlen(vfio_user_twin_offer) + 1) == 0 &&
	    door->agreed.twin_socket)
		facts->have |= NEED_TWIN;
	vfio_user_close(door);
}

int check_find_facts(const struct probe_options *options, struct check_facts *ret, char *error)
{
	struct vfio_user_door *door;
	int r = server_open(options->server, options->timeout_ms, &door, error);

	if (r < 0)
		return r;
	ret->have = NEED_SOCKET;
	ret->max_msg_fds = door->agreed.max_msg_fds;
	ret->max_data_xfer_size = door->agreed.max_data_xfer_size;
	ret->max_dma_maps = door->agreed.max_dma_maps;
	ret->pgsizes = door->agreed.pgsizes;
	if (door->agreed.write_multiple)
		ret->have |= NEED_WRITE_MULTI;
	r = door->dev.ops->get_info(&door->dev, &ret->info);
	if (r == 0 && ret->info.flags & VFIO_DEVICE_FLAGS_RESET)
		ret->have |= NEED_RESET;
	if (r == 0)
		r = find_regions(&door->dev, ret);
	if (r == 0)
		r = find_irqs(&door->dev, ret);
	if (r == 0)
		r = find_config(&door->dev, ret);
	if (r < 0)
		snprintf(error, PROBE_ERROR_SIZE, "%.250s",
			 probe_is_broken(r) ? probe_error(&door->dev) : probe_result(r));
	vfio_user_close(door);
	if (r == 0)
		find_twin(options, ret);
	return r;
}
