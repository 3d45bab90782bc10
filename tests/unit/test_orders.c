/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/orders.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/thread.h"
#include "unit.h"

static struct orders orders;

static int setup(void **state)
{
	return orders_init(&orders);
}

static int teardown(void **state)
{
	orders_done(&orders);
	return 0;
}

static bool readable(void)
{
	struct pollfd pfd = { .fd = orders.fd, .events = POLLIN };

	return poll(&pfd, 1, 0) == 1;
}

struct numbered {
	struct order order;
	int number;
};

static int ran[16];
static size_t n_ran;

static void run_numbered(struct order *order)
{
	ran[n_ran++] = ((struct numbered *)order)->number;
}

static void orders_run_in_their_order(void **state)
{
	struct numbered n[5];

	n_ran = 0;
	assert_false(readable());
	assert_false(orders_pending(&orders));
	orders_run(&orders); /* nothing */
	for (int i = 0; i < 5; i++) {
		n[i] = (struct numbered){ { .run = run_numbered }, i };
		orders_post(&orders, &n[i].order);
	}
	assert_true(readable());
	assert_true(orders_pending(&orders));
	orders_run(&orders);
	assert_int_equal(n_ran, 5);
	for (int i = 0; i < 5; i++)
		assert_int_equal(ran[i], i);
	assert_false(readable());
	assert_false(orders_pending(&orders));
}

static void run_and_post_again(struct order *order)
{
	struct numbered *n = (struct numbered *)order;

	ran[n_ran++] = n->number;
	/* It is ours again: it may be posted from within, for the next run. */
	order->run = run_numbered;
	orders_post(&orders, order);
}

static void an_order_may_post_orders(void **state)
{
	struct numbered n = { { .run = run_and_post_again }, 1 };

	n_ran = 0;
	orders_post(&orders, &n.order);
	orders_run(&orders);
	assert_int_equal(n_ran, 1);
	assert_true(readable());
	orders_run(&orders);
	assert_int_equal(n_ran, 2);
	assert_false(readable());
}

static void run_and_free(struct order *order)
{
	free(order);
	n_ran++;
}

static void what_is_left_is_run_at_the_end(void **state)
{
	struct order *order = calloc(1, sizeof(*order));

	n_ran = 0;
	order->run = run_and_free;
	orders_post(&orders, order);
	orders_done(&orders);
	assert_int_equal(n_ran, 1);
	assert_int_equal(orders_init(&orders), 0);
}

enum { POSTERS = 4, POSTS = 5000 };

static struct posted {
	struct order order;
	unsigned int poster, number;
} posted[POSTERS][POSTS];

static unsigned int next_of[POSTERS], total;

static void run_posted(struct order *order)
{
	struct posted *p = (struct posted *)order;

	assert_int_equal(p->number, next_of[p->poster]);
	next_of[p->poster]++;
	total++;
}

static void *post_many(void *arg)
{
	unsigned int poster = (unsigned int)(uintptr_t)arg;

	for (unsigned int i = 0; i < POSTS; i++) {
		posted[poster][i] = (struct posted){ { .run = run_posted }, poster, i };
		orders_post(&orders, &posted[poster][i].order);
	}
	return NULL;
}

/* None is lost, none is seen twice, and each poster's keep their order. */
static void many_threads_may_post(void **state)
{
	pthread_t threads[POSTERS];

	for (uintptr_t i = 0; i < POSTERS; i++)
		assert_int_equal(thread_start(&threads[i], "poster", post_many, (void *)i), 0);
	while (total < POSTERS * POSTS) {
		struct pollfd pfd = { .fd = orders.fd, .events = POLLIN };

		assert_int_equal(poll(&pfd, 1, 10000), 1);
		orders_run(&orders);
	}
	for (unsigned int i = 0; i < POSTERS; i++)
		pthread_join(threads[i], NULL);
	assert_false(readable());
}

/* --- an owner that blocks in a call on a socket --- */

enum { ROUNDS = 20000 };

static struct {
	int pair[2]; /* the owner's, the client's */
	struct ping {
		struct order order;
		sem_t done;
		bool stop;
	} ping;
	unsigned int requests;
	bool stopping;
} blocked;

