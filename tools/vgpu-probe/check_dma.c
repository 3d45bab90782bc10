/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Guest memory that comes and goes. What a device does with it is checked with the selftest device. */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "check.h"

static const char map_clause[] = "vfio-user: VFIO_USER_DMA_MAP";
static const char unmap_clause[] = "vfio-user: VFIO_USER_DMA_UNMAP";
static const char linux_clause[] = "linux/vfio.h: VFIO_IOMMU_MAP_DMA";

enum {
	PAGE = 4096,
	RW = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
	HUGE = 2 << 20,
};

static int map(struct check_run *t, uint64_t iova, uint64_t size, int fd)
{
	return t->dev->ops->dma_map(t->dev, iova, size, RW, fd, 0);
}

static void basic(struct check_run *t)
{
	int fd = check_memfd(t, 16 * PAGE);

	for (int i = 0; i < 2; i++) {
		check_ok(t, map(t, 0x100000, 16 * PAGE, fd), "DMA_MAP with a descriptor");
		check_ok(t, map(t, 0x200000, 16 * PAGE, -1), "DMA_MAP without");
		check_ok(t,
			 t->dev->ops->dma_map(t->dev, 0x300000, 2 * PAGE, VFIO_DMA_MAP_FLAG_READ,
					      fd, 4 * PAGE),
			 "DMA_MAP of a part of a file, to be read");
		check_ok(t, t->dev->ops->dma_unmap(t->dev, 0x200000, 16 * PAGE), "DMA_UNMAP");
		check_ok(t, t->dev->ops->dma_unmap(t->dev, 0x100000, 16 * PAGE), "DMA_UNMAP");
		check_ok(t, t->dev->ops->dma_unmap(t->dev, 0x300000, 2 * PAGE), "DMA_UNMAP");
	}
}

static void overlap(struct check_run *t)
{
	static const struct {
		uint64_t iova, size;
	} ranges[] = {
		{ 0x100000, 0x4000 }, { 0x101000, 0x1000 }, { 0xff000, 0x2000 },
		{ 0x103000, 0x2000 }, { 0xff000, 0x10000 }, { 0x0, 0x10000000 },
		{ 0x100000, 0x1000 }, { 0x103000, 0x1000 },
	};
	int fd = check_memfd(t, 0x10000);

	check_ok(t, map(t, 0x100000, 0x4000, fd), "DMA_MAP");
	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++) {
		check_errno(t, map(t, ranges[i].iova, ranges[i].size, -1), EEXIST,
			    "DMA_MAP of %#llx+%#llx over 0x100000+0x4000",
			    (unsigned long long)ranges[i].iova, (unsigned long long)ranges[i].size);
		check_errno(t, map(t, ranges[i].iova, ranges[i].size, fd), EEXIST,
			    "DMA_MAP of %#llx+%#llx over 0x100000+0x4000, with a descriptor",
			    (unsigned long long)ranges[i].iova, (unsigned long long)ranges[i].size);
	}
	check_ok(t, map(t, 0xff000, 0x1000, -1), "DMA_MAP that ends where another begins");
	check_ok(t, map(t, 0x104000, 0x1000, -1), "DMA_MAP that begins where another ends");
	check_ok(t, t->dev->ops->dma_unmap(t->dev, 0x100000, 0x4000), "DMA_UNMAP");
	check_ok(t, map(t, 0x101000, 0x1000, -1), "DMA_MAP where nothing is any more");
}

static void wrap(struct check_run *t)
{
	static const struct {
		uint64_t iova, size;
	} ranges[] = {
		{ UINT64_MAX - 0xfff, 0x2000 },
		{ 0x1000, UINT64_MAX - 0xfff },
		{ 1ULL << 63, (1ULL << 63) + 0x1000 },
		{ UINT64_MAX - 0x1fff, UINT64_MAX - 0xfff },
	};

	for (size_t i = 0; i < ARRAY_SIZE(ranges); i++)
		check_refused(t, map(t, ranges[i].iova, ranges[i].size, -1), EINVAL,
			      "DMA_MAP of %#llx+%#llx, which wraps",
			      (unsigned long long)ranges[i].iova,
			      (unsigned long long)ranges[i].size);
	check_in_step(t, "maps that wrap");
}

static void unaligned(struct check_run *t)
{
	int fd = check_memfd(t, 16 * PAGE);

	check_better_refused(t, map(t, 0x100001, PAGE, fd), EINVAL, "DMA_MAP at 0x100001");
	check_better_refused(t, map(t, 0x200800, PAGE, -1), EINVAL, "DMA_MAP at 0x200800");
	check_better_refused(t, map(t, 0x300000, PAGE + 1, fd), EINVAL, "DMA_MAP of 4097 bytes");
	check_better_refused(t, map(t, 0x400000, 100, -1), EINVAL, "DMA_MAP of 100 bytes");
	check_better_refused(t, t->dev->ops->dma_map(t->dev, 0x500000, PAGE, RW, fd, 100), EINVAL,
			     "DMA_MAP of a file from offset 100");
	check_in_step(t, "maps that are no pages");
}

