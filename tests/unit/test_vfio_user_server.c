/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The device thread: much traffic, orders, clients that come and go or do not
 * behave, and what an access costs.
 */
#include "vfio_user_fixture.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/clock.h"
#include "base/thread.h"
#include "unit.h"

/* --- what the device thread calls, counted --- */

static pthread_t test_thread;
static struct {
	atomic_uint tries, recvs, sends, polls, mallocs;
} calls;

ssize_t __real_recvmsg(int fd, struct msghdr *msg, int flags);
ssize_t __real_send(int fd, const void *buf, size_t length, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
int __real_poll(struct pollfd *fds, nfds_t n, int timeout);
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags);
ssize_t __wrap_send(int fd, const void *buf, size_t length, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);

static void count(atomic_uint *counter)
{
	if (!pthread_equal(pthread_self(), test_thread))
		atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags)
{
	ssize_t n;

	count(&calls.tries);
	n = __real_recvmsg(fd, msg, flags);
	if (n > 0) /* those that find nothing are what spinning is */
		count(&calls.recvs);
	return n;
}

ssize_t __wrap_send(int fd, const void *buf, size_t length, int flags)
{
	count(&calls.sends);
	return __real_send(fd, buf, length, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	count(&calls.sends);
	return __real_sendmsg(fd, msg, flags);
}

static void run_nothing(struct order *order)
{
}

/*
 * An eventfd that is filled as soon as the device thread has seen that there is
 * room; -1: none. And an order comes then, whose wake-up is too early.
 */
static atomic_int fill_behind_a_look = -1;
static atomic_bool filled;
static struct order early = { .run = run_nothing };

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	const uint64_t most = UINT64_MAX - 1;
	int fd = atomic_load(&fill_behind_a_look), r;

	count(&calls.polls);
	r = __real_poll(fds, n, timeout);
	if (fd >= 0 && n == 1 && fds->events == POLLOUT && r == 1) {
		assert_int_equal(write(fd, &most, sizeof(most)), sizeof(most));
		vfio_user_server_order(server, &early);
		atomic_store(&filled, true);
	}
	return r;
}

void *__wrap_malloc(size_t size)
{
	count(&calls.mallocs);
	return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	count(&calls.mallocs);
	return __real_calloc(n, size);
}

static const uint32_t bind_flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;

/* --- many messages at once --- */

struct sender {
	pthread_t thread;
	unsigned int n;
	int fd;
};

/* Reads of scratch dword i % 100, pipelined. A thread, as the replies must be read meanwhile. */
static void *send_many(void *opaque)
{
	struct sender *sender = opaque;

	for (unsigned int i = 0; i < sender->n; i++) {
		struct {
			struct vfio_user_header header;
			struct vfio_user_region_access access;
		} message = {
			{ .id = (uint16_t)i,
			  .command = VFIO_USER_REGION_READ,
			  .size = sizeof(message) },
			{ REG_SCRATCH + 4 * (i % 100), 2, 4 },
		};

		if (send(sender->fd, &message, sizeof(message), MSG_NOSIGNAL) != sizeof(message))
			break;
	}
	return NULL;
}

static void expect_many(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct client_message reply;

		assert_true(client_receive(&client, &reply));
		assert_int_equal(reply.header.id, (uint16_t)i);
		assert_int_equal(reply.header.flags, VFIO_USER_TYPE_REPLY);
		assert_int_equal(get_le32(reply.payload + 16), 0x1000 + i % 100);
	}
}

static void fill_scratch(void)
{
	for (uint32_t i = 0; i < 100; i++)
		client_write32(&client, 2, REG_SCRATCH + 4 * i, 0x1000 + i);
}

static void a_thousand_commands_are_answered_in_order(void **state)
{
	struct sender sender = { .n = 1000, .fd = client.fd };

	fill_scratch();
	for (unsigned int i = 0; i < 5; i++) {
		assert_int_equal(thread_start(&sender.thread, "sender", send_many, &sender), 0);
		expect_many(sender.n);
		pthread_join(sender.thread, NULL);
	}
	expect_in_step();
}

struct waited_order {
	struct order order;
	sem_t done;
};

static void run_reset(struct order *order)
{
	vfio_user_server_reset(server);
	sem_post(&((struct waited_order *)order)->done);
}

/* Has the device thread reset the device, as the control socket does. */
static void order_reset(void)
{
	struct waited_order reset = { .order.run = run_reset };
	struct timespec deadline;

	sem_init(&reset.done, 0, 0);
	vfio_user_server_order(server, &reset.order);
	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += CLIENT_PATIENCE_MS / 1000;
	assert_int_equal(sem_timedwait(&reset.done, &deadline), 0);
	sem_destroy(&reset.done);
}