static void run_ping(struct order *order)
{
	blocked.stopping = blocked.ping.stop;
	sem_post(&((struct ping *)order)->done);
}

/* Answers every byte, and runs orders. */
static void *block(void *arg)
{
	orders_block_on(&orders, blocked.pair[0]);
	while (!blocked.stopping) {
		char byte;
		ssize_t n;

		if (orders_pending(&orders)) {
			orders_run(&orders);
			continue;
		}
		n = recv(blocked.pair[0], &byte, 1, 0);
		if (n == 1) {
			blocked.requests++;
			send(blocked.pair[0], &byte, 1, MSG_NOSIGNAL);
		} else if (errno == EAGAIN || errno == EINTR) {
			orders_run(&orders);
		}
	}
	orders_block_on(&orders, -1);
	return NULL;
}

static void ping(bool stop)
{
	struct timespec deadline;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += 20;
	blocked.ping.order.run = run_ping;
	blocked.ping.stop = stop;
	orders_post(&orders, &blocked.ping.order);
	assert_int_equal(sem_timedwait(&blocked.ping.done, &deadline), 0);
}

static void start_blocked(pthread_t *thread)
{
	memset(&blocked, 0, sizeof(blocked));
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, blocked.pair), 0);
	sem_init(&blocked.ping.done, 0, 0);
	assert_int_equal(thread_start(thread, "blocked", block, NULL), 0);
}

static void stop_blocked(pthread_t thread)
{
	ping(true);
	pthread_join(thread, NULL);
	close(blocked.pair[0]);
	close(blocked.pair[1]);
	sem_destroy(&blocked.ping.done);
	assert_false(orders_pending(&orders));
}

/* Whether it was about to sleep, asleep or just awake: no wake-up is lost. */
static void a_blocked_owner_is_woken(void **state)
{
	pthread_t thread;

	start_blocked(&thread);
	for (unsigned int i = 0; i < ROUNDS; i++)
		ping(false);
	usleep(20000);
	ping(false);
	stop_blocked(thread);
	assert_int_equal(blocked.requests, 0);
}

static void *request_on_and_on(void *arg)
{
	for (unsigned int i = 0; i < ROUNDS; i++) {
		char byte = (char)i, reply = 0;

		if (send(blocked.pair[1], &byte, 1, MSG_NOSIGNAL) != 1 ||
		    recv(blocked.pair[1], &reply, 1, 0) != 1 || reply != byte)
			return NULL;
	}
	return &blocked;
}

/* And what it blocks for is neither lost nor kept waiting. */
static void a_blocked_owner_serves_both(void **state)
{
	pthread_t thread, requester;
	void *all;

	start_blocked(&thread);
	assert_int_equal(thread_start(&requester, "requester", request_on_and_on, NULL), 0);
	for (unsigned int i = 0; i < ROUNDS; i++)
		ping(false);
	pthread_join(requester, &all);
	assert_non_null(all);
	stop_blocked(thread);
	assert_int_equal(blocked.requests, ROUNDS);
}

static void an_order_from_before_is_not_slept_through(void **state)
{
	int pair[2];
	char byte;

	n_ran = 0;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	{
		struct numbered n = { { .run = run_numbered }, 1 };

		orders_post(&orders, &n.order);
		orders_block_on(&orders, pair[0]);
		assert_int_equal(recv(pair[0], &byte, 1, 0), -1);
		assert_int_equal(errno, EAGAIN);
		orders_run(&orders);
	}
	assert_int_equal(n_ran, 1);
	assert_int_equal(fcntl(pair[0], F_GETFL) & O_NONBLOCK, 0);
	orders_block_on(&orders, -1);
	close(pair[0]);
	close(pair[1]);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(orders_run_in_their_order),
		T(an_order_may_post_orders),
		T(what_is_left_is_run_at_the_end),
		T(many_threads_may_post),
		T(a_blocked_owner_is_woken),
		T(a_blocked_owner_serves_both),
		T(an_order_from_before_is_not_slept_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