static void empty(struct check_run *t)
{
	int r = map(t, 0x100000, 0, -1);

	check_better_refused(t, r, EINVAL, "DMA_MAP of 0 bytes");
	if (r == 0)
		return;
	r = map(t, 0x100000, 0, check_memfd(t, PAGE));
	check_better_refused(t, r, EINVAL, "DMA_MAP of 0 bytes, with a descriptor");
	if (r == 0)
		return;
	r = t->dev->ops->dma_unmap(t->dev, 0x100000, 0);
	EXPECT(t, r < 0, "DMA_UNMAP of 0 bytes succeeded");
	check_answered(t, r, "DMA_UNMAP of 0 bytes");
	check_ok(t, map(t, 0x100000, PAGE, -1), "DMA_MAP where an empty one was refused");
}

static void flags(struct check_run *t)
{
	static const uint32_t bad[] = { 0, 4, 8, 0x80000000, 0xffffffff };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check_better_refused(
			t, t->dev->ops->dma_map(t->dev, 0x100000 + i * PAGE, PAGE, bad[i], -1, 0),
			EINVAL, "DMA_MAP with flags %#x", bad[i]);
}

static void argsz(struct check_run *t)
{
	struct vfio_user_dma_map request = { .argsz = 31, .flags = RW, .size = PAGE };
	struct vfio_user_dma_unmap unmap = { .argsz = 23, .size = PAGE };

	check_refused(t,
		      link_call(&t->door->link, VFIO_USER_DMA_MAP, &request, sizeof(request), NULL,
				0, 0, NULL),
		      EINVAL, "DMA_MAP with argsz 31");
	check_ok(t, map(t, 0, PAGE, -1), "DMA_MAP");
	check_refused(t,
		      link_call(&t->door->link, VFIO_USER_DMA_UNMAP, &unmap, sizeof(unmap), NULL, 0,
				0, NULL),
		      EINVAL, "DMA_UNMAP with argsz 23");
}

static void unmap_exact(struct check_run *t)
{
	static const struct {
		uint64_t iova, size;
	} bad[] = {
		{ 0x100000, 0x1000 },
		{ 0x101000, 0x3000 },
		{ 0x100000, 0x5000 },
		{ 0xff000, 0x5000 },
		{ 0x0, 0x10000000 },
		{ 0x200000, 0x4000 },
		{ UINT64_MAX - 0xfff, 0x2000 },
	};

	check_ok(t, map(t, 0x100000, 0x4000, -1), "DMA_MAP");
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		check_refused(t, t->dev->ops->dma_unmap(t->dev, bad[i].iova, bad[i].size), ENOENT,
			      "DMA_UNMAP of %#llx+%#llx, where 0x100000+0x4000 is mapped",
			      (unsigned long long)bad[i].iova, (unsigned long long)bad[i].size);
	check_ok(t, t->dev->ops->dma_unmap(t->dev, 0x100000, 0x4000),
		 "DMA_UNMAP of what was mapped");
	check_refused(t, t->dev->ops->dma_unmap(t->dev, 0x100000, 0x4000), ENOENT,
		      "DMA_UNMAP a second time");
}

/* Linux' VFIO has it; of vfio-user's flags none is defined. */
static void unmap_all(struct check_run *t)
{
	struct vfio_user_dma_unmap unmap = { .argsz = sizeof(unmap),
					     .flags = VFIO_DMA_UNMAP_FLAG_ALL };
	int r;

	check_ok(t, map(t, 0x100000, 0x4000, -1), "DMA_MAP");
	check_ok(t, map(t, 0x200000, 0x4000, check_memfd(t, 0x4000)), "DMA_MAP");
	r = link_call(&t->door->link, VFIO_USER_DMA_UNMAP, &unmap, sizeof(unmap), NULL, 0, 0, NULL);
	check_answered(t, r, "DMA_UNMAP with the flag ALL");
	if (r < 0) {
		check_advise(t, "DMA_UNMAP has no flag ALL: %s", probe_result(r));
		return;
	}
	check_ok(t, map(t, 0x0, 0x1000000, -1), "DMA_MAP over everything after DMA_UNMAP of all");
}

