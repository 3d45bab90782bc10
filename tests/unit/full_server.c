/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "full_server.h"

#include <errno.h>
#include <semaphore.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/memfd.h"
#include "transport/spin.h"
#include "unit.h"
#include "vfio/dma_fault.h"

struct full_device full;
struct vfio_user_server *full_server;

static sem_t disconnected;
static atomic_int reason;
static atomic_bool failed;

static void on_disconnected(void *opaque, int r)
{
	atomic_store(&reason, r);
	sem_post(&disconnected);
}

static void on_reset(void *opaque)
{
}

static void on_failed(void *opaque)
{
	atomic_store(&failed, true);
}

static const struct vfio_user_server_events events = { on_disconnected, on_reset, on_failed };

void full_server_start(int poll_us, bool keep_state)
{
	atomic_store(&failed, false);
	sem_init(&disconnected, 0, 0);
	assert_int_equal(full_device_init(&full), 0);
	assert_int_equal(
		vfio_user_server_new(&full.vfio, poll_us, keep_state, &events, NULL, &full_server),
		0);
}

static struct sigaction our_sigbus;

void full_server_find_sigbus(void)
{
	if (dma_fault_init() < 0 || sigaction(SIGBUS, NULL, &our_sigbus) < 0)
		abort();
}

void full_server_catch_sigbus(void)
{
	assert_int_equal(sigaction(SIGBUS, &our_sigbus, NULL), 0);
}

void full_server_stop(void)
{
	vfio_user_server_free(full_server);
	full_server = NULL;
	sem_destroy(&disconnected);
	full_device_done(&full);
}

void full_server_connect(struct client *client)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	client_init(client, pair[0]);
	assert_int_equal(vfio_user_server_connect(full_server, pair[1]), 0);
}

int full_server_wait(void)
{
	struct timespec deadline;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += CLIENT_PATIENCE_MS / 1000;
	assert_int_equal(sem_timedwait(&disconnected, &deadline), 0);
	return atomic_load(&reason);
}

bool full_server_failed(void)
{
	return atomic_load(&failed);
}

int full_server_leave(struct client *client)
{
	const char *what;
	int r;

	client_done(client);
	r = full_server_wait();
	if (!full_device_is_clean(&full, &what))
		fail_msg("the next client would find: %s", what);
	return r;
}

void full_expect_in_step(struct client *client)
{
	client_write32(client, 2, FULL_SCRATCH + 0x3fc, 0x12345678);
	assert_int_equal(client_read32(client, 2, FULL_SCRATCH + 0x3fc), 0x12345678);
}

int full_make_file(size_t size)
{
	int fd = memfd_new("test-guest");
	uint8_t *p;

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	assert_ptr_not_equal(p, MAP_FAILED);
	for (size_t i = 0; i < size; i++)
		p[i] = FULL_FILE_BYTE(i);
	munmap(p, size);
	return fd;
}

static void answer(struct client *client, const struct client_message *command, bool compare)
{
	bool read = command->header.command == VFIO_USER_DMA_READ;
	_cleanup_free_ uint8_t *reply = NULL;
	struct vfio_user_header header = command->header;
	struct vfio_user_dma_access access;

	assert_true(read || header.command == VFIO_USER_DMA_WRITE);
	memcpy(&access, command->payload, sizeof(access));
	header.flags = VFIO_USER_TYPE_REPLY;
	if (access.count > VFIO_USER_MAX_XFER) { /* the server asks how we count */
		header.flags |= VFIO_USER_ERROR;
		header.error = E2BIG;
		header.size = sizeof(header);
		client_send(client, &header, sizeof(header), NULL, 0);
		return;
	}
	header.size =
		(uint32_t)(sizeof(header) + sizeof(access) + (read ? (size_t)access.count : 0));
	reply = malloc(header.size);
	assert_non_null(reply);
	memcpy(reply, &header, sizeof(header));
	memcpy(reply + sizeof(header), &access, sizeof(access));
	for (uint64_t i = 0; i < access.count; i++) {
		if (read)
			reply[sizeof(header) + sizeof(access) + i] =
				FULL_FILE_BYTE(access.address + i);
		else if (compare)
			assert_int_equal(command->payload[sizeof(access) + i],
					 FULL_FILE_BYTE(access.address + i));
	}
	client_send(client, reply, header.size, NULL, 0);
}

/* Reads a register; DMA messages come in between. */
static int read_register(struct client *client, uint64_t offset, uint32_t *ret, bool compare)
{
	const struct vfio_user_region_access access = { offset, 2, 4 };
	uint16_t id =
		client_command(client, VFIO_USER_REGION_READ, 0, &access, sizeof(access), NULL, 0);
	struct client_message message;

	while (client_receive(client, &message)) {
		if ((message.header.flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_COMMAND) {
			answer(client, &message, compare);
			continue;
		}
		assert_int_equal(message.header.id, id);
		if (message.header.flags & VFIO_USER_ERROR)
			return -(int)message.header.error;
		assert_int_equal(message.length, sizeof(access) + 4);
		memcpy(ret, message.payload + sizeof(access), 4);
		return 0;
	}
	return -ECONNRESET;
}

int full_dma(struct client *client, uint32_t command, uint64_t iova, uint32_t length, bool compare)
{
	uint32_t before, now, result;
	int r = client_write(client, 2, FULL_IOVA, &iova, 8);

	if (r == 0)
		r = client_write(client, 2, FULL_LENGTH, &length, 4);
	if (r == 0)
		r = read_register(client, FULL_WORKS, &before, compare);
	if (r == 0)
		r = client_write(client, 2, FULL_COMMAND, &command, 4);
	do {
		if (r == 0)
			r = read_register(client, FULL_WORKS, &now, compare);
	} while (r == 0 && now == before);
	if (r == 0)
		r = read_register(client, FULL_RESULT, &result, compare);
	return r < 0 ? r : (int)result;
}

void full_server_start_with(struct client *client)
{
	full_server_start(SPIN_AUTO, false);
	full_server_connect(client);
	client_negotiate(client);
}

void full_server_stop_with(struct client *client)
{
	full_server_leave(client);
	full_server_stop();
}
