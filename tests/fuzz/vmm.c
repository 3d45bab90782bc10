/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vmm.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "transport/vfio_user_session.h"
#include "vmm_message.h"

enum {
	HEADER = sizeof(struct vfio_user_header),
	RX_MAX = 2 * VFIO_USER_MAX_MESSAGE,
	WANTED_MAX = 256,
	SERVES_MAX = 64, /* of a device that never has enough */
	ASKED_MAX = 8, /* DMA messages at a time; the server has no more under way */
};

static struct vfio_device *dev;
static struct vfio_user_session session;
static vmm_ask_for_dma_fn *ask_for_dma;
static struct fuzz_input input;

static unsigned int n_clients; /* so far */
static bool serving; /* vfio_user_session_serve() is running, and waits */
static bool sending; /* a message, perhaps in pieces */
static bool broken; /* the client has sent what is no stream of messages */
static bool
	timed_out; /* the client did not answer or read in time, which ends it if half a message is out */
static uint16_t next_id;

/* Replies that must come, by ID, in this order. */
static uint16_t wanted[WANTED_MAX];
static size_t n_wanted, n_came;

/* What came on a socket and is no whole message yet. */
struct stream {
	int fd; /* -1: none */
	uint8_t *rx;
	size_t used;
};
static struct stream commands = { .fd = -1 }, twin = { .fd = -1 };

/* DMA commands of the server's that are to be answered. */
static struct asked {
	struct vfio_user_header header;
	struct vfio_user_dma_access access;
} asked[ASKED_MAX];
static size_t n_asked;

static void take_reply(const struct vfio_user_header *header)
{
	FUZZ_CHECK(!(header->flags & ~(uint32_t)(VFIO_USER_TYPE_MASK | VFIO_USER_ERROR)));
	if (header->flags & VFIO_USER_ERROR)
		FUZZ_CHECK(header->size == HEADER && header->error && header->error < 4096);
	else
		FUZZ_CHECK(!header->error);
	if (broken)
		return;
	FUZZ_CHECK(n_came < n_wanted);
	FUZZ_CHECK(header->id == wanted[n_came++ % WANTED_MAX]);
}

/* More than the client takes is asked for only to see how it counts. */
static bool is_probe(const struct asked *a)
{
	return a->header.command == VFIO_USER_DMA_READ &&
	       a->access.count == ((uint64_t)1 << 32) + 4;
}

static void take_command(const struct vfio_user_header *header, const uint8_t *payload)
{
	struct asked a = { .header = *header };
	bool write = header->command == VFIO_USER_DMA_WRITE;

	FUZZ_CHECK(write || header->command == VFIO_USER_DMA_READ);
	FUZZ_CHECK(header->size >= HEADER + sizeof(a.access));
	memcpy(&a.access, payload, sizeof(a.access));
	if (session.dma_layout == DMA_LAYOUT_SHORT_COUNT)
		a.access.count &= UINT32_MAX; /* then the data begin */
	FUZZ_CHECK(a.access.count);
	FUZZ_CHECK(a.access.count <= session.peer_max_xfer || is_probe(&a));
	FUZZ_CHECK(header->size == HEADER + sizeof(a.access) + (write ? a.access.count : 0));
	if (n_asked == ASKED_MAX) /* those that timed out are of no use any more */
		memmove(asked, asked + 1, --n_asked * sizeof(asked[0]));
	asked[n_asked++] = a;
}

