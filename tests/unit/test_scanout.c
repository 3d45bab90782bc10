/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanout/scanout.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "unit.h"

enum {
	MEM_SIZE = 4 << 20,
	PATIENCE_MS = 10000,
};

static uint8_t mem[MEM_SIZE] __attribute__((aligned(4096)));

static const struct scanout_mode mode_64x32 = { .width = 64, .height = 32, .stride = 256 };

/* Stores as a guest does, while the scan thread reads: that race is the point. */
static __attribute__((no_sanitize("thread"))) void guest_fill(volatile uint8_t *p, uint8_t v,
							      size_t n)
{
	while (n--)
		*p++ = v;
}

/* A viewer that keeps a picture of its own from what it is told, and checks it. */
struct watcher {
	pthread_mutex_t lock;
	uint32_t width, height;
	uint32_t *pixels;
	unsigned int resizes, damages;
	size_t damaged_pixels; /* of the last call */
	bool wrong;
};

static void watch_resized(void *opaque, const struct scanout_frame *frame)
{
	struct watcher *w = opaque;

	pthread_mutex_lock(&w->lock);
	if (w->width == frame->width && w->height == frame->height)
		w->wrong = true;
	free(w->pixels);
	w->width = frame->width;
	w->height = frame->height;
	w->pixels = malloc((size_t)w->width * w->height * 4);
	for (uint32_t y = 0; y < w->height; y++)
		memcpy(w->pixels + (size_t)y * w->width,
		       (const uint8_t *)frame->pixels + (size_t)y * frame->stride,
		       (size_t)w->width * 4);
	w->resizes++;
	pthread_mutex_unlock(&w->lock);
}

static void watch_damaged(void *opaque, const struct scanout_frame *frame,
			  const struct scanout_rect *rects, size_t n)
{
	struct watcher *w = opaque;

	pthread_mutex_lock(&w->lock);
	if (!n || w->width != frame->width || w->height != frame->height)
		w->wrong = true;
	w->damaged_pixels = 0;
	for (size_t i = 0; i < n; i++) {
		const struct scanout_rect *r = &rects[i];

		if (!r->width || !r->height || r->x + r->width > w->width ||
		    r->y + r->height > w->height)
			w->wrong = true;
		for (uint32_t y = r->y; y < r->y + r->height; y++)
			memcpy(w->pixels + (size_t)y * w->width + r->x,
			       (const uint8_t *)frame->pixels + (size_t)y * frame->stride +
				       (size_t)r->x * 4,
			       (size_t)r->width * 4);
		w->damaged_pixels += (size_t)r->width * r->height;
	}
	/* After all of them: nothing may have changed outside the rectangles. */
	for (uint32_t y = 0; y < w->height; y++)
		if (memcmp(w->pixels + (size_t)y * w->width,
			   (const uint8_t *)frame->pixels + (size_t)y * frame->stride,
			   (size_t)w->width * 4))
			w->wrong = true;
	w->damages++;
	pthread_mutex_unlock(&w->lock);
}

static const struct scanout_viewer_ops watch_ops = { watch_resized, watch_damaged };

static void watcher_done(struct watcher *w)
{
	free(w->pixels);
	pthread_mutex_destroy(&w->lock);
}

#define WATCHER                                                                                    \
	{                                                                                          \
		.lock = PTHREAD_MUTEX_INITIALIZER                                                  \
	}

/* Waits until `condition` holds for the watcher. */
#define wait_for(w, condition)                                                                     \
	do {                                                                                       \
		bool ok_ = false;                                                                  \
		for (int i_ = 0; i_ < PATIENCE_MS && !ok_; i_++) {                                 \
			pthread_mutex_lock(&(w)->lock);                                            \
			ok_ = (condition);                                                         \
			pthread_mutex_unlock(&(w)->lock);                                          \
			if (!ok_)                                                                  \
				usleep(1000);                                                      \
		}                                                                                  \
		assert_true(ok_);                                                                  \
	} while (0)

