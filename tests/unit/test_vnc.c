/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The VNC console seen by real viewers, and by some that mean no good. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "console/console.h"
#include "unit.h"
#include "vnc_viewer.h"

enum {
	MEM_SIZE = 5 << 20,
};

static char dir[] = "/tmp/test-vnc-XXXXXX";
static uint8_t mem[MEM_SIZE] __attribute__((aligned(4096)));
static const struct scanout_mode mode_vga = { 640, 480, 640 * 4, SCANOUT_XRGB8888, 0 };
static const struct scanout_mode mode_big = { 1366, 768, 1366 * 4, SCANOUT_XRGB8888, 0 };
static const struct viewer_options plain = { 0 };

struct fixture {
	struct scanout *so;
	struct console *console;
	char *address;
};

/* A guest that draws while others look. */
static __attribute__((no_sanitize("thread"))) void draw(uint32_t n)
{
	volatile uint32_t *p = (volatile uint32_t *)mem;

	/* Flat areas, a gradient and noise, so that encoders use all they have. */
	for (uint32_t i = 0; i < MEM_SIZE / 4; i++)
		p[i] = i / 9973 % 3 == 0   ? n * 0x10203
		       : i / 9973 % 3 == 1 ? i * n
					   : (i * 2654435761u ^ n) >> 3;
}

static __attribute__((no_sanitize("thread"))) void set_pixel(uint32_t i, uint32_t rgb)
{
	((volatile uint32_t *)mem)[i] = rgb;
}

static char *describe_address(struct console *console)
{
	json_t *description = console_describe(console);
	char *address = strdup(json_string_value(json_object_get(description, "address")));

	json_decref(description);
	return address;
}

static void open_fixture(struct fixture *f, const char *spec)
{
	char *error = NULL;

	memset(mem, 0, sizeof(mem));
	f->so = scanout_new(mem, sizeof(mem));
	assert_non_null(f->so);
	scanout_set_interval(f->so, 2000, 20000);
	assert_int_equal(scanout_set(f->so, SCANOUT_ON, &mode_vga), 0);
	if (console_open(spec, f->so, "the title", &f->console, &error) < 0 ||
	    console_start(f->console, &error) < 0)
		fail_msg("%s", error);
	f->address = describe_address(f->console);
}

static void close_fixture(struct fixture *f)
{
	struct scanout_info info;

	console_close(f->console);
	scanout_get_info(f->so, &info);
	assert_int_equal(info.viewers, 0);
	scanout_free(f->so);
	free(f->address);
}

static char *unix_spec(const char *rest)
{
	char *spec;

	assert_true(asprintf(&spec, "vnc=unix:%s/vnc%s", dir, rest) > 0);
	return spec;
}

static bool eventually(bool (*holds)(void *), void *arg)
{
	for (int i = 0; i < 30000; i++) {
		if (holds(arg))
			return true;
		usleep(1000);
	}
	return false;
}

static bool nobody_looks(void *arg)
{
	struct fixture *f = arg;
	struct scanout_info info;

	scanout_get_info(f->so, &info);
	return !info.viewers;
}

static void every_encoding_shows_the_screen(void **state)
{
	static const char *const encodings[] = { "raw",	  "hextile", "zlib",  "zrle",
						 "tight", "rre",     "corre", "ultra" };
	_cleanup_free_ char *spec = unix_spec("");
	struct fixture f;

	open_fixture(&f, spec);
	for (uint32_t i = 0; i < ARRAY_SIZE(encodings); i++) {
		const struct viewer_options options = { .encoding = encodings[i] };
		rfbClient *viewer;

		draw(i + 1);
		viewer = viewer_connect(f.address, &options);
		assert_non_null(viewer);
		assert_string_equal(viewer->desktopName, "the title");
		assert_true(viewer_matches(viewer, f.so));
		set_pixel(640 * 470 + 630, 0x123456);
		assert_true(viewer_matches(viewer, f.so));
		draw(i + 100);
		assert_true(viewer_matches(viewer, f.so));
		viewer_close(viewer);
		assert_true(eventually(nobody_looks, &f));
	}
	close_fixture(&f);
}

