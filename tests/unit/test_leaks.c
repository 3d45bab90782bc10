/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * test-leaks VGPUD: a real vgpud, and ten thousand clients that connect, map
 * memory, bind eventfds, and vanish: in good order, in the middle of a message, or
 * killed; with viewers and control clients among them. Whatever they did, the
 * process has no more descriptors, mappings, threads and memory than before.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/memfd.h"
#include "unit.h"
#include "vfio_user_client.h"

enum {
	ROUNDS = 10000,
	WARM_UP = 400,
	MAPS = 4,
	VECTORS = 4,
	FILE_SIZE = 1 << 20,
	PATIENCE_MS = 20000,
	RW = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
};

/*
 * An allocator keeps a page here and there; ten thousand leaks of the least that
 * it gives out, 32 bytes, are more. A sanitizer maps memory for itself as it goes
 * on; but then it is the one that tells of leaks, when vgpud ends.
 */
#ifdef __SANITIZE_ADDRESS__
enum { MAX_GROWTH_KIB = 1024, MAX_MORE_ANONYMOUS = 32 };
#else
enum { MAX_GROWTH_KIB = 64, MAX_MORE_ANONYMOUS = 0 };
#endif

static const char *vgpud;
static char directory[] = "/tmp/test-leaks.XXXXXX";
static pid_t daemon_pid;
static int guest; /* memory */
static int irqs[VECTORS];

static void path_in_directory(const char *name, char *buf, size_t size)
{
	snprintf(buf, size, "%s/%s", directory, name);
}

static int connect_to(const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	path_in_directory(name, addr.sun_path, sizeof(addr.sun_path));
	assert_true(fd >= 0);
	for (int ms = 0; connect(fd, (struct sockaddr *)&addr, sizeof(addr)) < 0; ms++) {
		assert_true(ms < PATIENCE_MS && (errno == ENOENT || errno == ECONNREFUSED ||
						 errno == EAGAIN || errno == EINTR));
		usleep(1000);
	}
	return fd;
}

/* --- what a process holds --- */

struct holdings {
	long fds, files, anonymous, threads, private_kib; /* files: mappings of them */
};

static long count_entries(const char *what)
{
	char path[64];
	long n = 0;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/%s", daemon_pid, what);
	dir = opendir(path);
	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 2;
}

static FILE *open_file(const char *what)
{
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/%s", daemon_pid, what);
	f = fopen(path, "re");
	assert_non_null(f);
	return f;
}

/* Mappings of files, memory files among them, or all others. */
static long count_maps(bool files)
{
	FILE *f = open_file("maps");
	char line[512];
	long n = 0;

	while (fgets(line, sizeof(line), f))
		n += !!strchr(line, '/') == files;
	fclose(f);
	return n;
}

static long private_kib(void)
{
	FILE *f = open_file("smaps_rollup");
	char line[512];
	long n = 0, value;

	while (fgets(line, sizeof(line), f))
		if (sscanf(line, "Private_Dirty: %ld", &value) == 1 ||
		    sscanf(line, "Swap: %ld", &value) == 1)
			n += value;
	fclose(f);
	return n;
}

static struct holdings look(void)
{
	return (struct holdings){
		.fds = count_entries("fd"),
		.files = count_maps(true),
		.anonymous = count_maps(false),
		.threads = count_entries("task"),
		.private_kib = private_kib(),
	};
}

static bool holds_as_much(const struct holdings *a, const struct holdings *b)
{
	return a->fds == b->fds && a->files == b->files && a->threads == b->threads;
}

/* The last client's end is seen to in the background: wait for it. */
static struct holdings look_when_quiet(const struct holdings *expected)
{
	struct holdings now = look();

	for (int ms = 0; ms < PATIENCE_MS; ms += 20) {
		struct holdings before = now;

		usleep(20000);
		now = look();
		if (expected ? holds_as_much(&now, expected)
			     : ms > 500 && holds_as_much(&now, &before))
			break;
	}
	return now;
}

static void show(const char *when, const struct holdings *h)
{
	print_message("%s: %ld descriptors, %ld + %ld mappings, %ld threads, %ld KiB of its own\n",
		      when, h->fds, h->files, h->anonymous, h->threads, h->private_kib);
}

/* --- a client --- */