static bool shows(const struct watcher *w, uint32_t x, uint32_t y, uint32_t rgb)
{
	return w->pixels && x < w->width && y < w->height &&
	       (w->pixels[(size_t)y * w->width + x] & 0xffffff) == rgb;
}

static struct scanout *new_scanout(void)
{
	struct scanout *so;

	memset(mem, 0, sizeof(mem));
	so = scanout_new(mem, sizeof(mem));
	assert_non_null(so);
	scanout_set_interval(so, 1000, 4000);
	return so;
}

static void modes_are_checked(void **state)
{
	struct scanout *so = new_scanout();
	const struct scanout_mode good = { 1024, 768, 4096, SCANOUT_XRGB8888, 0 };
	struct scanout_mode m;
	struct scanout_info info;

#define REFUSE(change)                                                                             \
	do {                                                                                       \
		m = good;                                                                          \
		change;                                                                            \
		assert_int_equal(scanout_set(so, SCANOUT_ON, &m), -EINVAL);                        \
	} while (0)
	REFUSE(m.width = 0);
	REFUSE(m.height = 0);
	REFUSE(m.width = SCANOUT_MAX_SIZE + 1);
	REFUSE(m.height = UINT32_MAX);
	REFUSE(m.stride = 4095);
	REFUSE(m.stride = UINT32_MAX);
	REFUSE(m.format = (enum scanout_format)4);
	REFUSE(m.height = 1025);
	REFUSE(m.offset = MEM_SIZE);
	REFUSE(m.offset = UINT64_MAX - 16);
	REFUSE(m.offset = MEM_SIZE - 768 * 4096 + 1);
	assert_int_equal(scanout_set(so, SCANOUT_ON, NULL), -EINVAL);

	scanout_get_info(so, &info);
	assert_int_equal(info.state, SCANOUT_OFF);
	assert_int_equal(info.mode.width, 0);

	/* The last row needs no padding, and the last byte may be used. */
	m = good;
	m.offset = MEM_SIZE - 768 * 4096;
	assert_int_equal(scanout_set(so, SCANOUT_ON, &m), 0);
	m = (struct scanout_mode){ 1, 2, MEM_SIZE - 4, SCANOUT_XRGB8888, 0 };
	assert_int_equal(scanout_set(so, SCANOUT_BLANKED, &m), 0);
	scanout_get_info(so, &info);
	assert_int_equal(info.state, SCANOUT_BLANKED);
	assert_int_equal(info.mode.stride, MEM_SIZE - 4);
	assert_int_equal(info.viewers, 0);
	scanout_free(so);
	scanout_free(NULL);
}

static void count_change(void *opaque)
{
	++*(int *)opaque;
}

static void listener_hears_state_and_size(void **state)
{
	struct scanout *so = new_scanout();
	struct scanout_mode m = mode_64x32;
	int changes = 0;

	scanout_set_listener(so, count_change, &changes);
	scanout_set(so, SCANOUT_ON, &m);
	assert_int_equal(changes, 1);
	scanout_set(so, SCANOUT_ON, &m);
	m.offset = 4096;
	scanout_set(so, SCANOUT_ON, &m); /* panning is no news */
	assert_int_equal(changes, 1);
	m.format = SCANOUT_BGRX8888;
	scanout_set(so, SCANOUT_ON, &m);
	m.height = 16;
	scanout_set(so, SCANOUT_ON, &m);
	scanout_set(so, SCANOUT_BLANKED, &m);
	scanout_set(so, SCANOUT_OFF, NULL);
	assert_int_equal(changes, 5);
	scanout_free(so);
}

static uint32_t captured(struct scanout *so, uint32_t x, uint32_t y)
{
	struct scanout_image image;
	uint32_t pixel;

	assert_int_equal(scanout_capture(so, &image), 0);
	assert_true(x < image.width && y < image.height);
	pixel = image.pixels[(size_t)y * image.width + x];
	scanout_image_done(&image);
	assert_null(image.pixels);
	return pixel;
}

