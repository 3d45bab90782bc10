/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vfio/dma.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "unit.h"

enum {
	PAGE = 4096,
	READ = VFIO_DMA_MAP_FLAG_READ,
	WRITE = VFIO_DMA_MAP_FLAG_WRITE,
	RW = READ | WRITE,
	REMOTE_SIZE = 1 << 20,
};

static struct vfio_dma_space space;

/* A client on the other side of messages: the byte at IOVA i is remote[i % REMOTE_SIZE]. */
static struct {
	uint8_t memory[REMOTE_SIZE];
	unsigned int reads, writes;
	size_t longest;
	int fail; /* what every message answers */
	void (*meanwhile)(void); /* what the client does before it answers */
} remote;

static int remote_read(void *opaque, uint64_t iova, void *buf, size_t length)
{
	void (*meanwhile)(void) = remote.meanwhile;

	assert_ptr_equal(opaque, &remote);
	remote.reads++;
	remote.longest = length > remote.longest ? length : remote.longest;
	remote.meanwhile = NULL;
	if (meanwhile)
		meanwhile();
	if (remote.fail)
		return remote.fail;
	for (size_t i = 0; i < length; i++)
		((uint8_t *)buf)[i] = remote.memory[(iova + i) % REMOTE_SIZE];
	return 0;
}

static int remote_write(void *opaque, uint64_t iova, const void *buf, size_t length)
{
	assert_ptr_equal(opaque, &remote);
	remote.writes++;
	if (remote.fail)
		return remote.fail;
	for (size_t i = 0; i < length; i++)
		remote.memory[(iova + i) % REMOTE_SIZE] = ((const uint8_t *)buf)[i];
	return 0;
}

static const struct vfio_dma_ops remote_ops = { remote_read, remote_write };

static int setup(void **state)
{
	vfio_dma_space_init(&space);
	memset(&remote, 0, sizeof(remote));
	for (size_t i = 0; i < REMOTE_SIZE; i++)
		remote.memory[i] = (uint8_t)(i * 5 + (i >> 8));
	vfio_dma_set_ops(&space, &remote_ops, &remote);
	return 0;
}

static int teardown(void **state)
{
	vfio_dma_space_done(&space);
	assert_int_equal(space.stats.maps, 0);
	assert_int_equal(space.stats.bytes, 0);
	assert_int_equal(space.stats.mapped_bytes, 0);
	return 0;
}

/* cmocka puts its own handler in front of every test; the room's is put back. */
static struct sigaction our_sigbus;

static void find_our_sigbus(void)
{
	int fd = memfd_create("test-dma", MFD_CLOEXEC);

	vfio_dma_space_init(&space);
	if (ftruncate(fd, PAGE) < 0 || vfio_dma_map(&space, 0, PAGE, RW, fd, 0) < 0)
		abort();
	vfio_dma_space_done(&space);
	close(fd);
	sigaction(SIGBUS, NULL, &our_sigbus);
}

static void catch_sigbus(void)
{
	assert_int_equal(sigaction(SIGBUS, &our_sigbus, NULL), 0);
}

/* A file whose byte i is i * 3 + i / 256 + seed. */
static int make_file(size_t size, uint8_t seed)
{
	int fd = memfd_create("test-dma", MFD_CLOEXEC);
	uint8_t *p;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	for (size_t i = 0; i < size; i++)
		p[i] = (uint8_t)(i * 3 + i / 256 + seed);
	munmap(p, size);
	return fd;
}

static uint8_t file_byte(size_t i, uint8_t seed)
{
	return (uint8_t)(i * 3 + i / 256 + seed);
}

static uint8_t peek(int fd, off_t at)
{
	uint8_t byte;

	assert_int_equal(pread(fd, &byte, 1, at), 1);
	return byte;
}