static void over_tcp(void **state)
{
	static const char *const specs[] = { "vnc=0", "vnc=localhost:0", "vnc=[::1]:0" };

	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		struct scanout *probe = scanout_new(mem, sizeof(mem));
		struct console *console;
		char *error = NULL;
		rfbClient *viewer;
		struct fixture f;

		if (console_open(specs[i], probe, "", &console, &error) == 0) {
			console_close(console);
			open_fixture(&f, specs[i]);
			draw(7);
			viewer = viewer_connect(f.address, &plain);
			assert_non_null(viewer);
			assert_true(viewer_matches(viewer, f.so));
			viewer_close(viewer);
			close_fixture(&f);
		} else {
			assert_int_equal(i, 2); /* a machine may lack IPv6, no more */
		}
		free(error);
		scanout_free(probe);
	}
}

static void follows_modes(void **state)
{
	_cleanup_free_ char *spec = unix_spec("");
	struct scanout_mode m = mode_big;
	rfbClient *viewer;
	struct fixture f;

	open_fixture(&f, spec);
	draw(3);
	viewer = viewer_connect(f.address, &plain);
	assert_non_null(viewer);
	assert_true(viewer_matches(viewer, f.so));

	scanout_set(f.so, SCANOUT_ON, &mode_big);
	assert_true(viewer_matches(viewer, f.so));
	m.offset = 4 * 1366;
	scanout_set(f.so, SCANOUT_ON, &m);
	assert_true(viewer_matches(viewer, f.so));
	scanout_set(f.so, SCANOUT_BLANKED, &m);
	assert_true(viewer_matches(viewer, f.so));
	scanout_set(f.so, SCANOUT_OFF, NULL);
	assert_true(viewer_matches(viewer, f.so));
	m = (struct scanout_mode){ 801, 601, 1602, SCANOUT_RGB565_BE, 3 };
	scanout_set(f.so, SCANOUT_ON, &m);
	assert_true(viewer_matches(viewer, f.so));
	for (uint32_t i = 1; i <= 20; i++) {
		m.width = 800 - i * 31;
		m.height = 100 + i * 20;
		scanout_set(f.so, SCANOUT_ON, &m);
		if (i % 4 == 0)
			assert_true(viewer_matches(viewer, f.so));
	}
	viewer_close(viewer);
	close_fixture(&f);
}

static void viewers_of_fixed_size(void **state)
{
	const struct viewer_options options = { .fixed_size = true };
	_cleanup_free_ char *spec = unix_spec("");
	const struct scanout_mode small = { 320, 200, 320 * 4, SCANOUT_XRGB8888, 0 };
	rfbClient *viewer;
	struct fixture f;

	open_fixture(&f, spec);
	set_pixel(640 * 479 + 639, 0xabcdef);
	viewer = viewer_connect(f.address, &options);
	assert_non_null(viewer);
	assert_true(viewer_shows(viewer, 639, 479, 0xabcdef));

	set_pixel(320 * 199 + 319, 0x111111);
	scanout_set(f.so, SCANOUT_ON, &small);
	assert_true(viewer_shows(viewer, 319, 199, 0x111111));
	assert_true(viewer_shows(viewer, 639, 479, 0)); /* the rest is black */
	set_pixel(1366 * 479 + 639, 0x222222);
	set_pixel(1366 * 479 + 640, 0x333333);
	scanout_set(f.so, SCANOUT_ON, &mode_big);
	assert_true(viewer_shows(viewer, 639, 479, 0x222222));
	assert_int_equal(viewer->width, 640);
	viewer_close(viewer);
	close_fixture(&f);
}

