/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Doorbells as eventfds: DEVICE_GET_REGION_IO_FDS in docs/interop/vfio-user.rst in
 * QEMU's source.
 */
#include "vfio_user_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "unit.h"

enum { SUB = sizeof(struct vfio_user_sub_region_ioeventfd), IO_FDS_HEAD = 16 };

static int io_fds(uint32_t index, uint32_t argsz, struct vfio_user_region_io_fds *ret,
		  struct client_message *reply)
{
	struct vfio_user_region_io_fds info = { .argsz = argsz, .index = index };
	int r = client_call(&client, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &info, sizeof(info), NULL,
			    0, reply);

	if (r == 0)
		memcpy(ret, reply->payload, sizeof(*ret));
	return r;
}

/* The eventfds of BAR 2, the test's to close. */
static void take_doorbells(int *ret_fds, uint32_t n)
{
	struct vfio_user_region_io_fds info;
	struct client_message reply;

	assert_int_equal(io_fds(2, 4096, &info, &reply), 0);
	assert_int_equal(info.count, n);
	assert_int_equal(reply.n_fds, n);
	memcpy(ret_fds, reply.fds, n * sizeof(int));
}

static void give_a_ring(int fd)
{
	const uint64_t one = 1;

	assert_int_equal(write(fd, &one, sizeof(one)), sizeof(one));
}

static void expect_rung(uint32_t doorbell, uint32_t times)
{
	uint64_t before = clock_ns();

	while (client_read32(&client, 2, REG_RUNG + 4 * doorbell) != times)
		assert_true(clock_ns() - before < CLIENT_PATIENCE_MS * 1000000ULL);
}

static void doorbells_are_told_of(void **state)
{
	struct vfio_user_region_io_fds info;
	struct client_message reply;
	unsigned int open_now = count_fds();

	/* First how much there is, as with region info. */
	assert_int_equal(io_fds(2, IO_FDS_HEAD, &info, &reply), 0);
	assert_int_equal(reply.length, IO_FDS_HEAD);
	assert_int_equal(reply.n_fds, 0);
	assert_int_equal(info.argsz, IO_FDS_HEAD + VFIO_USER_MAX_FDS * SUB);
	assert_int_equal(info.count, VFIO_USER_MAX_FDS);
	assert_int_equal(info.flags, 0);
	assert_int_equal(info.index, 2);
	assert_int_equal(io_fds(2, info.argsz - 1, &info, &reply), 0);
	assert_int_equal(reply.n_fds, 0);
	assert_int_equal(count_fds(), open_now);

	for (unsigned int i = 0; i < 2; i++) { /* the same ones, the second time */
		assert_int_equal(io_fds(2, info.argsz, &info, &reply), 0);
		assert_int_equal(reply.length, info.argsz);
		assert_int_equal(reply.n_fds, info.count);
		for (uint32_t d = 0; d < info.count; d++) {
			struct vfio_user_sub_region_ioeventfd sub;

			memcpy(&sub, reply.payload + IO_FDS_HEAD + d * SUB, sizeof(sub));
			assert_int_equal(sub.offset, REG_DOORBELLS + 4 * d);
			assert_int_equal(sub.size, 4);
			assert_int_equal(sub.fd_index, d);
			assert_int_equal(sub.type, 0);
			assert_int_equal(sub.flags, d == 1); /* KVM_IOEVENTFD_FLAG_DATAMATCH */
			assert_int_equal(sub.datamatch, d == 1 ? BELL_MATCH : 0);
			assert_int_equal(sub.padding, 0);
		}
		close_fds(reply.fds, reply.n_fds);
		assert_int_equal(count_fds(), open_now + DOORBELLS);
	}
}

static void regions_without_doorbells_have_none(void **state)
{
	for (uint32_t index = 0; index < VFIO_PCI_NUM_REGIONS; index++) {
		struct vfio_user_region_io_fds info;
		struct client_message reply;

		if (index == 2)
			continue;
		assert_int_equal(io_fds(index, 4096, &info, &reply), 0);
		assert_int_equal(reply.length, IO_FDS_HEAD);
		assert_int_equal(reply.n_fds, 0);
		assert_int_equal(info.argsz, IO_FDS_HEAD);
		assert_int_equal(info.count, 0);
	}
}