static void files_are_used_in_place(void **state)
{
	int fd = make_file(8 * PAGE, 1);
	struct vfio_dma_access access;
	uint8_t buf[300];

	assert_int_equal(vfio_dma_map(&space, 0x100000, 4 * PAGE, RW, fd, 2 * PAGE), 0);
	assert_int_equal(space.stats.maps, 1);
	assert_int_equal(space.stats.bytes, 4 * PAGE);
	assert_int_equal(space.stats.mapped_bytes, 4 * PAGE);

	assert_int_equal(vfio_dma_read(&space, 0x100000 + 17, buf, sizeof(buf)), 0);
	for (size_t i = 0; i < sizeof(buf); i++)
		assert_int_equal(buf[i], file_byte(2 * PAGE + 17 + i, 1));
	assert_int_equal(vfio_dma_write(&space, 0x100000, "hello", 5), 0);
	assert_int_equal(peek(fd, 2 * PAGE + 4), 'o');

	assert_int_equal(vfio_dma_begin(&space, 0x100000 + PAGE, 3 * PAGE, RW, &access), 0);
	assert_int_equal(access.length, 3 * PAGE);
	assert_null(access.bounce);
	assert_int_equal(access.data[5], file_byte(3 * PAGE + 5, 1));
	access.data[5] = 0x5a;
	assert_int_equal(peek(fd, 3 * PAGE + 5), 0x5a);
	assert_int_equal(vfio_dma_end(&access, 6), 0);
	assert_null(access.data);

	/* The descriptor was not kept: the file is still there without it. */
	close(fd);
	assert_int_equal(vfio_dma_read(&space, 0x100000 + PAGE + 5, buf, 1), 0);
	assert_int_equal(buf[0], 0x5a);
	assert_int_equal(vfio_dma_unmap(&space, 0x100000, 4 * PAGE), 0);
	assert_int_equal(vfio_dma_read(&space, 0x100000, buf, 1), -EFAULT);
	assert_int_equal(space.stats.faults, 1);
	assert_int_equal(remote.reads + remote.writes, 0);
}

static void without_a_file_bytes_travel_as_messages(void **state)
{
	struct vfio_dma_access access;
	uint8_t buf[100];

	assert_int_equal(vfio_dma_map(&space, 0x10000, 16 * PAGE, RW, -1, 0), 0);
	assert_int_equal(space.stats.bytes, 16 * PAGE);
	assert_int_equal(space.stats.mapped_bytes, 0);

	assert_int_equal(vfio_dma_read(&space, 0x10007, buf, sizeof(buf)), 0);
	assert_memory_equal(buf, remote.memory + 0x10007, sizeof(buf));
	assert_int_equal(remote.reads, 1);
	assert_int_equal(vfio_dma_write(&space, 0x10000, "hello", 5), 0);
	assert_memory_equal(remote.memory + 0x10000, "hello", 5);

	/* Only what was written travels back, and only for writing is it not fetched. */
	remote.reads = remote.writes = 0;
	assert_int_equal(vfio_dma_begin(&space, 0x11000, 50, READ, &access), 0);
	assert_memory_equal(access.data, remote.memory + 0x11000, 50);
	assert_int_equal(vfio_dma_end(&access, 0), 0);
	assert_int_equal(remote.reads, 1);
	assert_int_equal(remote.writes, 0);

	assert_int_equal(vfio_dma_begin(&space, 0x11000, 50, WRITE, &access), 0);
	assert_int_equal(remote.reads, 1);
	memset(access.data, 0x77, 50);
	assert_int_equal(vfio_dma_end(&access, 10), 0);
	assert_int_equal(remote.writes, 1);
	assert_int_equal(remote.memory[0x11009], 0x77);
	assert_int_equal(remote.memory[0x1100a], (uint8_t)(0x1100a * 5 + (0x1100a >> 8)));

	/* More than the scope holds is cut, and a READ scope writes nothing. */
	assert_int_equal(vfio_dma_begin(&space, 0x11000, 4, RW, &access), 0);
	memset(access.data, 0x66, 4);
	assert_int_equal(vfio_dma_end(&access, 1000), 0);
	assert_int_equal(remote.memory[0x11003], 0x66);
	assert_int_equal(remote.memory[0x11004], 0x77);
	remote.writes = 0;
	assert_int_equal(vfio_dma_begin(&space, 0x11000, 4, READ, &access), 0);
	assert_int_equal(vfio_dma_end(&access, 4), 0);
	assert_int_equal(remote.writes, 0);
}

static void failures_of_messages_are_passed_on(void **state)
{
	struct vfio_dma_access access;
	uint8_t buf[4] = { 0 };

	assert_int_equal(vfio_dma_map(&space, 0x10000, PAGE, RW, -1, 0), 0);
	assert_int_equal(vfio_dma_begin(&space, 0x10000, 4, WRITE, &access), 0);
	remote.fail = -ENODEV;
	assert_int_equal(vfio_dma_read(&space, 0x10000, buf, 4), -ENODEV);
	assert_int_equal(vfio_dma_write(&space, 0x10000, buf, 4), -ENODEV);
	assert_int_equal(vfio_dma_end(&access, 4), -ENODEV);
	assert_int_equal(vfio_dma_begin(&space, 0x10000, 4, READ, &access), -ENODEV);
	vfio_dma_set_ops(&space, NULL, NULL);
	assert_int_equal(vfio_dma_read(&space, 0x10000, buf, 4), -ENOTCONN);
	assert_int_equal(space.stats.faults, 5);
}

