/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Every system call and allocation on the data path fails, one after the other, in
 * the middle of a client's whole life. Whatever fails: the process lives, nothing
 * stays open, mapped or allocated, the stream is in step or was closed with a line in
 * the log, and the next client is served by a device that knows nothing of the last.
 */
#include <errno.h>
#include <jansson.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "device/vram.h"
#include "faults.h"
#include "full_server.h"
#include "unit.h"
#include "vfio/dma_fault.h"

enum {
	RW = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
	FILE_SIZE = 1 << 20,
	BIND = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
	BIND_UNMASK = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK,
	MAX_CALLS = 2000, /* of one function in one life */
};

static int file; /* a guest's memory */
static int irqs[4]; /* eventfds */

/* A client's life, and what became of it. */
struct life {
	struct client client;
	bool gone; /* the server has hung up */
	unsigned int refused; /* answers that were not what they should be */
	unsigned int lost; /* interrupts that did not come */
};

static bool ask(struct life *life, int r)
{
	if (r == -ECONNRESET)
		life->gone = true;
	else if (r < 0)
		life->refused++;
	return r == 0;
}

#define ASK(life, call)                                                                            \
	do {                                                                                       \
		if (!(life)->gone)                                                                 \
			ask(life, call);                                                           \
	} while (0)

static void expect_signal(struct life *life, int fd)
{
	uint64_t n;

	if (!life->gone && read(fd, &n, sizeof(n)) != sizeof(n))
		life->lost++;
}

static void look_around(struct life *life)
{
	for (uint32_t i = 0; i < VFIO_PCI_NUM_REGIONS; i++) {
		struct vfio_region_info info = { .argsz = 512, .index = i };

		ASK(life, client_call(&life->client, VFIO_USER_DEVICE_GET_REGION_INFO, &info,
				      sizeof(info), NULL, 0, NULL));
	}
	for (uint32_t i = 0; i < VFIO_PCI_NUM_IRQS; i++) {
		struct vfio_irq_info info = { .argsz = sizeof(info), .index = i };

		ASK(life, client_call(&life->client, VFIO_USER_DEVICE_GET_IRQ_INFO, &info,
				      sizeof(info), NULL, 0, NULL));
	}
}

static void set_up(struct life *life)
{
	struct client *c = &life->client;

	ASK(life,
	    client_version(c, 0, 1,
			   "{\"capabilities\":{\"max_data_xfer_size\":1048576,\"max_msg_fds\":16,"
			   "\"write_multiple\":true}}",
			   NULL));
	look_around(life);
	ASK(life, client_dma_map(c, 0, FILE_SIZE / 2, RW, file, 0));
	ASK(life, client_dma_map(c, FILE_SIZE / 2, FILE_SIZE / 2, RW, file, FILE_SIZE / 2));
	ASK(life, client_dma_map(c, 1 << 30, FILE_SIZE, RW, -1, 0));
	ASK(life, client_set_irqs(c, BIND, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL, 0, &irqs[0], 1));
	ASK(life,
	    client_set_irqs(c, BIND_UNMASK, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL, 0, &irqs[1], 1));
	ASK(life, client_set_irqs(c, BIND, VFIO_PCI_MSI_IRQ_INDEX, 2, 2, NULL, 0, &irqs[2], 2));
}

static int write32(struct life *life, uint64_t offset, uint32_t value)
{
	return client_write(&life->client, 2, offset, &value, sizeof(value));
}

static void interrupt(struct life *life)
{
	const uint64_t one = 1;

	ASK(life, write32(life, FULL_INTX, 1));
	expect_signal(life, irqs[0]);
	if (write(irqs[1], &one, sizeof(one)) < 0) /* unmask: it is still up */
		life->lost++;
	for (int i = 0; i < 100 && !life->gone; i++) {
		struct pollfd pfd = { .fd = irqs[0], .events = POLLIN };

		ASK(life, write32(life, FULL_SCRATCH, 1));
		if (poll(&pfd, 1, 1) > 0)
			break;
	}
	expect_signal(life, irqs[0]);
	ASK(life, write32(life, FULL_INTX, 0));
	ASK(life, write32(life, FULL_MSI, 3));
	expect_signal(life, irqs[3]);
}

