/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A server and clients that mean it harm, one test for each thing that they may
 * try (the edges of every field are test_fields.c's). A bad request gets its
 * errno and the stream stays in step; only a stream that can't be trusted is
 * closed; and whatever a client does, it harms itself alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "full_server.h"
#include "unit.h"

enum {
	PAGE = 4096,
	RW = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
	HEADER = sizeof(struct vfio_user_header),
	BIND = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
};

static struct client client;

/* --- the stream --- */

static size_t make_map(uint8_t *buf, uint64_t iova)
{
	const struct vfio_user_dma_map map = {
		.argsz = sizeof(map), .flags = RW, .address = iova, .size = PAGE
	};

	return client_make(&client, buf, VFIO_USER_DMA_MAP, 0, &map, sizeof(map), NULL);
}

static void expect_reply(int error)
{
	struct client_message reply;

	assert_true(client_receive(&client, &reply));
	assert_int_equal(reply.header.flags & VFIO_USER_TYPE_MASK, VFIO_USER_TYPE_REPLY);
	assert_int_equal(reply.header.error, error);
	close_fds(reply.fds, reply.n_fds);
}

/* The server sees the first piece before the second is there; the descriptor is with the first. */
static void split_at_any_byte_a_message_keeps_its_descriptor(void **state)
{
	uint8_t buf[HEADER + sizeof(struct vfio_user_dma_map)];
	int file = full_make_file(PAGE);

	for (size_t cut = 1; cut < sizeof(buf); cut++) {
		make_map(buf, cut * PAGE);
		client_send(&client, buf, cut, &file, 1);
		usleep(300);
		client_send(&client, buf + cut, sizeof(buf) - cut, NULL, 0);
		expect_reply(0);
		/* By its descriptor: no message is needed. */
		assert_int_equal(full_dma(&client, FULL_DMA_READ, cut * PAGE, 64, true), 0);
	}
	full_expect_in_step(&client);
	close(file);
}

/* A descriptor that comes with a later byte belongs to nothing, and is closed. */
static void descriptors_inside_a_message_are_closed(void **state)
{
	uint8_t buf[HEADER + sizeof(struct vfio_user_dma_map)];
	int file = full_make_file(PAGE);
	unsigned int fds = count_fds();

	for (size_t cut = 1; cut < sizeof(buf); cut++) {
		make_map(buf, cut * PAGE);
		client_send(&client, buf, cut, NULL, 0);
		usleep(300);
		client_send(&client, buf + cut, sizeof(buf) - cut, &file, 1);
		expect_reply(0);
	}
	full_expect_in_step(&client);
	assert_int_equal(count_fds(), fds);
	close(file);
}

static void surplus_descriptors_of_any_command_are_closed(void **state)
{
	int fds[20];
	unsigned int open_now;

	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = eventfd(0, EFD_CLOEXEC);
	open_now = count_fds();
	for (uint16_t command = 0; command < VFIO_USER_COMMANDS + 2; command++)
		for (size_t n = 1; n <= ARRAY_SIZE(fds); n++) {
			uint8_t payload[64] = { 0 };
			int r;

			if (command == VFIO_USER_VERSION)
				continue;
			r = client_call(&client, command, payload, n, NULL, 0, NULL);
			if (r != -ENOTSUP && n > VFIO_USER_MAX_FDS)
				r = -EINVAL;
			client_command(&client, command, 0, payload, n, fds, n);
			expect_reply(-r);
			client_command(&client, command, VFIO_USER_TYPE_REPLY, payload, n, fds, n);
			client_command(&client, command, VFIO_USER_NO_REPLY, payload, n, fds, n);
		}
	full_expect_in_step(&client);
	assert_int_equal(count_fds(), open_now);
	close_fds(fds, ARRAY_SIZE(fds));
}

/* Bits that are not defined are not looked at; those of a reply in a command neither. */
static void undefined_flags_are_not_looked_at(void **state)
{
	const struct vfio_user_device_info info = { .argsz = sizeof(info) };

	for (unsigned int bit = 5; bit < 32; bit++) {
		client_command(&client, VFIO_USER_DEVICE_GET_INFO, 1U << bit, &info, sizeof(info),
			       NULL, 0);
		expect_reply(0);
	}
	full_expect_in_step(&client);
}

/* Sizes from one too many to all that a header can say; the rest of it is skipped, or waited for. */
static void oversized_messages_are_refused_and_skipped(void **state)
{
	static const uint32_t surplus[] = { 1, 2, 4095, 65536, 1 << 20 };
	_cleanup_free_ uint8_t *buf = calloc(1, VFIO_USER_MAX_MESSAGE + (1 << 20));
	int fd = eventfd(0, EFD_CLOEXEC);
	unsigned int fds = count_fds();

	for (size_t i = 0; i < ARRAY_SIZE(surplus); i++) {
		struct vfio_user_header header = {
			.command = VFIO_USER_REGION_WRITE,
			.size = VFIO_USER_MAX_MESSAGE + surplus[i],
		};

		memcpy(buf, &header, HEADER);
		client_send(&client, buf, header.size, &fd, 1);
		expect_reply(EINVAL);
		full_expect_in_step(&client);
	}
	assert_int_equal(count_fds(), fds);
	/* It never sends the rest: that is its own affair. */
	client_send(&client, &(struct vfio_user_header){ .command = 10, .size = UINT32_MAX },
		    HEADER, NULL, 0);
	expect_reply(EINVAL);
	client_send(&client, buf, 1 << 20, NULL, 0);
	assert_true(client_is_quiet(&client));
	close(fd);
}

/* Anything but a stream of messages: it is answered, waited on or closed, and the next one is served. */
static void noise_harms_only_its_sender(void **state)
{
	unsigned int fds;

	full_server_leave(&client);
	fds = count_fds();
	srandom(4711);
	for (unsigned int i = 0; i < 300; i++) {
		uint8_t noise[256];
		int irq = eventfd(0, EFD_CLOEXEC);

		full_server_connect(&client);
		if (i % 2)
			client_negotiate(&client);
		for (size_t k = 0; k < sizeof(noise); k++)
			noise[k] = (uint8_t)random();
		if (i % 3) /* a size that is not too far off */
			put_le32(noise + 4, HEADER + (uint32_t)random() % 300);
		if (i % 5)
			put_le32(noise + 8, 0);
		client_send(&client, noise, sizeof(noise), &irq, 1);
		close(irq);
		full_server_leave(&client);
		assert_int_equal(count_fds(), fds);
	}
	full_server_connect(&client);
	client_negotiate(&client);
	full_expect_in_step(&client);
}

/* --- DMA_MAP --- */

/* All ways that two ranges can lie to each other. */
static void maps_that_overlap_are_refused(void **state)
{
	int file = full_make_file(16 * PAGE);

	assert_int_equal(client_dma_map(&client, 4 * PAGE, 4 * PAGE, RW, file, 0), 0);
	for (uint64_t start = 0; start < 10; start++)
		for (uint64_t pages = 1; pages < 12; pages++) {
			bool overlaps = start < 8 && start + pages > 4;
			int r = client_dma_map(&client, start * PAGE, pages * PAGE, RW,
					       pages % 2 ? file : -1, 0);

			assert_int_equal(r, overlaps ? -EEXIST : 0);
			if (r == 0)
				assert_int_equal(
					client_dma_unmap(&client, start * PAGE, pages * PAGE), 0);
		}
	full_expect_in_step(&client);
	close(file);
}

static void maps_that_wrap_are_refused(void **state)
{
	int file = full_make_file(PAGE);

	for (unsigned int with_file = 0; with_file < 2; with_file++) {
		int fd = with_file ? file : -1;

		assert_int_equal(client_dma_map(&client, UINT64_MAX - PAGE + 1, PAGE, RW, fd, 0),
				 -EINVAL);
		assert_int_equal(
			client_dma_map(&client, UINT64_MAX - PAGE + 1, 2 * PAGE, RW, fd, 0),
			-EINVAL);
		assert_int_equal(client_dma_map(&client, PAGE, UINT64_MAX - PAGE + 1, RW, fd, 0),
				 -EINVAL);
		assert_int_equal(
			client_dma_map(&client, (uint64_t)1 << 63, (uint64_t)1 << 63, RW, fd, 0),
			-EINVAL);
	}
	/* The file's side of it. */
	assert_int_equal(client_dma_map(&client, 0, PAGE, RW, file, UINT64_MAX - PAGE + 1),
			 -EINVAL);
	assert_int_equal(client_dma_map(&client, 0, PAGE, RW, file, INT64_MAX - PAGE + 1), -EINVAL);
	/* The last page but one is a page like any other. */
	assert_int_equal(client_dma_map(&client, UINT64_MAX - 2 * PAGE + 1, PAGE, RW, file, 0), 0);
	assert_int_equal(full_dma(&client, FULL_DMA_READ, UINT64_MAX - 2 * PAGE + 1, PAGE, true),
			 0);
	assert_int_equal(
		full_dma(&client, FULL_DMA_READ, UINT64_MAX - 2 * PAGE + 1, PAGE + 1, true),
		-EFAULT);
	assert_int_equal(full_dma(&client, FULL_DMA_SCOPE, UINT64_MAX - PAGE, 2 * PAGE, true),
			 -EFAULT);
	full_expect_in_step(&client);
	close(file);
}

static void maps_that_are_unaligned_or_empty_are_refused(void **state)
{
	int file = full_make_file(4 * PAGE);

	for (uint64_t off = 1; off < PAGE; off *= 2) {
		assert_int_equal(client_dma_map(&client, off, PAGE, RW, -1, 0), -EINVAL);
		assert_int_equal(client_dma_map(&client, 0, PAGE + off, RW, -1, 0), -EINVAL);
		assert_int_equal(client_dma_map(&client, 0, PAGE, RW, file, off), -EINVAL);
	}
	assert_int_equal(client_dma_map(&client, 0, 0, RW, -1, 0), -EINVAL);
	assert_int_equal(client_dma_map(&client, 0, 0, RW, file, 0), -EINVAL);
	full_expect_in_step(&client);
	close(file);
}

/* All maps that there may be, in an order that suits nobody; then they go at once. */
static void maps_beyond_the_budget_are_refused(void **state)
{
	enum { STEP = 12289 }; /* odd, so that it visits all */

	for (uint64_t i = 0; i < VFIO_DMA_MAX_MAPS; i++)
		assert_int_equal(client_dma_map(&client, i * STEP % VFIO_DMA_MAX_MAPS * 2 * PAGE,
						PAGE, RW, -1, 0),
				 0);
	assert_int_equal(client_dma_map(&client, PAGE, PAGE, RW, -1, 0), -ENOSPC);
	assert_int_equal(client_dma_map(&client, 0, PAGE, RW, -1, 0), -EEXIST);
	full_expect_in_step(&client);
	assert_int_equal(client_dma_unmap(&client, 0, PAGE), 0);
	assert_int_equal(client_dma_map(&client, PAGE, PAGE, RW, -1, 0), 0);
	full_expect_in_step(&client);
}

/* As many with descriptors: of those the kernel keeps count, too. */
static void maps_of_files_up_to_the_budget(void **state)
{
	int file = full_make_file(PAGE);
	const struct vfio_user_dma_unmap all = { .argsz = 24, .flags = VFIO_DMA_UNMAP_FLAG_ALL };

	for (uint64_t i = 0; i < VFIO_DMA_MAX_MAPS; i++)
		assert_int_equal(client_dma_map(&client, i * 2 * PAGE, PAGE, RW, file, 0), 0);
	assert_int_equal(client_dma_map(&client, PAGE, PAGE, RW, file, 0), -ENOSPC);
	assert_int_equal(
		full_dma(&client, FULL_DMA_READ, (VFIO_DMA_MAX_MAPS - 1) * 2 * PAGE, PAGE, true),
		0);
	assert_int_equal(
		client_call(&client, VFIO_USER_DMA_UNMAP, &all, sizeof(all), NULL, 0, NULL), 0);
	full_expect_in_step(&client);
	close(file);
}

/* What can't be mapped is refused with what mmap() says of it; what can is used, whatever it is. */
static void maps_of_all_kinds_of_descriptors(void **state)
{
	int file = full_make_file(PAGE), pipes[2], pair[2], sealed = full_make_file(PAGE);
	char path[64];

	full_server_catch_sigbus();
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	assert_int_equal(fcntl(sealed, F_ADD_SEALS, F_SEAL_FUTURE_WRITE), 0);
	snprintf(path, sizeof(path), "/proc/self/fd/%d", file);
	{
		struct {
			int fd, r;
			bool faults; /* nothing is behind it */
		} kinds[] = {
			{ open(path, O_RDONLY | O_CLOEXEC), -EACCES },
			{ open(path, O_WRONLY | O_CLOEXEC), -EACCES },
			{ open(path, O_PATH | O_CLOEXEC), -EBADF },
			{ open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC), -EACCES },
			{ open("/dev/null", O_RDWR | O_CLOEXEC), -ENODEV },
			{ open("/dev/zero", O_RDWR | O_CLOEXEC), 0 },
			{ open("/proc/self/mem", O_RDWR | O_CLOEXEC), -ENODEV },
			{ eventfd(0, EFD_CLOEXEC), -ENODEV },
			{ epoll_create1(EPOLL_CLOEXEC), -ENODEV },
			{ timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), -ENODEV },
			{ dup(pipes[0]), -EACCES },
			{ dup(pipes[1]), -EACCES },
			{ dup(pair[0]), -ENODEV },
			{ dup(sealed), -EPERM },
			{ memfd_create("empty", MFD_CLOEXEC), 0, true },
			/* The device's own memory, as guest memory. */
			{ dup(full.fds[0]), 0 },
		};
		unsigned int fds = count_fds();

		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
			int r = client_dma_map(&client, 0, PAGE, RW, kinds[i].fd, 0);

			assert_true(kinds[i].fd >= 0);
			if (r != kinds[i].r)
				fail_msg("kind %zu: %s instead of %s", i, strerror(-r),
					 strerror(-kinds[i].r));
			if (r == 0)
				assert_int_equal(full_dma(&client, FULL_DMA_SCOPE, 0, PAGE, false),
						 kinds[i].faults ? -EFAULT : 0);
			assert_int_equal(client_dma_unmap(&client, 0, PAGE), r == 0 ? 0 : -ENOENT);
		}
		assert_int_equal(count_fds(), fds);
		for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
			close(kinds[i].fd);
	}
	full_expect_in_step(&client);
	close_fds(pipes, 2);
	close_fds(pair, 2);
	close(file);
	close(sealed);
}