/* mapped | by message | other file, in one access. */
static void accesses_span_maps(void **state)
{
	int a = make_file(2 * PAGE, 10), b = make_file(2 * PAGE, 99);
	struct vfio_dma_access access;
	uint8_t buf[3 * PAGE];

	assert_int_equal(vfio_dma_map(&space, 0x12000, PAGE, RW, b, PAGE), 0);
	assert_int_equal(vfio_dma_map(&space, 0x10000, PAGE, RW, a, 0), 0);
	assert_int_equal(vfio_dma_map(&space, 0x11000, PAGE, RW, -1, 0), 0);

	assert_int_equal(vfio_dma_read(&space, 0x10000, buf, sizeof(buf)), 0);
	for (size_t i = 0; i < PAGE; i++) {
		assert_int_equal(buf[i], file_byte(i, 10));
		assert_int_equal(buf[PAGE + i], remote.memory[0x11000 + i]);
		assert_int_equal(buf[2 * PAGE + i], file_byte(PAGE + i, 99));
	}
	assert_int_equal(remote.reads, 1);

	assert_int_equal(vfio_dma_begin(&space, 0x10ffe, PAGE + 4, RW, &access), 0);
	assert_non_null(access.bounce);
	assert_int_equal(access.data[0], file_byte(PAGE - 2, 10));
	memset(access.data, 0x42, access.length);
	assert_int_equal(vfio_dma_end(&access, access.length), 0);
	assert_int_equal(peek(a, PAGE - 2), 0x42);
	assert_int_equal(peek(a, PAGE - 3), file_byte(PAGE - 3, 10));
	assert_int_equal(remote.memory[0x11000], 0x42);
	assert_int_equal(remote.memory[0x11fff], 0x42);
	assert_int_equal(peek(b, PAGE + 1), 0x42);
	assert_int_equal(peek(b, PAGE + 2), file_byte(PAGE + 2, 99));

	/* A hole, and the end of what is mapped: nothing is touched. */
	assert_int_equal(vfio_dma_unmap(&space, 0x11000, PAGE), 0);
	remote.reads = 0;
	assert_int_equal(vfio_dma_read(&space, 0x10000, buf, sizeof(buf)), -EFAULT);
	assert_int_equal(vfio_dma_write(&space, 0x10fff, "ab", 2), -EFAULT);
	assert_int_equal(peek(a, PAGE - 1), 0x42);
	assert_int_equal(vfio_dma_begin(&space, 0x12fff, 2, READ, &access), -EFAULT);
	assert_int_equal(vfio_dma_read(&space, 0xffff, buf, 2), -EFAULT);
	assert_int_equal(remote.reads, 0);
	close(a);
	close(b);
}

static void rights_are_those_of_the_map(void **state)
{
	int fd = make_file(PAGE, 0), read_only;
	struct vfio_dma_access access;
	char path[64];
	uint8_t buf[4] = { 0 };

	assert_int_equal(vfio_dma_map(&space, 0x1000, PAGE, READ, fd, 0), 0);
	assert_int_equal(vfio_dma_map(&space, 0x2000, PAGE, WRITE, fd, 0), 0);
	assert_int_equal(vfio_dma_read(&space, 0x1000, buf, 4), 0);
	assert_int_equal(vfio_dma_write(&space, 0x1000, buf, 4), -EFAULT);
	assert_int_equal(vfio_dma_begin(&space, 0x1000, 4, RW, &access), -EFAULT);
	assert_int_equal(vfio_dma_read(&space, 0x2000, buf, 4), -EFAULT);
	assert_int_equal(vfio_dma_write(&space, 0x2000, buf, 4), 0);
	assert_int_equal(vfio_dma_read(&space, 0x1ffe, buf, 4), -EFAULT);

	assert_int_equal(vfio_dma_begin(&space, 0x1000, 0, READ, &access), -EFAULT);
	assert_int_equal(vfio_dma_begin(&space, 0x1000, 4, 0, &access), -EFAULT);
	assert_int_equal(vfio_dma_begin(&space, 0x1000, 4, READ | 4, &access), -EFAULT);
	assert_int_equal(vfio_dma_read(&space, 0x1000, buf, 0), 0);

	/* What mmap() says of a descriptor that was opened for reading. */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	read_only = open(path, O_RDONLY | O_CLOEXEC);
	if (read_only >= 0)
		assert_int_equal(vfio_dma_map(&space, 0x3000, PAGE, RW, read_only, 0), -EACCES);
	close_fd(read_only);
	close(fd);
}