static void two_at_once(void **state)
{
	const struct viewer_options zrle = { .encoding = "zrle" };
	_cleanup_free_ char *spec = unix_spec("");
	rfbClient *a, *b;
	json_t *description;
	struct fixture f;

	open_fixture(&f, spec);
	draw(1);
	a = viewer_connect(f.address, &plain);
	b = viewer_connect(f.address, &zrle);
	assert_true(a && b);
	assert_true(viewer_matches(a, f.so));
	assert_true(viewer_matches(b, f.so));
	description = console_describe(f.console);
	assert_int_equal(json_integer_value(json_object_get(description, "viewers")), 2);
	json_decref(description);

	SendPointerEvent(a, 10, 10, 1);
	SendKeyEvent(b, 'x', TRUE);
	SendClientCutText(a, (char[]){ "clipboard" }, 9);
	draw(2);
	scanout_set(f.so, SCANOUT_ON, &mode_big);
	assert_true(viewer_matches(a, f.so));
	assert_true(viewer_matches(b, f.so));
	viewer_close(a);
	draw(3);
	assert_true(viewer_matches(b, f.so));
	viewer_close(b);
	close_fixture(&f);
}

/* Longer than what VNC heeds, so that the cut is tested, too. */
static char *password_spec(const char *address)
{
	char *spec, *path;
	int fd;

	assert_true(asprintf(&path, "%s/password", dir) > 0);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, "correct horse\n", 14), 14);
	close(fd);
	assert_true(asprintf(&spec, "vnc=%s,password-file=%s", address, path) > 0);
	free(path);
	return spec;
}

static void password_is_asked_for(void **state)
{
	const struct viewer_options right = { .password = "correct " };
	const struct viewer_options wrong = { .password = "incorrec" };
	_cleanup_free_ char *spec = password_spec("0.0.0.0:0");
	struct scanout_info info;
	json_t *description;
	rfbClient *viewer;
	struct fixture f;
	char *port;

	open_fixture(&f, spec);
	port = strdup(strrchr(f.address, ':'));
	free(f.address);
	assert_true(asprintf(&f.address, "127.0.0.1%s", port) > 0);
	free(port);
	description = console_describe(f.console);
	assert_true(json_is_true(json_object_get(description, "password")));
	json_decref(description);

	draw(5);
	viewer = viewer_connect(f.address, &wrong);
	assert_null(viewer);
	viewer = viewer_connect(f.address, &plain);
	assert_null(viewer);
	scanout_get_info(f.so, &info);
	assert_int_equal(info.scans, 0); /* nobody was let in, so nothing was looked at */
	viewer = viewer_connect(f.address, &right);
	assert_non_null(viewer);
	assert_true(viewer_matches(viewer, f.so));
	viewer_close(viewer);
	close_fixture(&f);
}

/* Asks for the security type "none". True if it is let in by that. */
static bool gets_in_without(const char *address, const char *version)
{
	_cleanup_close_ int fd = raw_connect(address);
	const struct timeval patience = { .tv_sec = 5 };
	uint8_t in[16];

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	assert_true(raw_receive(fd, in, 12));
	assert_true(raw_send(fd, version, 12));
	assert_true(raw_receive(fd, in, 2));
	assert_int_equal(in[0], 1);
	assert_int_equal(in[1], 2); /* the password is all that it offers */
	raw_send(fd, "\1\1", 2);
	return raw_receive(fd, in, 4) && !memcmp(in, "\0\0\0\0", 4) && raw_receive(fd, in, 16);
}

struct neighbour {
	const char *address;
	_Atomic bool stop;
};

static void *connect_without_password(void *arg)
{
	struct neighbour *n = arg;

	while (!n->stop) {
		int fd = raw_connect(n->address);
		uint8_t in[16];

		/* Where the last ones have not been noticed to be gone yet, there is no room. */
		if (fd >= 0 && !raw_receive(fd, in, 12)) {
			close(fd);
			usleep(1000);
			continue;
		}
		if (fd < 0 || !raw_send(fd, "RFB 003.008\n", 12) || !raw_receive(fd, in, 2) ||
		    in[1] != 1 || !raw_send(fd, "\1\1", 2) || !raw_receive(fd, in, 4) || in[3] != 0)
			return n;
		close(fd);
	}
	return NULL;
}

