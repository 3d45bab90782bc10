/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A real server thread with a device that has a bit of everything, driven over
 * a socket by a client that behaves as QEMU's and Cloud Hypervisor's do, and
 * by one that does not behave. "vfio-user.rst" is docs/interop/vfio-user.rst in
 * QEMU's source.
 */
#include "transport/vfio_user_server.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/thread.h"
#include "pci/function.h"
#include "transport/spin.h"
#include "unit.h"
#include "vfio_user_client.h"

enum {
	RW = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
	RWM = RW | VFIO_REGION_INFO_FLAG_MMAP,

	BAR0_SIZE = 2 << 20, /* mapped */
	BAR2_SIZE = 0x1000, /* trapped: the registers below */
	BAR4_SIZE = 0x6000 + 0x2000, /* sparse, 64 bits */
	CONFIG = VFIO_PCI_CONFIG_REGION_INDEX,

	VECTORS = 8,
	BUFFER_SIZE = 3 << 20,
};

/* BAR 2. */
enum {
	REG_SCRATCH = 0x000, /* 1 KiB that keeps what is written */
	REG_DMA_IOVA = 0x400, /* 64 bits */
	REG_DMA_LENGTH = 0x408,
	REG_DMA_COMMAND = 0x40c, /* asks for work: one of DMA_* */
	REG_DMA_RESULT = 0x410, /* of the last work: 0 or a negative errno */
	REG_WORKS = 0x414, /* times that work was done */
	REG_INTX = 0x418, /* the level of INTA# */
	REG_MSI = 0x41c, /* raises this vector */
	REG_RESETS = 0x420,
	REG_BUFFER = 0x800, /* the start of the DMA buffer */
	REG_BUFFER_SIZE = 0x800,

	DMA_READ = 1, /* guest memory into the buffer */
	DMA_WRITE = 2,
	DMA_SCOPE = 3, /* adds 1 to every byte, in a scope */
};

static struct test_device {
	struct vfio_device vfio;
	struct pci_function pci;
	int fds[2]; /* of BAR 0 and 4 */
	uint8_t *memory[2];

	uint8_t scratch[0x400];
	uint64_t iova;
	uint32_t length, command, works, resets;
	int result;
	uint8_t buffer[BUFFER_SIZE];
	bool intx;
} device;

static struct vfio_user_server *server;
static struct client client;
static sem_t disconnected;
static atomic_int disconnect_reason;
static atomic_uint resets_reported;

/* --- what the device thread calls, counted --- */

static pthread_t test_thread;
static struct {
	atomic_uint recvs, sends, polls, mallocs;
} calls;

ssize_t __real_recvmsg(int fd, struct msghdr *msg, int flags);
ssize_t __real_send(int fd, const void *buf, size_t length, int flags);
ssize_t __real_sendmsg(int fd, const struct msghdr *msg, int flags);
int __real_poll(struct pollfd *fds, nfds_t n, int timeout);
void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags);
ssize_t __wrap_send(int fd, const void *buf, size_t length, int flags);
ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags);
int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);

static void count(atomic_uint *counter)
{
	if (!pthread_equal(pthread_self(), test_thread))
		atomic_fetch_add_explicit(counter, 1, memory_order_relaxed);
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags)
{
	ssize_t n = __real_recvmsg(fd, msg, flags);

	if (n > 0) /* those that find nothing are what spinning is */
		count(&calls.recvs);
	return n;
}

ssize_t __wrap_send(int fd, const void *buf, size_t length, int flags)
{
	count(&calls.sends);
	return __real_send(fd, buf, length, flags);
}

ssize_t __wrap_sendmsg(int fd, const struct msghdr *msg, int flags)
{
	count(&calls.sends);
	return __real_sendmsg(fd, msg, flags);
}

int __wrap_poll(struct pollfd *fds, nfds_t n, int timeout)
{
	count(&calls.polls);
	return __real_poll(fds, n, timeout);
}

void *__wrap_malloc(size_t size)
{
	count(&calls.mallocs);
	return __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
	count(&calls.mallocs);
	return __real_calloc(n, size);
}

/* --- the device --- */

static uint64_t regs_read(void *opaque, uint64_t offset, unsigned int width)
{
	switch (offset) {
	case REG_DMA_RESULT:
		return (uint32_t)device.result;
	case REG_WORKS:
		return device.works;
	case REG_RESETS:
		return device.resets;
	default:
		break;
	}
	if (offset + width <= REG_SCRATCH + sizeof(device.scratch))
		return get_le(device.scratch + offset, width);
	if (offset >= REG_BUFFER)
		return get_le(device.buffer + (offset - REG_BUFFER), width);
	return UINT64_MAX;
}

static void regs_write(void *opaque, uint64_t offset, uint64_t value, unsigned int width)
{
	switch (offset) {
	case REG_DMA_IOVA:
		device.iova = value;
		return;
	case REG_DMA_LENGTH:
		device.length = (uint32_t)value;
		return;
	case REG_DMA_COMMAND:
		device.command = (uint32_t)value;
		vfio_device_kick(&device.vfio);
		return;
	case REG_INTX:
		pci_intx_set(&device.pci, value);
		return;
	case REG_MSI:
		pci_msi_raise(&device.pci, (unsigned int)value);
		return;
	default:
		break;
	}
	if (offset + width <= REG_SCRATCH + sizeof(device.scratch))
		put_le(device.scratch + offset, value, width);
	else if (offset >= REG_BUFFER)
		put_le(device.buffer + (offset - REG_BUFFER), value, width);
}

static const struct vfio_region_ops regs_ops = { regs_read, regs_write, 8 };

/* The trapped part of BAR 4: reads say where they were. */
static uint64_t sparse_read(void *opaque, uint64_t offset, unsigned int width)
{
	return (offset & 0xff) * 0x0101010101010101;
}

static const struct vfio_region_ops sparse_ops = { .read = sparse_read, .max_width = 4 };

static void add_one(void)
{
	struct vfio_dma_access access;

	device.result = vfio_dma_begin(&device.vfio.dma, device.iova, device.length,
				       VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE, &access);
	if (device.result < 0)
		return;
	for (size_t i = 0; i < access.length; i++)
		access.data[i]++;
	device.result = vfio_dma_end(&access, access.length);
}

static void work(void *opaque)
{
	uint32_t length = device.length < BUFFER_SIZE ? device.length : BUFFER_SIZE;

	device.works++;
	switch (device.command) {
	case DMA_READ:
		device.result = vfio_dma_read(&device.vfio.dma, device.iova, device.buffer, length);
		break;
	case DMA_WRITE:
		device.result =
			vfio_dma_write(&device.vfio.dma, device.iova, device.buffer, length);
		break;
	case DMA_SCOPE:
		add_one();
		break;
	default:
		device.result = -EINVAL;
	}
}

static void reset(void *opaque)
{
	memset(device.scratch, 0, sizeof(device.scratch));
	device.result = 0;
	device.resets++;
	pci_function_reset(&device.pci);
}

static int power_cycle(void *opaque)
{
	reset(opaque);
	memset(device.memory[0], 0, BAR0_SIZE);
	return 0;
}

static const struct vfio_device_ops device_ops = {
	.reset = reset,
	.power_cycle = power_cycle,
	.work = work,
};

static void add_memory(unsigned int i, unsigned int bar, uint64_t size)
{
	struct vfio_region *region = &device.vfio.regions[bar];

	device.fds[i] = memfd_create("test-bar", MFD_CLOEXEC);
	assert_int_equal(ftruncate(device.fds[i], (off_t)size), 0);
	device.memory[i] = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, device.fds[i], 0);
	assert_ptr_not_equal(device.memory[i], MAP_FAILED);
	region->size = size;
	region->flags = RWM;
	region->fd = device.fds[i];
	region->memory = device.memory[i];
}

static void make_device(void)
{
	static const struct pci_identity identity = { .vendor = 0x1234, .device = 0xcafe };
	static const struct vfio_region_area areas[] = { { 0x1000, 0x2000 }, { 0x5000, 0x1000 } };
	struct vfio_region *regions = device.vfio.regions;

	memset(&device, 0, sizeof(device));
	assert_int_equal(vfio_device_init(&device.vfio, "test", &device_ops, NULL), 0);
	pci_function_init(&device.pci, &device.vfio, &identity, NULL, NULL);
	add_memory(0, 0, BAR0_SIZE);
	regions[2].size = BAR2_SIZE;
	regions[2].flags = RW;
	regions[2].ops = &regs_ops;
	add_memory(1, 4, BAR4_SIZE);
	regions[4].areas = areas;
	regions[4].n_areas = ARRAY_SIZE(areas);
	regions[4].ops = &sparse_ops;
	assert_int_equal(pci_bar_add(&device.pci, 0, PCI_BASE_ADDRESS_MEM_PREFETCH), 0);
	assert_int_equal(pci_bar_add(&device.pci, 2, 0), 0);
	assert_int_equal(pci_bar_add(&device.pci, 4, PCI_BASE_ADDRESS_MEM_TYPE_64), 0);
	assert_int_equal(pci_pm_add(&device.pci), 0);
	assert_int_equal(pci_msi_add(&device.pci, VECTORS), 0);
	assert_int_equal(pci_intx_add(&device.pci), 0);
	assert_true(vfio_device_is_valid(&device.vfio));
	pci_function_ready(&device.pci);
}

static void destroy_device(void)
{
	pci_function_done(&device.pci);
	vfio_device_done(&device.vfio);
	munmap(device.memory[0], BAR0_SIZE);
	munmap(device.memory[1], BAR4_SIZE);
	close_fds(device.fds, 2);
}

/* --- the server --- */

static void on_disconnected(void *opaque, int reason)
{
	atomic_store(&disconnect_reason, reason);
	sem_post(&disconnected);
}

static void on_reset(void *opaque)
{
	atomic_fetch_add(&resets_reported, 1);
}

static const struct vfio_user_server_events events = { on_disconnected, on_reset };

static void connect_client(struct client *c)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	client_init(c, pair[0]);
	assert_int_equal(vfio_user_server_connect(server, pair[1]), 0);
}

static void wait_until_disconnected(void)
{
	struct timespec deadline;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += CLIENT_PATIENCE_MS / 1000;
	assert_int_equal(sem_timedwait(&disconnected, &deadline), 0);
}

static void leave(void)
{
	client_done(&client);
	wait_until_disconnected();
}

static unsigned int fds_before;

static void start(int poll_us, bool keep_state)
{
	test_thread = pthread_self();
	fds_before = count_fds();
	make_device();
	sem_init(&disconnected, 0, 0);
	atomic_store(&resets_reported, 0);
	assert_int_equal(
		vfio_user_server_new(&device.vfio, poll_us, keep_state, &events, NULL, &server), 0);
}

static int setup_unconnected(void **state)
{
	start(SPIN_AUTO, false);
	client.fd = -1;
	return 0;
}

static int start_connected(int poll_us, bool keep_state)
{
	start(poll_us, keep_state);
	connect_client(&client);
	client_negotiate(&client);
	return 0;
}

static int setup(void **state)
{
	return start_connected(SPIN_AUTO, false);
}

static int setup_keeping(void **state)
{
	return start_connected(0, true);
}