static void capture_formats(void **state)
{
	struct scanout *so = new_scanout();
	/* An offset and a stride that no word is aligned to. */
	struct scanout_mode m = { 3, 2, 13, SCANOUT_XRGB8888, 5 };
	uint8_t *second = mem + 5 + 13 + 4;
	struct scanout_info info;

	second[0] = 0x11;
	second[1] = 0x22;
	second[2] = 0x33;
	second[3] = 0x44;
	assert_int_equal(scanout_set(so, SCANOUT_ON, &m), 0);
	assert_int_equal(captured(so, 1, 1), 0xff332211);
	assert_int_equal(captured(so, 0, 1), 0xff000000);
	m.format = SCANOUT_BGRX8888;
	assert_int_equal(scanout_set(so, SCANOUT_ON, &m), 0);
	assert_int_equal(captured(so, 1, 1), 0xff223344);

	m.format = SCANOUT_RGB565;
	second = mem + 5 + 13 + 2;
	put_le16(second, 0xf800 | 0x20 << 5 | 1);
	assert_int_equal(scanout_set(so, SCANOUT_ON, &m), 0);
	assert_int_equal(captured(so, 1, 1), 0xffff8208);
	m.format = SCANOUT_RGB565_BE;
	second[0] = 0xfc;
	second[1] = 0x01;
	assert_int_equal(scanout_set(so, SCANOUT_ON, &m), 0);
	assert_int_equal(captured(so, 1, 1), 0xffff8208);

	assert_int_equal(scanout_set(so, SCANOUT_BLANKED, &m), 0);
	assert_int_equal(captured(so, 1, 1), 0xff000000);
	assert_int_equal(scanout_set(so, SCANOUT_OFF, NULL), 0);
	assert_int_equal(captured(so, SCANOUT_OFF_WIDTH - 1, SCANOUT_OFF_HEIGHT - 1), 0xff000000);
	scanout_get_info(so, &info);
	assert_int_equal(info.scans, 0); /* no thread was needed for any of this */
	scanout_free(so);
}

/* All 65536 colours, both byte orders, through the shadow and through a capture. */
static void formats_of_565_agree(void **state)
{
	struct scanout *so = new_scanout();
	const struct scanout_mode le = { 256, 256, 512, SCANOUT_RGB565, 0 };
	const struct scanout_mode be = { 256, 256, 512, SCANOUT_RGB565_BE, 256 * 512 };
	struct scanout_image a, b;

	for (uint32_t i = 0; i < 65536; i++) {
		put_le16(mem + 2 * (size_t)i, (uint16_t)i);
		mem[256 * 512 + 2 * i] = (uint8_t)(i >> 8);
		mem[256 * 512 + 2 * i + 1] = (uint8_t)i;
	}
	scanout_set(so, SCANOUT_ON, &le);
	assert_int_equal(scanout_capture(so, &a), 0);
	scanout_set(so, SCANOUT_ON, &be);
	assert_int_equal(scanout_capture(so, &b), 0);
	assert_memory_equal(a.pixels, b.pixels, 65536 * 4);
	assert_int_equal(a.pixels[0xffff], 0xffffffff);
	assert_int_equal(a.pixels[0], 0xff000000);
	assert_int_equal(a.pixels[0x8410], 0xff848284);
	scanout_image_done(&a);
	scanout_image_done(&b);
	scanout_free(so);
}