/* Before, between and after accesses: those that miss it fail, the rest of the device does not notice. */
static void maps_of_a_file_that_is_then_truncated(void **state)
{
	int file = full_make_file(16 * PAGE);

	full_server_catch_sigbus();
	assert_int_equal(client_dma_map(&client, 0, 16 * PAGE, RW, file, 0), 0);
	assert_int_equal(full_dma(&client, FULL_DMA_READ, 0, 16 * PAGE, true), 0);
	assert_int_equal(ftruncate(file, 8 * PAGE), 0);
	assert_int_equal(full_dma(&client, FULL_DMA_READ, 0, 8 * PAGE, true), 0);
	assert_int_equal(full_dma(&client, FULL_DMA_READ, 0, 16 * PAGE, false), -EFAULT);
	/* Once broken it is not trusted again, also where it is still there. */
	assert_int_equal(full_dma(&client, FULL_DMA_READ, 0, PAGE, false), -EFAULT);
	assert_int_equal(client_dma_unmap(&client, 0, 16 * PAGE), 0);
	assert_int_equal(client_dma_map(&client, 0, 8 * PAGE, RW, file, 0), 0);
	assert_int_equal(ftruncate(file, 0), 0);
	assert_int_equal(full_dma(&client, FULL_DMA_WRITE, 0, PAGE, false), -EFAULT);
	assert_int_equal(client_dma_unmap(&client, 0, 8 * PAGE), 0);
	assert_int_equal(client_dma_map(&client, 0, 8 * PAGE, RW, file, 0), 0);
	assert_int_equal(full_dma(&client, FULL_DMA_SCOPE, 0, 8 * PAGE, false), -EFAULT);
	full_expect_in_step(&client);
	close(file);
}