static int setup_spinning(void **state)
{
	return start_connected(SPIN_MAX_US, false);
}

static int teardown(void **state)
{
	client_done(&client);
	vfio_user_server_free(server);
	sem_destroy(&disconnected);
	destroy_device();
	assert_int_equal(count_fds(), fds_before);
	return 0;
}

/* The connection still works. */
static void expect_in_step(void)
{
	client_write32(&client, 2, REG_SCRATCH + 0x3fc, 0x12345678);
	assert_int_equal(client_read32(&client, 2, REG_SCRATCH + 0x3fc), 0x12345678);
}

/* --- negotiation: vfio-user.rst, VFIO_USER_VERSION --- */

static json_t *capabilities_of(const struct client_message *reply)
{
	json_t *json, *capabilities;

	assert_int_equal(reply->payload[reply->length - 1], 0);
	json = json_loads((const char *)reply->payload + 4, 0, NULL);
	assert_non_null(json);
	capabilities = json_incref(json_object_get(json, "capabilities"));
	assert_true(json_is_object(capabilities));
	json_decref(json);
	return capabilities;
}

static void expect_version(uint16_t minor, const char *json, uint16_t reply_minor)
{
	struct client_message reply;
	json_t *capabilities;

	connect_client(&client);
	assert_int_equal(client_version(&client, 0, minor, json, &reply), 0);
	assert_int_equal(get_le16(reply.payload), 0);
	assert_int_equal(get_le16(reply.payload + 2), reply_minor);
	capabilities = capabilities_of(&reply);
	assert_int_equal(json_integer_value(json_object_get(capabilities, "max_msg_fds")), 16);
	assert_int_equal(json_integer_value(json_object_get(capabilities, "max_data_xfer_size")),
			 1 << 20);
	assert_int_equal(json_integer_value(json_object_get(capabilities, "max_dma_maps")),
			 VFIO_DMA_MAX_MAPS);
	assert_int_equal(json_integer_value(json_object_get(capabilities, "pgsizes")), 4096);
	/* A subset of what was proposed. */
	assert_null(json_object_get(capabilities, "twin_socket"));
	assert_null(json_object_get(capabilities, "migration"));
	assert_int_equal(json_is_true(json_object_get(capabilities, "write_multiple")),
			 json && strstr(json, "\"write_multiple\":true"));
	json_decref(capabilities);
	expect_in_step();
	/* Once is enough. */
	assert_int_equal(client_version(&client, 0, minor, json, NULL), -EINVAL);
	expect_in_step();
	leave();
}

static void versions_are_negotiated(void **state)
{
	expect_version(0, NULL, 0);
	expect_version(1, NULL, 1); /* SPDK */
	expect_version(9, NULL, 1);
	expect_version(0, "{}", 0);
	expect_version(0, "{\"capabilities\":{}}", 0);
	expect_version(0, "{\"other\":[1,2]}", 0);
	/* Cloud Hypervisor */
	expect_version(1,
		       "{\"capabilities\":{\"max_msg_fds\":1,\"max_data_xfer_size\":1048576,"
		       "\"migration\":{\"pgsize\":4096}}}",
		       1);
	expect_version(0, "{\"capabilities\":{\"twin_socket\":{\"supported\":true}}}", 0);
	expect_version(0, "{\"capabilities\":{\"write_multiple\":true}}", 0);
	expect_version(0, "{\"capabilities\":{\"write_multiple\":false}}", 0);
	expect_version(0, "{\"capabilities\":{\"write_multiple\":1}}", 0);
}

/*
 * QEMU receives a reply into the buffer of its request unless it says
 * otherwise, and for VERSION it does not (hw/vfio-user/proxy.c,
 * vfio_user_validate_version()): ours must not be longer.
 */
static void the_version_reply_fits_qemus_buffer(void **state)
{
	static const char shortest[] =
		"{\"capabilities\": {\"migration\": {\"pgsize\": 4096, \"max_bitmap_size\": "
		"4194304}, "
		"\"max_msg_fds\": 16, \"max_data_xfer_size\": 1048576, \"pgsizes\": 4096, "
		"\"max_dma_maps\": 65535, \"write_multiple\": true}}";
	struct client_message reply;

	connect_client(&client);
	assert_int_equal(client_version(&client, 0, 0, shortest, &reply), 0);
	assert_true(reply.length <= sizeof(shortest) + 4);
}

static void bad_proposals_are_refused(void **state)
{
	static const char *const bad[] = {
		"",
		"no json",
		"[]",
		"7",
		"null",
		"{\"capabilities\":[]}",
		"{\"capabilities\":7}",
		"{\"capabilities\":{\"max_data_xfer_size\":\"1\"}}",
		"{\"capabilities\":{\"max_data_xfer_size\":-1}}",
		"{\"capabilities\":{\"max_data_xfer_size\":1.5}}",
		"{\"capabilities\":{\"max_data_xfer_size\":99999999999999999999}}",
		"{\"capabilities\":{}",
		"{\"capabilities\":{}} more",
	};
	struct client_message reply;
	uint32_t argsz = 16;

	connect_client(&client);
	/* Nothing goes before VERSION. */
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0, NULL),
			 -EINVAL);
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_GET_INFO, &argsz, 4, NULL, 0, NULL),
			 -EINVAL);
	for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
		if (client_version(&client, 0, 0, bad[i], NULL) != -EINVAL)
			fail_msg("taken: %s", bad[i]);
	/* No terminator, and too short for a version. */
	assert_int_equal(client_call(&client, VFIO_USER_VERSION, "\0\0\0\0{}", 6, NULL, 0, NULL),
			 -EINVAL);
	assert_int_equal(client_call(&client, VFIO_USER_VERSION, "\0\0\0", 3, NULL, 0, NULL),
			 -EINVAL);
	/* The client may think again. */
	assert_int_equal(client_version(&client, 0, 0, "{}", &reply), 0);
	expect_in_step();
	leave();

	/* With another major version there is nothing to talk about. */
	connect_client(&client);
	assert_int_equal(client_version(&client, 1, 0, NULL, NULL), -EPROTONOSUPPORT);
	assert_true(client_is_hung_up(&client));
	wait_until_disconnected();
}

/* --- what the device is: DEVICE_GET_INFO, _REGION_INFO, _IRQ_INFO --- */

static void device_info(void **state)
{
	struct vfio_user_device_info info = { .argsz = sizeof(info) };
	struct client_message reply;

	for (unsigned int i = 0; i < 2; i++) {
		assert_int_equal(client_call(&client, VFIO_USER_DEVICE_GET_INFO, &info,
					     sizeof(info), NULL, 0, &reply),
				 0);
		assert_int_equal(reply.length, 16);
		memcpy(&info, reply.payload, sizeof(info));
		assert_int_equal(info.argsz, 16);
		assert_int_equal(info.flags, VFIO_DEVICE_FLAGS_RESET | VFIO_DEVICE_FLAGS_PCI);
		assert_int_equal(info.num_regions, VFIO_PCI_NUM_REGIONS);
		assert_int_equal(info.num_irqs, VFIO_PCI_NUM_IRQS);
		info = (struct vfio_user_device_info){ .argsz = 32 }; /* Cloud Hypervisor */
	}
	info.argsz = 15;
	assert_int_equal(
		client_call(&client, VFIO_USER_DEVICE_GET_INFO, &info, sizeof(info), NULL, 0, NULL),
		-EINVAL);
	info.argsz = 16;
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_GET_INFO, &info, 15, NULL, 0, NULL),
			 -EINVAL);
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_GET_INFO, NULL, 0, NULL, 0, NULL),
			 -EINVAL);
}

static int region_info(uint32_t index, uint32_t argsz, struct vfio_region_info *ret,
		       struct client_message *reply)
{
	struct vfio_region_info info = { .argsz = argsz, .index = index };
	int r = client_call(&client, VFIO_USER_DEVICE_GET_REGION_INFO, &info, sizeof(info), NULL, 0,
			    reply);

	if (r == 0) {
		memcpy(ret, reply->payload, sizeof(*ret));
		assert_int_equal(ret->index, index);
	}
	return r;
}

static void every_region_index_is_answered(void **state)
{
	static const uint64_t sizes[] = { BAR0_SIZE, 0, BAR2_SIZE, 0, BAR4_SIZE, 0, 0, 256, 0 };
	static const uint32_t flags[] = { RWM, 0, RW, 0, RWM, 0, 0, RW, 0 };

	for (uint32_t index = 0; index < ARRAY_SIZE(sizes); index++) {
		struct client_message reply;
		struct vfio_region_info info;

		/* Cloud Hypervisor waits for ever for the rest of an error reply. */
		assert_int_equal(region_info(index, 32, &info, &reply), 0);
		assert_int_equal(reply.length, 32);
		assert_int_equal(info.size, sizes[index]);
		assert_int_equal(info.flags, flags[index]);
		assert_int_equal(info.cap_offset, 0);
		assert_int_equal(info.argsz, index == 4 ? 32 + 16 + 2 * 16 : 32);
		assert_int_equal(reply.n_fds, flags[index] & VFIO_REGION_INFO_FLAG_MMAP ? 1 : 0);
		close_fds(reply.fds, reply.n_fds);
	}
}

static void bad_region_infos_are_refused(void **state)
{
	struct vfio_region_info info = { .argsz = sizeof(info) };
	struct client_message reply;

	assert_int_equal(region_info(9, 32, &info, &reply), -EINVAL);
	assert_int_equal(region_info(UINT32_MAX, 32, &info, &reply), -EINVAL);
	assert_int_equal(region_info(0, 31, &info, &reply), -EINVAL);
	assert_int_equal(region_info(0, 0, &info, &reply), -EINVAL);
	assert_int_equal(
		client_call(&client, VFIO_USER_DEVICE_GET_REGION_INFO, &info, 31, NULL, 0, NULL),
		-EINVAL);
	expect_in_step();
}

/* QEMU and Cloud Hypervisor ask with 32 bytes, and again with what the answer needs. */
static void a_sparse_region_is_answered_whole_when_there_is_room(void **state)
{
	struct client_message reply;
	struct vfio_region_info info;
	uint32_t needed = 32 + 16 + 2 * 16;
	uint8_t *at;

	assert_int_equal(region_info(4, needed - 1, &info, &reply), 0);
	assert_int_equal(reply.length, 32);
	assert_int_equal(info.argsz, needed);
	close_fds(reply.fds, reply.n_fds);

	for (unsigned int i = 0; i < 2; i++) {
		/* A generous client, too. */
		assert_int_equal(region_info(4, i ? 4096 : needed, &info, &reply), 0);
		assert_int_equal(reply.length, needed);
		assert_int_equal(reply.n_fds, 1);
		assert_int_equal(info.argsz, needed);
		assert_int_equal(info.flags, RWM | VFIO_REGION_INFO_FLAG_CAPS);
		assert_int_equal(info.cap_offset, 32);
		at = reply.payload + 32;
		assert_int_equal(get_le16(at), VFIO_REGION_INFO_CAP_SPARSE_MMAP);
		assert_int_equal(get_le32(at + 8), 2);
		assert_int_equal(get_le64(at + 16), 0x1000);
		assert_int_equal(get_le64(at + 24), 0x2000);
		assert_int_equal(get_le64(at + 32), 0x5000);
		assert_int_equal(get_le64(at + 40), 0x1000);
		close_fds(reply.fds, reply.n_fds);
	}
}

