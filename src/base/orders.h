/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Orders from one thread to another: a queue with an eventfd that is readable
 * while there is something in it. An order is memory of the poster's, usually
 * embedded in something larger; it is the queue's from orders_post() until its
 * run() is called, and run() disposes of it.
 */
#pragma once

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

struct order {
	void (*run)(struct order *order);
	struct order *next; /* private */
};

struct orders {
	int fd; /* poll it for reading, then call orders_run() */
	pthread_mutex_t lock;
	struct order *first, **last;
	atomic_bool pending;
	int blocks_on; /* what the owner sleeps in, orders_block_on(); -1 */
	pthread_t owner; /* with blocks_on */
};

/* Returns 0 or a negative errno. */
int orders_init(struct orders *orders);

/* Runs what is left. */
void orders_done(struct orders *orders);

/* From any thread; never blocks. */
void orders_post(struct orders *orders, struct order *order);

/*
 * Has the owner look, and interrupts what it blocks in (once more, if an order
 * is waiting): for an owner that somebody may have got to block where it did not
 * mean to. From any thread; never blocks.
 */
void orders_wake(struct orders *orders);

/* Runs what is queued now, in the order of posting, on the calling thread. */
void orders_run(struct orders *orders);

/* True if something is queued: a look that costs no system call. */
static inline bool orders_pending(const struct orders *orders)
{
	return atomic_load_explicit(&orders->pending, memory_order_relaxed);
}

/*
 * For an owner with nothing else to wait for than one socket, to whom poll()
 * would be one system call too many: from now on the calling thread may block
 * in calls on the socket fd, and whoever posts an order makes them return, with
 * EAGAIN or EINTR. The socket's O_NONBLOCK belongs to the orders until this is
 * called again with -1, which must be before fd is closed. From the owner only.
 *
 * Before it blocks, the owner looks at orders_pending(): with an order waiting,
 * calls that find something to do return it, again and again.
 */
void orders_block_on(struct orders *orders, int fd);