static void access_regions(struct life *life, size_t length)
{
	struct {
		uint64_t count;
		struct vfio_user_write_multi_entry entries[3];
	} multi = { .count = 3 };
	_cleanup_free_ uint8_t *buf = malloc(length);

	memset(buf, 0x5a, length);
	ASK(life, client_write(&life->client, 0, 4096, buf, (uint32_t)length));
	ASK(life, client_read(&life->client, 0, 4096, buf, (uint32_t)length));
	for (size_t i = 0; i < length && !life->gone && !life->refused; i++)
		assert_int_equal(buf[i], 0x5a);
	for (uint32_t i = 0; i < 3; i++)
		multi.entries[i].access =
			(struct vfio_user_region_access){ FULL_SCRATCH + 4 * i, 2, 4 };
	ASK(life, client_call(&life->client, VFIO_USER_REGION_WRITE_MULTI, &multi, sizeof(multi),
			      NULL, 0, NULL));
	ASK(life, client_read(&life->client, 4, 0xf00, buf, 512)); /* trapped and mapped */
	ASK(life, client_read(&life->client, VFIO_PCI_CONFIG_REGION_INDEX, 0, buf, 256));
}

static void do_dma(struct life *life, uint32_t length)
{
	static const uint64_t places[] = { 0, FILE_SIZE / 2 - 2048, 1 << 30 };
	static const uint32_t commands[] = { FULL_DMA_READ, FULL_DMA_WRITE };

	for (size_t place = 0; place < ARRAY_SIZE(places); place++)
		for (size_t i = 0; i < ARRAY_SIZE(commands); i++)
			ASK(life, full_dma(&life->client, commands[i], places[place], length,
					   !life->refused));
	/* In place, across two maps, and by message: what it reads it writes back, one more. */
	ASK(life, full_dma(&life->client, FULL_DMA_SCOPE, FILE_SIZE - 4096, 4096, false));
	ASK(life, full_dma(&life->client, FULL_DMA_SCOPE, FILE_SIZE / 2 - 64, 128, false));
	ASK(life, full_dma(&life->client, FULL_DMA_SCOPE, 1 << 30, 4096, false));
}

/* Takes the doorbells, and rings one until it is heard. */
static void ring_doorbell(struct life *life)
{
	const struct vfio_user_region_io_fds ask_for = { .argsz = 512, .index = 2 };
	struct client_message reply = { 0 };
	const uint64_t one = 1;
	uint32_t rung = 0;

	if (life->gone || !ask(life, client_call(&life->client, VFIO_USER_DEVICE_GET_REGION_IO_FDS,
						 &ask_for, sizeof(ask_for), NULL, 0, &reply)))
		return;
	assert_int_equal(reply.n_fds, FULL_DOORBELLS);
	assert_int_equal(write(reply.fds[0], &one, sizeof(one)), sizeof(one));
	for (int i = 0; i < 100 && !life->gone && !rung; i++)
		ASK(life, client_read(&life->client, 2, FULL_RUNG, &rung, sizeof(rung)));
	life->lost += !life->gone && !rung;
	close_fds(reply.fds, reply.n_fds);
}

/* Still in step? Then what is written is read. */
static void access_scratch(struct life *life)
{
	uint32_t value = 0;

	ASK(life, write32(life, FULL_SCRATCH + 0x3fc, 0x12345678));
	ASK(life, client_read(&life->client, 2, FULL_SCRATCH + 0x3fc, &value, sizeof(value)));
	if (!life->gone && !life->refused)
		assert_int_equal(value, 0x12345678);
}

static void tear_down(struct life *life)
{
	ASK(life, client_call(&life->client, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0, NULL));
	ASK(life, client_dma_unmap(&life->client, 0, FILE_SIZE / 2));
	ASK(life,
	    client_set_irqs(&life->client, BIND, VFIO_PCI_MSI_IRQ_INDEX, 2, 1, NULL, 0, NULL, 0));
	access_scratch(life);
}

static void drain_eventfds(void)
{
	uint64_t n;

	for (size_t i = 0; i < ARRAY_SIZE(irqs); i++)
		while (read(irqs[i], &n, sizeof(n)) > 0)
			;
}

/* From the first byte to the last; length is that of the larger accesses. */
static void live(struct life *life, uint32_t length)
{
	*life = (struct life){ 0 };
	drain_eventfds();
	full_server_connect(&life->client);
	set_up(life);
	access_regions(life, length);
	interrupt(life);
	do_dma(life, length);
	ring_doorbell(life);
	tear_down(life);
}