static void viewer_follows(void **state)
{
	struct scanout *so = new_scanout();
	struct watcher w = WATCHER;
	struct scanout_viewer *viewer;
	struct scanout_mode m = { 200, 100, 1000, SCANOUT_XRGB8888, 64 };

	assert_int_equal(scanout_viewer_add(so, &watch_ops, &w, &viewer), 0);
	wait_for(&w, w.width == SCANOUT_OFF_WIDTH && w.height == SCANOUT_OFF_HEIGHT);
	wait_for(&w, shows(&w, 639, 479, 0));

	put_le32(mem + 64 + 99 * 1000 + 199 * 4, 0x00aabbcc);
	scanout_set(so, SCANOUT_ON, &m);
	wait_for(&w, w.width == 200 && w.height == 100 && shows(&w, 199, 99, 0xaabbcc));
	assert_int_equal(w.damages, 0);

	/* A store: the tile that it lies in, and no more, is damage. */
	guest_fill(mem + 64 + 20 * 1000 + 70 * 4, 0x55, 4);
	wait_for(&w, shows(&w, 70, 20, 0x555555));
	assert_int_equal(w.damages, 1);
	assert_int_equal(w.damaged_pixels, 64 * 16);

	/* The last tile of a row and of a column is cut. */
	guest_fill(mem + 64 + 99 * 1000 + 199 * 4, 0x66, 4);
	wait_for(&w, shows(&w, 199, 99, 0x666666));
	assert_int_equal(w.damaged_pixels, (200 - 192) * (100 - 96));

	/* Panning to a page that is the same but for a tile. */
	memcpy(mem + (1 << 20), mem + 64, 100 * 1000);
	guest_fill(mem + (1 << 20), 0x77, 4);
	m.offset = 1 << 20;
	scanout_set(so, SCANOUT_ON, &m);
	wait_for(&w, shows(&w, 0, 0, 0x777777));
	assert_int_equal(w.damaged_pixels, 64 * 16);
	assert_int_equal(w.resizes, 2);

	scanout_set(so, SCANOUT_BLANKED, &m);
	wait_for(&w, shows(&w, 0, 0, 0));
	scanout_set(so, SCANOUT_ON, &m);
	wait_for(&w, shows(&w, 0, 0, 0x777777));
	assert_int_equal(w.resizes, 2);

	/* Another meaning of the same bytes. */
	m.format = SCANOUT_BGRX8888;
	guest_fill(mem + (1 << 20) + 4, 0x01, 1);
	guest_fill(mem + (1 << 20) + 5, 0x02, 1);
	guest_fill(mem + (1 << 20) + 6, 0x03, 1);
	guest_fill(mem + (1 << 20) + 7, 0x04, 1);
	scanout_set(so, SCANOUT_ON, &m);
	wait_for(&w, shows(&w, 1, 0, 0x020304));
	m.format = SCANOUT_RGB565_BE;
	scanout_set(so, SCANOUT_ON, &m);
	wait_for(&w, shows(&w, 2, 0, 0x002010));
	assert_int_equal(w.resizes, 2);

	assert_false(w.wrong);
	scanout_viewer_remove(viewer);
	scanout_viewer_remove(NULL);
	scanout_free(so);
	watcher_done(&w);
}

/* What a guest with much memory sets costs the host no more than the largest frame. */
static void changing_modes_does_not_flash(void **state)
{
	struct scanout *so = new_scanout();
	struct watcher w = WATCHER;
	struct scanout_viewer *viewer;
	struct scanout_mode m = mode_64x32;
	unsigned int resizes, tries = 20;
	uint64_t off_ns;

	assert_int_equal(scanout_viewer_add(so, &watch_ops, &w, &viewer), 0);
	do {
		m.width = 64;
		scanout_set(so, SCANOUT_ON, &m);
		wait_for(&w, w.width == 64);
		resizes = w.resizes;
		/* Longer than a pass takes to come, shorter than it takes to be believed. */
		off_ns = clock_ns();
		scanout_set(so, SCANOUT_OFF, NULL);
		usleep(25000);
		m.width = 32;
		scanout_set(so, SCANOUT_ON, &m);
		off_ns = clock_ns() - off_ns;
		wait_for(&w, w.width == 32);
	} while (off_ns > 45000000 && tries--); /* then this machine was busy */
	assert_int_equal(w.resizes, resizes + 1);

	scanout_set(so, SCANOUT_OFF, NULL);
	wait_for(&w, w.width == SCANOUT_OFF_WIDTH);
	scanout_viewer_remove(viewer);
	scanout_free(so);
	assert_false(w.wrong);
	watcher_done(&w);
}

