/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vfio/irq.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/eventfd.h"
#include "base/log.h"
#include "base/syscalls.h"

SYSCALLS(SYSCALL(fstat), SYSCALL(poll), SYSCALL(ppoll), SYSCALL(write),
	 SYSCALL_IF(fcntl, ARG_IS(1, F_GETFL)), SYSCALL(preadv2));

/*
 * What VFIO says of each index (vfio_pci_ioctl_get_irq_info()). MSI-X has no
 * MASKABLE, as upstream, and vectors may be bound one after the other: a client
 * that would have to unbind all first could lose one that is raised meanwhile.
 */
static const struct {
	const char *name;
	uint32_t flags;
	uint32_t max;
} kinds[VFIO_PCI_NUM_IRQS] = {
	[VFIO_PCI_INTX_IRQ_INDEX] = { "INTx",
				      VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_MASKABLE |
					      VFIO_IRQ_INFO_AUTOMASKED,
				      1 },
	[VFIO_PCI_MSI_IRQ_INDEX] = { "MSI", VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE, 32 },
	[VFIO_PCI_MSIX_IRQ_INDEX] = { "MSI-X", VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_MAX_VECTORS },
	[VFIO_PCI_ERR_IRQ_INDEX] = { "ERR", VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE, 1 },
	[VFIO_PCI_REQ_IRQ_INDEX] = { "REQ", VFIO_IRQ_INFO_EVENTFD | VFIO_IRQ_INFO_NORESIZE, 1 },
};

const char *vfio_irq_name(uint32_t index)
{
	return index < VFIO_PCI_NUM_IRQS ? kinds[index].name : NULL;
}

void vfio_irqs_init(struct vfio_irqs *irqs)
{
	*irqs = (struct vfio_irqs){ 0 };
	for (uint32_t i = 0; i < VFIO_PCI_NUM_IRQS; i++)
		irqs->index[i].unmask_fd = -1;
}

int vfio_irqs_offer(struct vfio_irqs *irqs, uint32_t index, uint32_t count)
{
	struct vfio_irq *irq;

	if (index >= VFIO_PCI_NUM_IRQS || !count || count > kinds[index].max ||
	    irqs->index[index].count)
		return -EINVAL;

	irq = &irqs->index[index];
	irq->vectors = calloc(count, sizeof(*irq->vectors));
	if (!irq->vectors)
		return -ENOMEM;
	for (uint32_t i = 0; i < count; i++)
		irq->vectors[i].trigger_fd = -1;
	irq->count = count;
	irq->flags = kinds[index].flags;
	return 0;
}

static void unbind_vectors(struct vfio_irq *irq, uint32_t start, uint32_t count)
{
	for (uint32_t i = start; i < start + count; i++) {
		if (irq->vectors[i].trigger_fd >= 0)
			counter_add(&irq->bound, -(uint64_t)1);
		irq->vectors[i].trigger_fd = close_fd(irq->vectors[i].trigger_fd);
	}
}

/* The masks of an index that is not MASKABLE are the device's, and stay. */
static void unbind_index(struct vfio_irq *irq)
{
	unbind_vectors(irq, 0, irq->count);
	irq->unmask_fd = close_fd(irq->unmask_fd);
	if (!(irq->flags & VFIO_IRQ_INFO_MASKABLE))
		return;
	for (uint32_t i = 0; i < irq->count; i++)
		irq->vectors[i].masked = irq->vectors[i].pending = false;
}

void vfio_irqs_unbind(struct vfio_irqs *irqs)
{
	for (uint32_t i = 0; i < VFIO_PCI_NUM_IRQS; i++)
		unbind_index(&irqs->index[i]);
}

void vfio_irqs_done(struct vfio_irqs *irqs)
{
	vfio_irqs_unbind(irqs);
	for (uint32_t i = 0; i < VFIO_PCI_NUM_IRQS; i++)
		free(irqs->index[i].vectors);
	vfio_irqs_init(irqs);
}

void vfio_irqs_reset(struct vfio_irqs *irqs)
{
	for (uint32_t i = 0; i < VFIO_PCI_NUM_IRQS; i++) {
		struct vfio_irq *irq = &irqs->index[i];

		irq->level = false;
		for (uint32_t v = 0; v < irq->count; v++)
			irq->vectors[v].masked = irq->vectors[v].pending = false;
	}
}

int vfio_irqs_fill_info(const struct vfio_irqs *irqs, uint32_t index, struct vfio_irq_info *ret)
{
	if (index >= VFIO_PCI_NUM_IRQS)
		return -EINVAL;
	*ret = (struct vfio_irq_info){
		.argsz = sizeof(*ret),
		.flags = irqs->index[index].flags,
		.index = index,
		.count = irqs->index[index].count,
	};
	return 0;
}