/* The library keeps one list of security types for all consoles of a process. */
static void consoles_do_not_share_doors(void **state)
{
	_cleanup_free_ char *open_spec = unix_spec("-open"), *locked_spec = NULL;
	const struct viewer_options right = { .password = "correct " };
	struct neighbour neighbour = { 0 };
	struct fixture locked, open;
	pthread_t thread;
	void *failed;
	rfbClient *viewer;

	locked_spec = password_spec("0");
	open_fixture(&locked, locked_spec);
	open_fixture(&open, open_spec);
	neighbour.address = open.address;
	assert_int_equal(pthread_create(&thread, NULL, connect_without_password, &neighbour), 0);
	for (int i = 0; i < 50; i++) {
		assert_false(gets_in_without(locked.address, "RFB 003.008\n"));
		assert_false(gets_in_without(locked.address, "RFB 003.889\n"));
	}
	for (int i = 0; i < 10; i++) {
		viewer = viewer_connect(locked.address, &right);
		assert_non_null(viewer);
		viewer_close(viewer);
	}
	neighbour.stop = true;
	pthread_join(thread, &failed);
	assert_null(failed);
	close_fixture(&open);
	close_fixture(&locked);
}

/* Connects, asks for pictures and never reads one; returns once the server is blocked on it. */
static int connect_stalled(const char *address)
{
	int fd = raw_connect(address);

	assert_true(raw_handshake(fd));
	for (int i = 0; i < 40; i++) {
		assert_true(raw_request(fd, 640, 480));
		usleep(2000);
	}
	return fd;
}

static void stalled_viewers_stall_nobody(void **state)
{
	static const char *const specs[] = { "vnc=0", NULL };
	_cleanup_free_ char *unix_one = unix_spec("");

	for (size_t i = 0; i < ARRAY_SIZE(specs); i++) {
		uint64_t start, longest = 0;
		struct scanout_info before, after;
		int stalled[3];
		rfbClient *viewer;
		struct fixture f;

		open_fixture(&f, specs[i] ? specs[i] : unix_one);
		draw(1);
		for (size_t j = 0; j < ARRAY_SIZE(stalled); j++)
			stalled[j] = connect_stalled(f.address);
		viewer = viewer_connect(f.address, &plain);
		assert_non_null(viewer);

		scanout_get_info(f.so, &before);
		for (uint32_t j = 0; j < 30; j++) {
			uint64_t took;

			start = clock_ns();
			draw(j + 2);
			scanout_set(f.so, SCANOUT_ON, j & 1 ? &mode_vga : &mode_big);
			assert_true(viewer_matches(viewer, f.so));
			took = clock_ns() - start;
			if (took > longest)
				longest = took;
		}
		scanout_get_info(f.so, &after);
		assert_true(after.scans - before.scans >= 30);
		print_message("longest update beside %zu stalled viewers: %.1f ms\n",
			      ARRAY_SIZE(stalled), (double)longest / 1e6);
		assert_true(longest < 4000000000); /* a stall lasts 5 s; sanitizers do not */

		/* Nor does one stall the end. */
		viewer_close(viewer);
		start = clock_ns();
		close_fixture(&f);
		print_message("close with stalled viewers: %.1f ms\n",
			      (double)(clock_ns() - start) / 1e6);
		assert_true(clock_ns() - start < 2000000000);
		for (size_t j = 0; j < ARRAY_SIZE(stalled); j++)
			close(stalled[j]);
	}
}