/* A client to whom nothing bad happens; the device is as it should be. */
static void expect_a_good_life(uint32_t length)
{
	struct life life;

	live(&life, length);
	assert_false(life.gone);
	assert_int_equal(life.refused, 0);
	assert_int_equal(life.lost, 0);
	assert_int_equal(full_server_leave(&life.client), -ECONNRESET);
}

/* What a process holds between two clients. */
struct holdings {
	unsigned int fds;
	uint64_t mapped;
	size_t allocations;
};

static struct holdings count_holdings(void)
{
	return (struct holdings){ count_fds(), fault_mapped_bytes(), fault_allocations() };
}

static bool is_orderly(int error)
{
	return error == -ECONNRESET || error == -EPIPE;
}

static void check_end(const struct life *life, int reason, const char *what)
{
	const char *text = fault_log();

	if (life->gone && !is_orderly(reason) && !strstr(text, "the client was disconnected") &&
	    !strstr(text, "could not be served"))
		fail_msg("%s: the client was disconnected (%s) without a word: \"%s\"", what,
			 strerror(-reason), text);
	if (full_server_failed())
		fail_msg("%s: the server has given up", what);
}

/* Of a mapping that could not be unmapped nothing else is to be expected. */
static void check_holdings(const struct holdings *before, bool unmapped, const char *what)
{
	struct holdings now = count_holdings();

	if (now.fds != before->fds || now.allocations != before->allocations ||
	    (unmapped && now.mapped != before->mapped))
		fail_msg("%s: %u descriptors, %zu allocations, %llu bytes mapped; it was %u, %zu, "
			 "%llu",
			 what, now.fds, now.allocations, (unsigned long long)now.mapped,
			 before->fds, before->allocations, (unsigned long long)before->mapped);
}

/* One life with the nth call failing. False if there are not that many. */
static bool fail_once(enum fault_function function, unsigned int nth, int error, bool harmless)
{
	struct holdings before = count_holdings();
	struct life life;
	char what[128];
	bool hit;
	int reason;

	snprintf(what, sizeof(what), "%s call %u fails with %s", fault_name(function), nth,
		 strerrorname_np(error));
	fault_log();
	fault_skip_time(10000000000);
	fault_set(function, nth, error, false);
	live(&life, 8192);
	reason = full_server_leave(&life.client);
	hit = fault_clear();
	check_end(&life, reason, what);
	check_holdings(&before, function != FAULT_MUNMAP, what);
	if ((harmless || !hit) && (life.gone || life.refused || life.lost))
		fail_msg("%s: it should do no harm, but: hung up %d, refused %u, interrupts lost "
			 "%u",
			 what, life.gone, life.refused, life.lost);
	return hit;
}

static void fail_each(enum fault_function function, int error, bool harmless, bool must_be_called)
{
	unsigned int nth = 1;

	while (nth < MAX_CALLS && fail_once(function, nth, error, harmless))
		nth++;
	assert_true(nth < MAX_CALLS);
	assert_true(nth > 1 || !must_be_called);
	print_message("%s: %u calls, each failed once with %s\n", fault_name(function), nth - 1,
		      strerrorname_np(error));
	expect_a_good_life(8192);
}