static void take_messages(struct stream *stream)
{
	size_t at = 0;

	while (stream->used - at >= HEADER) {
		struct vfio_user_header header;

		memcpy(&header, stream->rx + at, HEADER);
		FUZZ_CHECK(header.size >= HEADER && header.size <= VFIO_USER_MAX_MESSAGE);
		if (header.size > stream->used - at)
			break;
		if ((header.flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_REPLY) {
			FUZZ_CHECK(stream == &commands);
			take_reply(&header);
		} else {
			FUZZ_CHECK(stream == (session.has_twin ? &twin : &commands));
			take_command(&header, stream->rx + at + HEADER);
		}
		at += header.size;
	}
	stream->used -= at;
	memmove(stream->rx, stream->rx + at, stream->used);
}

/* Reads what the server has sent. True if there was anything. */
static bool drain_stream(struct stream *stream)
{
	/* The first descriptor that comes with the first reply is the twin socket. */
	bool wants_twin = stream == &commands && session.has_twin && !n_came;
	size_t n_fds = 0;
	ssize_t n;

	if (stream->fd < 0)
		return false;
	n = fuzz_receive(stream->fd, stream->rx + stream->used, RX_MAX - stream->used, &n_fds,
			 wants_twin ? &twin.fd : NULL);
	FUZZ_CHECK(n_fds <= VFIO_USER_MAX_FDS);
	if (n <= 0)
		return false;
	stream->used += (size_t)n;
	take_messages(stream);
	return true;
}

static bool drain(void)
{
	bool any = drain_stream(&commands);

	return drain_stream(&twin) || any;
}

static void hang_up(void)
{
	commands.fd = close_fd(commands.fd);
	twin.fd = close_fd(twin.fd);
	broken = true;
}

static void disconnect(void)
{
	hang_up();
	vfio_user_session_done(&session);
	FUZZ_CHECK(vfio_device_disconnect(dev, false) == 0);
}

static void connect_client(void)
{
	int pair[2];

	FUZZ_CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
	FUZZ_CHECK(vfio_user_session_init(&session, dev, pair[1]) == 0);
	commands.fd = pair[0];
	n_clients++;
	broken = timed_out = false;
	n_wanted = n_came = n_asked = commands.used = twin.used = 0;
}

static bool is_signalled(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	return fd >= 0 && fuzz_poll_now(&pfd, 1) > 0;
}

/* As the device thread does with the eventfds that it polls. */
static void look_at_eventfds(void)
{
	if (is_signalled(dev->irqs.index[VFIO_PCI_INTX_IRQ_INDEX].unmask_fd))
		vfio_intx_unmask_event(&dev->irqs);
	for (uint32_t r = 0; r < VFIO_PCI_NUM_REGIONS; r++)
		for (unsigned int i = 0; i < dev->regions[r].n_doorbells; i++)
			if (is_signalled(dev->regions[r].doorbells[i].fd))
				vfio_user_session_ring(&session, &dev->regions[r], i);
}

/* Maps are in order, none shares a byte with another, and the sums are right. */
static void check_maps(void)
{
	const struct vfio_dma_space *space = &dev->dma;
	uint64_t bytes = 0;

	for (size_t i = 0; i < space->n_maps; i++) {
		const struct vfio_dma_map *map = &space->maps[i];

		FUZZ_CHECK(map->size && map->iova + map->size > map->iova);
		FUZZ_CHECK(space->starts[i] == map->iova);
		FUZZ_CHECK(!i || map[-1].iova + map[-1].size <= map->iova);
		bytes += map->size;
	}
	FUZZ_CHECK(counter_read(&space->stats.maps) == space->n_maps);
	FUZZ_CHECK(counter_read(&space->stats.bytes) == bytes);
}

/* Lets the server work. A session that ends had a reason to; the next client comes. */
static void serve(void)
{
	int r = 1;

	if (serving)
		return;
	look_at_eventfds();
	serving = true;
	for (int i = 0; i < SERVES_MAX && r > 0; i++) {
		r = vfio_user_session_serve(&session, false);
		if (r == 0 && vfio_user_session_has_more(&session))
			r = 1;
	}
	serving = false;
	check_maps();
	if (r >= 0)
		return;
	while (drain())
		;
	if (!broken && r != -EPROTONOSUPPORT && !(timed_out && r == -ETIMEDOUT)) {
		fprintf(stderr, "the session ended: %s\n", strerror(-r));
		FUZZ_CHECK(false);
	}
	disconnect();
	connect_client();
}

/* Sends in two pieces, with a look of the server's in between, if cut is not 0. */
static void send_bytes(const uint8_t *bytes, size_t length, const int *fds, size_t n_fds,
		       size_t cut)
{
	unsigned int who = n_clients;
	bool inside = sending;
	size_t done = 0;

	/* One message inside another is none. */
	broken = broken || inside;
	sending = true;
	for (int tries = 0; done < length && commands.fd >= 0 && who == n_clients; tries++) {
		size_t n = done < cut && cut < length ? cut - done : length - done;
		ssize_t r = fuzz_send(commands.fd, bytes + done, n, fds, n_fds);

		if (r > 0) {
			done += (size_t)r;
			n_fds = 0;
		}
		if (done < length) {
			serve();
			if (r < 0 && who == n_clients && (tries > 8 || !drain()))
				hang_up();
		}
	}
	sending = inside;
}

static void send_message(const struct vmm_message *message, size_t cut)
{
	if (message->broken || n_wanted - n_came == WANTED_MAX)
		broken = true;
	else if (message->answered)
		wanted[n_wanted++ % WANTED_MAX] = (uint16_t)(next_id - 1);
	send_bytes(message->bytes, message->length, message->fds, message->n_fds, cut);
}

static void send_command(void)
{
	struct vmm_message message;
	uint8_t how = fuzz_u8(&input);

	vmm_make_command(&input, next_id++, &message);
	send_message(&message, how < 192 ? 0 : how - 191);
}

static void send_raw(void)
{
	uint8_t bytes[255];
	size_t length = fuzz_bytes(&input, bytes, fuzz_u8(&input)), n_fds = fuzz_u8(&input) % 4;
	int fds[3];

	broken = true;
	for (size_t i = 0; i < n_fds; i++)
		fds[i] = fuzz_pool_fd((unsigned int)i * 4);
	if (length)
		send_bytes(bytes, length, fds, n_fds, 0);
}

void vmm_write(uint32_t region, uint64_t offset, uint64_t value, uint32_t width)
{
	struct vmm_message message;

	vmm_make_write(next_id++, region, offset, value, width, &message);
	send_message(&message, 0);
}

/* An answer to a probe: as QEMU 10.2, which sees a count of 4, or as who sees it all. */
static void answer_probe(struct asked *a, uint8_t how)
{
	a->access.count = 4;
	a->header.size = HEADER + sizeof(a->access) + 4;
	if (how & 0x10)
		return;
	a->header.flags |= VFIO_USER_ERROR;
	a->header.size = HEADER;
	a->header.error = E2BIG;
}

/* One of many ways to answer wrongly. */
static void spoil_answer(struct asked *a, uint8_t how)
{
	switch (how % 16) {
	case 0:
		a->header.flags |= VFIO_USER_ERROR;
		a->header.size = HEADER;
		a->header.error = (uint32_t)fuzz_number(&input, EFAULT);
		break;
	case 1:
		a->header.size -= a->header.size > HEADER ? 4 : 0;
		break;
	case 2:
		a->header.size = HEADER + fuzz_u8(&input);
		break;
	case 3:
		a->header.id = (uint16_t)fuzz_number(&input, a->header.id);
		break;
	case 4:
		a->access.address = fuzz_number(&input, a->access.address);
		a->access.count = fuzz_number(&input, a->access.count);
		break;
	case 5:
		a->header.command ^= VFIO_USER_DMA_READ ^ VFIO_USER_DMA_WRITE;
		break;
	default: /* rightly */
		break;
	}
}

/* Answers a DMA message. */
static void answer_dma(void)
{
	static uint8_t bytes[HEADER + sizeof(struct vfio_user_dma_access) + VFIO_USER_MAX_XFER];
	uint8_t how = fuzz_u8(&input);
	struct asked a;
	size_t which;

	while (drain())
		;
	if (!n_asked)
		return;
	which = how / 64U % n_asked;
	a = asked[which];
	memmove(asked + which, asked + which + 1, (--n_asked - which) * sizeof(a));
	a.header.flags = VFIO_USER_TYPE_REPLY;
	if (is_probe(&a))
		answer_probe(&a, how);
	else
		a.header.size =
			HEADER + sizeof(a.access) +
			(a.header.command == VFIO_USER_DMA_READ ? (uint32_t)a.access.count : 0);
	spoil_answer(&a, how);
	memcpy(bytes, &a.header, HEADER);
	memcpy(bytes + HEADER, &a.access, sizeof(a.access));
	if (session.has_twin)
		fuzz_send(twin.fd, bytes, a.header.size, NULL, 0);
	else
		send_bytes(bytes, a.header.size, NULL, 0, how >= 192 ? how - 191U : 0);
}

/* An eventfd that the client bound to something, or one that it was given. */
static void ring_eventfd(void)
{
	const uint64_t one = 1;
	uint8_t what = fuzz_u8(&input);
	const struct vfio_region *region = &dev->regions[what % VFIO_PCI_NUM_REGIONS];
	int fd = fuzz_pool_fd(FUZZ_FILES + what % 2);

	if (what & 0x80 && region->n_doorbells)
		fd = region->doorbells[(what >> 4) % region->n_doorbells].fd;
	if (fd >= 0 && write(fd, &one, sizeof(one)) != sizeof(one))
		FUZZ_CHECK(errno == EAGAIN);
}

static void step(void)
{
	unsigned int which;

	switch (fuzz_u8(&input) % 16) {
	case 0:
	case 1:
	case 2:
	case 3:
	case 4:
	case 5:
		send_command();
		break;
	case 6:
		send_raw();
		break;
	case 7:
	case 8:
		ask_for_dma(&input);
		serve();
		break;
	case 9:
		answer_dma();
		break;
	case 10:
		which = fuzz_u8(&input);
		fuzz_pool_truncate(which, (uint64_t)(which >> 2) << 12);
		break;
	case 11:
		ring_eventfd();
		break;
	case 12:
	case 13:
		serve();
		break;
	case 14:
		drain();
		break;
	default:
		hang_up();
		serve();
	}
}

/*
 * The server waits for an answer to a DMA message, or for room. What the input
 * says next happens now; then the time is over.
 */
static int happen_meanwhile(struct pollfd *fds, nfds_t n, int timeout_ms)
{
	int r;

	FUZZ_CHECK(serving && timeout_ms > 0);
	while (input.left) {
		step();
		r = fuzz_poll_now(fds, n);
		if (r)
			return r;
	}
	r = fuzz_poll_now(fds, n);
	if (!r) {
		timed_out = true;
		fuzz_sleep((uint64_t)timeout_ms * 1000000);
	}
	return r;
}

/* If the client has kept the stream in step, so has the server: it has answered all, and still does. */
static void check_in_step(void)
{
	vmm_write(2, 0x400, 0, 4);
	for (int i = 0; i < SERVES_MAX && n_came < n_wanted && !broken; i++) {
		serve();
		while (drain())
			;
	}
	FUZZ_CHECK(broken || timed_out || n_came == n_wanted);
}

void vmm_run(struct vfio_device *device, vmm_ask_for_dma_fn *ask, const uint8_t *data, size_t size)
{
	struct vmm_message message;
	unsigned int version;

	if (!commands.rx)
		commands.rx = malloc(RX_MAX);
	if (!twin.rx)
		twin.rx = malloc(RX_MAX);
	FUZZ_CHECK(commands.rx && twin.rx);
	dev = device;
	ask_for_dma = ask;
	input = (struct fuzz_input){ data, size };
	next_id = 0;
	serving = sending = false;
	fuzz_poll = happen_meanwhile;

	connect_client();
	version = fuzz_u8(&input);
	if (version % 8) {
		vmm_make_version(version, next_id++, &message);
		send_message(&message, 0);
	}
	while (input.left)
		step();
	check_in_step();
	disconnect();
}