static bool is_writable(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLOUT };
	int n;

	do
		n = poll(&pfd, 1, 0);
	while (n < 0 && errno == EINTR);
	return n == 1 && pfd.revents & POLLOUT;
}

/*
 * An eventfd's write blocks when its counter is full, unless it is O_NONBLOCK,
 * which is the client's to set and to clear. So we look first: a client that
 * fills it does not stop the device thread. One that fills it just after we
 * looked does, until somebody interrupts us (orders_wake()); then we look again.
 */
static void signal_vector(struct vfio_irq *irq, struct vfio_irq_vector *vector)
{
	const uint64_t one = 1;
	ssize_t n;

	if (vector->trigger_fd < 0)
		return;
	do {
		if (!is_writable(vector->trigger_fd))
			return;
		n = write(vector->trigger_fd, &one, sizeof(one));
	} while (n < 0 && errno == EINTR);
	if (n != (ssize_t)sizeof(one) && errno != EAGAIN) {
		log_ratelimited(LOG_LEVEL_WARNING, "an interrupt could not be signalled: %m");
		return;
	}
	counter_add(&irq->triggered, 1);
}

static void raise_vector(struct vfio_irq *irq, struct vfio_irq_vector *vector)
{
	if (vector->masked) {
		vector->pending = true;
		return;
	}
	/*
	 * Only INTx masks itself: the line is level-triggered. With nobody to tell
	 * it stays as it is, and whoever binds an eventfd finds it up.
	 */
	if (irq->flags & VFIO_IRQ_INFO_AUTOMASKED)
		vector->masked = vector->trigger_fd >= 0;
	signal_vector(irq, vector);
}

static void set_vector_mask(struct vfio_irq *irq, struct vfio_irq_vector *vector, bool masked)
{
	bool again = !masked && (vector->pending || irq->level);

	vector->masked = masked;
	if (!again)
		return;
	vector->pending = false;
	raise_vector(irq, vector);
}

void vfio_irq_trigger(struct vfio_irqs *irqs, uint32_t index, uint32_t vector)
{
	struct vfio_irq *irq = &irqs->index[index];

	if (vector < irq->count)
		raise_vector(irq, &irq->vectors[vector]);
}

void vfio_irq_set_mask(struct vfio_irqs *irqs, uint32_t index, uint32_t vector, bool masked)
{
	struct vfio_irq *irq = &irqs->index[index];

	if (vector < irq->count)
		set_vector_mask(irq, &irq->vectors[vector], masked);
}

void vfio_intx_set_level(struct vfio_irqs *irqs, bool level)
{
	struct vfio_irq *irq = &irqs->index[VFIO_PCI_INTX_IRQ_INDEX];
	bool rises = level && !irq->level;

	irq->level = level;
	if (rises && irq->count && !irq->vectors[0].masked)
		raise_vector(irq, &irq->vectors[0]);
}

/*
 * An eventfd is empty once it was read. One that is not would have us called
 * again and again for a client that does nothing: it counts down one by one
 * (EFD_SEMAPHORE) from a large number, or is no eventfd at all.
 */
enum { UNMASK_MAX_READS = 16 };

void vfio_intx_unmask_event(struct vfio_irqs *irqs)
{
	struct vfio_irq *irq = &irqs->index[VFIO_PCI_INTX_IRQ_INDEX];
	unsigned int reads = 0;
	bool empty = false;

	/* All of it before we act: what is signalled after that is another event. */
	while (!empty && reads < UNMASK_MAX_READS) {
		if (eventfd_take(irq->unmask_fd))
			reads++;
		else if (errno == EAGAIN)
			empty = true; /* or the client took it back */
		else
			break;
	}
	if (reads)
		set_vector_mask(irq, &irq->vectors[0], false);
	if (empty)
		return;
	log_ratelimited(LOG_LEVEL_WARNING,
			"the client's eventfd to unmask INTx is none, or never empty");
	irq->unmask_fd = close_fd(irq->unmask_fd);
}

/* One of the DATA and one of the ACTION flags, and nothing else. */
static bool flags_are_valid(uint32_t flags)
{
	uint32_t data = flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
	uint32_t action = flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;

	return !(flags & ~(VFIO_IRQ_SET_DATA_TYPE_MASK | VFIO_IRQ_SET_ACTION_TYPE_MASK)) &&
	       __builtin_popcount(data) == 1 && __builtin_popcount(action) == 1;
}

