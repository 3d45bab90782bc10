/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Theory of operation.
 *
 * `lock` guards all that more than one thread touches: the mode, the list of
 * viewers, the counters. Nobody holds it for longer than it takes to copy a few
 * words; no memory is allocated, no pixel read and no viewer called under it.
 * That is what lets the device thread take it.
 *
 * The shadow belongs to the scan thread alone. It exists while there is a
 * viewer. A pass of the scan thread is: take a snapshot of the mode and a new
 * pass number (locked); bring the shadow up to date (not locked); call each
 * viewer that was there when the pass began (not locked, `calling` says whom,
 * so that removal can wait). A viewer that joins during a pass gets its first
 * frame from the next one: so what it sees was read after it joined, and
 * nothing that scanout_forget() was to hide.
 */
#include "scanout/scanout.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/checked.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/thread.h"
#include "scanout/pixels.h"
#include "scanout/shadow.h"

enum {
	DEFAULT_MIN_US = 16667,
	DEFAULT_MAX_US = 100000,
	SETTLE_US = 50000, /* a change of modes is over by then */
	/*
	 * What it may cost to look at a screen on which nothing happens. Looking
	 * seldom is felt by whoever presses the first key; most screens are
	 * small enough to be looked at as often as those that change.
	 */
	STILL_PERCENT = 4, /* of a CPU */
};

struct scanout_viewer {
	struct scanout *so;
	struct scanout_viewer *next;
	const struct scanout_viewer_ops *ops;
	void *opaque;
	uint64_t pass; /* the last pass that is none of its business */
	uint32_t width, height; /* of the last frame it was given; 0: none yet */
};

struct scanout {
	const uint8_t *mem;
	size_t size;
	void (*changed)(void *opaque);
	void *changed_opaque;

	pthread_mutex_t lock;
	pthread_cond_t wake; /* for the scan thread: kicked, stop, or the last viewer left */
	pthread_cond_t returned; /* for removal: calling has changed */

	enum scanout_state state;
	uint64_t off_since_ns; /* with SCANOUT_OFF */
	struct scanout_mode mode;
	uint64_t era; /* how often all was forgotten */
	bool kicked; /* look soon, there is something new */
	bool stop;
	unsigned int min_us, max_us;
	uint64_t pass, frames;
	struct scanout_viewer *viewers, *calling;
	unsigned int n_viewers;

	pthread_mutex_t thread_lock; /* serialises the start of the thread only */
	bool thread_started;
	pthread_t thread;
};

/* What a pass works with. */
struct snapshot {
	enum scanout_state state;
	struct scanout_mode mode;
	uint64_t era;
	uint64_t off_since_ns;
};

/* The scan thread's own. */
struct scan {
	struct scanout *so;
	struct shadow shadow;
	uint64_t era; /* of the shadow */
	uint64_t interval_us;
	uint64_t cost_ns; /* of a pass that finds nothing: CPU time, averaged */
	struct scanout_rect rects[TILES_MAX_RECTS];
	size_t n_rects;
};

const char *scanout_state_name(enum scanout_state state)
{
	static const char *const names[] = {
		[SCANOUT_OFF] = "off",
		[SCANOUT_BLANKED] = "blanked",
		[SCANOUT_ON] = "on",
	};

	return names[state];
}

void scanout_image_done(struct scanout_image *image)
{
	free(image->pixels);
	*image = (struct scanout_image){ 0 };
}

static bool mode_fits(const struct scanout *so, const struct scanout_mode *mode)
{
	uint64_t row, length;

	if (mode->format > SCANOUT_RGB565_BE || !mode->width || !mode->height ||
	    mode->width > SCANOUT_MAX_SIZE || mode->height > SCANOUT_MAX_SIZE)
		return false;
	row = (uint64_t)mode->width * scanout_format_bytes(mode->format);
	if (mode->stride < row)
		return false;
	length = (uint64_t)mode->stride * (mode->height - 1) + row;
	return range_within(mode->offset, length, so->size);
}

/* What the screen looks like from outside: its size, whatever its state. */
static void screen_size(const struct snapshot *s, uint32_t *ret_width, uint32_t *ret_height)
{
	*ret_width = s->state == SCANOUT_OFF ? SCANOUT_OFF_WIDTH : s->mode.width;
	*ret_height = s->state == SCANOUT_OFF ? SCANOUT_OFF_HEIGHT : s->mode.height;
}

/* Locked. */
static void take_snapshot(const struct scanout *so, struct snapshot *ret)
{
	ret->state = so->state;
	ret->mode = so->mode;
	ret->era = so->era;
	ret->off_since_ns = so->off_since_ns;
}

/* Locked. Without viewers the scan thread sleeps, and is left to. */
static void kick(struct scanout *so)
{
	if (!so->n_viewers || so->kicked)
		return;
	so->kicked = true;
	pthread_cond_signal(&so->wake);
}