static void *truncate_again_and_again(void *opaque)
{
	int *file = opaque;

	for (int i = 0; i < 2000; i++)
		if (ftruncate(*file, i % 2 ? 0 : 64 * PAGE) < 0)
			return NULL;
	return opaque;
}

static void a_file_is_truncated_while_the_device_uses_it(void **state)
{
	int file = full_make_file(64 * PAGE);
	pthread_t thread;
	void *done;

	full_server_catch_sigbus();
	assert_int_equal(pthread_create(&thread, NULL, truncate_again_and_again, &file), 0);
	for (int i = 0; i < 300; i++) {
		static const uint32_t commands[] = { FULL_DMA_READ, FULL_DMA_WRITE,
						     FULL_DMA_SCOPE };
		int r;

		assert_int_equal(client_dma_map(&client, 0, 64 * PAGE, RW, file, 0), 0);
		r = full_dma(&client, commands[i % 3], 0, 64 * PAGE, false);
		assert_true(r == 0 || r == -EFAULT);
		assert_int_equal(client_dma_unmap(&client, 0, 64 * PAGE), 0);
	}
	pthread_join(thread, &done);
	assert_non_null(done);
	full_expect_in_step(&client);
	close(file);
}

/* Sizes and offsets that are not its pages', and less of it than is said. */
static void maps_of_hugetlbfs(void **state)
{
	enum { HUGE = 2 << 20 };
	int file = memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB | MFD_HUGE_2MB);
	void *p;

	if (file < 0 || ftruncate(file, HUGE) < 0)
		SKIP_BECAUSE("hugetlbfs can't be had");
	p = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (p == MAP_FAILED) {
		close(file);
		SKIP_BECAUSE("no huge pages are reserved (/proc/sys/vm/nr_hugepages)");
	}
	full_server_catch_sigbus();
	assert_int_equal(client_dma_map(&client, 0, PAGE, RW, file, HUGE - PAGE), 0);
	assert_int_equal(client_dma_map(&client, HUGE, HUGE - PAGE, RW, file, PAGE), 0);
	assert_int_equal(full_dma(&client, FULL_DMA_SCOPE, 0, PAGE, false), 0);
	assert_int_equal(((uint8_t *)p)[HUGE - 1], 1);
	assert_int_equal(full_dma(&client, FULL_DMA_SCOPE, HUGE, HUGE - PAGE, false), 0);
	assert_int_equal(((uint8_t *)p)[HUGE - 1], 2);
	munmap(p, HUGE);
	assert_int_equal(client_dma_unmap(&client, 0, PAGE), 0);
	/* Behind its end, from the middle of a page on: hugetlbfs lets the file grow for that. */
	assert_int_equal(client_dma_map(&client, 4 * HUGE, HUGE, RW, file, HUGE / 2), 0);
	assert_int_equal(full_dma(&client, FULL_DMA_READ, 4 * HUGE, HUGE, false), 0);
	assert_int_equal(ftruncate(file, 0), 0);
	assert_int_equal(full_dma(&client, FULL_DMA_READ, HUGE, PAGE, false), -EFAULT);
	full_expect_in_step(&client);
	close(file);
}