/* It sends and does not read. Neither side has to remember without bounds, and nothing is lost. */
static void a_client_may_stop_reading(void **state)
{
	struct sender sender = { .n = 20000, .fd = client.fd };

	fill_scratch();
	assert_int_equal(thread_start(&sender.thread, "sender", send_many, &sender), 0);
	usleep(50000); /* until both directions are full */
	expect_many(sender.n);
	pthread_join(sender.thread, NULL);
	expect_in_step();
}

static void orders_are_taken_while_a_client_does_not_read(void **state)
{
	struct sender sender = { .n = 20000, .fd = client.fd };

	assert_int_equal(thread_start(&sender.thread, "sender", send_many, &sender), 0);
	usleep(50000);
	order_reset();
	assert_int_equal(atomic_load(&resets_reported), 1);
	/* And it may go without ever having read. */
	shutdown(client.fd, SHUT_RDWR);
	wait_until_disconnected();
	pthread_join(sender.thread, NULL);
}

static void *read_on_and_on(void *opaque)
{
	struct sender *sender = opaque;

	for (unsigned int i = 0; i < sender->n; i++) {
		struct {
			struct vfio_user_header header;
			struct vfio_user_region_access access;
		} message = {
			{ .command = VFIO_USER_REGION_READ, .size = sizeof(message) },
			{ REG_SCRATCH, 2, 4 },
		};
		uint8_t reply[sizeof(message) + 4];

		if (send(sender->fd, &message, sizeof(message), MSG_NOSIGNAL) != sizeof(message) ||
		    recv(sender->fd, reply, sizeof(reply), MSG_WAITALL) != sizeof(reply))
			return NULL;
	}
	return sender;
}

static void orders_are_taken_under_steady_traffic(void **state)
{
	struct sender sender = { .n = 20000, .fd = client.fd };
	unsigned int resets = 50;
	void *all;

	assert_int_equal(thread_start(&sender.thread, "reader", read_on_and_on, &sender), 0);
	for (unsigned int i = 0; i < resets; i++)
		order_reset();
	pthread_join(sender.thread, &all);
	assert_non_null(all);
	assert_int_equal(atomic_load(&resets_reported), resets);
	assert_int_equal(client_read32(&client, 2, REG_RESETS), resets);
}

/* --- the end of a connection --- */

static unsigned int count_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned int n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, "memfd:test-guest") != NULL;
	fclose(f);
	return n;
}

static void connections_leave_nothing_behind(void **state)
{
	int guest = make_memory(1 << 20), irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	unsigned int fds = 0;

	for (unsigned int i = 0; i < 300; i++) {
		static const uint8_t half[40] = { 1, 2, VFIO_USER_REGION_WRITE, 0, 200 };

		connect_client(&client);
		switch (i % 5) {
		case 0: /* not a byte */
			break;
		case 1: /* a part of a header */
			client_send(&client, half, i % 16, &irq, i % 2 && i % 16);
			break;
		case 2: /* a part of a message */
			client_send(&client, half, 16 + i % 24, &irq, i % 2);
			break;
		case 3: /* everything, and a reply unread */
			client_negotiate(&client);
			assert_int_equal(client_dma_map(&client, 0, 1 << 20, 3, guest, 0), 0);
			assert_int_equal(client_dma_map(&client, 1 << 30, 1 << 20, 3, -1, 0), 0);
			assert_int_equal(
				client_set_irqs(&client, bind_flags, 0, 0, 1, NULL, 0, &irq, 1), 0);
			assert_int_equal(
				client_set_irqs(&client, bind_flags, 1, 3, 1, NULL, 0, &irq, 1), 0);
			assert_int_equal(client_set_irqs(&client,
							 VFIO_IRQ_SET_DATA_EVENTFD |
								 VFIO_IRQ_SET_ACTION_UNMASK,
							 0, 0, 1, NULL, 0, &irq, 1),
					 0);
			assert_int_equal(count_maps(), 1);
			send_read(0, 0, 1 << 20);
			break;
		default: /* out of step */
			client_send(&client, "\1\0\1\0\5\0\0\0\0\0\0\0\0\0\0", 16, &irq, 1);
			assert_true(client_is_hung_up(&client));
		}
		leave();
		assert_int_equal(count_maps(), 0);
		if (i == 10)
			fds = count_fds();
	}
	assert_int_equal(count_fds(), fds);
	assert_int_equal(vfio_user_server_stats(server)->connections, 300);
	close(guest);
	close(irq);
}

