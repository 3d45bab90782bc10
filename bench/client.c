/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "client.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "bench.h"

enum {
	HEADER = sizeof(struct vfio_user_header),
	ACCESS = sizeof(struct vfio_user_region_access),
	PAUSE_MS = 3,
	WARM_UP_MS = 15,
};

static void send_all(struct client *client, const void *buf, size_t size)
{
	ssize_t n;

	do
		n = send(client->fd, buf, size, MSG_NOSIGNAL | (client->polls ? MSG_DONTWAIT : 0));
	while (n < 0 && (errno == EAGAIN || errno == EINTR));
	if (n != (ssize_t)size)
		bench_die("send");
}

/* Messages are small, and come whole. */
static size_t receive(struct client *client, void *buf, size_t room)
{
	struct vfio_user_header header;
	ssize_t n;

	do
		n = recv(client->fd, buf, room, client->polls ? MSG_DONTWAIT : 0);
	while (n < 0 && (errno == EAGAIN || errno == EINTR));
	if (n < HEADER)
		bench_die("recv");
	memcpy(&header, buf, HEADER);
	if (header.flags & VFIO_USER_ERROR) {
		errno = (int)header.error;
		bench_die("the server's answer");
	}
	return (size_t)n;
}

static void negotiate(struct client *client)
{
	static const char json[] = "{\"capabilities\": {\"max_msg_fds\": 8, "
				   "\"write_multiple\": true}}";
	struct {
		struct vfio_user_header header;
		struct vfio_user_version version;
		char json[sizeof(json)];
	} request = {
		.header = { .command = VFIO_USER_VERSION, .size = HEADER + 4 + sizeof(json) },
	};
	uint8_t reply[4096];

	memcpy(request.json, json, sizeof(json));
	send_all(client, &request, request.header.size);
	receive(client, reply, sizeof(reply));
}

void client_init(struct client *client, int fd, bool polls)
{
	*client = (struct client){ .fd = fd };
	negotiate(client);
	client->polls = polls;
}

void client_connect(struct client *client, const char *path, bool polls)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		bench_die(path);
	client_init(client, fd, polls);
}

void client_close(struct client *client)
{
	client->fd = close_fd(client->fd);
}

void client_send_read(struct client *client, uint32_t region, uint64_t offset)
{
	const struct {
		struct vfio_user_header header;
		struct vfio_user_region_access access;
	} request = {
		.header = { .command = VFIO_USER_REGION_READ, .size = sizeof(request) },
		.access = { .offset = offset, .region = region, .count = 4 },
	};

	send_all(client, &request, sizeof(request));
}

uint32_t client_receive_read(struct client *client)
{
	uint8_t reply[256];
	uint32_t value;

	receive(client, reply, sizeof(reply));
	memcpy(&value, reply + HEADER + ACCESS, sizeof(value));
	return value;
}

void client_warm_up(struct client *client, uint32_t region, uint64_t offset)
{
	uint64_t start;

	bench_sleep_ms(bench_count(PAUSE_MS, 1));
	start = clock_ns();
	while (clock_ns() - start < bench_count(WARM_UP_MS, 1) * 1000000ULL)
		client_read32(client, region, offset);
}

void client_ping(struct client *client)
{
	const struct vfio_user_header header = { .command = VFIO_USER_DEVICE_GET_INFO,
						 .size = HEADER };
	uint8_t reply[HEADER];

	send_all(client, &header, HEADER);
	receive(client, reply, sizeof(reply));
}

void client_write(struct client *client, uint32_t region, uint64_t offset, const void *data,
		  uint32_t length)
{
	struct {
		struct vfio_user_header header;
		struct vfio_user_region_access access;
		uint8_t data[8];
	} request = {
		.header = { .command = VFIO_USER_REGION_WRITE, .size = HEADER + ACCESS + length },
		.access = { .offset = offset, .region = region, .count = length },
	};
	uint8_t reply[256];

	memcpy(request.data, data, length);
	send_all(client, &request, request.header.size);
	receive(client, reply, sizeof(reply));
}

void client_post32(struct client *client, uint32_t region, uint64_t offset, uint32_t value)
{
	const struct {
		struct vfio_user_header header;
		struct vfio_user_region_access access;
		uint32_t value;
	} __attribute__((packed)) request = {
		.header = { .command = VFIO_USER_REGION_WRITE,
			    .flags = VFIO_USER_NO_REPLY,
			    .size = sizeof(request) },
		.access = { .offset = offset, .region = region, .count = sizeof(value) },
		.value = value,
	};

	send_all(client, &request, sizeof(request));
}

void client_post_multi(struct client *client, uint32_t region, uint64_t offset, uint32_t value)
{
	struct {
		struct vfio_user_header header;
		uint64_t count;
		struct vfio_user_write_multi_entry entries[CLIENT_MULTI];
	} request = {
		.header = { .command = VFIO_USER_REGION_WRITE_MULTI,
			    .flags = VFIO_USER_NO_REPLY,
			    .size = sizeof(request) },
		.count = CLIENT_MULTI,
	};

	for (int i = 0; i < CLIENT_MULTI; i++) {
		request.entries[i].access = (struct vfio_user_region_access){ offset, region, 4 };
		memcpy(request.entries[i].data, &value, sizeof(value));
	}
	send_all(client, &request, sizeof(request));
}

/* The reply to REGION_INFO, with the descriptor that came with it. */
static int receive_region(struct client *client, struct vfio_region_info *ret)
{
	union {
		struct cmsghdr align;
		char buf[CMSG_SPACE(sizeof(int))];
	} control;
	uint8_t reply[4096];
	struct iovec iov = { reply, sizeof(reply) };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control.buf,
		.msg_controllen = sizeof(control.buf),
	};
	ssize_t n;
	int fd;

	do
		n = recvmsg(client->fd, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < (ssize_t)(HEADER + sizeof(*ret)) || !CMSG_FIRSTHDR(&msg))
		bench_die("a region that can be mapped");
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	memcpy(ret, reply + HEADER, sizeof(*ret));
	return fd;
}

uint8_t *client_map(struct client *client, uint32_t region, size_t *ret_size)
{
	const struct {
		struct vfio_user_header header;
		struct vfio_region_info info;
	} request = {
		.header = { .command = VFIO_USER_DEVICE_GET_REGION_INFO, .size = sizeof(request) },
		.info = { .argsz = 4096, .index = region },
	};
	struct vfio_region_info info;
	void *memory;
	int fd;

	send_all(client, &request, sizeof(request));
	fd = receive_region(client, &info);
	memory = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, (off_t)info.offset);
	if (memory == MAP_FAILED)
		bench_die("mmap of a region");
	close(fd);
	*ret_size = info.size;
	return memory;
}