static unsigned int ask_for_everything(struct client *client)
{
	const struct vfio_user_region_io_fds io_fds = { .argsz = 1024 };
	const struct vfio_user_region_access read = { 0, VFIO_PCI_CONFIG_REGION_INDEX, 256 };
	const struct vfio_irq_set set = {
		.argsz = sizeof(set),
		.flags = VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER,
		.index = VFIO_PCI_MSI_IRQ_INDEX,
		.count = VECTORS,
	};
	unsigned int n = 0;

	for (uint64_t i = 0; i < MAPS; i++, n++) {
		struct vfio_user_dma_map map = { .argsz = sizeof(map),
						 .flags = RW,
						 .address = i * 2 * FILE_SIZE,
						 .size = FILE_SIZE };

		client_command(client, VFIO_USER_DMA_MAP, 0, &map, sizeof(map), &guest,
			       i != MAPS - 1);
	}
	for (uint32_t i = 0; i < 5; i++, n++) {
		struct vfio_region_info info = { .argsz = 256, .index = i };

		client_command(client, VFIO_USER_DEVICE_GET_REGION_INFO, 0, &info, sizeof(info),
			       NULL, 0);
	}
	client_command(client, VFIO_USER_DEVICE_SET_IRQS, 0, &set, sizeof(set), irqs, VECTORS);
	client_command(client, VFIO_USER_DEVICE_GET_REGION_IO_FDS, 0, &io_fds, sizeof(io_fds), NULL,
		       0);
	client_command(client, VFIO_USER_REGION_READ, 0, &read, sizeof(read), NULL, 0);
	return n + 3;
}

static void live(struct client *client)
{
	struct client_message reply;
	unsigned int n;

	client_negotiate(client);
	n = ask_for_everything(client);
	while (n--) {
		assert_true(client_receive(client, &reply));
		close_fds(reply.fds, reply.n_fds);
	}
}

/* The half of a message, with descriptors. */
static void begin_a_message(struct client *client)
{
	uint8_t half[20] = { 0x99, 0, VFIO_USER_DMA_MAP, 0, 48 };

	client_send(client, half, sizeof(half), irqs, 3);
}

static void leave_something_unread(struct client *client)
{
	const struct vfio_user_region_access read = { 0, VFIO_PCI_BAR0_REGION_INDEX, 4096 };

	for (int i = 0; i < 4; i++)
		client_command(client, VFIO_USER_REGION_READ, 0, &read, sizeof(read), NULL, 0);
}

