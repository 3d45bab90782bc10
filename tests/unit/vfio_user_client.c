/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vfio_user_client.h"

#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "unit.h"

/* What QEMU 11 sends. */
static const char qemu_json[] =
	"{\"capabilities\": {\"migration\": {\"pgsize\": 4096, \"max_bitmap_size\": 4194304}, "
	"\"max_msg_fds\": 16, \"max_data_xfer_size\": 1048576, \"pgsizes\": 4096, "
	"\"max_dma_maps\": 65535, \"write_multiple\": true}}";

void client_init(struct client *client, int fd)
{
	*client = (struct client){ .fd = fd, .next_id = 0x1234 };
}

void client_done(struct client *client)
{
	client->fd = close_fd(client->fd);
}

static void wait_for(struct client *client, short events)
{
	struct pollfd pfd = { .fd = client->fd, .events = events };

	if (poll(&pfd, 1, CLIENT_PATIENCE_MS) != 1)
		fail_msg("the server does not %s", events == POLLIN ? "answer" : "read");
}

bool client_send(struct client *client, const void *bytes, size_t length, const int *fds,
		 size_t n_fds)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(CLIENT_MAX_FDS * sizeof(int))];
	} control = { 0 };
	const uint8_t *at = bytes;

	while (length) {
		struct iovec iov = { (void *)(uintptr_t)at, length };
		struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
		ssize_t n;

		if (n_fds) {
			control.align.cmsg_level = SOL_SOCKET;
			control.align.cmsg_type = SCM_RIGHTS;
			control.align.cmsg_len = CMSG_LEN(n_fds * sizeof(int));
			memcpy(CMSG_DATA(&control.align), fds, n_fds * sizeof(int));
			msg.msg_control = control.buf;
			msg.msg_controllen = CMSG_SPACE(n_fds * sizeof(int));
		}
		n = sendmsg(client->fd, &msg, MSG_NOSIGNAL | MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN) {
			wait_for(client, POLLOUT);
			continue;
		}
		if (n < 0) {
			assert_true(errno == EPIPE || errno == ECONNRESET);
			return false;
		}
		n_fds = 0;
		at += n;
		length -= (size_t)n;
	}
	return true;
}

size_t client_make(struct client *client, void *buf, uint16_t command, uint32_t flags,
		   const void *payload, size_t length, uint16_t *ret_id)
{
	struct vfio_user_header header = {
		.id = client->next_id++,
		.command = command,
		.size = (uint32_t)(sizeof(header) + length),
		.flags = flags,
	};

	memcpy(buf, &header, sizeof(header));
	if (length)
		memcpy((uint8_t *)buf + sizeof(header), payload, length);
	if (ret_id)
		*ret_id = header.id;
	return header.size;
}

uint16_t client_command(struct client *client, uint16_t command, uint32_t flags,
			const void *payload, size_t length, const int *fds, size_t n_fds)
{
	_cleanup_free_ uint8_t *buf = malloc(sizeof(struct vfio_user_header) + length);
	uint16_t id;
	size_t n = client_make(client, buf, command, flags, payload, length, &id);

	client_send(client, buf, n, fds, n_fds);
	return id;
}

/* False at the end of the stream, which must not come in the middle. */
static bool receive_bytes(struct client *client, uint8_t *to, size_t length,
			  struct client_message *message)
{
	size_t done = 0;

	while (done < length) {
		union {
			struct cmsghdr align;
			char buf[CMSG_SPACE(CLIENT_MAX_FDS * sizeof(int))];
		} control;
		struct iovec iov = { to + done, length - done };
		struct msghdr msg = {
			.msg_iov = &iov,
			.msg_iovlen = 1,
			.msg_control = control.buf,
			.msg_controllen = sizeof(control.buf),
		};
		ssize_t n = recvmsg(client->fd, &msg, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN) {
			wait_for(client, POLLIN);
			continue;
		}
		if (n <= 0) {
			assert_true(n == 0 || errno == ECONNRESET);
			return false;
		}
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
			assert_int_equal(c->cmsg_type, SCM_RIGHTS);
			assert_int_equal(message->n_fds, 0);
			message->n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
			memcpy(message->fds, CMSG_DATA(c), message->n_fds * sizeof(int));
		}
		done += (size_t)n;
	}
	return true;
}

bool client_receive(struct client *client, struct client_message *ret)
{
	static uint8_t payload[VFIO_USER_MAX_MESSAGE];

	ret->n_fds = 0;
	if (!receive_bytes(client, (uint8_t *)&ret->header, sizeof(ret->header), ret))
		return false;
	assert_true(ret->header.size >= sizeof(ret->header));
	ret->length = ret->header.size - sizeof(ret->header);
	assert_true(ret->length <= sizeof(payload));
	ret->payload = payload;
	return receive_bytes(client, payload, ret->length, ret);
}

bool client_is_quiet(struct client *client)
{
	struct pollfd pfd = { .fd = client->fd, .events = POLLIN };

	return poll(&pfd, 1, 30) == 0;
}

bool client_is_hung_up(struct client *client)
{
	uint8_t buf[4096];

	for (;;) {
		ssize_t n = recv(client->fd, buf, sizeof(buf), MSG_DONTWAIT);

		if (n == 0 || (n < 0 && errno == ECONNRESET))
			return true;
		if (n < 0 && errno == EAGAIN)
			wait_for(client, POLLIN);
		else
			assert_true(n > 0);
	}
}