static void ranges_are_checked(void **state)
{
	int fd = make_file(PAGE, 0), not_a_file = eventfd(0, EFD_CLOEXEC);
	uint8_t buf[16];

	assert_int_equal(vfio_dma_map(&space, 0x1000, 0, RW, -1, 0), -EINVAL);
	assert_int_equal(vfio_dma_map(&space, 0x1000, PAGE, 0, -1, 0), -EINVAL);
	assert_int_equal(vfio_dma_map(&space, 0x1000, PAGE, 4, -1, 0), -EINVAL);
	assert_int_equal(vfio_dma_map(&space, 0x1000, PAGE, RW | 4, -1, 0), -EINVAL);
	assert_int_equal(vfio_dma_map(&space, 0x1001, PAGE, RW, -1, 0), -EINVAL);
	assert_int_equal(vfio_dma_map(&space, 0x1000, PAGE + 1, RW, -1, 0), -EINVAL);
	assert_int_equal(vfio_dma_map(&space, 0x1000, 100, RW, -1, 0), -EINVAL);
	/* Wraps, and touches the end of the address space. */
	assert_int_equal(vfio_dma_map(&space, UINT64_MAX - PAGE + 1, 2 * PAGE, RW, -1, 0), -EINVAL);
	assert_int_equal(vfio_dma_map(&space, UINT64_MAX - PAGE + 1, PAGE, RW, -1, 0), -EINVAL);
	assert_int_equal(vfio_dma_map(&space, PAGE, -(uint64_t)PAGE, RW, -1, 0), -EINVAL);
	assert_int_equal(vfio_dma_map(&space, 0x1000, PAGE, RW, fd, 1), -EINVAL);
	assert_int_equal(vfio_dma_map(&space, 0x1000, PAGE, RW, fd, -(uint64_t)PAGE), -EINVAL);
	assert_int_equal(vfio_dma_map(&space, 0x1000, PAGE, RW, fd, (uint64_t)INT64_MAX - PAGE + 1),
			 -EINVAL);
	assert_int_equal(vfio_dma_map(&space, 0x1000, PAGE, RW, not_a_file, 0), -ENODEV);
	assert_int_equal(vfio_dma_map(&space, 0x1000, PAGE, RW, 9999, 0), -EBADF);
	assert_int_equal(space.n_maps, 0);

	/* The last page that there can be, and accesses that wrap beyond it. */
	assert_int_equal(vfio_dma_map(&space, UINT64_MAX - 2 * PAGE + 1, PAGE, RW, -1, 0), 0);
	assert_int_equal(vfio_dma_read(&space, UINT64_MAX - PAGE - 15, buf, 16), 0);
	assert_int_equal(vfio_dma_read(&space, UINT64_MAX - PAGE - 14, buf, 16), -EFAULT);
	assert_int_equal(vfio_dma_read(&space, UINT64_MAX - 3, buf, 16), -EFAULT);
	assert_int_equal(vfio_dma_map(&space, 0, PAGE, RW, -1, 0), 0);
	assert_int_equal(vfio_dma_read(&space, 0, buf, 16), 0);
	close(fd);
	close(not_a_file);
}

/* vfio-user.rst, VFIO_USER_DMA_MAP: mapping over an existing region is EEXIST. */
static void overlaps_are_refused(void **state)
{
	assert_int_equal(vfio_dma_map(&space, 0x10000, 4 * PAGE, RW, -1, 0), 0);
	assert_int_equal(vfio_dma_map(&space, 0x20000, 4 * PAGE, RW, -1, 0), 0);

	assert_int_equal(vfio_dma_map(&space, 0x10000, 4 * PAGE, RW, -1, 0), -EEXIST);
	assert_int_equal(vfio_dma_map(&space, 0x11000, PAGE, RW, -1, 0), -EEXIST);
	assert_int_equal(vfio_dma_map(&space, 0xf000, 2 * PAGE, RW, -1, 0), -EEXIST);
	assert_int_equal(vfio_dma_map(&space, 0x13000, 2 * PAGE, RW, -1, 0), -EEXIST);
	assert_int_equal(vfio_dma_map(&space, 0x0, 0x40000, RW, -1, 0), -EEXIST);
	assert_int_equal(vfio_dma_map(&space, 0x14000, 0x10000, RW, -1, 0), -EEXIST);
	assert_int_equal(space.n_maps, 2);
	/* Neighbours are none. */
	assert_int_equal(vfio_dma_map(&space, 0xf000, PAGE, RW, -1, 0), 0);
	assert_int_equal(vfio_dma_map(&space, 0x14000, 0xc000, RW, -1, 0), 0);
	assert_int_equal(vfio_dma_map(&space, 0x24000, PAGE, RW, -1, 0), 0);

	/* UNMAP names exactly one map. */
	assert_int_equal(vfio_dma_unmap(&space, 0x10000, PAGE), -ENOENT);
	assert_int_equal(vfio_dma_unmap(&space, 0x11000, PAGE), -ENOENT);
	assert_int_equal(vfio_dma_unmap(&space, 0xf000, 5 * PAGE), -ENOENT);
	assert_int_equal(vfio_dma_unmap(&space, 0x30000, PAGE), -ENOENT);
	assert_int_equal(vfio_dma_unmap(&space, 0, 0), -ENOENT);
	assert_int_equal(vfio_dma_unmap(&space, 0x10000, 4 * PAGE), 0);
	assert_int_equal(vfio_dma_unmap(&space, 0x10000, 4 * PAGE), -ENOENT);
	assert_int_equal(space.n_maps, 4);
}