static void large_frames_are_cut_off(void **state)
{
	const struct scanout_mode m = { 4096, 16384, 8192, SCANOUT_RGB565, 0 };
	size_t size = (size_t)m.stride * m.height;
	uint8_t *large = mmap(NULL, size, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	struct scanout *so;
	struct watcher w = WATCHER;
	struct scanout_viewer *viewer;

	assert_int_equal(scanout_view_height(7680, 4320), 4320);
	assert_int_equal(scanout_view_height(1, 16384), 16384);
	assert_int_equal(scanout_view_height(16384, 16384), 2048);

	assert_true(large != MAP_FAILED);
	so = scanout_new(large, size);
	assert_int_equal(scanout_set(so, SCANOUT_ON, &m), 0);
	put_le16(large + 8191 * m.stride, 0xffff);
	assert_int_equal(scanout_viewer_add(so, &watch_ops, &w, &viewer), 0);
	wait_for(&w, w.width == 4096);
	assert_int_equal(w.height, 8192);
	assert_true(shows(&w, 0, 8191, 0xffffff));
	scanout_viewer_remove(viewer);
	scanout_free(so);
	watcher_done(&w);
	munmap(large, size);
}

static void forget_hides_the_past(void **state)
{
	struct scanout *so = new_scanout();
	struct watcher w = WATCHER, late = WATCHER;
	struct scanout_viewer *viewer, *late_viewer;

	guest_fill(mem, 0x99, 256 * 32);
	scanout_set(so, SCANOUT_ON, &mode_64x32);
	assert_int_equal(scanout_viewer_add(so, &watch_ops, &w, &viewer), 0);
	wait_for(&w, shows(&w, 63, 31, 0x999999));

	scanout_set_interval(so, 1000, 1000000); /* no pass comes by itself */
	guest_fill(mem, 0, 256 * 32);
	scanout_forget(so);
	assert_int_equal(scanout_viewer_add(so, &watch_ops, &late, &late_viewer), 0);
	wait_for(&late, late.resizes == 1);
	assert_true(shows(&late, 0, 0, 0));
	wait_for(&w, shows(&w, 63, 31, 0));
	assert_false(w.wrong || late.wrong);
	scanout_viewer_remove(viewer);
	scanout_viewer_remove(late_viewer);
	scanout_free(so);
	watcher_done(&w);
	watcher_done(&late);
}

/* Voluntary context switches of the thread that is called `name`; -1 if there is none. */
static long switches_of(const char *name)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	long switches = -1;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		char path[300], line[128];
		bool found = false;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
		f = fopen(path, "re");
		while (f && fgets(line, sizeof(line), f)) {
			char value[64];

			if (sscanf(line, "Name: %63s", value) == 1)
				found = !strcmp(value, name);
			if (found)
				sscanf(line, "voluntary_ctxt_switches: %ld", &switches);
		}
		if (f)
			fclose(f);
	}
	closedir(dir);
	return switches;
}

static void assert_asleep(struct scanout *so)
{
	struct scanout_info before, after;
	long switches;

	usleep(50000); /* let it come to rest */
	switches = switches_of("scanout");
	scanout_get_info(so, &before);
	for (int i = 0; i < 10; i++) {
		usleep(20000);
		guest_fill(mem, (uint8_t)i, 256);
	}
	scanout_get_info(so, &after);
	assert_int_equal(after.scans, before.scans);
	assert_int_equal(switches_of("scanout"), switches);
}