/* --- the scan thread --- */

/*
 * Brings the shadow up to date. Returns true if it is a picture that can be
 * shown; false without memory for it.
 */
static bool scan_pass(struct scan *scan, const struct snapshot *s)
{
	struct scanout *so = scan->so;
	struct shadow *shadow = &scan->shadow;
	enum scanout_format format = s->state == SCANOUT_OFF ? SCANOUT_XRGB8888 : s->mode.format;
	bool on = s->state == SCANOUT_ON, reset;
	uint32_t width, height;

	screen_size(s, &width, &height);
	height = scanout_view_height(width, height);
	scan->n_rects = 0;

	if (scan->era != s->era) {
		shadow_done(shadow);
		scan->era = s->era;
	}

	reset = shadow->width != width || shadow->height != height ||
		(on ? shadow->format != format : shadow->known);
	if (reset) {
		/* A viewer of this size does not hear of a resize, so all of it is damage. */
		scan->rects[0] = (struct scanout_rect){ 0, 0, width, height };
		scan->n_rects = 1;
		if (shadow_reset(shadow, width, height, format) < 0) {
			log_ratelimited(LOG_LEVEL_ERROR, "no memory to show a frame of %ux%u",
					width, height);
			return false;
		}
	}
	if (on)
		scan->n_rects = shadow_update(shadow, so->mem + s->mode.offset, s->mode.stride,
					      scan->rects);
	return true;
}

/* Locked on entry and on return, but not while the viewer is called. */
static void call_viewer(struct scan *scan, struct scanout_viewer *viewer)
{
	struct scanout *so = scan->so;
	const struct shadow *shadow = &scan->shadow;
	const struct scanout_frame frame = {
		.width = shadow->width,
		.height = shadow->height,
		.stride = shadow->width * 4,
		.pixels = shadow->pixels,
		.era = scan->era,
	};
	bool resized = viewer->width != frame.width || viewer->height != frame.height;

	if (!resized && !scan->n_rects)
		return;

	viewer->width = frame.width;
	viewer->height = frame.height;
	so->calling = viewer;
	pthread_mutex_unlock(&so->lock);

	if (resized)
		viewer->ops->resized(viewer->opaque, &frame);
	else
		viewer->ops->damaged(viewer->opaque, &frame, scan->rects, scan->n_rects);

	pthread_mutex_lock(&so->lock);
	so->calling = NULL;
	pthread_cond_broadcast(&so->returned);
}

/* Locked, as call_viewer(). The list may change during a call, so each search starts anew. */
static void call_viewers(struct scan *scan)
{
	struct scanout *so = scan->so;
	struct scanout_viewer *viewer;

	do {
		for (viewer = so->viewers; viewer; viewer = viewer->next)
			if (viewer->pass != so->pass)
				break;
		if (viewer) {
			viewer->pass = so->pass;
			call_viewer(scan, viewer);
		}
	} while (viewer);
}

static void wait_until(struct scanout *so, uint64_t ns)
{
	const struct timespec t = {
		.tv_sec = (time_t)(ns / 1000000000),
		.tv_nsec = (long)(ns % 1000000000),
	};

	pthread_cond_timedwait(&so->wake, &so->lock, &t);
}

static void note_cost(struct scan *scan, uint64_t ns)
{
	if (scan->n_rects)
		return;
	scan->cost_ns = scan->cost_ns ? (3 * scan->cost_ns + ns) / 4 : ns;
}

/* Locked. Slower step by step, but no slower than it must be to be cheap. */
static uint64_t next_interval_us(const struct scan *scan)
{
	const struct scanout *so = scan->so;
	uint64_t slowest_us = scan->cost_ns * 100 / STILL_PERCENT / 1000;
	uint64_t us = scan->n_rects ? 0 : scan->interval_us * 2;

	if (slowest_us > so->max_us)
		slowest_us = so->max_us;
	if (us > slowest_us)
		us = slowest_us;
	return us < so->min_us ? so->min_us : us;
}

/*
 * Locked. Sleeps until the next pass is due: an interval after this one, or as
 * soon as the shortest interval allows if there is news before. A screen that
 * is not on cannot change by itself, so only news end its sleep.
 */
static void wait_for_pass(struct scan *scan, const struct snapshot *s, uint64_t start, bool shown)
{
	struct scanout *so = scan->so;

	scan->interval_us = shown ? next_interval_us(scan) : so->max_us;

	while (!so->stop && so->n_viewers) {
		uint64_t earliest = start + (uint64_t)so->min_us * 1000;
		uint64_t due = so->kicked ? earliest : start + scan->interval_us * 1000;

		if (!so->kicked && shown && s->state != SCANOUT_ON) {
			pthread_cond_wait(&so->wake, &so->lock);
			continue;
		}
		if (clock_ns() >= due)
			break;
		wait_until(so, due);
	}
}