static void maps_are_budgeted(void **state)
{
	space.max_maps = 100;
	for (uint64_t i = 0; i < 100; i++)
		assert_int_equal(vfio_dma_map(&space, i * 2 * PAGE, PAGE, RW, -1, 0), 0);
	assert_int_equal(vfio_dma_map(&space, 1 << 30, PAGE, RW, -1, 0), -ENOSPC);
	assert_int_equal(vfio_dma_unmap(&space, 0, PAGE), 0);
	assert_int_equal(vfio_dma_map(&space, 1 << 30, PAGE, RW, -1, 0), 0);
	vfio_dma_unmap_all(&space);
	assert_int_equal(space.stats.maps, 0);
	assert_int_equal(vfio_dma_map(&space, 0, PAGE, RW, -1, 0), 0);
}

/* Many maps in any order, against a table that cannot be wrong. */
static void look_ups_find_the_right_map(void **state)
{
	enum { SLOTS = 512 };
	bool mapped[SLOTS] = { false };
	unsigned int seed = 1;
	uint8_t buf[2 * PAGE];

	for (unsigned int i = 0; i < 20000; i++) {
		unsigned int slot = (unsigned int)rand_r(&seed) % SLOTS;
		uint64_t iova = slot * (uint64_t)PAGE;
		size_t length = 1 + (unsigned int)rand_r(&seed) % sizeof(buf);
		bool all = true;

		switch (rand_r(&seed) % 4) {
		case 0:
			assert_int_equal(vfio_dma_map(&space, iova, PAGE, RW, -1, 0),
					 mapped[slot] ? -EEXIST : 0);
			mapped[slot] = true;
			break;
		case 1:
			assert_int_equal(vfio_dma_unmap(&space, iova, PAGE),
					 mapped[slot] ? 0 : -ENOENT);
			mapped[slot] = false;
			break;
		default:
			iova += (unsigned int)rand_r(&seed) % PAGE;
			for (uint64_t p = iova / PAGE; p <= (iova + length - 1) / PAGE; p++)
				all = all && p < SLOTS && mapped[p];
			assert_int_equal(vfio_dma_read(&space, iova, buf, length),
					 all ? 0 : -EFAULT);
			if (all)
				assert_int_equal(buf[0], remote.memory[iova % REMOTE_SIZE]);
		}
	}
}

static void long_copies_are_refused(void **state)
{
	uint64_t size = VFIO_DMA_MAX_ACCESS + PAGE;
	int fd = memfd_create("big", MFD_CLOEXEC);
	struct vfio_dma_access access;

	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	assert_int_equal(vfio_dma_map(&space, 0, size, RW, -1, 0), 0);
	assert_int_equal(vfio_dma_map(&space, 1ULL << 40, size, RW, fd, 0), 0);
	assert_int_equal(vfio_dma_begin(&space, 0, VFIO_DMA_MAX_ACCESS + 1, WRITE, &access),
			 -E2BIG);
	assert_int_equal(vfio_dma_begin(&space, 0, VFIO_DMA_MAX_ACCESS, WRITE, &access), 0);
	assert_int_equal(vfio_dma_end(&access, 0), 0);
	/* In place, length costs nothing. */
	assert_int_equal(vfio_dma_begin(&space, 1ULL << 40, size, RW, &access), 0);
	assert_int_equal(vfio_dma_end(&access, 0), 0);
	close(fd);
}