/* It harms only itself: another that waits has its turn after a while. */
static void a_client_that_says_nothing_is_given_up(void **state)
{
	static const uint8_t half[10] = { 1, 0, VFIO_USER_VERSION };
	uint64_t before = clock_ns(), took;

	connect_client(&client);
	usleep(100000);
	client_send(&client, half, sizeof(half), NULL, 0);
	/* Anything but a VERSION is answered, and does not count. */
	client_done(&client);
	wait_until_disconnected();

	connect_client(&client);
	while (client_call(&client, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0, NULL) == -EINVAL &&
	       clock_ns() - before < 2 * VFIO_USER_VERSION_TIMEOUT_MS * 1000000ULL)
		;
	wait_until_disconnected();
	took = clock_ns() - before;
	assert_int_equal(atomic_load(&disconnect_reason), -ETIMEDOUT);
	assert_in_range(took, (VFIO_USER_VERSION_TIMEOUT_MS - 10) * 1000000ULL,
			(VFIO_USER_VERSION_TIMEOUT_MS + 5000) * 1000000ULL);
	client_done(&client);

	/* One that has said it may be silent for as long as it likes. */
	connect_client(&client);
	client_negotiate(&client);
	expect_in_step();
}

static void the_next_client_finds_a_new_device(void **state)
{
	int irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	client_write32(&client, 2, REG_SCRATCH, 0x1111);
	client_write32(&client, 0, 0x100, 0x2222);
	client_write32(&client, CONFIG, PCI_BASE_ADDRESS_0, 0xf0000000);
	client_write32(&client, 2, REG_INTX, 1);
	leave();
	connect_client(&client);
	client_negotiate(&client);
	assert_int_equal(client_read32(&client, 2, REG_SCRATCH), 0);
	assert_int_equal(client_read32(&client, 0, 0x100), 0);
	assert_int_equal(client_read32(&client, CONFIG, PCI_BASE_ADDRESS_0), 8);
	assert_int_equal(client_set_irqs(&client, bind_flags, 0, 0, 1, NULL, 0, &irq, 1), 0);
	assert_int_equal(signals(irq), 0);
	close(irq);
}

static void with_keep_state_it_finds_the_old_one(void **state)
{
	int irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	client_write32(&client, 2, REG_SCRATCH, 0x1111);
	client_write32(&client, 0, 0x100, 0x2222);
	client_write32(&client, CONFIG, PCI_BASE_ADDRESS_0, 0xf0000000);
	client_write32(&client, 2, REG_INTX, 1);
	assert_int_equal(client_dma_map(&client, 0, 4096, 3, -1, 0), 0);
	leave();
	connect_client(&client);
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0, NULL),
			 -EINVAL);
	client_negotiate(&client); /* the conversation begins anew, though */
	assert_int_equal(client_read32(&client, 2, REG_SCRATCH), 0x1111);
	assert_int_equal(client_read32(&client, 0, 0x100), 0x2222);
	assert_int_equal(client_read32(&client, CONFIG, PCI_BASE_ADDRESS_0), 0xf0000008);
	assert_int_equal(client_dma_unmap(&client, 0, 4096), -ENOENT);
	assert_int_equal(client_set_irqs(&client, bind_flags, 0, 0, 1, NULL, 0, &irq, 1), 0);
	assert_int_equal(signals(irq), 1);
	close(irq);
}

static void reset_keeps_memory_maps_and_bindings(void **state)
{
	int irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_int_equal(client_dma_map(&client, 0x1000, 4096, 3, -1, 0), 0);
	assert_int_equal(client_set_irqs(&client, bind_flags, 1, 0, 1, NULL, 0, &irq, 1), 0);
	client_write32(&client, 2, REG_SCRATCH, 0x1111);
	client_write32(&client, 0, 0x100, 0x2222);
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_RESET, "x", 1, NULL, 0, NULL),
			 -EINVAL);
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0, NULL), 0);
	expect_in_step(); /* the report follows the reply */
	assert_int_equal(atomic_load(&resets_reported), 1);
	assert_int_equal(client_read32(&client, 2, REG_SCRATCH), 0);
	assert_int_equal(client_read32(&client, 0, 0x100), 0x2222);
	assert_int_equal(client_dma_unmap(&client, 0x1000, 4096), 0);
	client_write32(&client, 2, REG_MSI, 0);
	assert_int_equal(signals(irq), 1);
	close(irq);
}

/* The server ends with a client connected, whatever it is at. */
static void the_server_may_end_first(void **state)
{
	struct client_message message;

	send_read(2, 0, 4);
	assert_true(client_receive(&client, &message));
	vfio_user_server_free(server);
	server = NULL;
	assert_true(client_is_hung_up(&client));
	wait_until_disconnected();

	/* A connection that the device thread never saw. */
	assert_int_equal(vfio_user_server_new(&device.vfio, 0, false, &events, NULL, &server), 0);
	client_done(&client);
	connect_client(&client);
	vfio_user_server_free(server);
	server = NULL;
	assert_true(client_is_hung_up(&client));
	wait_until_disconnected();
}

