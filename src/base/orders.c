/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/orders.h"

#include <errno.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"

int orders_init(struct orders *orders)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return -errno;
	*orders = (struct orders){ .fd = fd, .lock = PTHREAD_MUTEX_INITIALIZER };
	orders->last = &orders->first;
	return 0;
}

void orders_done(struct orders *orders)
{
	orders_run(orders);
	orders->fd = close_fd(orders->fd);
	pthread_mutex_destroy(&orders->lock);
}

void orders_post(struct orders *orders, struct order *order)
{
	const uint64_t one = 1;

	order->next = NULL;
	pthread_mutex_lock(&orders->lock);
	*orders->last = order;
	orders->last = &order->next;
	atomic_store_explicit(&orders->pending, true, memory_order_relaxed);
	/* Full means that it is readable, which is all we want. */
	if (write(orders->fd, &one, sizeof(one)) < 0) {
	}
	pthread_mutex_unlock(&orders->lock);
}

void orders_run(struct orders *orders)
{
	struct order *order;
	uint64_t n;

	pthread_mutex_lock(&orders->lock);
	if (read(orders->fd, &n, sizeof(n)) < 0) {
	}
	order = orders->first;
	orders->first = NULL;
	atomic_store_explicit(&orders->pending, false, memory_order_relaxed);
	orders->last = &orders->first;
	pthread_mutex_unlock(&orders->lock);

	while (order) {
		struct order *next = order->next;

		order->run(order);
		order = next;
	}
}
