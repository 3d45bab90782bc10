/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How an owner is woken that blocks in a system call on a socket. The poster
 * sets O_NONBLOCK on the socket, then sends the owner a signal that does
 * nothing. If the owner is not yet in the call, it will find O_NONBLOCK there,
 * which the kernel looks at first; if it is in it, the signal ends it, which
 * the kernel looks for last before it sleeps. There is no moment in between.
 */
#include "base/orders.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/syscalls.h"

/* Ignored by default, so that one that strays in from elsewhere does no harm. */
enum { WAKE_SIGNAL = SIGURG };

SYSCALLS(SYSCALL(eventfd2), SYSCALL(read), SYSCALL(write), SYSCALL_IF(fcntl, ARG_IS(1, F_SETFL)),
	 SYSCALL_IF(rt_sigaction, ARG_IS(0, WAKE_SIGNAL)));

int orders_init(struct orders *orders)
{
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	if (fd < 0)
		return -errno;
	*orders = (struct orders){
		.fd = fd,
		.lock = PTHREAD_MUTEX_INITIALIZER,
		.blocks_on = -1,
	};
	orders->last = &orders->first;
	return 0;
}

void orders_done(struct orders *orders)
{
	orders_run(orders);
	orders->fd = close_fd(orders->fd);
	pthread_mutex_destroy(&orders->lock);
}

static void wake(struct orders *orders)
{
	const uint64_t one = 1;

	/* Full means that it is readable, which is all we want. */
	if (write(orders->fd, &one, sizeof(one)) < 0) {
	}
	if (orders->blocks_on < 0)
		return;
	fcntl(orders->blocks_on, F_SETFL, O_NONBLOCK);
	pthread_kill(orders->owner, WAKE_SIGNAL);
}

void orders_post(struct orders *orders, struct order *order)
{
	order->next = NULL;
	pthread_mutex_lock(&orders->lock);
	*orders->last = order;
	orders->last = &order->next;
	/* Once is enough until the owner has taken them. */
	if (!atomic_exchange_explicit(&orders->pending, true, memory_order_relaxed))
		wake(orders);
	pthread_mutex_unlock(&orders->lock);
}

void orders_wake(struct orders *orders)
{
	pthread_mutex_lock(&orders->lock);
	wake(orders);
	pthread_mutex_unlock(&orders->lock);
}

void orders_run(struct orders *orders)
{
	struct order *order;
	uint64_t n;

	pthread_mutex_lock(&orders->lock);
	if (read(orders->fd, &n, sizeof(n)) < 0) {
	}
	if (orders->blocks_on >= 0)
		fcntl(orders->blocks_on, F_SETFL, 0);
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

static void do_nothing(int signal)
{
}

static void install_handler(void)
{
	/* Without SA_RESTART: to interrupt is all that it is for. */
	const struct sigaction action = { .sa_handler = do_nothing };

	sigaction(WAKE_SIGNAL, &action, NULL);
}

void orders_block_on(struct orders *orders, int fd)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	sigset_t set;

	pthread_once(&once, install_handler);
	sigemptyset(&set);
	sigaddset(&set, WAKE_SIGNAL);
	pthread_sigmask(fd < 0 ? SIG_BLOCK : SIG_UNBLOCK, &set, NULL);

	pthread_mutex_lock(&orders->lock);
	orders->blocks_on = fd;
	orders->owner = pthread_self();
	if (fd >= 0)
		fcntl(fd, F_SETFL, orders->first ? O_NONBLOCK : 0);
	pthread_mutex_unlock(&orders->lock);
}