static void idle_costs_nothing(void **state)
{
	struct scanout *so = new_scanout();
	struct watcher w = WATCHER;
	struct scanout_viewer *viewer;
	struct scanout_mode m = mode_64x32;

	/* No viewer, no thread; one that was joined may be in /proc for a moment. */
	for (int i = 0; i < 100 && switches_of("scanout") >= 0; i++)
		usleep(10000);
	assert_int_equal(switches_of("scanout"), -1);
	assert_int_equal(scanout_viewer_add(so, &watch_ops, &w, &viewer), 0);
	wait_for(&w, w.resizes == 1);
	assert_true(switches_of("scanout") >= 0);
	assert_asleep(so); /* a viewer, but a screen that is off */

	scanout_set(so, SCANOUT_BLANKED, &m);
	wait_for(&w, w.width == 64);
	assert_asleep(so);

	scanout_set(so, SCANOUT_ON, &m);
	scanout_viewer_remove(viewer);
	assert_asleep(so);
	/* The device's orders wake nobody either. */
	for (unsigned int i = 0; i < 100; i++) {
		m.offset = i;
		scanout_set(so, SCANOUT_ON, &m);
		scanout_forget(so);
	}
	assert_asleep(so);
	scanout_free(so);
	watcher_done(&w);
}

static uint64_t process_cpu_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* Passes within 500 ms, when the back-off has come to its end, and what they cost. */
static uint64_t scans_when_still(struct scanout *so, uint64_t *ret_cpu_us)
{
	struct scanout_info before, after;
	uint64_t cpu_us;

	usleep(400000);
	scanout_get_info(so, &before);
	cpu_us = process_cpu_us();
	usleep(500000);
	*ret_cpu_us = process_cpu_us() - cpu_us;
	scanout_get_info(so, &after);
	assert_int_equal(after.frames, before.frames);
	return after.scans - before.scans;
}

static void interval_adapts(void **state)
{
	struct scanout *so = new_scanout();
	struct watcher w = WATCHER;
	struct scanout_viewer *viewer;
	struct scanout_info before, after;
	uint64_t cpu_us;

	scanout_set(so, SCANOUT_ON, &mode_64x32);
	assert_int_equal(scanout_viewer_add(so, &watch_ops, &w, &viewer), 0);
	/* A small screen costs nothing, so its first change is seen as soon as any other. */
	scanout_set_interval(so, 5000, 100000);
	assert_true(scans_when_still(so, &cpu_us) >= 20); /* up to 100 on an idle machine */

	scanout_set_interval(so, 2000, 100000);
	scanout_get_info(so, &before);
	for (int i = 0; i < 250; i++) {
		guest_fill(mem, (uint8_t)i, 64);
		usleep(2000);
	}
	scanout_get_info(so, &after);
	assert_true(after.scans - before.scans >= 30); /* up to 250 on an idle machine */
	assert_true(after.frames - before.frames >= 30);
	scanout_viewer_remove(viewer);
	scanout_free(so);
	watcher_done(&w);
}

/* A large screen that is still is looked at less often, and no less often than it is told to. */
static void a_still_screen_is_cheap(void **state)
{
	const struct scanout_mode mode = {
		.width = 1024, .height = 512, .stride = 1024 * 4, .format = SCANOUT_XRGB8888
	};
	_cleanup_free_ uint8_t *large = calloc(1024UL * 512, 4);
	struct scanout *so = scanout_new(large, 1024UL * 512 * 4);
	struct watcher w = WATCHER;
	struct scanout_viewer *viewer;
	uint64_t cpu_us;

	scanout_set(so, SCANOUT_ON, &mode);
	assert_int_equal(scanout_viewer_add(so, &watch_ops, &w, &viewer), 0);
	scanout_set_interval(so, 100, 1000000);
	scans_when_still(so, &cpu_us);
	assert_true(cpu_us <= 75000); /* 15 % of the time; meant are 4, at most one pass more */

	scanout_set_interval(so, 100, 500);
	assert_true(scans_when_still(so, &cpu_us) >= 20); /* up to 1000 on an idle machine */
	scanout_viewer_remove(viewer);
	scanout_free(so);
	watcher_done(&w);
}