static void mapped_regions_are_the_devices_memory(void **state)
{
	struct client_message reply;
	struct vfio_region_info info;
	uint32_t value;
	uint8_t *p;

	assert_int_equal(region_info(0, 32, &info, &reply), 0);
	p = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, reply.fds[0],
		 (off_t)info.offset);
	assert_ptr_not_equal(p, MAP_FAILED);
	close_fds(reply.fds, reply.n_fds);
	p[0x10004] = 0x5a;
	assert_int_equal(client_read32(&client, 0, 0x10004), 0x5a);
	client_write32(&client, 0, BAR0_SIZE - 4, 0x12345678);
	memcpy(&value, p + BAR0_SIZE - 4, 4);
	assert_int_equal(value, 0x12345678);
	munmap(p, info.size);
}

static void every_irq_index_is_answered(void **state)
{
	static const uint32_t counts[] = { 1, VECTORS, 0, 1, 1 };
	struct client_message reply;

	for (uint32_t index = 0; index < 7; index++) {
		struct vfio_irq_info info = { .argsz = sizeof(info), .index = index };
		int r = client_call(&client, VFIO_USER_DEVICE_GET_IRQ_INFO, &info, sizeof(info),
				    NULL, 0, &reply);

		assert_int_equal(r, index < VFIO_PCI_NUM_IRQS ? 0 : -EINVAL);
		if (r < 0)
			continue;
		assert_int_equal(reply.length, sizeof(info));
		memcpy(&info, reply.payload, sizeof(info));
		assert_int_equal(info.argsz, sizeof(info));
		assert_int_equal(info.index, index);
		assert_int_equal(info.count, counts[index]);
		info.argsz = 15;
		assert_int_equal(client_call(&client, VFIO_USER_DEVICE_GET_IRQ_INFO, &info,
					     sizeof(info), NULL, 0, NULL),
				 -EINVAL);
		assert_int_equal(client_call(&client, VFIO_USER_DEVICE_GET_IRQ_INFO, &info, 12,
					     NULL, 0, NULL),
				 -EINVAL);
	}
}

/* --- interrupts: DEVICE_SET_IRQS --- */

static const uint32_t bind_flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER;
static const uint32_t none_trigger = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER;

static uint64_t signals(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

static uint64_t wait_for_signal(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&pfd, 1, CLIENT_PATIENCE_MS), 1);
	return signals(fd);
}

static void interrupts_are_signalled(void **state)
{
	int fds[VECTORS];

	for (unsigned int i = 0; i < VECTORS; i++)
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	/* All in one message (QEMU: up to 16), then one after the other. */
	assert_int_equal(client_set_irqs(&client, bind_flags, VFIO_PCI_MSI_IRQ_INDEX, 0, VECTORS,
					 NULL, 0, fds, VECTORS),
			 0);
	for (uint32_t i = 0; i < VECTORS; i++) {
		client_write32(&client, 2, REG_MSI, i);
		for (uint32_t j = 0; j < VECTORS; j++)
			assert_int_equal(signals(fds[j]), i == j);
	}
	for (uint32_t i = 0; i < VECTORS; i++)
		assert_int_equal(client_set_irqs(&client, bind_flags, VFIO_PCI_MSI_IRQ_INDEX, i, 1,
						 NULL, 0, &fds[VECTORS - 1 - i], 1),
				 0);
	client_write32(&client, 2, REG_MSI, 0);
	assert_int_equal(signals(fds[VECTORS - 1]), 1);

	/* The client's loop-back test. */
	assert_int_equal(client_set_irqs(&client,
					 VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_TRIGGER,
					 VFIO_PCI_MSI_IRQ_INDEX, 6, 2, "\1\0", 2, NULL, 0),
			 0);
	assert_int_equal(signals(fds[1]), 1);
	assert_int_equal(signals(fds[0]), 0);

	/* No descriptors unbind some; DATA_NONE with count 0 all. */
	assert_int_equal(client_set_irqs(&client, bind_flags, VFIO_PCI_MSI_IRQ_INDEX, 0, 1, NULL, 0,
					 NULL, 0),
			 0);
	client_write32(&client, 2, REG_MSI, 0);
	client_write32(&client, 2, REG_MSI, 1);
	assert_int_equal(signals(fds[VECTORS - 1]), 0);
	assert_int_equal(signals(fds[VECTORS - 2]), 1);
	assert_int_equal(client_set_irqs(&client, none_trigger, VFIO_PCI_MSI_IRQ_INDEX, 0, 0, NULL,
					 0, NULL, 0),
			 0);
	client_write32(&client, 2, REG_MSI, 1);
	assert_int_equal(signals(fds[VECTORS - 2]), 0);
	close_fds(fds, VECTORS);
}

static void intx_is_unmasked_by_message_and_by_eventfd(void **state)
{
	const uint32_t unmask = VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK;
	const uint64_t one = 1;
	int fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), resample = eventfd(0, EFD_CLOEXEC);

	assert_int_equal(client_set_irqs(&client, bind_flags, 0, 0, 1, NULL, 0, &fd, 1), 0);
	client_write32(&client, 2, REG_INTX, 1);
	assert_int_equal(signals(fd), 1);
	assert_int_equal(client_set_irqs(&client, unmask, 0, 0, 1, NULL, 0, NULL, 0), 0);
	assert_int_equal(signals(fd), 1);

	/* As QEMU has it with KVM: the end of interrupt does not come through QEMU. */
	assert_int_equal(client_set_irqs(&client,
					 VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK, 0,
					 0, 1, NULL, 0, &resample, 1),
			 0);
	for (unsigned int i = 0; i < 20; i++) {
		assert_int_equal(write(resample, &one, sizeof(one)), sizeof(one));
		assert_int_equal(wait_for_signal(fd), 1);
		expect_in_step();
	}
	client_write32(&client, 2, REG_INTX, 0);
	assert_int_equal(write(resample, &one, sizeof(one)), sizeof(one));
	expect_in_step();
	assert_int_equal(signals(fd), 0);
	close(fd);
	close(resample);
}

static void bad_set_irqs_are_refused(void **state)
{
	struct vfio_irq_set set = { .argsz = sizeof(set),
				    .flags = none_trigger,
				    .index = VFIO_PCI_MSI_IRQ_INDEX,
				    .count = 1 };
	int fds[VECTORS * 3];
	uint8_t bytes[8] = { 0 };
	unsigned int open_now;

	for (unsigned int i = 0; i < ARRAY_SIZE(fds); i++)
		fds[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(
		client_set_irqs(&client, bind_flags, VFIO_PCI_MSI_IRQ_INDEX, 0, 2, NULL, 0, fds, 2),
		0);
	open_now = count_fds();

#define BAD(error, ...) assert_int_equal(client_set_irqs(&client, __VA_ARGS__), error)
	BAD(-EINVAL, bind_flags, 5, 0, 1, NULL, 0, fds, 1); /* index */
	BAD(-EINVAL, bind_flags, VFIO_PCI_MSIX_IRQ_INDEX, 0, 1, NULL, 0, fds, 1); /* not offered */
	BAD(-EINVAL, bind_flags, 1, 0, 3, NULL, 0, fds, 2); /* fewer than count */
	BAD(-EINVAL, bind_flags, 1, 0, 1, NULL, 0, fds, 2); /* more */
	BAD(-EINVAL, bind_flags, 1, VECTORS, 1, NULL, 0, fds, 1); /* range */
	BAD(-EINVAL, bind_flags, 1, VECTORS - 1, 2, NULL, 0, fds, 2);
	BAD(-EINVAL, bind_flags, 1, UINT32_MAX, 2, NULL, 0, fds, 2);
	BAD(-EINVAL, bind_flags, 1, 0, 1, bytes, 4, fds, 1); /* descriptors do not go in data */
	BAD(-EINVAL, none_trigger, 1, 0, 1, NULL, 0, fds, 1);
	BAD(-EINVAL, none_trigger, 1, 0, 1, bytes, 1, NULL, 0);
	BAD(-EINVAL, none_trigger, 1, 0, VECTORS + 1, NULL, 0, NULL, 0);
	BAD(-EINVAL, VFIO_IRQ_SET_DATA_BOOL | VFIO_IRQ_SET_ACTION_TRIGGER, 1, 0, 2, bytes, 1, NULL,
	    0);
	BAD(-EINVAL, VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, 1, 0, 1, NULL, 0, NULL, 0);
	BAD(-EINVAL, 0, 1, 0, 1, NULL, 0, NULL, 0);
	BAD(-EINVAL, 0xffffffff, 1, 0, 1, NULL, 0, NULL, 0);
	/* More than a message holds: it must not be taken for one that unbinds. */
	BAD(-EINVAL, bind_flags, 1, 0, 2, NULL, 0, fds, 17);
	{
		int not_eventfds[2] = { fds[0], client.fd };

		BAD(-EBADF, bind_flags, 1, 0, 2, NULL, 0, not_eventfds, 2);
	}
#undef BAD
	/* argsz is the whole payload, and may be more (vfio-user.rst, VFIO_USER_DEVICE_SET_IRQS). */
	set.argsz = 19;
	assert_int_equal(
		client_call(&client, VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set), NULL, 0, NULL),
		-EINVAL);
	set.argsz = 24;
	assert_int_equal(
		client_call(&client, VFIO_USER_DEVICE_SET_IRQS, &set, sizeof(set), NULL, 0, NULL),
		0);
	assert_int_equal(signals(fds[0]), 1);
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_SET_IRQS, &set, 19, NULL, 0, NULL),
			 -EINVAL);

	/* After all that, what was bound is bound, and no descriptor has stayed here. */
	client_write32(&client, 2, REG_MSI, 1);
	assert_int_equal(signals(fds[1]), 1);
	assert_int_equal(count_fds(), open_now);
	close_fds(fds, ARRAY_SIZE(fds));
}

/* --- accesses: REGION_READ, REGION_WRITE, REGION_WRITE_MULTI --- */

static void registers_are_accessed_at_any_width_and_offset(void **state)
{
	uint8_t model[64], buf[64];

	for (size_t i = 0; i < sizeof(model); i++)
		model[i] = (uint8_t)(i * 3 + 1);
	assert_int_equal(client_write(&client, 2, REG_SCRATCH, model, sizeof(model)), 0);
	for (uint32_t width = 0; width <= 16; width++)
		for (uint64_t offset = 0; offset < 24; offset++) {
			assert_int_equal(client_read(&client, 2, REG_SCRATCH + offset, buf, width),
					 0);
			assert_memory_equal(buf, model + offset, width);
			for (uint32_t i = 0; i < width; i++)
				model[offset + i] = (uint8_t)(model[offset + i] + 101);
			assert_int_equal(client_write(&client, 2, REG_SCRATCH + offset,
						      model + offset, width),
					 0);
			assert_int_equal(client_read(&client, 2, REG_SCRATCH, buf, sizeof(buf)), 0);
			assert_memory_equal(buf, model, sizeof(model));
		}

	/* The whole of config space, as QEMU reads it. */
	{
		uint8_t config[256];

		assert_int_equal(client_read(&client, CONFIG, 0, config, sizeof(config)), 0);
		assert_int_equal(get_le16(config), 0x1234);
		assert_int_equal(get_le16(config + 2), 0xcafe);
		assert_int_equal(config[PCI_INTERRUPT_PIN], 1);
	}
}