/*
 * A client fills the eventfd of an interrupt just when the device thread has
 * seen that there is room in it. It stops the device thread for itself, but not
 * for the next client, nor for whoever wants the program to end.
 */
static void block_the_device_thread(void)
{
	int fd = eventfd(0, EFD_CLOEXEC);

	atomic_store(&fill_behind_a_look, fd);
	assert_int_equal(client_set_irqs(&client, bind_flags, 0, 0, 1, NULL, 0, &fd, 1), 0);
	client_command(&client, VFIO_USER_DEVICE_SET_IRQS, 0,
		       &(struct vfio_irq_set){ .argsz = sizeof(struct vfio_irq_set),
					       .flags = VFIO_IRQ_SET_DATA_NONE |
							VFIO_IRQ_SET_ACTION_TRIGGER,
					       .index = 0,
					       .count = 1 },
		       sizeof(struct vfio_irq_set), NULL, 0);
	assert_true(client_is_quiet(&client));
	assert_true(atomic_exchange(&filled, false));
	atomic_store(&fill_behind_a_look, -1);
	close(fd);
}

static void a_blocked_device_thread_can_be_ended(void **state)
{
	block_the_device_thread();
	vfio_user_server_free(server);
	server = NULL;
	wait_until_disconnected();
}

static void a_blocked_device_thread_is_there_for_the_next_client(void **state)
{
	block_the_device_thread();
	client_done(&client);
	usleep(10000);
	assert_int_equal(sem_trywait(&disconnected), -1);
	vfio_user_server_wake(server);
	wait_until_disconnected();
	connect_client(&client);
	client_negotiate(&client);
	expect_in_step();
}

/* --- the cost of an access --- */

static void an_access_costs_one_receive_and_one_send(void **state)
{
	enum { N = 1000 };
	unsigned int polls;

	expect_in_step();
	memset(&calls, 0, sizeof(calls));
	for (uint32_t i = 0; i < N; i++)
		client_read32(&client, 2, REG_SCRATCH);
	assert_int_equal(atomic_load(&calls.recvs), N);
	assert_int_equal(atomic_load(&calls.sends), N);
	assert_int_equal(atomic_load(&calls.mallocs), 0);
	/* It spins for a second: only an uncommonly busy machine makes it sleep. */
	polls = atomic_load(&calls.polls);
	assert_true(polls < 3);
}

static void asleep_it_costs_no_more(void **state)
{
	enum { N = 1000 };

	client_read32(&client, 2, REG_SCRATCH);
	usleep(1000);
	memset(&calls, 0, sizeof(calls));
	for (uint32_t i = 0; i < N; i++)
		client_read32(&client, 2, REG_SCRATCH);
	assert_int_equal(atomic_load(&calls.recvs), N);
	assert_int_equal(atomic_load(&calls.sends), N);
	assert_int_equal(atomic_load(&calls.mallocs), 0);
	assert_int_equal(atomic_load(&calls.polls), 0);
	/* One of them may have begun before, one is waiting by now. */
	assert_in_range(atomic_load(&calls.tries), N - 1, N + 1);
	assert_in_range(vfio_user_server_stats(server)->sleeps, N, N + 20);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define U(test) cmocka_unit_test_setup_teardown(test, setup_unconnected, teardown)
	const struct CMUnitTest tests[] = {
		T(a_thousand_commands_are_answered_in_order),
		T(a_client_may_stop_reading),
		T(orders_are_taken_while_a_client_does_not_read),
		T(orders_are_taken_under_steady_traffic),
		cmocka_unit_test_setup_teardown(orders_are_taken_under_steady_traffic,
						setup_spinning, teardown),
		U(connections_leave_nothing_behind),
		U(a_client_that_says_nothing_is_given_up),
		T(the_next_client_finds_a_new_device),
		cmocka_unit_test_setup_teardown(with_keep_state_it_finds_the_old_one, setup_keeping,
						teardown),
		T(reset_keeps_memory_maps_and_bindings),
		T(the_server_may_end_first),
		T(a_blocked_device_thread_can_be_ended),
		T(a_blocked_device_thread_is_there_for_the_next_client),
		cmocka_unit_test_setup_teardown(an_access_costs_one_receive_and_one_send,
						setup_spinning, teardown),
		cmocka_unit_test_setup_teardown(asleep_it_costs_no_more, setup_keeping, teardown),
	};

	test_thread = pthread_self();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