/*
 * Locked. A guest that changes modes turns its screen off for a moment. That is
 * no picture to resize windows for: the last one stays, if it may still be shown,
 * until the screen is on again or has been off for a while. True if it was waited.
 */
static bool wait_while_mode_changes(const struct scan *scan, const struct snapshot *s)
{
	struct scanout *so = scan->so;
	uint64_t settled_ns = s->off_since_ns + (uint64_t)SETTLE_US * 1000;

	if (s->state != SCANOUT_OFF || !scan->shadow.width || scan->era != s->era ||
	    clock_ns() >= settled_ns)
		return false;
	so->kicked = false;
	wait_until(so, settled_ns);
	return true;
}

/* Locked. Without viewers there is nothing to do and no memory to keep. */
static void wait_for_viewer(struct scan *scan)
{
	struct scanout *so = scan->so;

	if (scan->shadow.width) {
		pthread_mutex_unlock(&so->lock);
		shadow_done(&scan->shadow);
		pthread_mutex_lock(&so->lock);
	}
	while (!so->stop && !so->n_viewers)
		pthread_cond_wait(&so->wake, &so->lock);
}

static void *scan_thread(void *arg)
{
	struct scanout *so = arg;
	struct scan scan = { .so = so };

	pthread_mutex_lock(&so->lock);
	while (!so->stop) {
		struct snapshot s;
		uint64_t start, cpu;
		bool shown;

		if (!so->n_viewers) {
			wait_for_viewer(&scan);
			continue;
		}

		take_snapshot(so, &s);
		if (wait_while_mode_changes(&scan, &s))
			continue;
		so->kicked = false;
		so->pass++;
		pthread_mutex_unlock(&so->lock);

		start = clock_ns();
		cpu = clock_thread_cpu_ns();
		shown = scan_pass(&scan, &s);
		note_cost(&scan, clock_thread_cpu_ns() - cpu);

		pthread_mutex_lock(&so->lock);
		if (scan.n_rects)
			so->frames++;
		if (shown)
			call_viewers(&scan);
		wait_for_pass(&scan, &s, start, shown);
	}
	pthread_mutex_unlock(&so->lock);

	shadow_done(&scan.shadow);
	return NULL;
}

static int start_thread(struct scanout *so)
{
	int r = 0;

	pthread_mutex_lock(&so->thread_lock);
	if (!so->thread_started) {
		r = thread_start(&so->thread, "scanout", scan_thread, so);
		so->thread_started = r == 0;
	}
	pthread_mutex_unlock(&so->thread_lock);
	return r;
}

/* --- the device's side --- */

struct scanout *scanout_new(const void *mem, size_t size)
{
	struct scanout *so = calloc(1, sizeof(*so));
	pthread_condattr_t monotonic;

	if (!so)
		return NULL;
	so->mem = mem;
	so->size = size;
	so->min_us = DEFAULT_MIN_US;
	so->max_us = DEFAULT_MAX_US;

	/* None of these can fail with glibc. */
	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&so->wake, &monotonic);
	pthread_condattr_destroy(&monotonic);
	pthread_cond_init(&so->returned, NULL);
	pthread_mutex_init(&so->lock, NULL);
	pthread_mutex_init(&so->thread_lock, NULL);
	return so;
}

void scanout_free(struct scanout *so)
{
	if (!so)
		return;
	assert(!so->viewers);

	if (so->thread_started) {
		pthread_mutex_lock(&so->lock);
		so->stop = true;
		pthread_cond_signal(&so->wake);
		pthread_mutex_unlock(&so->lock);
		pthread_join(so->thread, NULL);
	}
	pthread_cond_destroy(&so->wake);
	pthread_cond_destroy(&so->returned);
	pthread_mutex_destroy(&so->lock);
	pthread_mutex_destroy(&so->thread_lock);
	free(so);
}

static bool mode_same(const struct scanout_mode *a, const struct scanout_mode *b)
{
	return a->width == b->width && a->height == b->height && a->stride == b->stride &&
	       a->format == b->format && a->offset == b->offset;
}

int scanout_set(struct scanout *so, enum scanout_state state, const struct scanout_mode *mode)
{
	struct scanout_mode next;
	bool tell;

	if (state != SCANOUT_OFF && (!mode || !mode_fits(so, mode)))
		return -EINVAL;

	pthread_mutex_lock(&so->lock);
	next = state == SCANOUT_OFF ? so->mode : *mode;
	tell = so->state != state || so->mode.width != next.width ||
	       so->mode.height != next.height || so->mode.format != next.format;
	if (tell || !mode_same(&so->mode, &next)) {
		if (so->state != state)
			so->off_since_ns = clock_ns();
		so->state = state;
		so->mode = next;
		kick(so);
	}
	pthread_mutex_unlock(&so->lock);

	if (tell && so->changed)
		so->changed(so->changed_opaque);
	return 0;
}