static void bad_files(struct check_run *t)
{
	int ends[2], read_only = check_keep_fd(t, open("/proc/self/exe", O_RDONLY | O_CLOEXEC));

	EXPECT(t, pipe(ends) == 0, "internal: pipe");
	check_keep_fd(t, ends[0]);
	check_keep_fd(t, ends[1]);
	for (int i = 0; i < 3; i++) {
		int fd = i == 0	  ? ends[0]
			 : i == 1 ? check_eventfd(t)
				  : check_keep_fd(t, open("/", O_RDONLY | O_CLOEXEC));
		int r = map(t, 0x100000, PAGE, fd);

		EXPECT(t, r < 0, "DMA_MAP with a pipe, an eventfd or a directory succeeded");
		check_answered(t, r, "DMA_MAP with a descriptor that is no file");
	}
	check_refused(t, map(t, 0x100000, PAGE, read_only), EACCES,
		      "DMA_MAP for writing, of a file that is open for reading");
	check_ok(t, map(t, 0x100000, PAGE, -1), "DMA_MAP where those were refused");
}

static void bad_offsets(struct check_run *t)
{
	static const uint64_t offsets[] = { UINT64_MAX - 0xfff, 1ULL << 63, INT64_MAX - 0xffe };
	int fd = check_memfd(t, PAGE);

	for (size_t i = 0; i < ARRAY_SIZE(offsets); i++) {
		int r = t->dev->ops->dma_map(t->dev, 0x100000, 2 * PAGE, RW, fd, offsets[i]);

		EXPECT(t, r < 0, "DMA_MAP of a file from offset %#llx succeeded",
		       (unsigned long long)offsets[i]);
		check_answered(t, r, "DMA_MAP of a file from offset %#llx",
			       (unsigned long long)offsets[i]);
	}
	check_answered(t, t->dev->ops->dma_map(t->dev, 0x100000, 16 * PAGE, RW, fd, 8 * PAGE),
		       "DMA_MAP beyond the end of a file");
	check_in_step(t, "maps outside of their files");
}

static void many_fds(struct check_run *t)
{
	struct vfio_user_dma_map request = { .argsz = sizeof(request), .flags = RW, .size = PAGE };
	int fds[2] = { check_memfd(t, PAGE), check_memfd(t, PAGE) };

	check_better_refused(t,
			     link_call(&t->door->link, VFIO_USER_DMA_MAP, &request, sizeof(request),
				       fds, 2, 0, NULL),
			     EINVAL, "DMA_MAP with two descriptors");
}

static void truncated(struct check_run *t)
{
	int fd = check_memfd(t, 64 * PAGE);

	check_ok(t, map(t, 0x100000, 64 * PAGE, fd), "DMA_MAP");
	EXPECT(t, ftruncate(fd, 0) == 0, "internal: ftruncate");
	check_in_step(t, "the file of a map was truncated");
	check_ok(t, t->dev->ops->dma_unmap(t->dev, 0x100000, 64 * PAGE),
		 "DMA_UNMAP of a file that was truncated");
}

/* An offset in a huge page, as QEMU has where it splits memory. */
static void huge_pages(struct check_run *t)
{
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	void *p;

	if (fd < 0)
		check_skip(t, "this host has no huge pages");
	check_keep_fd(t, fd);
	p = ftruncate(fd, 2 * HUGE) < 0
		    ? MAP_FAILED
		    : mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		check_skip(t, "this host has no huge pages that are free");
	munmap(p, 2 * HUGE);
	check_ok(t, map(t, 0, 0xa0000, fd), "DMA_MAP of the first 640 KiB of huge pages");
	check_ok(t, t->dev->ops->dma_map(t->dev, 0x100000, HUGE, RW, fd, 0x100000),
		 "DMA_MAP of huge pages from offset 1 MiB");
	check_ok(t, t->dev->ops->dma_unmap(t->dev, 0x100000, HUGE), "DMA_UNMAP");
	check_ok(t, t->dev->ops->dma_unmap(t->dev, 0, 0xa0000), "DMA_UNMAP");
}

/* Sends count maps of pages from a number on, and takes their replies: how many succeeded. */
static unsigned int map_pages(struct check_run *t, uint32_t first, uint32_t count)
{
	struct link *link = &t->door->link;
	unsigned int done = 0;
	uint16_t id = link->next_id;

	for (uint32_t i = 0; i < count; i++) {
		struct vfio_user_dma_map request = {
			.argsz = sizeof(request),
			.flags = RW,
			.address = (uint64_t)(first + i) * 2 * PAGE,
			.size = PAGE,
		};

		check_ok(t,
			 link_send_message(link, VFIO_USER_DMA_MAP, 0, &request, sizeof(request),
					   NULL, 0, NULL),
			 "sending DMA_MAP");
	}
	for (uint32_t i = 0; i < count; i++) {
		int r = link_receive_reply(link, id++, VFIO_USER_DMA_MAP, 0, NULL);

		check_answered(t, r, "DMA_MAP number %u", first + i);
		done += r == 0;
	}
	return done;
}