static void memory_is_accessed_by_message_too(void **state)
{
	static uint8_t out[1 << 20], in[1 << 20];

	for (size_t i = 0; i < sizeof(out); i++)
		out[i] = (uint8_t)(i * 7 + (i >> 12));
	assert_int_equal(client_write(&client, 0, 0x1234, out, sizeof(out)), 0);
	assert_int_equal(client_read(&client, 0, 0x1234, in, sizeof(in)), 0);
	assert_memory_equal(in, out, sizeof(out));
	assert_int_equal(client_read(&client, 0, 0x1000, in, 0x234), 0);
	assert_int_equal(in[0x233], 0);

	/* Trapped, mapped, trapped in one. */
	assert_int_equal(client_write(&client, 4, 0xffe, "\1\2\3\4", 4), 0);
	assert_int_equal(client_read(&client, 4, 0xffe, in, 4), 0);
	assert_memory_equal(in, "\xfe\xfe\3\4", 4);
	assert_int_equal(client_write(&client, 4, 0x2ffe, "\1\2\3\4", 4), 0);
	assert_int_equal(client_read(&client, 4, 0x2ffe, in, 4), 0);
	assert_memory_equal(in, "\1\2\0\0", 4);
}

static void accesses_outside_are_refused(void **state)
{
	struct vfio_user_region_access access = { .region = 2, .count = 4 };
	uint8_t buf[sizeof(access) + 64] = { 0 };

	assert_int_equal(client_read(&client, 2, BAR2_SIZE - 3, buf, 4), -EINVAL);
	assert_int_equal(client_read(&client, 2, BAR2_SIZE, buf, 1), -EINVAL);
	assert_int_equal(client_read(&client, 2, UINT64_MAX, buf, 2), -EINVAL);
	assert_int_equal(client_read(&client, 1, 0, buf, 4), -EINVAL); /* no such BAR */
	assert_int_equal(client_read(&client, 8, 0, buf, 4), -EINVAL); /* VGA */
	assert_int_equal(client_read(&client, 9, 0, buf, 4), -EINVAL);
	assert_int_equal(client_read(&client, UINT32_MAX, 0, buf, 4), -EINVAL);
	assert_int_equal(client_write(&client, 2, BAR2_SIZE - 3, buf, 4), -EINVAL);
	assert_int_equal(client_write(&client, 9, 0, buf, 4), -EINVAL);
	assert_int_equal(client_read(&client, CONFIG, 254, buf, 4), -EINVAL);
	assert_int_equal(client_read(&client, 0, 0, buf, (1 << 20) + 1), -EINVAL);
	assert_int_equal(client_read(&client, 0, 0, buf, UINT32_MAX), -EINVAL);

	/* A message whose length is not what it says. */
#define CALL(command, length) client_call(&client, command, buf, length, NULL, 0, NULL)
	memcpy(buf, &access, sizeof(access));
	assert_int_equal(CALL(VFIO_USER_REGION_READ, 15), -EINVAL);
	assert_int_equal(CALL(VFIO_USER_REGION_READ, 17), -EINVAL);
	assert_int_equal(CALL(VFIO_USER_REGION_WRITE, 15), -EINVAL);
	assert_int_equal(CALL(VFIO_USER_REGION_WRITE, 16), -EINVAL);
	assert_int_equal(CALL(VFIO_USER_REGION_WRITE, 19), -EINVAL);
	assert_int_equal(CALL(VFIO_USER_REGION_WRITE, 21), -EINVAL);
	assert_int_equal(CALL(VFIO_USER_REGION_WRITE, 20), 0);
#undef CALL
	expect_in_step();
}

/* A WRITE_MULTI of n entries: scratch dword i := base + i. Returns its length. */
static size_t make_multi(uint8_t *payload, uint64_t n, uint32_t base)
{
	put_le64(payload, n);
	for (uint64_t i = 0; i < n; i++) {
		struct vfio_user_write_multi_entry entry = {
			.access = { .offset = REG_SCRATCH + 4 * i, .region = 2, .count = 4 },
		};

		put_le32(entry.data, base + (uint32_t)i);
		memcpy(payload + 8 + i * sizeof(entry), &entry, sizeof(entry));
	}
	return 8 + n * sizeof(struct vfio_user_write_multi_entry);
}

static void many_writes_come_in_one_message(void **state)
{
	enum { N = 200 }; /* QEMU's most */
	uint8_t payload[8 + (N + 1) * sizeof(struct vfio_user_write_multi_entry)] = { 0 };
	struct client_message reply;
	size_t length = make_multi(payload, N, 1000);

	assert_int_equal(client_call(&client, VFIO_USER_REGION_WRITE_MULTI, payload, length, NULL,
				     0, &reply),
			 0);
	assert_int_equal(reply.length, 8);
	assert_int_equal(get_le64(reply.payload), N);
	for (uint32_t i = 0; i < N; i++)
		assert_int_equal(client_read32(&client, 2, REG_SCRATCH + 4 * i), 1000 + i);

	/* As QEMU sends it: posted. */
	make_multi(payload, N, 5000);
	client_command(&client, VFIO_USER_REGION_WRITE_MULTI, VFIO_USER_NO_REPLY, payload, length,
		       NULL, 0);
	assert_int_equal(client_read32(&client, 2, REG_SCRATCH + 4 * (N - 1)), 5000 + N - 1);

	put_le64(payload, 0);
	assert_int_equal(
		client_call(&client, VFIO_USER_REGION_WRITE_MULTI, payload, 8, NULL, 0, &reply), 0);
	assert_int_equal(get_le64(reply.payload), 0);
}

static void a_bad_write_multi_writes_nothing(void **state)
{
	enum { N = 4 };
	uint8_t payload[8 + (N + 1) * sizeof(struct vfio_user_write_multi_entry)] = { 0 };
	uint8_t *last = payload + 8 + (N - 1) * sizeof(struct vfio_user_write_multi_entry);
	size_t length = make_multi(payload, N, 7);

#define CALL(length)                                                                               \
	client_call(&client, VFIO_USER_REGION_WRITE_MULTI, payload, length, NULL, 0, NULL)
	/* A count that is not what the message holds. */
	assert_int_equal(CALL(7), -EINVAL);
	assert_int_equal(CALL(8), -EINVAL);
	assert_int_equal(CALL(length - 1), -EINVAL);
	assert_int_equal(CALL(length + 1), -EINVAL);
	put_le64(payload, N - 1);
	assert_int_equal(CALL(length), -EINVAL);
	put_le64(payload, N + 1);
	assert_int_equal(CALL(length), -EINVAL);
	put_le64(payload, UINT64_MAX);
	assert_int_equal(CALL(length), -EINVAL);
	/* So many that the product of count and size wraps to what is there. */
	put_le64(payload, N + ((uint64_t)1 << 61));
	assert_int_equal(CALL(length), -EINVAL);
	put_le64(payload, N);

	put_le32(last + 12, 9); /* bytes: at most 8 */
	assert_int_equal(CALL(length), -EINVAL);
	put_le32(last + 12, 4);
	put_le32(last + 8, 9); /* region */
	assert_int_equal(CALL(length), -EINVAL);
	put_le32(last + 8, 1); /* of size 0 */
	assert_int_equal(CALL(length), -EINVAL);
	put_le32(last + 8, 2);
	put_le64(last, BAR2_SIZE - 3); /* offset */
	assert_int_equal(CALL(length), -EINVAL);
#undef CALL
	for (uint32_t i = 0; i < N; i++)
		assert_int_equal(client_read32(&client, 2, REG_SCRATCH + 4 * i), 0);
	expect_in_step();
}

/* vfio-user.rst, "Command Concurrency": done before the reply to what follows. */
static void posted_commands_are_not_answered(void **state)
{
	uint8_t payload[sizeof(struct vfio_user_region_access) + 4];
	struct vfio_user_region_access access = { REG_SCRATCH, 2, 4 };

	memcpy(payload, &access, sizeof(access));
	for (uint32_t i = 0; i < 500; i++) {
		put_le32(payload + sizeof(access), i);
		client_command(&client, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, payload,
			       sizeof(payload), NULL, 0);
	}
	assert_int_equal(client_read32(&client, 2, REG_SCRATCH), 499);

	/* Nor are their errors, or reads that nobody wants. */
	payload[8] = 9;
	client_command(&client, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, payload,
		       sizeof(payload), NULL, 0);
	client_command(&client, VFIO_USER_REGION_READ, VFIO_USER_NO_REPLY, &access, sizeof(access),
		       NULL, 0);
	client_command(&client, 99, VFIO_USER_NO_REPLY, NULL, 0, NULL, 0);
	assert_true(client_is_quiet(&client));
	expect_in_step();
}

static void what_is_not_known_is_not_supported(void **state)
{
	static const uint16_t commands[] = {
		0,
		11,
		12,
		14,
		19,
		20,
		255,
		256,
		0x8001,
		65535, /* unknown, or the server's to send */
		VFIO_USER_DEVICE_GET_REGION_IO_FDS,
		VFIO_USER_DEVICE_FEATURE,
		VFIO_USER_MIG_DATA_READ,
		VFIO_USER_MIG_DATA_WRITE,
	};
	uint8_t payload[64] = { 16 };
	int fd = eventfd(0, EFD_CLOEXEC);
	unsigned int open_now = count_fds();

	for (size_t i = 0; i < ARRAY_SIZE(commands); i++) {
		assert_int_equal(client_call(&client, commands[i], NULL, 0, NULL, 0, NULL),
				 -ENOTSUP);
		assert_int_equal(
			client_call(&client, commands[i], payload, sizeof(payload), &fd, 1, NULL),
			-ENOTSUP);
	}
	expect_in_step();
	assert_int_equal(count_fds(), open_now);
	close(fd);
}

static void oversized_commands_are_refused(void **state)
{
	static const uint8_t zeros[4096];
	struct vfio_user_header header = { .id = 77, .command = 10, .size = (2 << 20) + 16 };
	struct client_message reply;

	client_send(&client, &header, sizeof(header), NULL, 0);
	for (unsigned int i = 0; i < 512; i++)
		client_send(&client, zeros, sizeof(zeros), NULL, 0);
	assert_true(client_receive(&client, &reply));
	assert_int_equal(reply.header.id, 77);
	assert_int_equal(reply.header.flags, VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR);
	assert_int_equal(reply.header.error, EINVAL);
	expect_in_step();
}

static void replies_that_nobody_asked_for_are_ignored(void **state)
{
	uint8_t payload[64] = { 0 };

	for (uint16_t command = 0; command < 20; command++)
		client_command(&client, command, VFIO_USER_TYPE_REPLY, payload, sizeof(payload),
			       NULL, 0);
	client_command(&client, VFIO_USER_DMA_READ, VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR, NULL, 0,
		       NULL, 0);
	expect_in_step();
}