static void a_truncated_file_ends_the_access_only(void **state)
{
	int fd = make_file(8 * PAGE, 1), other = make_file(PAGE, 2);
	struct vfio_dma_access access, inner;
	uint8_t buf[2 * PAGE];

	catch_sigbus();
	assert_int_equal(vfio_dma_map(&space, 0x10000, 8 * PAGE, RW, fd, 0), 0);
	assert_int_equal(vfio_dma_map(&space, 0x20000, PAGE, RW, other, 0), 0);
	assert_int_equal(ftruncate(fd, 2 * PAGE), 0);

	/* What is still there can be used; what is not reads as zeros and says so. */
	assert_int_equal(vfio_dma_read(&space, 0x10000, buf, 2 * PAGE), 0);
	assert_int_equal(vfio_dma_begin(&space, 0x11000, 4 * PAGE, RW, &access), 0);
	assert_int_equal(access.data[1], file_byte(PAGE + 1, 1));
	assert_int_equal(access.data[PAGE], 0);
	access.data[3 * PAGE + 7] = 1;
	assert_int_equal(vfio_dma_begin(&space, 0x20000, 4, READ, &inner), 0);
	assert_int_equal(inner.data[1], file_byte(1, 2));
	assert_int_equal(vfio_dma_end(&inner, 0), 0);
	assert_int_equal(vfio_dma_end(&access, 0), -EFAULT);

	/* From then on nothing in that map is trusted, and all else is as before. */
	assert_int_equal(vfio_dma_read(&space, 0x10000, buf, 4), -EFAULT);
	assert_int_equal(vfio_dma_begin(&space, 0x10000, 4, READ, &access), -EFAULT);
	assert_int_equal(vfio_dma_read(&space, 0x20000, buf, 4), 0);
	assert_int_equal(vfio_dma_unmap(&space, 0x10000, 8 * PAGE), 0);
	assert_int_equal(vfio_dma_map(&space, 0x10000, 2 * PAGE, RW, fd, 0), 0);
	assert_int_equal(vfio_dma_read(&space, 0x10000, buf, 4), 0);

	/* By dma_read() and dma_write(), too. */
	assert_int_equal(ftruncate(fd, PAGE), 0);
	assert_int_equal(vfio_dma_write(&space, 0x11000, buf, 4), -EFAULT);
	assert_int_equal(ftruncate(other, 0), 0);
	assert_int_equal(vfio_dma_read(&space, 0x20000, buf, 4), -EFAULT);
	close(fd);
	close(other);
}

/* Another thread truncates while this one reads on and on. */
static void *truncate_soon(void *fd)
{
	usleep(1000);
	assert_int_equal(ftruncate(*(int *)fd, 0), 0);
	return NULL;
}

static void a_file_may_shrink_at_any_time(void **state)
{
	catch_sigbus();
	for (unsigned int i = 0; i < 20; i++) {
		int fd = make_file(4 * PAGE, 1), r = 0;
		uint8_t buf[4 * PAGE];
		pthread_t thread;

		assert_int_equal(vfio_dma_map(&space, 0, 4 * PAGE, RW, fd, 0), 0);
		assert_int_equal(pthread_create(&thread, NULL, truncate_soon, &fd), 0);
		while (r == 0)
			r = vfio_dma_read(&space, 0, buf, sizeof(buf));
		assert_int_equal(r, -EFAULT);
		pthread_join(thread, NULL);
		assert_int_equal(vfio_dma_unmap(&space, 0, 4 * PAGE), 0);
		close(fd);
	}
}

static void outside_of_a_scope_sigbus_kills(void **state)
{
	int fd = make_file(PAGE, 0), status;
	pid_t pid;

	catch_sigbus();
	assert_int_equal(vfio_dma_map(&space, 0, PAGE, RW, fd, 0), 0);
	assert_int_equal(ftruncate(fd, 0), 0);
	pid = fork();
	if (pid == 0) {
		*(volatile uint8_t *)space.maps[0].data;
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGBUS);
	close(fd);
}