static void bad_io_fds_are_refused(void **state)
{
	static const struct vfio_user_region_io_fds bad[] = {
		{ 15, 0, 2, 0 },
		{ 0, 0, 2, 0 },
		{ 4096, 1, 2, 0 },
		{ 4096, 0, 9, 0 },
		{ 4096, 0, UINT32_MAX, 0 },
		{ 4096, 0, 2, 1 },
	};
	const struct vfio_user_region_io_fds good = { 4096, 0, 2, 0 };
	uint8_t payload[17] = { 0 };

	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (client_call(&client, VFIO_USER_DEVICE_GET_REGION_IO_FDS, &bad[i],
				sizeof(bad[i]), NULL, 0, NULL) != -EINVAL)
			fail_msg("taken: %zu", i);
	memcpy(payload, &good, sizeof(good));
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_GET_REGION_IO_FDS, payload, 15, NULL,
				     0, NULL),
			 -EINVAL);
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_GET_REGION_IO_FDS, payload, 17, NULL,
				     0, NULL),
			 -EINVAL);
	expect_in_step();
}

/* vfio-user.rst, VFIO_USER_VERSION, max_msg_fds: 1 if the client does not say. */
static void no_more_doorbells_than_the_client_takes_descriptors(void **state)
{
	static const struct {
		const char *json;
		uint32_t n;
	} clients[] = {
		{ NULL, 1 },
		{ "{\"capabilities\":{}}", 1 },
		{ "{\"capabilities\":{\"max_msg_fds\":3}}", 3 },
		{ "{\"capabilities\":{\"max_msg_fds\":0}}", 0 },
		{ "{\"capabilities\":{\"max_msg_fds\":4294967297}}", VFIO_USER_MAX_FDS },
	};

	for (size_t i = 0; i < ARRAY_SIZE(clients); i++) {
		int fds[VFIO_USER_MAX_FDS];

		connect_client(&client);
		assert_int_equal(client_version(&client, 0, 1, clients[i].json, NULL), 0);
		take_doorbells(fds, clients[i].n);
		if (clients[i].n) {
			give_a_ring(fds[0]);
			expect_rung(0, 1);
		}
		close_fds(fds, clients[i].n);
		/* Those beyond are still registers, and those within too. */
		client_write32(&client, 2, REG_DOORBELLS + 4 * (DOORBELLS - 1), 0);
		expect_rung(DOORBELLS - 1, 1);
		leave();
	}
}

static void expect_byte(int memory, uint8_t expected)
{
	uint64_t before = clock_ns();
	uint8_t byte;

	do {
		assert_int_equal(pread(memory, &byte, 1, 1), 1);
		assert_true(clock_ns() - before < CLIENT_PATIENCE_MS * 1000000ULL);
	} while (byte != expected);
}

/* Has a doorbell add 1 to every byte of a page. */
static int map_a_page(void)
{
	uint64_t iova = 0x100000;
	int memory = make_memory(4096);

	assert_int_equal(client_dma_map(&client, iova, 4096, 3, memory, 0), 0);
	assert_int_equal(client_write(&client, 2, REG_DMA_IOVA, &iova, 8), 0);
	client_write32(&client, 2, REG_DMA_LENGTH, 4096);
	client_write32(&client, 2, REG_DMA_COMMAND, DMA_SCOPE);
	expect_byte(memory, 4);
	return memory;
}