static void budget(struct check_run *t)
{
	enum { BATCH = 64, MOST = 65536 };
	uint64_t max = t->facts->max_dma_maps;
	uint32_t i = 0;
	int r;

	if (max > MOST)
		check_skip(t, "the server takes %llu maps, which is more than we try",
			   (unsigned long long)max);
	while (i < max) {
		uint32_t n = max - i < BATCH ? (uint32_t)(max - i) : BATCH;
		unsigned int done = map_pages(t, i, n);

		EXPECT(t, done == n, "of max_dma_maps, %llu, only %u were taken",
		       (unsigned long long)max, i + done);
		i += n;
	}
	r = map(t, (uint64_t)(i + 1) * 2 * PAGE, PAGE, -1);
	check_answered(t, r, "DMA_MAP beyond max_dma_maps");
	ADVISE_UNLESS(t, r < 0, "a map more than max_dma_maps was taken");
	check_ok(t, t->dev->ops->dma_unmap(t->dev, 0, PAGE), "DMA_UNMAP of one of them");
	check_ok(t, map(t, 0, PAGE, -1), "DMA_MAP after one was unmapped");
	check_survives(t, "max_dma_maps maps");
}

/* Files as large as they get: the server must not run out of addresses. */
static void large(struct check_run *t)
{
	int fd = check_memfd(t, 1ULL << 42);

	for (uint64_t i = 0; i < 64; i++)
		check_answered(t, map(t, i << 42, 1ULL << 42, fd), "DMA_MAP of 4 TiB, number %llu",
			       (unsigned long long)i);
	check_in_step(t, "maps of 256 TiB");
	check_survives(t, "maps of 256 TiB");
	check_answered(t, map(t, 0, 1ULL << 62, -1), "DMA_MAP of 2^62 bytes without a descriptor");
}

static void forgotten(struct check_run *t)
{
	int fd = check_memfd(t, 16 * PAGE);

	check_ok(t, map(t, 0x100000, 16 * PAGE, fd), "DMA_MAP");
	check_close(t);
	check_open(t);
	check_ok(t, map(t, 0x100000, 16 * PAGE, fd),
		 "DMA_MAP of the next client at the same place");
}

static void pipelined(struct check_run *t)
{
	for (uint32_t round = 0; round < 50; round++) {
		unsigned int done = map_pages(t, 0, 20);

		EXPECT(t, done == 20, "of 20 DMA_MAPs at once %u succeeded", done);
		for (uint64_t i = 0; i < 20; i++)
			check_ok(t, t->dev->ops->dma_unmap(t->dev, i * 2 * PAGE, PAGE),
				 "DMA_UNMAP");
	}
}

const struct check checks_dma[] = {
	{ "dma.map", "memory is mapped and unmapped, with a file or without", map_clause, 0,
	  basic },
	{ "dma.overlap", "a map over another is EEXIST", map_clause, 0, overlap },
	{ "dma.wrap", "a map that wraps is refused", linux_clause, 0, wrap },
	{ "dma.unaligned", "so is one that is no pages", linux_clause, 0, unaligned },
	{ "dma.empty", "so is one of nothing", linux_clause, 0, empty },
	{ "dma.flags", "so is one that can be neither read nor written", linux_clause, 0, flags },
	{ "dma.argsz", "argsz is the size of the request", map_clause, NEED_SOCKET, argsz },
	{ "dma.unmap-exact", "an unmap is of exactly one map", unmap_clause, 0, unmap_exact },
	{ "dma.unmap-all", "the flag ALL unmaps all, where there is one",
	  "linux/vfio.h: VFIO_DMA_UNMAP_FLAG_ALL", NEED_SOCKET, unmap_all },
	{ "dma.files", "what can't be mapped is refused", map_clause, 0, bad_files },
	{ "dma.offsets", "an offset that wraps is, too", map_clause, 0, bad_offsets },
	{ "dma.fds", "a map has one file at most", map_clause, NEED_SOCKET, many_fds },
	{ "dma.truncated", "a file that is truncated harms nobody", map_clause, 0, truncated },
	{ "dma.huge-pages", "memory may lie in huge pages, at any page of 4 KiB", map_clause, 0,
	  huge_pages },
	{ "dma.pipelined", "maps may be pipelined", "vfio-user: Command Concurrency", NEED_SOCKET,
	  pipelined },
	{ "dma.budget", "max_dma_maps are taken, and no more", "vfio-user: VFIO_USER_VERSION",
	  NEED_SOCKET, budget },
	{ "dma.large", "maps larger than what a process can map harm nobody", map_clause, 0,
	  large },
	{ "dma.forgotten", "no map outlives its client", "vfio-user: Client Disconnection", 0,
	  forgotten },
	{ 0 },
};