int client_call(struct client *client, uint16_t command, const void *payload, size_t length,
		const int *fds, size_t n_fds, struct client_message *ret)
{
	struct client_message message;
	uint16_t id = client_command(client, command, 0, payload, length, fds, n_fds);

	if (!client_receive(client, &message))
		return -ECONNRESET;
	assert_int_equal(message.header.id, id);
	assert_int_equal(message.header.command, command);
	assert_int_equal(message.header.flags & VFIO_USER_TYPE_MASK, VFIO_USER_TYPE_REPLY);
	assert_int_equal(message.header.flags & ~(uint32_t)(VFIO_USER_TYPE_MASK | VFIO_USER_ERROR),
			 0);
	if (message.header.flags & VFIO_USER_ERROR) {
		/* vfio-user.rst, "Header": an error reply is the header alone. */
		assert_int_equal(message.length, 0);
		assert_int_equal(message.n_fds, 0);
		assert_true(message.header.error > 0 && message.header.error < 4096);
		return -(int)message.header.error;
	}
	assert_int_equal(message.header.error, 0);
	if (ret)
		*ret = message;
	else
		close_fds(message.fds, message.n_fds);
	return 0;
}

int client_version(struct client *client, uint16_t major, uint16_t minor, const char *json,
		   struct client_message *ret)
{
	struct vfio_user_version version = { major, minor };
	uint8_t payload[1024];
	size_t length = sizeof(version);

	memcpy(payload, &version, sizeof(version));
	if (json) {
		strcpy((char *)payload + length, json);
		length += strlen(json) + 1;
	}
	return client_call(client, VFIO_USER_VERSION, payload, length, NULL, 0, ret);
}

void client_negotiate(struct client *client)
{
	assert_int_equal(client_version(client, 0, 0, qemu_json, NULL), 0);
}

int client_read(struct client *client, uint32_t region, uint64_t offset, void *buf, uint32_t count)
{
	struct vfio_user_region_access access = { offset, region, count };
	struct client_message reply;
	int r = client_call(client, VFIO_USER_REGION_READ, &access, sizeof(access), NULL, 0,
			    &reply);

	if (r < 0)
		return r;
	assert_int_equal(reply.length, sizeof(access) + count);
	assert_memory_equal(reply.payload, &access, sizeof(access));
	memcpy(buf, reply.payload + sizeof(access), count);
	return 0;
}

int client_write(struct client *client, uint32_t region, uint64_t offset, const void *buf,
		 uint32_t count)
{
	struct vfio_user_region_access access = { offset, region, count };
	_cleanup_free_ uint8_t *payload = malloc(sizeof(access) + count);
	struct client_message reply;
	int r;

	memcpy(payload, &access, sizeof(access));
	memcpy(payload + sizeof(access), buf, count);
	r = client_call(client, VFIO_USER_REGION_WRITE, payload, sizeof(access) + count, NULL, 0,
			&reply);
	if (r < 0)
		return r;
	assert_int_equal(reply.length, sizeof(access));
	assert_memory_equal(reply.payload, &access, sizeof(access));
	return 0;
}

uint32_t client_read32(struct client *client, uint32_t region, uint64_t offset)
{
	uint32_t value = 0;

	assert_int_equal(client_read(client, region, offset, &value, sizeof(value)), 0);
	return value;
}

void client_write32(struct client *client, uint32_t region, uint64_t offset, uint32_t value)
{
	assert_int_equal(client_write(client, region, offset, &value, sizeof(value)), 0);
}

int client_dma_map(struct client *client, uint64_t iova, uint64_t size, uint32_t prot, int fd,
		   uint64_t offset)
{
	struct vfio_user_dma_map map = {
		.argsz = sizeof(map), .flags = prot, .offset = offset, .address = iova, .size = size
	};

	return client_call(client, VFIO_USER_DMA_MAP, &map, sizeof(map), &fd, fd >= 0, NULL);
}

int client_dma_unmap(struct client *client, uint64_t iova, uint64_t size)
{
	struct vfio_user_dma_unmap unmap = { .argsz = sizeof(unmap),
					     .address = iova,
					     .size = size };
	struct client_message reply;
	int r = client_call(client, VFIO_USER_DMA_UNMAP, &unmap, sizeof(unmap), NULL, 0, &reply);

	if (r < 0)
		return r;
	/* vfio-user.rst, VFIO_USER_DMA_UNMAP: the server responds with the original entry. */
	assert_int_equal(reply.length, sizeof(unmap));
	assert_memory_equal(reply.payload, &unmap, sizeof(unmap));
	return 0;
}

int client_set_irqs(struct client *client, uint32_t flags, uint32_t index, uint32_t start,
		    uint32_t count, const void *data, size_t length, const int *fds, size_t n_fds)
{
	struct vfio_irq_set set = {
		.argsz = (uint32_t)(sizeof(set) + length),
		.flags = flags,
		.index = index,
		.start = start,
		.count = count,
	};
	uint8_t payload[sizeof(set) + 4096];
	struct client_message reply;
	int r;

	memcpy(payload, &set, sizeof(set));
	if (length)
		memcpy(payload + sizeof(set), data, length);
	r = client_call(client, VFIO_USER_DEVICE_SET_IRQS, payload, sizeof(set) + length, fds,
			n_fds, &reply);
	if (r == 0)
		assert_int_equal(reply.length, 0);
	return r;
}

unsigned int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	unsigned int n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 3; /* ".", "..", and the directory itself */
}