static bool combination_is_valid(const struct vfio_irq *irq, uint32_t flags, size_t n_bools,
				 size_t n_fds, uint32_t count)
{
	uint32_t data = flags & VFIO_IRQ_SET_DATA_TYPE_MASK;
	uint32_t action = flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;

	/* Masking is the index's to offer; MSI has its mask bits in config space. */
	if (action != VFIO_IRQ_SET_ACTION_TRIGGER && !(irq->flags & VFIO_IRQ_INFO_MASKABLE))
		return false;
	switch (data) {
	case VFIO_IRQ_SET_DATA_NONE:
		return !n_bools && !n_fds && (count || action == VFIO_IRQ_SET_ACTION_TRIGGER);
	case VFIO_IRQ_SET_DATA_BOOL:
		return n_bools == count && !n_fds && count;
	default:
		/* An eventfd that we would signal on MASK is nothing VFIO implements. */
		return !n_bools && (n_fds == count || !n_fds) && count &&
		       action != VFIO_IRQ_SET_ACTION_MASK;
	}
}

/*
 * True if it may be an eventfd that can be written to. An eventfd is
 * an anonymous inode, which has no file type. A pipe, say, would be readable
 * for ever once its other end is closed, and a file may block.
 */
static bool looks_like_eventfd(int fd)
{
	int flags = fcntl(fd, F_GETFL);
	struct stat st;

	return flags >= 0 && (flags & O_ACCMODE) != O_RDONLY && !(flags & O_PATH) &&
	       fstat(fd, &st) == 0 && !(st.st_mode & S_IFMT);
}

static int bind_eventfds(struct vfio_irq *irq, uint32_t start, uint32_t count, int *fds,
			 size_t n_fds)
{
	for (size_t i = 0; i < n_fds; i++)
		if (fds[i] >= 0 && !looks_like_eventfd(fds[i]))
			return -EBADF;

	unbind_vectors(irq, start, count);
	for (size_t i = 0; i < n_fds; i++) {
		struct vfio_irq_vector *vector = &irq->vectors[start + i];

		if (fds[i] < 0)
			continue;
		vector->trigger_fd = STEAL_FD(fds[i]);
		counter_add(&irq->bound, 1);
		/* What was raised before anybody listened is delivered now. */
		if (irq->level && !vector->masked)
			raise_vector(irq, vector);
	}
	return 0;
}

static int bind_unmask_eventfd(struct vfio_irq *irq, int *fds, size_t n_fds)
{
	/* Timers and the like, which become readable by themselves, are never writable. */
	if (n_fds && fds[0] >= 0 && !(looks_like_eventfd(fds[0]) && is_writable(fds[0])))
		return -EBADF;
	irq->unmask_fd = close_fd(irq->unmask_fd);
	if (n_fds)
		irq->unmask_fd = STEAL_FD(fds[0]);
	return 0;
}

static void act(struct vfio_irq *irq, uint32_t action, uint32_t start, uint32_t count,
		const uint8_t *bools)
{
	for (uint32_t i = 0; i < count; i++) {
		struct vfio_irq_vector *vector = &irq->vectors[start + i];

		if (bools && !bools[i])
			continue;
		if (action == VFIO_IRQ_SET_ACTION_TRIGGER)
			signal_vector(irq, vector); /* VFIO's loop-back test */
		else
			set_vector_mask(irq, vector, action == VFIO_IRQ_SET_ACTION_MASK);
	}
}

int vfio_irqs_set(struct vfio_irqs *irqs, uint32_t flags, uint32_t index, uint32_t start,
		  uint32_t count, const uint8_t *bools, size_t n_bools, int *fds, size_t n_fds)
{
	uint32_t action = flags & VFIO_IRQ_SET_ACTION_TYPE_MASK;
	struct vfio_irq *irq;

	if (index >= VFIO_PCI_NUM_IRQS || !flags_are_valid(flags))
		return -EINVAL;
	irq = &irqs->index[index];
	if (start > irq->count || count > irq->count - start ||
	    !combination_is_valid(irq, flags, n_bools, n_fds, count))
		return -EINVAL;

	if (flags & VFIO_IRQ_SET_DATA_EVENTFD)
		return action == VFIO_IRQ_SET_ACTION_TRIGGER
			       ? bind_eventfds(irq, start, count, fds, n_fds)
			       : bind_unmask_eventfd(irq, fds, n_fds);
	if (!count)
		unbind_index(irq);
	else
		act(irq, action, start, count, flags & VFIO_IRQ_SET_DATA_BOOL ? bools : NULL);
	return 0;
}