/* Asleep, spinning, and while the client does not say a word on the socket. */
static void doorbells_ring(void **state)
{
	int fds[VFIO_USER_MAX_FDS], memory;

	take_doorbells(fds, VFIO_USER_MAX_FDS);
	for (uint32_t i = 1; i <= 100; i++) {
		give_a_ring(fds[3]);
		expect_rung(3, i);
		give_a_ring(fds[15]);
		give_a_ring(fds[0]);
		expect_rung(15, i);
		expect_rung(0, i);
		assert_int_equal(client_read32(&client, 2, REG_WORKS), i);
	}
	expect_rung(1, 0);

	memory = map_a_page();
	for (uint8_t i = 0; i < 3; i++) {
		usleep(i * 100000);
		give_a_ring(fds[0]);
		expect_byte(memory, 5 + i);
	}
	close(memory);
	close_fds(fds, VFIO_USER_MAX_FDS);
}

/* Spinning for a second does not mean being deaf for a second. */
static void a_ring_does_not_wait_for_the_end_of_a_spin(void **state)
{
	enum { N = 50 };
	int fds[VFIO_USER_MAX_FDS], memory;
	uint64_t before;

	take_doorbells(fds, VFIO_USER_MAX_FDS);
	memory = map_a_page();
	before = clock_ns();
	for (uint8_t i = 0; i < N; i++) {
		client_read32(&client, 2, REG_SCRATCH); /* and the spin begins anew */
		give_a_ring(fds[0]);
		expect_byte(memory, 5 + i);
	}
	assert_true(clock_ns() - before < N * 1000000000ULL / 4);
	close_fds(fds, VFIO_USER_MAX_FDS);
	close(memory);
}

static void the_next_client_gets_other_doorbells(void **state)
{
	int old[VFIO_USER_MAX_FDS], new[VFIO_USER_MAX_FDS];
	unsigned int open_now = count_fds();

	take_doorbells(old, VFIO_USER_MAX_FDS);
	leave();
	assert_int_equal(count_fds(), open_now - 2 + VFIO_USER_MAX_FDS);
	connect_client(&client);
	client_negotiate(&client);
	give_a_ring(old[2]); /* nobody's any more */
	expect_rung(2, 0);
	take_doorbells(new, VFIO_USER_MAX_FDS);
	give_a_ring(old[2]);
	expect_in_step();
	expect_rung(2, 0);
	give_a_ring(new[2]);
	expect_rung(2, 1);
	close_fds(old, VFIO_USER_MAX_FDS);
	close_fds(new, VFIO_USER_MAX_FDS);
}

/* The client holds the same eventfds. */
static void a_client_may_play_with_its_doorbells(void **state)
{
	const uint64_t most = UINT64_MAX - 1;
	int fds[VFIO_USER_MAX_FDS];
	uint64_t n;

	take_doorbells(fds, VFIO_USER_MAX_FDS);
	assert_int_equal(fcntl(fds[4], F_SETFL, 0), 0); /* reads of it would block */
	assert_int_equal(write(fds[4], &most, sizeof(most)), sizeof(most));
	expect_rung(4, 1);
	for (unsigned int i = 0; i < 200; i++) { /* who is first to take it? */
		give_a_ring(fds[5]);
		fcntl(fds[5], F_SETFL, O_NONBLOCK);
		if (read(fds[5], &n, sizeof(n)) < 0)
			expect_in_step();
	}
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0, NULL), 0);
	expect_rung(5, 0);
	give_a_ring(fds[5]);
	expect_rung(5, 1);
	close_fds(fds, VFIO_USER_MAX_FDS);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define U(test) cmocka_unit_test_setup_teardown(test, setup_unconnected, teardown)
	const struct CMUnitTest tests[] = {
		T(doorbells_are_told_of),
		T(regions_without_doorbells_have_none),
		T(bad_io_fds_are_refused),
		U(no_more_doorbells_than_the_client_takes_descriptors),
		T(doorbells_ring),
		cmocka_unit_test_setup_teardown(doorbells_ring, setup_keeping, teardown),
		cmocka_unit_test_setup_teardown(doorbells_ring, setup_spinning, teardown),
		cmocka_unit_test_setup_teardown(a_ring_does_not_wait_for_the_end_of_a_spin,
						setup_spinning, teardown),
		T(the_next_client_gets_other_doorbells),
		T(a_client_may_play_with_its_doorbells),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