static unsigned int count_entries(const char *path)
{
	DIR *d = opendir(path);
	unsigned int n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

static bool counts_are(void *arg)
{
	const unsigned int *counts = arg;

	return count_entries("/proc/self/fd") == counts[0] &&
	       count_entries("/proc/self/task") == counts[1];
}

static void nothing_leaks(void **state)
{
	_cleanup_free_ char *spec = unix_spec("");
	unsigned int counts[2] = { 0 };
	struct fixture f;

	open_fixture(&f, spec);
	for (int i = 0; i < 201; i++) {
		if (i % 2) {
			rfbClient *viewer = viewer_connect(f.address, &plain);

			assert_non_null(viewer);
			if (i % 4 == 1)
				assert_true(viewer_matches(viewer, f.so));
			viewer_close(viewer);
		} else {
			int fd = raw_connect(f.address);

			assert_true(fd >= 0);
			if (i % 4 == 0)
				assert_true(raw_handshake(fd));
			close(fd);
		}
		if (i == 4) {
			/* The scan thread and the library's lazy things exist now. */
			assert_true(eventually(nobody_looks, &f));
			usleep(100000);
			counts[0] = count_entries("/proc/self/fd");
			counts[1] = count_entries("/proc/self/task");
		}
	}
	assert_true(eventually(counts_are, counts));
	assert_true(eventually(nobody_looks, &f));
	close_fixture(&f);
}

static uint32_t seed = 1;

static uint32_t rnd(uint32_t below)
{
	seed = seed * 1664525 + 1013904223;
	return (uint32_t)((uint64_t)seed * below >> 32);
}

/* Says something that no viewer should, and goes away without waiting for an answer. */
static void misbehave(const char *address, int how)
{
	_cleanup_close_ int fd = raw_connect(address);
	uint8_t noise[512];

	if (fd < 0)
		return;
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (uint8_t)rnd(256);

	switch (how) {
	case 0: /* garbage, or a WebSocket, from the start */
		raw_send(fd, noise, rnd(sizeof(noise)));
		raw_send(fd, "GET / HTTP/1.1\r\n", 16);
		return;
	case 1: /* a handshake that stops somewhere */
		raw_send(fd, "RFB 003.008\n", rnd(13));
		usleep(rnd(3000));
		return;
	default:
		if (!raw_handshake(fd))
			return;
	}
	switch (how) {
	case 2: /* messages of any type with any content */
		noise[0] = (uint8_t)rnd(12);
		raw_send(fd, noise, sizeof(noise));
		break;
	case 3: /* any pixel format, and a frame in it */
		noise[0] = 0;
		noise[4] = (uint8_t)(8 << rnd(3));
		noise[7] = (uint8_t)rnd(4); /* mostly true colour */
		raw_send(fd, noise, 20);
		raw_request(fd, 640, 480);
		break;
	case 4: /* more encodings than it then names */
		raw_send(fd, "\2\0\377\377\0\0\0\20\0\0\0\7", 12);
		break;
	case 5: /* requests for what lies outside */
		raw_request(fd, 0xffff, 0xffff);
		raw_send(fd, "\3\0\377\377\377\377\377\377\377\377", 10);
		raw_request(fd, 0, 0);
		break;
	case 6: /* a clipboard of 2 GiB, of -2 GiB */
		raw_send(fd, rnd(2) ? "\6\0\0\0\177\377\377\377" : "\6\0\0\0\200\0\0\0", 8);
		break;
	default: /* every encoding on its own, with the odd pixel format */
		raw_send(fd, "\0\0\0\0\20\20\0\1\0\37\0\77\0\37\13\5\0\0\0\0", 20);
		noise[0] = 2;
		noise[1] = noise[2] = noise[4] = noise[5] = noise[6] = 0;
		noise[3] = 1;
		noise[7] = (uint8_t)rnd(24);
		raw_send(fd, noise, 8);
		raw_request(fd, 640, 480);
	}
	usleep(rnd(4000));
}

static void hostile_viewers_are_survived(void **state)
{
	_cleanup_free_ char *spec = unix_spec("");
	rfbClient *viewer;
	struct fixture f;

	open_fixture(&f, spec);
	viewer = viewer_connect(f.address, &plain);
	assert_non_null(viewer);
	for (int i = 0; i < 300; i++) {
		misbehave(f.address, i % 9);
		if (i % 30 == 0) {
			draw((uint32_t)i);
			assert_true(viewer_matches(viewer, f.so));
		}
	}
	draw(99);
	assert_true(viewer_matches(viewer, f.so));
	viewer_close(viewer);
	assert_true(eventually(nobody_looks, &f));
	close_fixture(&f);
}

static void too_many_are_refused(void **state)
{
	_cleanup_free_ char *spec = unix_spec("");
	struct fixture f;
	int fds[20], in = 0;
	char c;

	open_fixture(&f, spec);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		fds[i] = raw_connect(f.address);
		assert_true(fds[i] >= 0);
		in += recv(fds[i], &c, 1, 0) == 1;
	}
	assert_int_equal(in, 16);
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++)
		close(fds[i]);
	assert_true(eventually(nobody_looks, &f));
	usleep(50000);
	fds[0] = raw_connect(f.address);
	assert_true(raw_handshake(fds[0])); /* there is room again */
	close(fds[0]);
	close_fixture(&f);
}