static void messages_of_no_type_end_it(void **state)
{
	for (uint32_t type = 2; type < 16; type++) {
		client_command(&client, VFIO_USER_REGION_READ, type, NULL, 0, NULL, 0);
		assert_true(client_is_hung_up(&client));
		wait_until_disconnected();
		assert_int_equal(atomic_load(&disconnect_reason), -EPROTO);
		client_done(&client);
		connect_client(&client);
		client_negotiate(&client);
	}
}

static void a_size_below_a_header_ends_it(void **state)
{
	struct vfio_user_header header = { .command = 9, .size = 15 };

	client_send(&client, &header, sizeof(header), NULL, 0);
	assert_true(client_is_hung_up(&client));
	wait_until_disconnected();
	assert_int_equal(atomic_load(&disconnect_reason), -EPROTO);
}

/* --- DMA_MAP, DMA_UNMAP --- */

static int make_memory(size_t size)
{
	int fd = memfd_create("test-guest", MFD_CLOEXEC);
	uint8_t *p;

	assert_int_equal(ftruncate(fd, (off_t)size), 0);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	for (size_t i = 0; i < size; i++)
		p[i] = (uint8_t)(i * 3 + (i >> 8));
	munmap(p, size);
	return fd;
}

static void start_dma(uint32_t command, uint64_t iova, uint32_t length)
{
	assert_int_equal(client_write(&client, 2, REG_DMA_IOVA, &iova, sizeof(iova)), 0);
	client_write32(&client, 2, REG_DMA_LENGTH, length);
	client_write32(&client, 2, REG_DMA_COMMAND, command);
}

static int dma_result(void)
{
	return (int)client_read32(&client, 2, REG_DMA_RESULT);
}

static void maps_are_checked(void **state)
{
	struct vfio_user_dma_map map = { .argsz = sizeof(map), .flags = 3, .size = 4096 };
	struct vfio_user_dma_unmap unmap = { .argsz = sizeof(unmap), .size = 4096 };
	int fds[2] = { make_memory(4096), make_memory(4096) };
	unsigned int open_now = count_fds();

	assert_int_equal(client_dma_map(&client, 0x1000, 4096, 3, fds[0], 0), 0);
	assert_int_equal(client_dma_map(&client, 0x1000, 4096, 3, fds[0], 0), -EEXIST);
	assert_int_equal(client_dma_map(&client, 0x2000, 0, 3, -1, 0), -EINVAL);
	assert_int_equal(client_dma_map(&client, 0x2000, 4096, 0, -1, 0), -EINVAL);
	assert_int_equal(client_dma_map(&client, 0x2000, 4096, 7, -1, 0), -EINVAL);
	assert_int_equal(client_dma_map(&client, 0x2000, 100, 3, -1, 0), -EINVAL);
	assert_int_equal(client_dma_map(&client, 0x2000, 4096, 3, fds[0], 5), -EINVAL);
	assert_int_equal(client_dma_map(&client, UINT64_MAX - 4095, 4096, 3, -1, 0), -EINVAL);
	assert_int_equal(client_dma_map(&client, 0x2000, 4096, 3, client.fd, 0), -ENODEV);

#define CALL(command, what, length, n) client_call(&client, command, &(what), length, fds, n, NULL)
	assert_int_equal(CALL(VFIO_USER_DMA_MAP, map, sizeof(map), 2), -EINVAL);
	assert_int_equal(CALL(VFIO_USER_DMA_MAP, map, 31, 1), -EINVAL);
	map.argsz = 31;
	assert_int_equal(CALL(VFIO_USER_DMA_MAP, map, sizeof(map), 1), -EINVAL);
	assert_int_equal(CALL(VFIO_USER_DMA_UNMAP, unmap, 23, 0), -EINVAL);
	unmap.argsz = 23;
	assert_int_equal(CALL(VFIO_USER_DMA_UNMAP, unmap, sizeof(unmap), 0), -EINVAL);
	unmap.argsz = 24;
	unmap.flags = VFIO_DMA_UNMAP_FLAG_GET_DIRTY_BITMAP;
	unmap.address = 0x1000;
	assert_int_equal(CALL(VFIO_USER_DMA_UNMAP, unmap, sizeof(unmap), 0), -EINVAL);
	unmap.flags = VFIO_DMA_UNMAP_FLAG_ALL;
	assert_int_equal(CALL(VFIO_USER_DMA_UNMAP, unmap, sizeof(unmap), 0), -EINVAL);

	assert_int_equal(client_dma_unmap(&client, 0x2000, 4096), -ENOENT);
	assert_int_equal(client_dma_unmap(&client, 0x1000, 8192), -ENOENT);
	/* SPDK sends a descriptor along. */
	unmap.flags = 0;
	assert_int_equal(CALL(VFIO_USER_DMA_UNMAP, unmap, sizeof(unmap), 1), 0);
	assert_int_equal(CALL(VFIO_USER_DMA_UNMAP, unmap, sizeof(unmap), 0), -ENOENT);
	/* Everything: QEMU, when it resets its view of memory. */
	for (uint64_t i = 0; i < 10; i++)
		assert_int_equal(client_dma_map(&client, i * 8192, 4096, 3, i % 2 ? fds[0] : -1, 0),
				 0);
	unmap = (struct vfio_user_dma_unmap){ .argsz = 24, .flags = VFIO_DMA_UNMAP_FLAG_ALL };
	assert_int_equal(CALL(VFIO_USER_DMA_UNMAP, unmap, sizeof(unmap), 0), 0);
	assert_int_equal(client_dma_unmap(&client, 0, 4096), -ENOENT);
#undef CALL
	assert_int_equal(count_fds(), open_now);
	close_fds(fds, 2);
}

static void dma_by_descriptor(void **state)
{
	int fd = make_memory(1 << 20);
	uint8_t byte, buf[256];

	assert_int_equal(client_dma_map(&client, 0x100000, 1 << 20, 3, fd, 0), 0);
	start_dma(DMA_READ, 0x100000 + 100, 256);
	assert_int_equal(dma_result(), 0);
	assert_int_equal(client_read(&client, 2, REG_BUFFER, buf, sizeof(buf)), 0);
	assert_int_equal(buf[0], (uint8_t)(100 * 3));
	assert_int_equal(buf[255], (uint8_t)(355 * 3 + 1));

	start_dma(DMA_SCOPE, 0x100000, 1 << 20);
	assert_int_equal(dma_result(), 0);
	assert_int_equal(pread(fd, &byte, 1, 5), 1);
	assert_int_equal(byte, 16);

	/* What is not mapped. */
	start_dma(DMA_READ, 0x100000 + (1 << 20) - 4, 8);
	assert_int_equal(dma_result(), -EFAULT);
	/* The device works on after the client pulled the file away. */
	assert_int_equal(client_dma_unmap(&client, 0x100000, 1 << 20), 0);
	start_dma(DMA_WRITE, 0x100000, 4);
	assert_int_equal(dma_result(), -EFAULT);
	close(fd);
}

/* --- DMA by message: DMA_READ, DMA_WRITE --- */

/* Receives the server's command. */
static struct vfio_user_dma_access expect_dma(uint16_t command, struct client_message *message)
{
	struct vfio_user_dma_access access;

	assert_true(client_receive(&client, message));
	assert_int_equal(message->header.command, command);
	assert_int_equal(message->header.flags, VFIO_USER_TYPE_COMMAND);
	assert_int_equal(message->n_fds, 0);
	assert_true(message->length >= sizeof(access));
	memcpy(&access, message->payload, sizeof(access));
	assert_int_equal(message->length,
			 sizeof(access) + (command == VFIO_USER_DMA_WRITE ? access.count : 0));
	return access;
}

/* The reply to DMA_READ, in buf: what is read at IOVA i is the low byte of i * 5. */
static size_t make_dma_reply(uint8_t *buf, uint16_t id, const struct vfio_user_dma_access *access,
			     bool short_count)
{
	size_t head = short_count ? sizeof(*access) - 4 : sizeof(*access);
	struct vfio_user_header header = {
		.id = id,
		.command = VFIO_USER_DMA_READ,
		.size = (uint32_t)(sizeof(header) + head + access->count),
		.flags = VFIO_USER_TYPE_REPLY,
	};

	memcpy(buf, &header, sizeof(header));
	memcpy(buf + sizeof(header), access, head);
	for (size_t i = 0; i < access->count; i++)
		buf[sizeof(header) + head + i] = (uint8_t)((access->address + i) * 5);
	return header.size;
}

static void reply_to_dma(uint16_t command, uint16_t id, const void *payload, size_t length,
			 int error)
{
	struct vfio_user_header header = {
		.id = id,
		.command = command,
		.size = (uint32_t)(sizeof(header) + length),
		.flags = VFIO_USER_TYPE_REPLY | (error ? VFIO_USER_ERROR : 0),
		.error = (uint32_t)error,
	};

	client_send(&client, &header, sizeof(header), NULL, 0);
	client_send(&client, payload, length, NULL, 0);
}

/* A region read whose reply is not waited for. */
static void send_read(uint32_t region, uint64_t offset, uint32_t n)
{
	struct vfio_user_region_access access = { offset, region, n };

	client_command(&client, VFIO_USER_REGION_READ, 0, &access, sizeof(access), NULL, 0);
}

static void map_without_descriptor(void)
{
	assert_int_equal(client_dma_map(&client, 0x100000, 4 << 20, 3, -1, 0), 0);
}

static void dma_by_message(void **state)
{
	static uint8_t buf[VFIO_USER_MAX_MESSAGE];
	struct vfio_user_dma_access access;
	struct client_message message;
	uint8_t seen[64];

	map_without_descriptor();
	/* QEMU 11, as the specification has it; QEMU 10.2, with a count of 32 bits. */
	for (unsigned int i = 0; i < 2; i++) {
		start_dma(DMA_READ, 0x123456, 64);
		access = expect_dma(VFIO_USER_DMA_READ, &message);
		assert_int_equal(access.address, 0x123456);
		assert_int_equal(access.count, 64);
		client_send(&client, buf, make_dma_reply(buf, message.header.id, &access, i), NULL,
			    0);
		assert_int_equal(dma_result(), 0);
		assert_int_equal(client_read(&client, 2, REG_BUFFER, seen, sizeof(seen)), 0);
		for (unsigned int b = 0; b < 64; b++)
			assert_int_equal(seen[b], (uint8_t)((0x123456 + b) * 5));
	}

	client_write32(&client, 2, REG_BUFFER, 0xaabbccdd);
	start_dma(DMA_WRITE, 0x100010, 4);
	access = expect_dma(VFIO_USER_DMA_WRITE, &message);
	assert_int_equal(access.address, 0x100010);
	assert_int_equal(get_le32(message.payload + sizeof(access)), 0xaabbccdd);
	reply_to_dma(VFIO_USER_DMA_WRITE, message.header.id, NULL, 0, 0); /* QEMU: header alone */
	assert_int_equal(dma_result(), 0);

	/* A scope reads and writes back. */
	start_dma(DMA_SCOPE, 0x100020, 4);
	access = expect_dma(VFIO_USER_DMA_READ, &message);
	client_send(&client, buf, make_dma_reply(buf, message.header.id, &access, false), NULL, 0);
	access = expect_dma(VFIO_USER_DMA_WRITE, &message);
	assert_int_equal(access.address, 0x100020);
	assert_int_equal(message.payload[sizeof(access)], (uint8_t)(0x100020 * 5 + 1));
	reply_to_dma(VFIO_USER_DMA_WRITE, message.header.id, &access, sizeof(access), 0);
	assert_int_equal(dma_result(), 0);
}