static int setup(void **state)
{
	file = full_make_file(FILE_SIZE);
	for (size_t i = 0; i < ARRAY_SIZE(irqs); i++)
		irqs[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	full_server_start(0, false);
	fault_set(FAULT_FUNCTIONS, 0, 0, false);
	expect_a_good_life(8192); /* what is made once is made */
	return 0;
}

static int teardown(void **state)
{
	fault_clear();
	full_server_stop();
	close_fds(irqs, ARRAY_SIZE(irqs));
	close(file);
	return 0;
}

static void receiving_fails(void **state)
{
	fail_each(FAULT_RECVMSG, EINTR, true, true);
	fail_each(FAULT_RECVMSG, EAGAIN, true, true);
	fail_each(FAULT_RECVMSG, ENOMEM, false, true);
	fail_each(FAULT_RECVMSG, ECONNRESET, false, true);
}

static void sending_fails(void **state)
{
	fail_each(FAULT_SEND, EINTR, true, true);
	fail_each(FAULT_SEND, EAGAIN, true, true);
	fail_each(FAULT_SEND, ENOBUFS, false, true);
	fail_each(FAULT_SEND, EPIPE, false, true);
	fail_each(FAULT_SENDMSG, EINTR, true, true);
	fail_each(FAULT_SENDMSG, EAGAIN, true, true);
	fail_each(FAULT_SENDMSG, ETOOMANYREFS, false, true);
}

static void waiting_fails(void **state)
{
	fail_each(FAULT_POLL, EINTR, true, true);
	fail_each(FAULT_POLL, ENOMEM, false, true);
}

static void looking_at_descriptors_fails(void **state)
{
	fail_each(FAULT_FCNTL, EBADF, false, true);
	fail_each(FAULT_FSTAT, EIO, false, true);
	fail_each(FAULT_FSTATFS, EIO, false, true);
	fail_each(FAULT_FSTATFS, ENOSYS, false, true);
}

static void mapping_fails(void **state)
{
	fail_each(FAULT_MMAP, ENOMEM, false, true);
	fail_each(FAULT_MMAP, EACCES, false, true);
	fail_each(FAULT_MUNMAP, ENOMEM, true, true);
	fail_each(FAULT_MADVISE, EINVAL, true, true);
}

static void eventfds_fail(void **state)
{
	fail_each(FAULT_WRITE, EINTR, true, true);
	fail_each(FAULT_WRITE, EAGAIN, false, true);
	fail_each(FAULT_WRITE, EIO, false, true);
	fail_each(FAULT_PREADV2, EINTR, true, true);
	fail_each(FAULT_PREADV2, EAGAIN, true, true);
	fail_each(FAULT_PREADV2, EINVAL, false, true);
	fail_each(FAULT_READ, EAGAIN, true, true); /* of the orders' own */
	fail_each(FAULT_EVENTFD, EMFILE, false, true);
}

static void allocations_fail(void **state)
{
	fail_each(FAULT_MALLOC, ENOMEM, false, true);
	fail_each(FAULT_CALLOC, ENOMEM, false, true);
	fail_each(FAULT_REALLOCARRAY, ENOMEM, false, false);
}

/* Every second call: EINTR comes in crowds. */
static void interrupted_again_and_again(void **state)
{
	static const enum fault_function functions[] = { FAULT_RECVMSG, FAULT_SEND, FAULT_SENDMSG,
							 FAULT_POLL, FAULT_WRITE };

	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		fault_set(functions[i], 0, EINTR, false);
		expect_a_good_life(8192);
		assert_true(fault_clear());
	}
}

static void one_byte_at_a_time(void **state)
{
	fault_set_short();
	expect_a_good_life(2048);
	fault_clear();
}

/* A twin socket that can't be had is done without; a VERSION that fails may be tried again. */
static void negotiating_a_twin_socket_fails(void **state)
{
	static const enum fault_function functions[] = { FAULT_MALLOC, FAULT_SOCKETPAIR };
	static const char json[] = "{\"capabilities\":{\"max_msg_fds\":16,\"twin_socket\":"
				   "{\"supported\":true}}}";

	for (size_t i = 0; i < ARRAY_SIZE(functions); i++)
		for (unsigned int nth = 1, hit = 1; hit; nth++) {
			struct holdings before = count_holdings();
			struct client c;
			int r;

			full_server_connect(&c);
			/* Answered as nobody has said VERSION: the buffers are there. */
			assert_int_equal(
				client_call(&c, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0, NULL),
				-EINVAL);
			fault_set(functions[i], nth, ENOMEM, false);
			r = client_version(&c, 0, 1, json, NULL);
			hit = fault_clear();
			if (r < 0)
				r = client_version(&c, 0, 1, json, NULL);
			assert_int_equal(r, 0);
			full_expect_in_step(&c);
			full_server_leave(&c);
			check_holdings(&before, true, "a twin socket fails");
		}
}

/* A larger table of maps is had or not, and the old one stays. */
static void a_table_that_does_not_grow_keeps_what_it_has(void **state)
{
	struct client c;
	uint64_t i;
	int r = 0;

	full_server_connect(&c);
	client_negotiate(&c);
	for (i = 0; i < 32; i++)
		assert_int_equal(client_dma_map(&c, i << 12, 4096, RW, -1, 0), 0);
	fault_set(FAULT_REALLOCARRAY, 1, ENOMEM, false);
	for (i = 32; i < 4096 && r == 0; i++)
		r = client_dma_map(&c, i << 12, 4096, RW, -1, 0);
	assert_int_equal(r, -ENOMEM);
	assert_true(fault_clear());
	assert_int_equal(client_dma_map(&c, (i - 1) << 12, 4096, RW, -1, 0), 0);
	while (i--)
		assert_int_equal(client_dma_unmap(&c, i << 12, 4096), 0);
	full_expect_in_step(&c);
	full_server_leave(&c);
}