/* UNMAP can come while a message is on its way, i.e. inside an outer scope. */
static void unmap_inside_a_scope_answers_at_once(void **state)
{
	int fd = make_file(4 * PAGE, 1);
	struct vfio_dma_access outer, inner, third;
	uint8_t buf[4];

	assert_int_equal(vfio_dma_map(&space, 0x10000, 4 * PAGE, RW, fd, 0), 0);
	assert_int_equal(vfio_dma_begin(&space, 0x10000, PAGE, RW, &outer), 0);
	assert_int_equal(vfio_dma_begin(&space, 0x11000, PAGE, RW, &inner), 0);
	assert_int_equal(vfio_dma_unmap(&space, 0x10000, 4 * PAGE), 0);
	assert_int_equal(vfio_dma_begin(&space, 0x10000, PAGE, RW, &third), -EFAULT);

	/* The pointers are still good, and show zeros; the guest's file is out of reach. */
	assert_int_equal(outer.data[0] | outer.data[PAGE - 1] | inner.data[0], 0);
	outer.data[1] = inner.data[1] = 0x5a;
	assert_int_equal(peek(fd, 1), file_byte(1, 1));
	assert_int_equal(peek(fd, PAGE + 1), file_byte(PAGE + 1, 1));
	assert_int_equal(vfio_dma_end(&inner, 2), -EFAULT);
	assert_int_equal(outer.data[1], 0x5a);
	assert_int_equal(vfio_dma_end(&outer, 2), -EFAULT);

	assert_int_equal(vfio_dma_map(&space, 0x10000, 4 * PAGE, RW, fd, 0), 0);
	assert_int_equal(vfio_dma_read(&space, 0x10000, buf, 4), 0);
	assert_int_equal(buf[1], file_byte(1, 1));
	close(fd);
}

/* Firmware moves a window: UNMAP and a MAP of something else in its place. */
static void a_new_map_is_not_blamed_for_the_old(void **state)
{
	int fd = make_file(PAGE, 1), other = make_file(PAGE, 2);
	struct vfio_dma_access access;
	uint8_t buf[4];

	assert_int_equal(vfio_dma_map(&space, 0x10000, PAGE, RW, fd, 0), 0);
	assert_int_equal(vfio_dma_begin(&space, 0x10000, 4, READ, &access), 0);
	assert_int_equal(vfio_dma_unmap(&space, 0x10000, PAGE), 0);
	assert_int_equal(vfio_dma_map(&space, 0x10000, PAGE, RW, other, 0), 0);
	assert_int_equal(vfio_dma_end(&access, 0), -EFAULT);
	assert_int_equal(vfio_dma_read(&space, 0x10000, buf, 4), 0);
	assert_int_equal(buf[1], file_byte(1, 2));
	close(fd);
	close(other);
}

static void unmap_everything(void)
{
	vfio_dma_unmap_all(&space);
}

static void maps_may_change_between_two_pieces(void **state)
{
	int fd = make_file(PAGE, 1);
	struct vfio_dma_access access;
	uint8_t buf[2 * PAGE];

	assert_int_equal(vfio_dma_map(&space, 0x10000, PAGE, RW, -1, 0), 0);
	assert_int_equal(vfio_dma_map(&space, 0x11000, PAGE, RW, fd, 0), 0);
	remote.meanwhile = unmap_everything;
	assert_int_equal(vfio_dma_read(&space, 0x10000, buf, sizeof(buf)), -EFAULT);

	assert_int_equal(vfio_dma_map(&space, 0x10000, PAGE, RW, -1, 0), 0);
	assert_int_equal(vfio_dma_map(&space, 0x11000, PAGE, RW, fd, 0), 0);
	remote.meanwhile = unmap_everything;
	assert_int_equal(vfio_dma_begin(&space, 0x10000, 2 * PAGE, READ, &access), -EFAULT);

	/* A copy that cannot be written back any more. */
	assert_int_equal(vfio_dma_map(&space, 0x10000, PAGE, RW, -1, 0), 0);
	assert_int_equal(vfio_dma_begin(&space, 0x10000, 4, WRITE, &access), 0);
	vfio_dma_unmap_all(&space);
	assert_int_equal(vfio_dma_end(&access, 4), -EFAULT);
	close(fd);
}