void scanout_forget(struct scanout *so)
{
	pthread_mutex_lock(&so->lock);
	so->era++;
	kick(so);
	pthread_mutex_unlock(&so->lock);
}

uint64_t scanout_era(struct scanout *so)
{
	uint64_t era;

	pthread_mutex_lock(&so->lock);
	era = so->era;
	pthread_mutex_unlock(&so->lock);
	return era;
}

void scanout_set_listener(struct scanout *so, void (*changed)(void *opaque), void *opaque)
{
	so->changed = changed;
	so->changed_opaque = opaque;
}

void scanout_set_interval(struct scanout *so, unsigned int min_us, unsigned int max_us)
{
	pthread_mutex_lock(&so->lock);
	so->min_us = min_us;
	so->max_us = max_us > min_us ? max_us : min_us;
	kick(so);
	pthread_mutex_unlock(&so->lock);
}

/* --- everybody's side --- */

void scanout_get_info(struct scanout *so, struct scanout_info *ret)
{
	pthread_mutex_lock(&so->lock);
	*ret = (struct scanout_info){
		.state = so->state,
		.mode = so->mode,
		.frames = so->frames,
		.scans = so->pass,
		.viewers = so->n_viewers,
	};
	pthread_mutex_unlock(&so->lock);
}

static void opaque_row(uint32_t *row, uint32_t width)
{
	for (uint32_t x = 0; x < width; x++)
		row[x] |= 0xff000000;
}

int scanout_capture(struct scanout *so, struct scanout_image *ret)
{
	_cleanup_free_ uint32_t *pixels = NULL;
	_cleanup_free_ uint32_t *row = NULL;
	uint32_t width, height;
	struct snapshot s;
	size_t row_bytes;

	pthread_mutex_lock(&so->lock);
	take_snapshot(so, &s);
	pthread_mutex_unlock(&so->lock);

	screen_size(&s, &width, &height);
	row_bytes = (size_t)width * scanout_format_bytes(s.mode.format);
	pixels = calloc((size_t)width * height, sizeof(*pixels));
	row = malloc((size_t)width * sizeof(*row));
	if (!pixels || !row)
		return -ENOMEM;

	for (uint32_t y = 0; y < height; y++) {
		uint32_t *to = pixels + (size_t)y * width;

		if (s.state == SCANOUT_ON) {
			/* Through a copy: the guest's rows need not be aligned. */
			memcpy(row, so->mem + s.mode.offset + (uint64_t)y * s.mode.stride,
			       row_bytes);
			pixels_convert(s.mode.format, row, (size_t)width * 4, to, (size_t)width * 4,
				       width, 1);
		}
		opaque_row(to, width);
	}
	*ret = (struct scanout_image){ width, height, STEAL_PTR(pixels), s.state };
	return 0;
}

uint32_t scanout_view_height(uint32_t width, uint32_t height)
{
	uint32_t most = SCANOUT_VIEW_MAX_PIXELS / width;

	return height < most ? height : most;
}

int scanout_viewer_add(struct scanout *so, const struct scanout_viewer_ops *ops, void *opaque,
		       struct scanout_viewer **ret)
{
	_cleanup_free_ struct scanout_viewer *viewer = calloc(1, sizeof(*viewer));
	int r;

	if (!viewer)
		return -ENOMEM;
	r = start_thread(so);
	if (r < 0)
		return r;

	*viewer = (struct scanout_viewer){ .so = so, .ops = ops, .opaque = opaque };
	*ret = viewer; /* before the first call comes */

	pthread_mutex_lock(&so->lock);
	viewer->pass = so->pass;
	viewer->next = so->viewers;
	so->viewers = STEAL_PTR(viewer);
	so->n_viewers++;
	so->kicked = true;
	pthread_cond_signal(&so->wake);
	pthread_mutex_unlock(&so->lock);
	return 0;
}

void scanout_viewer_remove(struct scanout_viewer *viewer)
{
	struct scanout_viewer **link;
	struct scanout *so;

	if (!viewer)
		return;
	so = viewer->so;
	assert(!so->thread_started || !pthread_equal(so->thread, pthread_self()));

	pthread_mutex_lock(&so->lock);
	for (link = &so->viewers; *link != viewer; link = &(*link)->next)
		;
	*link = viewer->next;
	so->n_viewers--;
	while (so->calling == viewer)
		pthread_cond_wait(&so->returned, &so->lock);
	if (!so->n_viewers) {
		so->kicked = false;
		pthread_cond_signal(&so->wake); /* to free the shadow */
	}
	pthread_mutex_unlock(&so->lock);
	free(viewer);
}
