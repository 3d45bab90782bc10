/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vfio_user_fixture.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "transport/spin.h"
#include "unit.h"

struct test_device device;
struct vfio_user_server *server;
struct client client;
sem_t disconnected;
atomic_int disconnect_reason;
atomic_uint resets_reported;

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
	if (offset >= REG_RUNG && offset < REG_RUNG + sizeof(device.rung))
		return device.rung[(offset - REG_RUNG) / 4];
	if (offset + width <= REG_SCRATCH + sizeof(device.scratch))
		return get_le(device.scratch + offset, width);
	if (offset >= REG_BUFFER)
		return get_le(device.buffer + (offset - REG_BUFFER), width);
	return UINT64_MAX;
}

static void doorbell(void *opaque, unsigned int index)
{
	device.rung[index]++;
	if (index == 0)
		vfio_device_kick(&device.vfio);
}

static void doorbell_write(unsigned int index, uint64_t value)
{
	if (!device.doorbells[index].match || value == device.doorbells[index].datamatch)
		doorbell(NULL, index);
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
	if (offset >= REG_DOORBELLS && offset < REG_DOORBELLS + 4 * DOORBELLS)
		doorbell_write((unsigned int)(offset - REG_DOORBELLS) / 4, value);
	else if (offset + width <= REG_SCRATCH + sizeof(device.scratch))
		put_le(device.scratch + offset, value, width);
	else if (offset >= REG_BUFFER)
		put_le(device.buffer + (offset - REG_BUFFER), value, width);
}

static const struct vfio_region_ops regs_ops = { regs_read, regs_write, 8, doorbell };

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
	device.result = -EINPROGRESS;
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
	memset(device.rung, 0, sizeof(device.rung));
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

static void add_doorbells(struct vfio_region *region)
{
	for (uint32_t i = 0; i < DOORBELLS; i++)
		device.doorbells[i] = (struct vfio_doorbell){
			.offset = REG_DOORBELLS + 4 * i,
			.size = 4,
			.match = i == 1,
			.datamatch = i == 1 ? BELL_MATCH : 0,
			.fd = -1,
		};
	region->doorbells = device.doorbells;
	region->n_doorbells = DOORBELLS;
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
	add_doorbells(&regions[2]);
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
	/* Its driver is always there. */
	device.pci.config[PCI_COMMAND] |= PCI_COMMAND_MASTER;
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

const struct vfio_user_server_events events = { on_disconnected, on_reset };

void connect_client(struct client *c)
{
	int pair[2];

	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	client_init(c, pair[0]);
	assert_int_equal(vfio_user_server_connect(server, pair[1]), 0);
}

void wait_until_disconnected(void)
{
	struct timespec deadline;

	clock_gettime(CLOCK_REALTIME, &deadline);
	deadline.tv_sec += CLIENT_PATIENCE_MS / 1000;
	assert_int_equal(sem_timedwait(&disconnected, &deadline), 0);
}

void leave(void)
{
	client_done(&client);
	wait_until_disconnected();
}

static unsigned int fds_before;

static void start(int poll_us, bool keep_state)
{
	fds_before = count_fds();
	make_device();
	sem_init(&disconnected, 0, 0);
	atomic_store(&resets_reported, 0);
	assert_int_equal(
		vfio_user_server_new(&device.vfio, poll_us, keep_state, &events, NULL, &server), 0);
}

int setup_unconnected(void **state)
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

int setup(void **state)
{
	return start_connected(SPIN_AUTO, false);
}

int setup_keeping(void **state)
{
	return start_connected(0, true);
}

int setup_spinning(void **state)
{
	return start_connected(SPIN_MAX_US, false);
}

int teardown(void **state)
{
	client_done(&client);
	vfio_user_server_free(server);
	sem_destroy(&disconnected);
	destroy_device();
	assert_int_equal(count_fds(), fds_before);
	return 0;
}

/* The connection still works. */
void expect_in_step(void)
{
	client_write32(&client, 2, REG_SCRATCH + 0x3fc, 0x12345678);
	assert_int_equal(client_read32(&client, 2, REG_SCRATCH + 0x3fc), 0x12345678);
}

int make_memory(size_t size)
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

void start_dma(uint32_t command, uint64_t iova, uint32_t length)
{
	assert_int_equal(client_write(&client, 2, REG_DMA_IOVA, &iova, sizeof(iova)), 0);
	client_write32(&client, 2, REG_DMA_LENGTH, length);
	client_write32(&client, 2, REG_DMA_COMMAND, command);
}

int dma_result(void)
{
	return (int)client_read32(&client, 2, REG_DMA_RESULT);
}

void send_read(uint32_t region, uint64_t offset, uint32_t n)
{
	struct vfio_user_region_access access = { offset, region, n };

	client_command(&client, VFIO_USER_REGION_READ, 0, &access, sizeof(access), NULL, 0);
}

uint64_t signals(int fd)
{
	uint64_t n = 0;

	return read(fd, &n, sizeof(n)) == (ssize_t)sizeof(n) ? n : 0;
}

uint64_t wait_for_signal(int fd)
{
	struct pollfd pfd = { .fd = fd, .events = POLLIN };

	assert_int_equal(poll(&pfd, 1, CLIENT_PATIENCE_MS), 1);
	return signals(fd);
}

void reply_to_dma(uint16_t command, uint16_t id, const void *payload, size_t length, int error)
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