/* Attached, and never asks for a picture: its frame costs the budget, but no memory. */
static bool hold_frame(const char *address, int *ret_fd)
{
	*ret_fd = raw_connect(address);
	return raw_handshake(*ret_fd);
}

struct passes {
	struct scanout *so;
	uint64_t until;
};

static bool passes_are_over(void *arg)
{
	struct passes *p = arg;
	struct scanout_info info;

	scanout_get_info(p->so, &info);
	return info.scans >= p->until;
}

/* Sets a mode and waits until those who watch have been shown it. */
static void show_mode(struct scanout *so, const struct scanout_mode *mode)
{
	struct passes p = { .so = so };
	struct scanout_info info;

	assert_int_equal(scanout_set(so, SCANOUT_ON, mode), 0);
	scanout_get_info(so, &info);
	p.until = info.scans + 2; /* one may be under way, the next is done when another begins */
	assert_true(eventually(passes_are_over, &p));
}

/* The guest chooses how large a frame is, of which every viewer has its own. */
static void frames_have_a_budget(void **state)
{
	const struct scanout_mode largest = { 4096, 16384, 4096 * 4, SCANOUT_XRGB8888, 0 };
	const struct scanout_mode half = { 4096, 4096, 4096 * 4, SCANOUT_XRGB8888, 0 };
	_cleanup_free_ char *spec = unix_spec("");
	size_t size = (size_t)largest.stride * largest.height;
	void *large = mmap(NULL, size, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	char *error = NULL;
	rfbClient *viewer;
	struct fixture f;
	int fds[4], refused;

	assert_true(large != MAP_FAILED);
	f.so = scanout_new(large, size);
	assert_int_equal(console_open(spec, f.so, "large", &f.console, &error), 0);
	assert_int_equal(console_start(f.console, &error), 0);
	f.address = describe_address(f.console);

	/* The largest frame is 128 MiB: four of them are all that there may be. */
	scanout_set(f.so, SCANOUT_ON, &largest);
	for (int i = 0; i < 4; i++)
		assert_true(hold_frame(f.address, &fds[i]));
	assert_false(hold_frame(f.address, &refused));
	close(refused);

	/* One leaves, and a smaller one and one that is small so far find room. */
	close(fds[3]);
	show_mode(f.so, &half);
	while (!hold_frame(f.address, &fds[3]))
		close(fds[3]); /* until the other has been noticed to be gone */
	show_mode(f.so, &mode_vga);
	viewer = viewer_connect(f.address, &plain);
	assert_non_null(viewer);
	assert_true(viewer_matches(viewer, f.so));

	/* It would grow too large; the others stay, and there is room for another. */
	scanout_set(f.so, SCANOUT_ON, &largest);
	while (WaitForMessage(viewer, 20000000) > 0 && HandleRFBServerMessage(viewer))
		;
	assert_true(viewer->width == 640);
	viewer_close(viewer);
	show_mode(f.so, &mode_vga);
	viewer = viewer_connect(f.address, &plain);
	assert_non_null(viewer);
	assert_true(viewer_matches(viewer, f.so));
	for (size_t i = 0; i < ARRAY_SIZE(fds); i++) {
		char c;

		assert_int_equal(recv(fds[i], &c, 1, MSG_DONTWAIT), -1);
		assert_int_equal(errno, EAGAIN);
		close(fds[i]);
	}
	viewer_close(viewer);
	close_fixture(&f);
	munmap(large, size);
}

/* Voluntary context switches of all threads of this name together. */
static long switches_of(const char *name)
{
	DIR *d = opendir("/proc/self/task");
	struct dirent *entry;
	long sum = 0;

	while ((entry = readdir(d))) {
		char path[300], line[128], value[64];
		bool found = false;
		FILE *file;
		long n;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
		file = fopen(path, "re");
		while (file && fgets(line, sizeof(line), file)) {
			if (sscanf(line, "Name: %63s", value) == 1)
				found = !strcmp(value, name);
			if (found && sscanf(line, "voluntary_ctxt_switches: %ld", &n) == 1)
				sum += n;
		}
		if (file)
			fclose(file);
	}
	closedir(d);
	return sum;
}

static void watching_a_still_screen_is_cheap(void **state)
{
	_cleanup_free_ char *spec = unix_spec("");
	struct scanout_info before, after;
	long accepting, viewing;
	rfbClient *viewer;
	struct fixture f;

	open_fixture(&f, spec);
	scanout_set_interval(f.so, 16667, 100000);
	usleep(50000); /* let the thread come to rest */
	accepting = switches_of("vnc");
	usleep(100000);
	assert_int_equal(switches_of("vnc"), accepting); /* alone, it sleeps */

	viewer = viewer_connect(f.address, &plain);
	assert_non_null(viewer);
	assert_true(viewer_matches(viewer, f.so));
	while (WaitForMessage(viewer, 300000) > 0)
		assert_true(HandleRFBServerMessage(viewer));

	accepting = switches_of("vnc");
	viewing = switches_of("vnc-viewer");
	scanout_get_info(f.so, &before);
	usleep(500000);
	scanout_get_info(f.so, &after);
	assert_int_equal(switches_of("vnc"), accepting);
	assert_int_equal(switches_of("vnc-viewer"), viewing);
	assert_true(after.scans - before.scans <= 500000 / 16667 + 2);
	viewer_close(viewer);
	close_fixture(&f);
}

static int setup(void **state)
{
	log_setup("test", LOG_LEVEL_ERROR);
	return mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	char path[64];

	snprintf(path, sizeof(path), "%s/password", dir);
	unlink(path);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_encoding_shows_the_screen),
		cmocka_unit_test(over_tcp),
		cmocka_unit_test(follows_modes),
		cmocka_unit_test(viewers_of_fixed_size),
		cmocka_unit_test(two_at_once),
		cmocka_unit_test(password_is_asked_for),
		cmocka_unit_test(consoles_do_not_share_doors),
		cmocka_unit_test(stalled_viewers_stall_nobody),
		cmocka_unit_test(nothing_leaks),
		cmocka_unit_test(hostile_viewers_are_survived),
		cmocka_unit_test(too_many_are_refused),
		cmocka_unit_test(frames_have_a_budget),
		cmocka_unit_test(watching_a_still_screen_is_cheap),
	};

	unit_name_no_foreign_thread();
	return cmocka_run_group_tests_name("vnc", tests, setup, teardown);
}