/* Addresses with nothing behind them, and a client that unmaps what is asked for. */
static void dma_to_nothing(void **state)
{
	assert_int_equal(full_dma(&client, FULL_DMA_READ, 0, PAGE, false), -EFAULT);
	assert_int_equal(client_dma_map(&client, 0, PAGE, VFIO_DMA_MAP_FLAG_READ, -1, 0), 0);
	assert_int_equal(full_dma(&client, FULL_DMA_READ, 0, 2 * PAGE, false), -EFAULT);
	assert_int_equal(full_dma(&client, FULL_DMA_WRITE, 0, PAGE, false), -EFAULT);
	assert_int_equal(full_dma(&client, FULL_DMA_READ, UINT64_MAX, 2, false), -EFAULT);
	full_expect_in_step(&client);
}

/* --- eventfds --- */

/* Full, and blocking: the device does not wait for whoever holds the other end. */
static void an_eventfd_that_is_full_stops_nobody(void **state)
{
	const uint64_t full_count = UINT64_MAX - 1;
	int fd = eventfd(0, EFD_CLOEXEC);
	uint64_t n;

	assert_int_equal(write(fd, &full_count, sizeof(full_count)), sizeof(full_count));
	assert_int_equal(
		client_set_irqs(&client, BIND, VFIO_PCI_MSI_IRQ_INDEX, 0, 1, NULL, 0, &fd, 1), 0);
	for (int i = 0; i < 100; i++)
		client_write32(&client, 2, FULL_MSI, 0);
	full_expect_in_step(&client);
	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	client_write32(&client, 2, FULL_MSI, 0);
	assert_int_equal(read(fd, &n, sizeof(n)), sizeof(n));
	assert_int_equal(n, 1);
	close(fd);
}