/* max_data_xfer_size is the most that goes into one message. */
static void dma_by_message_in_pieces(void **state)
{
	static uint8_t buf[VFIO_USER_MAX_MESSAGE];
	struct vfio_user_dma_access access;
	struct client_message message;
	uint64_t at = 0x100000, left = (2 << 20) + 100;

	map_without_descriptor();
	start_dma(DMA_READ, at, (uint32_t)left);
	while (left) {
		access = expect_dma(VFIO_USER_DMA_READ, &message);
		assert_int_equal(access.address, at);
		assert_int_equal(access.count, left < 1 << 20 ? left : 1 << 20);
		client_send(&client, buf, make_dma_reply(buf, message.header.id, &access, false),
			    NULL, 0);
		at += access.count;
		left -= access.count;
	}
	assert_int_equal(dma_result(), 0);
	start_dma(DMA_WRITE, 0x100000, (1 << 20) + 1);
	for (unsigned int i = 0; i < 2; i++) {
		access = expect_dma(VFIO_USER_DMA_WRITE, &message);
		assert_int_equal(access.count, i ? 1 : 1 << 20);
		for (size_t b = 0; b < access.count; b++)
			assert_int_equal(message.payload[sizeof(access) + b],
					 (uint8_t)((access.address + b) * 5));
		reply_to_dma(VFIO_USER_DMA_WRITE, message.header.id, NULL, 0, 0);
	}
	assert_int_equal(dma_result(), 0);
	leave();

	/* A client that takes less, and one that takes nothing. */
	connect_client(&client);
	assert_int_equal(client_version(&client, 0, 0,
					"{\"capabilities\":{\"max_data_xfer_size\":100}}", NULL),
			 0);
	map_without_descriptor();
	start_dma(DMA_READ, 0x100000, 150);
	for (unsigned int i = 0; i < 2; i++) {
		access = expect_dma(VFIO_USER_DMA_READ, &message);
		assert_int_equal(access.count, i ? 50 : 100);
		client_send(&client, buf, make_dma_reply(buf, message.header.id, &access, false),
			    NULL, 0);
	}
	assert_int_equal(dma_result(), 0);
	leave();
	connect_client(&client);
	assert_int_equal(client_version(&client, 0, 0,
					"{\"capabilities\":{\"max_data_xfer_size\":0}}", NULL),
			 0);
	map_without_descriptor();
	start_dma(DMA_READ, 0x100000, 150);
	assert_int_equal(dma_result(), -ENOTSUP);
}

static void failed_dma_is_told_to_the_device(void **state)
{
	static const struct {
		int error, result;
	} errors[] = {
		{ ENODEV, -ENODEV }, /* QEMU, without bus mastering */
		{ E2BIG, -E2BIG },
		{ 4095, -4095 },
		{ 4096, -EIO }, /* no errno */
	};
	struct vfio_user_dma_access access;
	struct client_message message;
	uint8_t buf[256];

	map_without_descriptor();
	for (size_t i = 0; i < ARRAY_SIZE(errors); i++) {
		start_dma(DMA_READ, 0x100000, 64);
		expect_dma(VFIO_USER_DMA_READ, &message);
		reply_to_dma(VFIO_USER_DMA_READ, message.header.id, NULL, 0, errors[i].error);
		assert_int_equal(dma_result(), errors[i].result);
	}
	/* An error without a number: vfio-user.rst, "Header", allows it. */
	start_dma(DMA_READ, 0x100000, 64);
	expect_dma(VFIO_USER_DMA_READ, &message);
	{
		struct vfio_user_header header = {
			.id = message.header.id,
			.command = VFIO_USER_DMA_READ,
			.size = sizeof(header),
			.flags = VFIO_USER_TYPE_REPLY | VFIO_USER_ERROR,
		};

		client_send(&client, &header, sizeof(header), NULL, 0);
	}
	assert_int_equal(dma_result(), -EIO);

	/* Too short, too long, of another address. */
	for (unsigned int i = 0; i < 5; i++) {
		static const size_t lengths[] = { 0, 15, 16 + 63, 16 + 65, 16 + 64 };

		start_dma(DMA_READ, 0x100000, 64);
		access = expect_dma(VFIO_USER_DMA_READ, &message);
		memset(buf, 0, sizeof(buf));
		access.address += i == 4;
		memcpy(buf, &access, sizeof(access));
		reply_to_dma(VFIO_USER_DMA_READ, message.header.id, buf, lengths[i], 0);
		assert_int_equal(dma_result(), -EPROTO);
	}
	/* Replies to something else, or under another number, are none. */
	start_dma(DMA_READ, 0x100000, 64);
	access = expect_dma(VFIO_USER_DMA_READ, &message);
	reply_to_dma(VFIO_USER_DMA_WRITE, message.header.id, NULL, 0, 0);
	reply_to_dma(VFIO_USER_DMA_READ, (uint16_t)(message.header.id + 1), NULL, 0, EINVAL);
	client_send(&client, buf, make_dma_reply(buf, message.header.id, &access, false), NULL, 0);
	assert_int_equal(dma_result(), 0);
	expect_in_step();
}

/*
 * vfio-user.rst, "Command Concurrency": messages of both directions may cross.
 * A vCPU that waits for its read may be what keeps the client from answering.
 */
static void commands_are_served_while_dma_waits(void **state)
{
	struct vfio_user_dma_access access;
	struct client_message message, dma;
	uint8_t buf[512];
	size_t n;

	map_without_descriptor();
	for (unsigned int i = 0; i < 50; i++) {
		start_dma(DMA_READ, 0x100000, 64);
		access = expect_dma(VFIO_USER_DMA_READ, &dma);
		expect_in_step();
		assert_int_equal(client_dma_map(&client, 0x10000000, 4096, 3, -1, 0), 0);
		assert_int_equal(client_dma_unmap(&client, 0x10000000, 4096), 0);

		/* The reply, and behind it in the same packet what must not be left lying. */
		n = make_dma_reply(buf, dma.header.id, &access, false);
		for (unsigned int m = 0; m < 3; m++) {
			struct vfio_user_region_access read = { REG_WORKS, 2, 4 };

			n += client_make(&client, buf + n, VFIO_USER_REGION_READ, 0, &read,
					 sizeof(read), NULL);
		}
		client_send(&client, buf, n, NULL, 0);
		for (unsigned int m = 0; m < 3; m++) {
			assert_true(client_receive(&client, &message));
			assert_int_equal(message.header.command, VFIO_USER_REGION_READ);
			assert_int_equal(get_le32(message.payload + 16), i + 1);
		}
		assert_int_equal(dma_result(), 0);
	}
}

/* Asked for anew while it works: it works again, and answers in between. */
static void work_may_be_asked_for_while_it_is_done(void **state)
{
	struct vfio_user_dma_access access;
	struct client_message message;
	uint8_t buf[256];

	map_without_descriptor();
	start_dma(DMA_READ, 0x100000, 64);
	for (unsigned int i = 0; i < 20; i++) {
		access = expect_dma(VFIO_USER_DMA_READ, &message);
		client_write32(&client, 2, REG_DMA_COMMAND, DMA_READ);
		client_send(&client, buf, make_dma_reply(buf, message.header.id, &access, false),
			    NULL, 0);
	}
	access = expect_dma(VFIO_USER_DMA_READ, &message);
	client_send(&client, buf, make_dma_reply(buf, message.header.id, &access, false), NULL, 0);
	assert_int_equal(client_read32(&client, 2, REG_WORKS), 21);
	assert_true(client_is_quiet(&client));
}

static void unmap_is_answered_while_dma_waits(void **state)
{
	struct client_message message;

	map_without_descriptor();
	/* The next piece of it lies in another map, which goes away in the meantime. */
	assert_int_equal(client_dma_map(&client, 0x500000, 1 << 20, 3, -1, 0), 0);
	start_dma(DMA_WRITE, 0x500000 - 32, 64);
	expect_dma(VFIO_USER_DMA_WRITE, &message);
	assert_int_equal(client_dma_unmap(&client, 0x500000, 1 << 20), 0);
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0, NULL), 0);
	reply_to_dma(VFIO_USER_DMA_WRITE, message.header.id, NULL, 0, 0);
	assert_int_equal(dma_result(), -EFAULT);
}

static void the_client_may_go_while_dma_waits(void **state)
{
	for (unsigned int i = 0; i < 3; i++) {
		struct client_message message;

		map_without_descriptor();
		start_dma(DMA_WRITE, 0x100000, 2 << 20);
		expect_dma(VFIO_USER_DMA_WRITE, &message);
		switch (i) {
		case 0:
			break;
		case 1: /* in the middle of the reply */
			client_send(&client, &message.header, 7, NULL, 0);
			break;
		default: /* out of step */
			client_command(&client, VFIO_USER_REGION_READ, 5, NULL, 0, NULL, 0);
			assert_true(client_is_hung_up(&client));
		}
		leave();
		assert_int_equal(atomic_load(&disconnect_reason), i < 2 ? -ECONNRESET : -EPROTO);
		connect_client(&client);
		client_negotiate(&client);
		assert_int_equal(client_dma_unmap(&client, 0x100000, 4 << 20), -ENOENT);
	}
}

/* Five seconds, also if commands come all the while. Then the device goes on without. */
static void dma_that_is_not_answered_times_out(void **state)
{
	struct vfio_user_dma_access access;
	struct client_message message, late;
	uint64_t before = clock_ns(), took;
	uint8_t buf[256];

	map_without_descriptor();
	start_dma(DMA_READ, 0x100000, 64);
	access = expect_dma(VFIO_USER_DMA_READ, &late);
	while (dma_result() != -ETIMEDOUT)
		assert_true(clock_ns() - before < 15000000000);
	took = clock_ns() - before;
	assert_true(took >= 4900000000);

	client_send(&client, buf, make_dma_reply(buf, late.header.id, &access, false), NULL, 0);
	start_dma(DMA_READ, 0x100000, 64);
	access = expect_dma(VFIO_USER_DMA_READ, &message);
	assert_int_not_equal(message.header.id, late.header.id);
	client_send(&client, buf, make_dma_reply(buf, message.header.id, &access, false), NULL, 0);
	assert_int_equal(dma_result(), 0);
}

/* --- many messages at once --- */

struct sender {
	pthread_t thread;
	unsigned int n;
	int fd;
};

/* Reads of scratch dword i % 100, pipelined. A thread, as the replies must be read meanwhile. */
static void *send_many(void *opaque)
{
	struct sender *sender = opaque;

	for (unsigned int i = 0; i < sender->n; i++) {
		struct {
			struct vfio_user_header header;
			struct vfio_user_region_access access;
		} message = {
			{ .id = (uint16_t)i,
			  .command = VFIO_USER_REGION_READ,
			  .size = sizeof(message) },
			{ REG_SCRATCH + 4 * (i % 100), 2, 4 },
		};

		if (send(sender->fd, &message, sizeof(message), MSG_NOSIGNAL) != sizeof(message))
			break;
	}
	return NULL;
}