struct crowd {
	struct scanout *so;
	_Atomic bool stop;
};

/* Returns the word for what went wrong, or NULL. */
static void *come_and_go(void *arg)
{
	static char add_failed[] = "add", wrong_calls[] = "wrong calls";
	struct crowd *crowd = arg;

	while (!crowd->stop) {
		struct watcher w = WATCHER;
		struct scanout_viewer *viewer;
		bool wrong;

		if (scanout_viewer_add(crowd->so, &watch_ops, &w, &viewer) < 0)
			return add_failed;
		usleep(1000 * ((uintptr_t)&w >> 8 & 3));
		scanout_viewer_remove(viewer);
		wrong = w.wrong;
		watcher_done(&w); /* any call after this is a use after free */
		if (wrong)
			return wrong_calls;
	}
	return NULL;
}

static void *store(void *arg)
{
	struct crowd *crowd = arg;

	for (unsigned int i = 0; !crowd->stop; i++)
		guest_fill(mem + (i * 7919 % (MEM_SIZE - 512)), (uint8_t)i, 512);
	return NULL;
}

/* Modes change as fast as they can while viewers come and go and the guest draws. */
static void storm(void **state)
{
	struct scanout *so = new_scanout();
	struct crowd crowd = { .so = so };
	pthread_t threads[4];
	struct watcher w = WATCHER;
	struct scanout_viewer *viewer;
	uint64_t end = clock_ns() + 1000000000;
	void *failure;

	scanout_set_interval(so, 100, 1000);
	assert_int_equal(scanout_viewer_add(so, &watch_ops, &w, &viewer), 0);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, come_and_go, &crowd), 0);
	assert_int_equal(pthread_create(&threads[3], NULL, store, &crowd), 0);

	for (unsigned int i = 0; clock_ns() < end; i++) {
		struct scanout_mode m = {
			.width = 1 + i * 131 % 700,
			.height = 1 + i * 37 % 300,
			.stride = 3000,
			.format = (enum scanout_format)(i % 4),
			.offset = i * 1021 % (1 << 20),
		};
		struct scanout_image image;

		assert_int_equal(scanout_set(so, (enum scanout_state)(i % 3), &m), 0);
		if (i % 64 == 0) {
			scanout_forget(so);
			assert_int_equal(scanout_capture(so, &image), 0);
			scanout_image_done(&image);
		}
		usleep(50);
	}
	crowd.stop = true;
	for (size_t i = 0; i < ARRAY_SIZE(threads); i++) {
		pthread_join(threads[i], &failure);
		assert_null(failure);
	}

	/* And in the end everybody sees what is there. */
	scanout_set(so, SCANOUT_ON, &mode_64x32);
	guest_fill(mem, 0x42, 256 * 32);
	wait_for(&w, w.width == 64 && shows(&w, 63, 31, 0x424242));
	assert_false(w.wrong);
	scanout_viewer_remove(viewer);
	scanout_free(so);
	watcher_done(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(modes_are_checked),
		cmocka_unit_test(listener_hears_state_and_size),
		cmocka_unit_test(capture_formats),
		cmocka_unit_test(formats_of_565_agree),
		cmocka_unit_test(viewer_follows),
		cmocka_unit_test(changing_modes_does_not_flash),
		cmocka_unit_test(large_frames_are_cut_off),
		cmocka_unit_test(forget_hides_the_past),
		cmocka_unit_test(idle_costs_nothing),
		cmocka_unit_test(interval_adapts),
		cmocka_unit_test(a_still_screen_is_cheap),
		cmocka_unit_test(storm),
	};

	unit_name_no_foreign_thread();
	return cmocka_run_group_tests_name("scanout", tests, NULL, NULL);
}
