/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The conformance suite. Each check is a function and a line in a table; it is
 * given a connection of its own and ends at the first thing that is wrong. All
 * that it opens through check_*() is closed after it, however it ends.
 *
 * A check fails where a specification, or Linux' own VFIO, leaves no choice. Where
 * another server may well do otherwise, it gives advice instead, and goes on.
 */
#pragma once

#include "guest.h"
#include "pci.h"
#include "probe.h"
#include "server.h"

/* What a check needs of a device or of the door; it is skipped without. */
enum {
	NEED_SOCKET = 1 << 0, /* the raw protocol */
	NEED_PCI = 1 << 1,
	NEED_RESET = 1 << 2,
	NEED_IRQ = 1 << 3, /* any index with a vector that can be signalled */
	NEED_INTX = 1 << 4,
	NEED_MSI = 1 << 5,
	NEED_MSIX = 1 << 6,
	NEED_MMAP = 1 << 7, /* a region that can be mapped */
	NEED_SPARSE = 1 << 8, /* one that can be in part */
	NEED_ROM = 1 << 9,
	NEED_IO_FDS = 1 << 10, /* doorbells */
	NEED_SELFTEST = 1 << 11, /* src/device/selftest_regs.h */
	NEED_WRITE_MULTI = 1 << 12,
	NEED_TWIN = 1 << 13, /* a server that takes the twin socket */
	NEED_EXPRESS = 1 << 14, /* extended config space */

	/* Not a need: the check connects for itself. */
	CHECK_UNCONNECTED = 1 << 30,
};

struct check_run;

struct check {
	const char *name; /* group.what */
	const char *what; /* must be so: one line */
	const char *clause; /* of which specification */
	unsigned int needs;
	void (*run)(struct check_run *t);
};

/* What is known of the device before the first check. */
struct check_facts {
	unsigned int have; /* NEED_* */
	struct vfio_device_info info;
	struct probe_region regions[PROBE_MAX_REGIONS]; /* fd is -1: checks ask anew */
	struct vfio_irq_info irqs[PROBE_MAX_IRQS];
	uint32_t n_regions, n_irqs;
	struct pci_config config; /* as it was at power-on, with NEED_PCI */
	uint64_t max_msg_fds, max_data_xfer_size, max_dma_maps, pgsizes;
};

/* What the check is about; a new door replaces the one before. */
struct check_run {
	const struct check_facts *facts;
	unsigned int timeout_ms;
	const char *path; /* of the server's socket */
	struct vfio_user_door *door; /* the socket, */
	struct probe_device *dev; /* and the device behind it */
	struct guest *guest; /* whose memory the server may ask for */
};

/* Ends the check. */
void check_fail(struct check_run *t, const char *format, ...)
	__attribute__((format(printf, 2, 3), noreturn));
void check_skip(struct check_run *t, const char *format, ...)
	__attribute__((format(printf, 2, 3), noreturn));

/* The check goes on, and is not failed by this. */
void check_advise(struct check_run *t, const char *format, ...)
	__attribute__((format(printf, 2, 3)));

#define EXPECT(t, condition, ...)                                                                  \
	do {                                                                                       \
		if (!(condition))                                                                  \
			check_fail(t, __VA_ARGS__);                                                \
	} while (0)

#define ADVISE_UNLESS(t, condition, ...)                                                           \
	do {                                                                                       \
		if (!(condition))                                                                  \
			check_advise(t, __VA_ARGS__);                                              \
	} while (0)

/*
 * r is what the server answered to what format says. It must be success; this
 * errno; an error, and advice if it is not this errno; the door must not break.
 */
void check_ok(struct check_run *t, int r, const char *format, ...)
	__attribute__((format(printf, 3, 4)));
void check_errno(struct check_run *t, int r, int error, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
void check_refused(struct check_run *t, int r, int error, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* As check_refused(), but success is the server's own business, and advice. */
void check_better_refused(struct check_run *t, int r, int error, const char *format, ...)
	__attribute__((format(printf, 4, 5)));
/* Anything but a broken door. */
void check_answered(struct check_run *t, int r, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

/* Connects, without and with a version; t->door is the new one. The old one stays open. */
void check_connect(struct check_run *t);
void check_open(struct check_run *t);
/* Closes t->door; the next is another client. */
void check_close(struct check_run *t);

/* A question that every server can answer, answered right. after: what came before it. */
void check_in_step(struct check_run *t, const char *after);

/* The server may close the connection or answer with an error, and serves the next client. */
void check_survives(struct check_run *t, const char *what);

/* Accesses that must succeed. */
uint64_t check_read(struct check_run *t, uint32_t region, uint64_t offset, unsigned int width);
void check_write(struct check_run *t, uint32_t region, uint64_t offset, unsigned int width,
		 uint64_t value);

/* Things that end with the check. */
void *check_alloc(struct check_run *t, size_t size); /* zeroed */
int check_keep_fd(struct check_run *t, int fd);
int check_eventfd(struct check_run *t);
int check_memfd(struct check_run *t, uint64_t size);
struct guest_range *check_memory(struct check_run *t, uint64_t iova, uint64_t size);
/* region->fd ends with the check. */
void check_region(struct check_run *t, uint32_t index, struct probe_region *ret);
uint8_t *check_map(struct check_run *t, const struct probe_region *region, uint64_t offset,
		   uint64_t size);
/* The first region with the flag, or with sparse areas; there is one if that was needed. */
uint32_t check_mappable(struct check_run *t, bool sparse);

/* How often an eventfd was signalled, and waits for the first of it if `wait`. */
uint64_t check_signalled(struct check_run *t, int fd, bool wait);

/* The tables, one a file. Each ends with a NULL name. */
extern const struct check checks_version[], checks_header[], checks_info[], checks_region[],
	checks_dma[], checks_irq[], checks_reset[], checks_config[], checks_mmap[],
	checks_session[], checks_selftest[], checks_selftest_dma[], checks_selftest_message[],
	checks_selftest_irq[];
