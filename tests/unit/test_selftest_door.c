/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The selftest device behind the vfio-user door: long work and its client. */
#include <errno.h>
#include <semaphore.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/memfd.h"
#include "device/selftest.h"
#include "device/selftest_regs.h"
#include "pci/function.h"
#include "transport/vfio_user_server.h"
#include "unit.h"
#include "vfio_user_client.h"

enum {
	REGS = SELFTEST_BAR_REGS,
	CONFIG = VFIO_PCI_CONFIG_REGION_INDEX,
	GUEST_SIZE = 1 << 20,
	MAPS = 256, /* the same memory again and again: a lot of work in little of it */
};

#define TOTAL ((uint64_t)GUEST_SIZE * MAPS)

static struct device *device;
static struct vfio_user_server *server;
static struct client client;
static sem_t disconnected;

static void on_disconnected(void *opaque, int reason)
{
	sem_post(&disconnected);
}

static void on_event(void *opaque)
{
}

static const struct vfio_user_server_events events = { on_disconnected, on_event, on_event };

static void connect_client(void)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	client_init(&client, pair[0]);
	assert_int_equal(vfio_user_server_connect(server, pair[1]), 0);
	client_negotiate(&client);
}

static int setup(void **state)
{
	static const struct device_options options = { .items = { { "aperture", "1M" } }, .n = 1 };
	char *error;

	sem_init(&disconnected, 0, 0);
	if (device_create("selftest", "test", &options, &device, &error) < 0 ||
	    vfio_user_server_new(&device->vfio, 0, false, &events, NULL, &server) < 0)
		return -1;
	connect_client();
	return 0;
}

static int teardown(void **state)
{
	client_done(&client);
	vfio_user_server_free(server);
	device_destroy(device);
	sem_destroy(&disconnected);
	return 0;
}

static void write64(uint64_t offset, uint64_t value)
{
	uint8_t buf[8];

	put_le64(buf, value);
	assert_int_equal(client_write(&client, REGS, offset, buf, sizeof(buf)), 0);
}

static uint32_t status(void)
{
	return client_read32(&client, REGS, SELFTEST_DMA_STATUS);
}

/* Begins to sum 256 MiB, in a thousand pieces. */
static void start_long_work(void)
{
	int fd = memfd_new("guest");

	assert_int_equal(ftruncate(fd, GUEST_SIZE), 0);
	for (uint64_t i = 0; i < MAPS; i++)
		assert_int_equal(client_dma_map(&client, i * GUEST_SIZE, GUEST_SIZE, 1, fd, 0), 0);
	close(fd);
	client_write32(&client, CONFIG, PCI_COMMAND, PCI_COMMAND_MASTER);
	write64(SELFTEST_DMA_SOURCE, 0);
	write64(SELFTEST_DMA_LENGTH, TOTAL);
	client_write32(&client, REGS, SELFTEST_DMA_COMMAND, SELFTEST_DMA_COMMAND_SUM);
}

/* A VMM waits for an answer five seconds, and a guest should not wait at all. */
static void accesses_are_served_between_pieces_of_work(void **state)
{
	uint64_t sum = 0, result;
	unsigned int n = 0;

	start_long_work();
	while (status() == SELFTEST_DMA_STATUS_BUSY)
		client_write32(&client, REGS, SELFTEST_SUM, n++);
	assert_true(n >= 50);
	assert_int_equal(status(), SELFTEST_DMA_STATUS_DONE);
	for (uint64_t i = 0; i < TOTAL; i++)
		sum = SELFTEST_SUM_STEP(sum, 0);
	assert_int_equal(client_read(&client, REGS, SELFTEST_DMA_RESULT, &result, 8), 0);
	assert_int_equal(result, sum);
}

static void a_reset_ends_long_work(void **state)
{
	start_long_work();
	assert_int_equal(status(), SELFTEST_DMA_STATUS_BUSY);
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0, NULL), 0);
	assert_int_equal(status(), SELFTEST_DMA_STATUS_IDLE);
	assert_true(client_is_quiet(&client));
	assert_int_equal(status(), SELFTEST_DMA_STATUS_IDLE);
}

static void memory_can_be_taken_away_from_long_work(void **state)
{
	start_long_work();
	assert_int_equal(client_dma_unmap(&client, TOTAL - GUEST_SIZE, GUEST_SIZE), 0);
	assert_int_equal(status(), SELFTEST_DMA_STATUS_BUSY);
	while (status() == SELFTEST_DMA_STATUS_BUSY)
		;
	assert_int_equal(client_read32(&client, REGS, SELFTEST_DMA_ERROR), EFAULT);
}

static void a_client_that_leaves_ends_long_work(void **state)
{
	struct timespec deadline;

	start_long_work();
	assert_int_equal(status(), SELFTEST_DMA_STATUS_BUSY);
	client_done(&client);
	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += CLIENT_PATIENCE_MS / 1000;
	assert_int_equal(sem_timedwait(&disconnected, &deadline), 0);
	connect_client();
	assert_int_equal(status(), SELFTEST_DMA_STATUS_IDLE);
	assert_int_equal(client_read32(&client, REGS, SELFTEST_DMA_LENGTH), 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(accesses_are_served_between_pieces_of_work),
		T(a_reset_ends_long_work),
		T(memory_can_be_taken_away_from_long_work),
		T(a_client_that_leaves_ends_long_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