static void expect_many(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		struct client_message reply;

		assert_true(client_receive(&client, &reply));
		assert_int_equal(reply.header.id, (uint16_t)i);
		assert_int_equal(reply.header.flags, VFIO_USER_TYPE_REPLY);
		assert_int_equal(get_le32(reply.payload + 16), 0x1000 + i % 100);
	}
}

static void fill_scratch(void)
{
	for (uint32_t i = 0; i < 100; i++)
		client_write32(&client, 2, REG_SCRATCH + 4 * i, 0x1000 + i);
}

static void a_thousand_commands_are_answered_in_order(void **state)
{
	struct sender sender = { .n = 1000, .fd = client.fd };

	fill_scratch();
	for (unsigned int i = 0; i < 5; i++) {
		assert_int_equal(thread_start(&sender.thread, "sender", send_many, &sender), 0);
		expect_many(sender.n);
		pthread_join(sender.thread, NULL);
	}
	expect_in_step();
}

struct waited_order {
	struct order order;
	sem_t done;
};

static void run_reset(struct order *order)
{
	vfio_user_server_reset(server);
	sem_post(&((struct waited_order *)order)->done);
}

/* Has the device thread reset the device, as the control socket does. */
static void order_reset(void)
{
	struct waited_order reset = { .order.run = run_reset };
	struct timespec deadline;

	sem_init(&reset.done, 0, 0);
	vfio_user_server_order(server, &reset.order);
	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += CLIENT_PATIENCE_MS / 1000;
	assert_int_equal(sem_timedwait(&reset.done, &deadline), 0);
	sem_destroy(&reset.done);
}

/* It sends and does not read. Neither side has to remember without bounds, and nothing is lost. */
static void a_client_may_stop_reading(void **state)
{
	struct sender sender = { .n = 20000, .fd = client.fd };

	fill_scratch();
	assert_int_equal(thread_start(&sender.thread, "sender", send_many, &sender), 0);
	usleep(50000); /* until both directions are full */
	expect_many(sender.n);
	pthread_join(sender.thread, NULL);
	expect_in_step();
}

static void orders_are_taken_while_a_client_does_not_read(void **state)
{
	struct sender sender = { .n = 20000, .fd = client.fd };

	assert_int_equal(thread_start(&sender.thread, "sender", send_many, &sender), 0);
	usleep(50000);
	order_reset();
	assert_int_equal(atomic_load(&resets_reported), 1);
	/* And it may go without ever having read. */
	shutdown(client.fd, SHUT_RDWR);
	wait_until_disconnected();
	pthread_join(sender.thread, NULL);
}

static void *read_on_and_on(void *opaque)
{
	struct sender *sender = opaque;

	for (unsigned int i = 0; i < sender->n; i++) {
		struct {
			struct vfio_user_header header;
			struct vfio_user_region_access access;
		} message = {
			{ .command = VFIO_USER_REGION_READ, .size = sizeof(message) },
			{ REG_SCRATCH, 2, 4 },
		};
		uint8_t reply[sizeof(message) + 4];

		if (send(sender->fd, &message, sizeof(message), MSG_NOSIGNAL) != sizeof(message) ||
		    recv(sender->fd, reply, sizeof(reply), MSG_WAITALL) != sizeof(reply))
			return NULL;
	}
	return sender;
}

static void orders_are_taken_under_steady_traffic(void **state)
{
	struct sender sender = { .n = 20000, .fd = client.fd };
	unsigned int resets = 50;
	void *all;

	assert_int_equal(thread_start(&sender.thread, "reader", read_on_and_on, &sender), 0);
	for (unsigned int i = 0; i < resets; i++)
		order_reset();
	pthread_join(sender.thread, &all);
	assert_non_null(all);
	assert_int_equal(atomic_load(&resets_reported), resets);
	assert_int_equal(client_read32(&client, 2, REG_RESETS), resets);
}

static void run_nothing(struct order *order)
{
	sem_post(&((struct waited_order *)order)->done);
}

/* A doorbell that is rung again and again by a guest must not shut the main thread out. */
static void orders_are_taken_while_the_device_works_on(void **state)
{
	struct vfio_user_dma_access access;
	struct client_message message;
	struct waited_order order = { .order.run = run_nothing };
	uint8_t buf[512];
	unsigned int i;

	map_without_descriptor();
	sem_init(&order.done, 0, 0);
	start_dma(DMA_READ, 0x100000, 64);
	for (i = 0; i < 1000; i++) {
		struct vfio_user_region_access write = { REG_DMA_COMMAND, 2, 4 };
		uint8_t payload[20];
		size_t n = 0;

		access = expect_dma(VFIO_USER_DMA_READ, &message);
		if (i == 5)
			vfio_user_server_order(server, &order.order);
		memcpy(payload, &write, sizeof(write));
		put_le32(payload + 16, DMA_READ);
		n += client_make(&client, buf, VFIO_USER_REGION_WRITE, VFIO_USER_NO_REPLY, payload,
				 sizeof(payload), NULL);
		n += make_dma_reply(buf + n, message.header.id, &access, false);
		client_send(&client, buf, n, NULL, 0);
		if (sem_trywait(&order.done) == 0)
			break;
	}
	assert_true(i < 1000);
	expect_dma(VFIO_USER_DMA_READ, &message);
	sem_destroy(&order.done);
}

/* --- the end of a connection --- */

static unsigned int count_maps(void)
{
	FILE *f = fopen("/proc/self/maps", "re");
	char line[512];
	unsigned int n = 0;

	assert_non_null(f);
	while (fgets(line, sizeof(line), f))
		n += strstr(line, "memfd:test-guest") != NULL;
	fclose(f);
	return n;
}

static void connections_leave_nothing_behind(void **state)
{
	int guest = make_memory(1 << 20), irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	unsigned int fds = 0;

	for (unsigned int i = 0; i < 300; i++) {
		static const uint8_t half[40] = { 1, 2, VFIO_USER_REGION_WRITE, 0, 200 };

		connect_client(&client);
		switch (i % 5) {
		case 0: /* not a byte */
			break;
		case 1: /* a part of a header */
			client_send(&client, half, i % 16, &irq, i % 2 && i % 16);
			break;
		case 2: /* a part of a message */
			client_send(&client, half, 16 + i % 24, &irq, i % 2);
			break;
		case 3: /* everything, and a reply unread */
			client_negotiate(&client);
			assert_int_equal(client_dma_map(&client, 0, 1 << 20, 3, guest, 0), 0);
			assert_int_equal(client_dma_map(&client, 1 << 30, 1 << 20, 3, -1, 0), 0);
			assert_int_equal(
				client_set_irqs(&client, bind_flags, 0, 0, 1, NULL, 0, &irq, 1), 0);
			assert_int_equal(
				client_set_irqs(&client, bind_flags, 1, 3, 1, NULL, 0, &irq, 1), 0);
			assert_int_equal(client_set_irqs(&client,
							 VFIO_IRQ_SET_DATA_EVENTFD |
								 VFIO_IRQ_SET_ACTION_UNMASK,
							 0, 0, 1, NULL, 0, &irq, 1),
					 0);
			assert_int_equal(count_maps(), 1);
			send_read(0, 0, 1 << 20);
			break;
		default: /* out of step */
			client_send(&client, "\1\0\1\0\5\0\0\0\0\0\0\0\0\0\0", 16, &irq, 1);
			assert_true(client_is_hung_up(&client));
		}
		leave();
		assert_int_equal(count_maps(), 0);
		if (i == 10)
			fds = count_fds();
	}
	assert_int_equal(count_fds(), fds);
	assert_int_equal(vfio_user_server_stats(server)->connections, 300);
	close(guest);
	close(irq);
}

static void the_next_client_finds_a_new_device(void **state)
{
	int irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	client_write32(&client, 2, REG_SCRATCH, 0x1111);
	client_write32(&client, 0, 0x100, 0x2222);
	client_write32(&client, CONFIG, PCI_BASE_ADDRESS_0, 0xf0000000);
	client_write32(&client, 2, REG_INTX, 1);
	leave();
	connect_client(&client);
	client_negotiate(&client);
	assert_int_equal(client_read32(&client, 2, REG_SCRATCH), 0);
	assert_int_equal(client_read32(&client, 0, 0x100), 0);
	assert_int_equal(client_read32(&client, CONFIG, PCI_BASE_ADDRESS_0), 8);
	assert_int_equal(client_set_irqs(&client, bind_flags, 0, 0, 1, NULL, 0, &irq, 1), 0);
	assert_int_equal(signals(irq), 0);
	close(irq);
}

static void with_keep_state_it_finds_the_old_one(void **state)
{
	int irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	client_write32(&client, 2, REG_SCRATCH, 0x1111);
	client_write32(&client, 0, 0x100, 0x2222);
	client_write32(&client, CONFIG, PCI_BASE_ADDRESS_0, 0xf0000000);
	client_write32(&client, 2, REG_INTX, 1);
	assert_int_equal(client_dma_map(&client, 0, 4096, 3, -1, 0), 0);
	leave();
	connect_client(&client);
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0, NULL),
			 -EINVAL);
	client_negotiate(&client); /* the conversation begins anew, though */
	assert_int_equal(client_read32(&client, 2, REG_SCRATCH), 0x1111);
	assert_int_equal(client_read32(&client, 0, 0x100), 0x2222);
	assert_int_equal(client_read32(&client, CONFIG, PCI_BASE_ADDRESS_0), 0xf0000008);
	assert_int_equal(client_dma_unmap(&client, 0, 4096), -ENOENT);
	assert_int_equal(client_set_irqs(&client, bind_flags, 0, 0, 1, NULL, 0, &irq, 1), 0);
	assert_int_equal(signals(irq), 1);
	close(irq);
}

static void reset_keeps_memory_maps_and_bindings(void **state)
{
	int irq = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_int_equal(client_dma_map(&client, 0x1000, 4096, 3, -1, 0), 0);
	assert_int_equal(client_set_irqs(&client, bind_flags, 1, 0, 1, NULL, 0, &irq, 1), 0);
	client_write32(&client, 2, REG_SCRATCH, 0x1111);
	client_write32(&client, 0, 0x100, 0x2222);
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_RESET, "x", 1, NULL, 0, NULL),
			 -EINVAL);
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0, NULL), 0);
	expect_in_step(); /* the report follows the reply */
	assert_int_equal(atomic_load(&resets_reported), 1);
	assert_int_equal(client_read32(&client, 2, REG_SCRATCH), 0);
	assert_int_equal(client_read32(&client, 0, 0x100), 0x2222);
	assert_int_equal(client_dma_unmap(&client, 0x1000, 4096), 0);
	client_write32(&client, 2, REG_MSI, 0);
	assert_int_equal(signals(irq), 1);
	close(irq);
}

/* The server ends with a client connected, whatever it is at. */
static void the_server_may_end_first(void **state)
{
	struct client_message message;

	send_read(2, 0, 4);
	assert_true(client_receive(&client, &message));
	vfio_user_server_free(server);
	server = NULL;
	assert_true(client_is_hung_up(&client));
	wait_until_disconnected();

	/* A connection that the device thread never saw. */
	assert_int_equal(vfio_user_server_new(&device.vfio, 0, false, &events, NULL, &server), 0);
	client_done(&client);
	connect_client(&client);
	vfio_user_server_free(server);
	server = NULL;
	assert_true(client_is_hung_up(&client));
	wait_until_disconnected();
}