/* --- clients that do nothing --- */

/* It fills the socket and does not read; orders and the next client are served all the same. */
static void a_client_that_does_not_read_is_cut_off_when_it_goes(void **state)
{
	struct vfio_user_region_access access = { 0, 0, 1 << 20 };

	for (int i = 0; i < 64; i++) {
		uint8_t buf[64];
		size_t n = client_make(&client, buf, VFIO_USER_REGION_READ, 0, &access,
				       sizeof(access), NULL);

		assert_true(send(client.fd, buf, n, MSG_DONTWAIT | MSG_NOSIGNAL) > 0);
	}
	full_server_leave(&client);
	full_server_connect(&client);
	client_negotiate(&client);
	full_expect_in_step(&client);
}

static int setup(void **state)
{
	full_server_start_with(&client);
	return 0;
}

static int teardown(void **state)
{
	full_server_stop_with(&client);
	return 0;
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(split_at_any_byte_a_message_keeps_its_descriptor),
		T(descriptors_inside_a_message_are_closed),
		T(surplus_descriptors_of_any_command_are_closed),
		T(undefined_flags_are_not_looked_at),
		T(oversized_messages_are_refused_and_skipped),
		T(noise_harms_only_its_sender),
		T(maps_that_overlap_are_refused),
		T(maps_that_wrap_are_refused),
		T(maps_that_are_unaligned_or_empty_are_refused),
		T(maps_beyond_the_budget_are_refused),
		T(maps_of_files_up_to_the_budget),
		T(maps_of_all_kinds_of_descriptors),
		T(maps_of_a_file_that_is_then_truncated),
		T(a_file_is_truncated_while_the_device_uses_it),
		T(maps_of_hugetlbfs),
		T(dma_to_nothing),
		T(an_eventfd_that_is_full_stops_nobody),
		T(a_client_that_does_not_read_is_cut_off_when_it_goes),
	};

	full_server_find_sigbus();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
