/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/orders.h"

#include <poll.h>
#include <stdlib.h>

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

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		T(orders_run_in_their_order),
		T(an_order_may_post_orders),
		T(what_is_left_is_run_at_the_end),
		T(many_threads_may_post),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