/* --- the cost of an access --- */

static void an_access_costs_one_receive_and_one_send(void **state)
{
	enum { N = 1000 };
	unsigned int polls;

	expect_in_step();
	memset(&calls, 0, sizeof(calls));
	for (uint32_t i = 0; i < N; i++)
		client_read32(&client, 2, REG_SCRATCH);
	assert_int_equal(atomic_load(&calls.recvs), N);
	assert_int_equal(atomic_load(&calls.sends), N);
	assert_int_equal(atomic_load(&calls.mallocs), 0);
	/* It spins for a second: only an uncommonly busy machine makes it sleep. */
	polls = atomic_load(&calls.polls);
	assert_true(polls < 3);
}

static void asleep_it_costs_one_poll_more(void **state)
{
	enum { N = 1000 };

	client_read32(&client, 2, REG_SCRATCH);
	usleep(1000);
	memset(&calls, 0, sizeof(calls));
	for (uint32_t i = 0; i < N; i++)
		client_read32(&client, 2, REG_SCRATCH);
	assert_int_equal(atomic_load(&calls.recvs), N);
	assert_int_equal(atomic_load(&calls.sends), N);
	assert_int_equal(atomic_load(&calls.mallocs), 0);
	assert_in_range(atomic_load(&calls.polls), N - 1, N + 1);
}

/* --- whatever else comes --- */

/* Numbers that are likely to be a bound of something, or one off. */
static uint32_t interesting(unsigned int *seed)
{
	static const uint32_t values[] = {
		0,	1,	  2,	      3,	  4,	      7,	  8,
		9,	16,	  20,	      24,	  32,	      0x100,	  0x400,
		0x408,	0x40c,	  0x418,      0x41c,	  0xffc,      0x1000,	  0x2000,
		0x6000, 0x100000, 0x7fffffff, 0x80000000, 0xfffff000, 0xffffffff,
	};

	return rand_r(seed) % 8 ? values[(unsigned int)rand_r(seed) % ARRAY_SIZE(values)]
				: (uint32_t)rand_r(seed);
}

/* The reply to id; commands of the server's in between are refused. */
static void expect_reply(uint16_t id)
{
	struct client_message message;

	for (;;) {
		assert_true(client_receive(&client, &message));
		close_fds(message.fds, message.n_fds);
		if ((message.header.flags & VFIO_USER_TYPE_MASK) == VFIO_USER_TYPE_REPLY)
			break;
		reply_to_dma(message.header.command, message.header.id, NULL, 0, EFAULT);
	}
	assert_int_equal(message.header.id, id);
}

static void any_command_is_answered(void **state)
{
	int fds[2] = { make_memory(1 << 20), eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) };
	unsigned int seed = 3, open_now = count_fds();

	for (unsigned int i = 0; i < 20000; i++) {
		uint16_t command = (uint16_t)((unsigned int)rand_r(&seed) % 20), id;
		uint32_t flags = rand_r(&seed) % 4 ? 0 : VFIO_USER_NO_REPLY;
		size_t length = (unsigned int)rand_r(&seed) % 24 * 4;
		uint8_t payload[96];

		for (size_t at = 0; at < sizeof(payload); at += 4)
			put_le32(payload + at, interesting(&seed));
		switch (rand_r(&seed) % 3) { /* mostly what gets past the first check */
		case 0:
			put_le32(payload, 1024);
			put_le32(payload + 4, (uint32_t)rand_r(&seed) % 64);
			put_le32(payload + 8, (uint32_t)rand_r(&seed) % 10);
			break;
		case 1:
			put_le32(payload + 4, 0);
			put_le32(payload + 8, (uint32_t)rand_r(&seed) % 10);
			put_le32(payload + 12, (uint32_t)length - 16);
			break;
		default:
			break;
		}
		id = client_command(&client, command, flags, payload, length,
				    fds + (unsigned int)rand_r(&seed) % 2,
				    (unsigned int)rand_r(&seed) % 2);
		if (!flags)
			expect_reply(id);
	}
	{
		struct vfio_user_region_access access = { REG_SCRATCH, 2, 4 };

		expect_reply(client_command(&client, VFIO_USER_REGION_READ, 0, &access,
					    sizeof(access), NULL, 0));
	}
	/* Descriptors that stay are those of interrupts: one a vector at most, and INTx' unmask. */
	assert_true(count_fds() <= open_now + 1 + VECTORS + 2 + 1);
	close_fds(fds, 2);
}

/* --- as the VMMs do it --- */

/* QEMU 11: the order on realize, with its DMA maps pipelined. */
static void qemu_realizes(void **state)
{
	static const uint32_t regions[] = { 0, 1, 2, 3, 4, 5, 7 };
	int ram = make_memory(1 << 20), intx = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
	    err = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), vectors[4];
	struct client_message reply;
	struct vfio_region_info info;
	uint8_t config[256];
	uint16_t ids[3];

	connect_client(&client);
	client_negotiate(&client);
	for (unsigned int i = 0; i < 3; i++) {
		struct vfio_user_dma_map map = {
			.argsz = 32,
			.flags = i == 1 ? VFIO_DMA_MAP_FLAG_READ : 3,
			.address = i << 20,
			.size = 1 << 20,
		};

		/* RAM, the firmware's ROM (read-only, no descriptor), our own BAR. */
		ids[i] = client_command(&client, VFIO_USER_DMA_MAP, 0, &map, sizeof(map), &ram,
					i == 0);
	}
	for (unsigned int i = 0; i < 3; i++) {
		assert_true(client_receive(&client, &reply));
		assert_int_equal(reply.header.id, ids[i]);
		assert_int_equal(reply.header.flags, VFIO_USER_TYPE_REPLY);
		assert_int_equal(reply.length, 0);
	}
	for (size_t i = 0; i < ARRAY_SIZE(regions); i++) {
		assert_int_equal(region_info(regions[i], 32, &info, &reply), 0);
		close_fds(reply.fds, reply.n_fds);
		if (info.argsz > 32) {
			assert_int_equal(region_info(regions[i], info.argsz, &info, &reply), 0);
			assert_true(info.flags & VFIO_REGION_INFO_FLAG_CAPS);
			close_fds(reply.fds, reply.n_fds);
		}
	}
	assert_int_equal(client_read(&client, CONFIG, 0, config, sizeof(config)), 0);
	for (uint64_t at = PCI_BASE_ADDRESS_0; at <= PCI_BASE_ADDRESS_5; at += 4) {
		uint32_t old = client_read32(&client, CONFIG, at);

		client_write32(&client, CONFIG, at, 0xffffffff);
		client_read32(&client, CONFIG, at);
		client_write32(&client, CONFIG, at, old);
	}
	assert_int_equal(client_set_irqs(&client, bind_flags, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL,
					 0, &intx, 1),
			 0);
	assert_int_equal(client_set_irqs(&client, bind_flags, VFIO_PCI_ERR_IRQ_INDEX, 0, 1, NULL, 0,
					 &err, 1),
			 0);
	/* A reset: INTx off, RESET, INTx on. */
	assert_int_equal(client_set_irqs(&client, none_trigger, VFIO_PCI_INTX_IRQ_INDEX, 0, 0, NULL,
					 0, NULL, 0),
			 0);
	assert_int_equal(client_call(&client, VFIO_USER_DEVICE_RESET, NULL, 0, NULL, 0, NULL), 0);
	assert_int_equal(client_set_irqs(&client, bind_flags, VFIO_PCI_INTX_IRQ_INDEX, 0, 1, NULL,
					 0, &intx, 1),
			 0);
	/* The driver turns MSI on; firmware moves windows about. */
	for (unsigned int i = 0; i < 4; i++)
		vectors[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	assert_int_equal(client_set_irqs(&client, bind_flags, VFIO_PCI_MSI_IRQ_INDEX, 0, 4, NULL, 0,
					 vectors, 4),
			 0);
	for (unsigned int i = 0; i < 20; i++) {
		assert_int_equal(client_dma_unmap(&client, 2 << 20, 1 << 20), 0);
		assert_int_equal(client_dma_map(&client, 2 << 20, 1 << 20, 3, i % 2 ? -1 : ram, 0),
				 0);
	}
	client_write32(&client, 2, REG_MSI, 2);
	assert_int_equal(signals(vectors[2]), 1);
	close_fds(vectors, 4);
	close(ram);
	close(intx);
	close(err);
}

int main(void)
{
#define T(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
#define U(test) cmocka_unit_test_setup_teardown(test, setup_unconnected, teardown)
	const struct CMUnitTest tests[] = {
		U(versions_are_negotiated),
		U(the_version_reply_fits_qemus_buffer),
		U(bad_proposals_are_refused),
		T(device_info),
		T(every_region_index_is_answered),
		T(bad_region_infos_are_refused),
		T(a_sparse_region_is_answered_whole_when_there_is_room),
		T(mapped_regions_are_the_devices_memory),
		T(every_irq_index_is_answered),
		T(interrupts_are_signalled),
		T(intx_is_unmasked_by_message_and_by_eventfd),
		T(bad_set_irqs_are_refused),
		T(registers_are_accessed_at_any_width_and_offset),
		T(memory_is_accessed_by_message_too),
		T(accesses_outside_are_refused),
		T(many_writes_come_in_one_message),
		T(a_bad_write_multi_writes_nothing),
		T(posted_commands_are_not_answered),
		T(what_is_not_known_is_not_supported),
		T(oversized_commands_are_refused),
		T(replies_that_nobody_asked_for_are_ignored),
		T(messages_of_no_type_end_it),
		T(a_size_below_a_header_ends_it),
		T(maps_are_checked),
		T(dma_by_descriptor),
		T(dma_by_message),
		T(dma_by_message_in_pieces),
		T(failed_dma_is_told_to_the_device),
		T(commands_are_served_while_dma_waits),
		T(work_may_be_asked_for_while_it_is_done),
		T(unmap_is_answered_while_dma_waits),
		T(the_client_may_go_while_dma_waits),
		T(dma_that_is_not_answered_times_out),
		T(a_thousand_commands_are_answered_in_order),
		T(a_client_may_stop_reading),
		T(orders_are_taken_while_a_client_does_not_read),
		T(orders_are_taken_under_steady_traffic),
		cmocka_unit_test_setup_teardown(orders_are_taken_under_steady_traffic,
						setup_spinning, teardown),
		T(orders_are_taken_while_the_device_works_on),
		U(connections_leave_nothing_behind),
		T(the_next_client_finds_a_new_device),
		cmocka_unit_test_setup_teardown(with_keep_state_it_finds_the_old_one, setup_keeping,
						teardown),
		T(reset_keeps_memory_maps_and_bindings),
		T(the_server_may_end_first),
		cmocka_unit_test_setup_teardown(an_access_costs_one_receive_and_one_send,
						setup_spinning, teardown),
		cmocka_unit_test_setup_teardown(asleep_it_costs_one_poll_more, setup_keeping,
						teardown),
		T(any_command_is_answered),
		U(qemu_realizes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