/* Handing a client in may fail on the main thread; it costs that client alone. */
static void a_client_that_can_not_be_handed_in_is_closed(void **state)
{
	unsigned int fds = count_fds();
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	fault_set(FAULT_MALLOC, 1, ENOMEM, true);
	assert_int_equal(vfio_user_server_connect(full_server, pair[1]), -ENOMEM);
	assert_true(fault_clear());
	assert_int_equal(read(pair[0], pair, 1), 0);
	close(pair[0]);
	assert_int_equal(count_fds(), fds);
	expect_a_good_life(8192);
}

/* --- without a server --- */

static void a_server_that_can_not_start_leaves_nothing(void **state)
{
	static const enum fault_function functions[] = { FAULT_CALLOC, FAULT_EVENTFD };
	static const struct vfio_user_server_events no_events;
	unsigned int fds = count_fds();
	struct vfio_user_server *server;
	struct full_device device;

	assert_int_equal(full_device_init(&device), 0);
	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		fault_set(functions[i], 1, ENOMEM, true);
		assert_int_equal(
			vfio_user_server_new(&device.vfio, 0, false, &no_events, NULL, &server),
			-ENOMEM);
		assert_true(fault_clear());
	}
	full_device_done(&device);
	assert_int_equal(count_fds(), fds);
}

/* Video memory that can't be renewed: the old one stays, to be freed, and nothing leaks. */
static void vram_that_can_not_be_renewed_stays(void **state)
{
	static const enum fault_function functions[] = { FAULT_MEMFD_CREATE, FAULT_FTRUNCATE,
							 FAULT_FCNTL, FAULT_MMAP };
	unsigned int fds = count_fds();
	struct vram vram;

	for (size_t i = 0; i < ARRAY_SIZE(functions); i++) {
		fault_set(functions[i], 1, ENOSPC, true);
		assert_int_equal(vram_init(&vram, 1 << 20), -ENOSPC);
		assert_true(fault_clear());
		vram_done(&vram);
		assert_int_equal(count_fds(), fds);

		assert_int_equal(vram_init(&vram, 1 << 20), 0);
		vram.memory[0] = 1;
		fault_set(functions[i], 1, ENOSPC, true);
		assert_int_equal(vram_renew(&vram), -ENOSPC);
		assert_true(fault_clear());
		assert_int_equal(vram.memory[0], 1);
		assert_int_equal(vram_renew(&vram), 0);
		assert_int_equal(vram.memory[0], 0);
		vram_done(&vram);
		assert_int_equal(count_fds(), fds);
	}
}

/* Once a process, so in a process of its own: without the handler nothing is mapped. */
static void without_a_handler_nothing_is_mapped(void **state)
{
	int status;
	pid_t child = fork();

	assert_true(child >= 0);
	if (!child) {
		struct vfio_dma_space space;
		bool good;

		vfio_dma_space_init(&space);
		fault_set(FAULT_SIGACTION, 1, EINVAL, true);
		good = vfio_dma_map(&space, 0, 4096, RW, memfd_create("x", 0), 0) == -EINVAL;
		good = fault_clear() && good;
		good = vfio_dma_map(&space, 0, 4096, RW, -1, 0) == 0 && good;
		_exit(good ? 0 : 1);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_a_handler_nothing_is_mapped), /* first */
		T(receiving_fails),
		T(sending_fails),
		T(waiting_fails),
		T(looking_at_descriptors_fails),
		T(mapping_fails),
		T(eventfds_fail),
		T(allocations_fail),
		T(interrupted_again_and_again),
		T(one_byte_at_a_time),
		T(negotiating_a_twin_socket_fails),
		T(a_table_that_does_not_grow_keeps_what_it_has),
		T(a_client_that_can_not_be_handed_in_is_closed),
		cmocka_unit_test(a_server_that_can_not_start_leaves_nothing),
		cmocka_unit_test(vram_that_can_not_be_renewed_stays),
	};

	json_set_alloc_funcs(malloc, free); /* the ones that can fail */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