static void be_killed(const char *device)
{
	pid_t child = fork();
	struct client client;
	int status;

	assert_true(child >= 0);
	if (!child) {
		client_init(&client, connect_to(device));
		live(&client);
		begin_a_message(&client);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void come_and_go(unsigned int i)
{
	const char *device = i % 5 == 4 ? "bochs" : "selftest";
	struct client client;

	if (i % 8 == 7) {
		be_killed(device);
		return;
	}
	client_init(&client, connect_to(device));
	switch (i % 8) {
	case 0: /* says nothing */
		break;
	case 1:
		client_negotiate(&client);
		break;
	case 2:
	case 3:
		live(&client);
		begin_a_message(&client);
		break;
	case 4:
		live(&client);
		leave_something_unread(&client);
		break;
	default:
		live(&client);
	}
	client_done(&client);
}

/* --- a viewer, a control client --- */

static void receive_some(int fd, size_t at_least)
{
	char buf[4096];

	while (at_least) {
		ssize_t n = recv(fd, buf, at_least < sizeof(buf) ? at_least : sizeof(buf), 0);

		assert_true(n > 0);
		at_least -= (size_t)n;
	}
}

/* RFC 6143, 7.1 and 7.5.3; leaves after `stages` of what a viewer says. */
static void view(unsigned int stages)
{
	static const struct {
		const char *bytes;
		size_t length, answer; /* bytes that must come before */
	} said[] = {
		{ "RFB 003.008\n", 12, 12 },
		{ "\1", 1, 2 }, /* no authentication */
		{ "\1", 1, 4 }, /* shared */
		{ "\3\0\0\0\0\0\0\100\0\100", 10, 24 }, /* a picture of 64x64 */
		{ "\3\1\0\0\0\0\2\200", 8, 64 * 64 * 4 }, /* the half of a request */
	};
	int fd = connect_to("vnc");

	for (unsigned int i = 0; i < stages && i < ARRAY_SIZE(said); i++) {
		receive_some(fd, said[i].answer);
		assert_int_equal(send(fd, said[i].bytes, said[i].length, MSG_NOSIGNAL),
				 said[i].length);
	}
	close(fd);
}

static void control(unsigned int kind)
{
	static const char call[] = "{\"method\":\"org.vgpud.Control.Show\"}";
	static const char events[] = "{\"method\":\"org.vgpud.Control.Events\",\"more\":true}";
	int fd = connect_to("ctl");

	switch (kind % 3) {
	case 0:
		assert_true(send(fd, call, sizeof(call), MSG_NOSIGNAL) > 0);
		receive_some(fd, 16);
		break;
	case 1:
		assert_true(send(fd, call, sizeof(call) / 2, MSG_NOSIGNAL) > 0);
		break;
	default:
		assert_true(send(fd, events, sizeof(events), MSG_NOSIGNAL) > 0);
	}
	close(fd);
}

static void do_rounds(unsigned int n)
{
	for (unsigned int i = 0; i < n; i++) {
		come_and_go(i);
		if (i % 25 == 0)
			view(i / 25 % 6);
		if (i % 25 == 12)
			control(i / 25);
	}
}

/* --- the test --- */

/*
 * Freed memory is to be free: what a sanitizer keeps of it would look like a
 * leak, and so would stacks and heaps that the C library keeps for the next
 * thread, whose number depends on how many viewers happened to be there at once.
 */
static void prepare_environment(void)
{
	const char *options = getenv("ASAN_OPTIONS");
	char buf[512];

	snprintf(buf, sizeof(buf),
		 "%s:quarantine_size_mb=0:thread_local_quarantine_size_kb=0:"
		 "detect_stack_use_after_return=0",
		 options ? options : "");
	setenv("ASAN_OPTIONS", buf, 1);
	setenv("GLIBC_TUNABLES", "glibc.malloc.arena_max=1:glibc.pthread.stack_cache_size=0", 1);
}

static void start_daemon(void)
{
	char bochs[128], selftest[128], console[128], control_path[128];

	snprintf(bochs, sizeof(bochs),
		 "--device=model=bochs-display,id=screen,vram=4M,socket=%s/bochs", directory);
	snprintf(console, sizeof(console), "--console=vnc=unix:%s/vnc", directory);
	snprintf(selftest, sizeof(selftest),
		 "--device=model=selftest,id=test,aperture=16M,socket=%s/selftest", directory);
	snprintf(control_path, sizeof(control_path), "--control=%s/ctl", directory);
	daemon_pid = fork();
	assert_true(daemon_pid >= 0);
	if (!daemon_pid) {
		prepare_environment();
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		execl(vgpud, vgpud, bochs, console, selftest, control_path, "--name=leaks",
		      "--log-level=error", NULL);
		_exit(127);
	}
}

static int set_up(void **state)
{
	assert_non_null(mkdtemp(directory));
	guest = memfd_new("test-guest");
	assert_int_equal(ftruncate(guest, FILE_SIZE), 0);
	for (size_t i = 0; i < VECTORS; i++)
		irqs[i] = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	start_daemon();
	return 0;
}

static int clean_up(void **state)
{
	static const char *const names[] = { "bochs", "selftest", "vnc", "ctl" };
	int status = -1;

	kill(daemon_pid, SIGTERM);
	waitpid(daemon_pid, &status, 0);
	for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
		char path[128];

		path_in_directory(names[i], path, sizeof(path));
		unlink(path);
	}
	rmdir(directory);
	close_fds(irqs, VECTORS);
	close(guest);
	assert_int_equal(status, 0);
	return 0;
}

static void ten_thousand_clients_leave_nothing_behind(void **state)
{
	struct holdings before, after;
	struct timespec begin, end;

	do_rounds(WARM_UP);
	before = look_when_quiet(NULL);
	show("before", &before);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	do_rounds(ROUNDS);
	clock_gettime(CLOCK_MONOTONIC, &end);
	after = look_when_quiet(&before);
	show("after", &after);
	print_message("%d clients in %ld s\n", ROUNDS, (long)(end.tv_sec - begin.tv_sec));
	assert_int_equal(after.fds, before.fds);
	assert_int_equal(after.files, before.files);
	assert_in_range(after.anonymous, 0, before.anonymous + MAX_MORE_ANONYMOUS);
	assert_int_equal(after.threads, before.threads);
	assert_in_range(after.private_kib, 0, before.private_kib + MAX_GROWTH_KIB);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(ten_thousand_clients_leave_nothing_behind, set_up,
						clean_up),
	};

	if (argc != 2) {
		fprintf(stderr, "usage: test-leaks VGPUD\n");
		return 2;
	}
	vgpud = argv[1];
	return cmocka_run_group_tests(tests, NULL, NULL);
}