/* hugetlbfs takes mappings only at multiples of its pages, and in their length. */
static void huge_pages_are_mapped_from_their_start(void **state)
{
	enum { HUGE = 2 << 20 };
	int fd = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	struct vfio_dma_access access;
	uint8_t buf[8] = { 0 };
	uint8_t *p;

	if (fd < 0 || ftruncate(fd, 2 * HUGE) < 0)
		SKIP_BECAUSE("hugetlbfs can't be had");
	p = mmap(NULL, 2 * HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED) {
		close(fd);
		SKIP_BECAUSE("no huge pages are reserved (/proc/sys/vm/nr_hugepages)");
	}
	memcpy(p + 0x100000, "high", 4);
	memcpy(p + HUGE, "second", 6);

	catch_sigbus();
	/* QEMU splits its memory at 640 KiB and 1 MiB. */
	assert_int_equal(vfio_dma_map(&space, 0, 0xa0000, RW, fd, 0), 0);
	assert_int_equal(vfio_dma_map(&space, 0x100000, 2 * HUGE - 0x100000, RW, fd, 0x100000), 0);
	assert_int_equal(vfio_dma_read(&space, 0x100000, buf, 4), 0);
	assert_memory_equal(buf, "high", 4);
	assert_int_equal(vfio_dma_read(&space, HUGE, buf, 6), 0);
	assert_memory_equal(buf, "second", 6);
	assert_int_equal(vfio_dma_write(&space, 0x9fffc, "last", 4), 0);
	assert_memory_equal(p + 0x9fffc, "last", 4);

	munmap(p, 2 * HUGE);
	assert_int_equal(ftruncate(fd, 0), 0);
	assert_int_equal(vfio_dma_begin(&space, 0x100000, HUGE, RW, &access), 0);
	assert_int_equal(access.data[HUGE - 1], 0);
	assert_int_equal(vfio_dma_end(&access, 0), -EFAULT);
	assert_int_equal(vfio_dma_unmap(&space, 0x100000, 2 * HUGE - 0x100000), 0);
	assert_int_equal(vfio_dma_unmap(&space, 0, 0xa0000), 0);
	close(fd);
}

/* A sparse file costs its owner nothing, and its mapping would cost us our address space. */
static void mapped_bytes_are_bounded(void **state)
{
	int fd = memfd_create("sparse", MFD_CLOEXEC);
	uint64_t half = VFIO_DMA_MAX_MAPPED / 2;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, PAGE), 0);
	assert_int_equal(vfio_dma_map(&space, 0, half, READ, fd, 0), 0);
	assert_int_equal(vfio_dma_map(&space, half, half + PAGE, READ, fd, 0), -ENOSPC);
	assert_int_equal(vfio_dma_map(&space, half, half, READ, fd, 0), 0);
	assert_int_equal(vfio_dma_map(&space, 2 * half, PAGE, READ, fd, 0), -ENOSPC);
	/* What travels by message costs nothing. */
	assert_int_equal(vfio_dma_map(&space, 2 * half, half, READ, -1, 0), 0);
	close(fd);
}

/*
 * However many maps there are, each is found at its first and its last byte, and
 * nothing is found beside it; whatever order they came and went in.
 */
static void every_map_is_found(void **state)
{
	enum { MOST = 130 };
	uint64_t step = 4 * PAGE;
	uint8_t byte;

	for (unsigned int n = 0; n <= MOST; n++) {
		for (unsigned int i = 0; i < n; i++) {
			uint64_t iova = step * (1 + (i * 37) % MOST);

			assert_int_equal(vfio_dma_map(&space, iova, 2 * PAGE, RW, -1, 0), 0);
		}
		for (unsigned int at = 0; at <= MOST + 1; at++) {
			bool mapped = false;
			int found;

			for (unsigned int i = 0; i < n; i++)
				mapped |= at == 1 + (i * 37) % MOST;
			found = mapped ? 0 : -EFAULT;
			assert_int_equal(vfio_dma_read(&space, step * at, &byte, 1), found);
			assert_int_equal(vfio_dma_read(&space, step * at + 2 * PAGE - 1, &byte, 1),
					 found);
			assert_int_equal(vfio_dma_read(&space, step * at - 1, &byte, 1), -EFAULT);
			assert_int_equal(vfio_dma_read(&space, step * at + 2 * PAGE, &byte, 1),
					 -EFAULT);
		}
		for (unsigned int i = 0; i < n; i++)
			assert_int_equal(vfio_dma_unmap(&space,
							step * (1 + ((n - 1 - i) * 37) % MOST),
							2 * PAGE),
					 0);
	}
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(files_are_used_in_place),
		T(without_a_file_bytes_travel_as_messages),
		T(failures_of_messages_are_passed_on),
		T(accesses_span_maps),
		T(rights_are_those_of_the_map),
		T(ranges_are_checked),
		T(overlaps_are_refused),
		T(maps_are_budgeted),
		T(look_ups_find_the_right_map),
		T(every_map_is_found),
		T(long_copies_are_refused),
		T(a_truncated_file_ends_the_access_only),
		T(a_file_may_shrink_at_any_time),
		T(outside_of_a_scope_sigbus_kills),
		T(unmap_inside_a_scope_answers_at_once),
		T(a_new_map_is_not_blamed_for_the_old),
		T(maps_may_change_between_two_pieces),
		T(huge_pages_are_mapped_from_their_start),
		T(mapped_bytes_are_bounded),
	};

	find_our_sigbus();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
