/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "console/picture.h"

#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#include "base/log.h"

enum {
	MAX_DAMAGE_RECTS = 256, /* of a reader that falls behind; then it is one rectangle */
};

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* Locked. */
static void wake_waiting(struct reader *reader)
{
	if (!reader->waiting)
		return;
	reader->waiting = false;
	eventfd_write(reader->wake_fd, 1);
}

/* Locked. */
static void damage_all(struct reader *reader)
{
	const struct picture *picture = reader->picture;

	pixman_region32_fini(&reader->damage);
	pixman_region32_init_rect(&reader->damage, 0, 0, picture->width, picture->height);
}

/* Locked. */
static void damage_rect(struct reader *reader, const struct scanout_rect *r)
{
	pixman_region32_union_rect(&reader->damage, &reader->damage, (int)r->x, (int)r->y, r->width,
				   r->height);
	if (pixman_region32_n_rects(&reader->damage) > MAX_DAMAGE_RECTS) {
		pixman_box32_t all = *pixman_region32_extents(&reader->damage);

		pixman_region32_reset(&reader->damage, &all);
	}
}

/*
 * The X byte is whatever the guest left there. Encoders look for areas of one
 * colour by comparing whole words, so it is made the same everywhere.
 */
static void copy_in(struct picture *picture, const struct scanout_frame *frame,
		    const struct scanout_rect *r)
{
	for (uint32_t y = r->y; y < r->y + r->height; y++) {
		const uint32_t *from = (const uint32_t *)((const uint8_t *)frame->pixels +
							  (size_t)y * frame->stride) +
				       r->x;
		uint32_t *to = picture->pixels + (size_t)y * picture->width + r->x;

		for (uint32_t x = 0; x < r->width; x++)
			to[x] = from[x] | 0xff000000;
	}
}

static void on_resized(void *opaque, const struct scanout_frame *frame)
{
	struct picture *picture = opaque;
	uint32_t width = min_u32(frame->width, picture->max_width);
	uint32_t height = min_u32(frame->height, picture->max_height);
	const struct scanout_rect all = { 0, 0, width, height };
	uint32_t *pixels = malloc((size_t)width * height * sizeof(*pixels));

	if (!pixels)
		log_ratelimited(LOG_LEVEL_ERROR, "no memory to show a frame of %ux%u", width,
				height);

	pthread_mutex_lock(&picture->lock);
	free(picture->pixels);
	picture->pixels = pixels;
	picture->width = pixels ? width : 0;
	picture->height = pixels ? height : 0;
	picture->era = frame->era;
	if (pixels)
		copy_in(picture, frame, &all);
	for (struct reader *reader = picture->readers; reader; reader = reader->next) {
		damage_all(reader);
		wake_waiting(reader);
	}
	pthread_mutex_unlock(&picture->lock);
}

/* The part of the rectangle that is in the picture; false if there is none. */
static bool clip(const struct picture *picture, const struct scanout_rect *r,
		 struct scanout_rect *ret)
{
	if (r->x >= picture->width || r->y >= picture->height)
		return false;
	*ret = (struct scanout_rect){
		.x = r->x,
		.y = r->y,
		.width = min_u32(r->width, picture->width - r->x),
		.height = min_u32(r->height, picture->height - r->y),
	};
	return true;
}

static void on_damaged(void *opaque, const struct scanout_frame *frame,
		       const struct scanout_rect *rects, size_t n)
{
	struct picture *picture = opaque;

	pthread_mutex_lock(&picture->lock);
	picture->era = frame->era;
	for (size_t i = 0; i < n; i++) {
		struct scanout_rect r;

		if (!clip(picture, &rects[i], &r))
			continue;
		copy_in(picture, frame, &r);
		for (struct reader *reader = picture->readers; reader; reader = reader->next)
			damage_rect(reader, &r);
	}
	for (struct reader *reader = picture->readers; reader; reader = reader->next)
		if (pixman_region32_not_empty(&reader->damage))
			wake_waiting(reader);
	pthread_mutex_unlock(&picture->lock);
}

static const struct scanout_viewer_ops viewer_ops = {
	.resized = on_resized,
	.damaged = on_damaged,
};

void picture_init(struct picture *picture, struct scanout *so, uint32_t max_width,
		  uint32_t max_height)
{
	*picture = (struct picture){ .so = so, .max_width = max_width, .max_height = max_height };
	pthread_mutex_init(&picture->attach_lock, NULL);
	pthread_mutex_init(&picture->lock, NULL);
}

void picture_done(struct picture *picture)
{
	pthread_mutex_destroy(&picture->attach_lock);
	pthread_mutex_destroy(&picture->lock);
}

int reader_attach(struct picture *picture, struct reader *reader, int wake_fd)
{
	int r = 0;

	*reader = (struct reader){ .picture = picture, .wake_fd = wake_fd };
	pixman_region32_init(&reader->damage);

	pthread_mutex_lock(&picture->attach_lock);
	pthread_mutex_lock(&picture->lock);
	reader->next = picture->readers;
	picture->readers = reader;
	reader->waiting = true;
	if (picture->width)
		damage_all(reader);
	pthread_mutex_unlock(&picture->lock);
	picture->n_readers++;

	if (!picture->viewer)
		r = scanout_viewer_add(picture->so, &viewer_ops, picture, &picture->viewer);
	pthread_mutex_unlock(&picture->attach_lock);

	if (r < 0)
		reader_detach(reader);
	return r;
}

void reader_detach(struct reader *reader)
{
	struct picture *picture = reader->picture;
	struct reader **link;

	pthread_mutex_lock(&picture->attach_lock);
	pthread_mutex_lock(&picture->lock);
	for (link = &picture->readers; *link != reader; link = &(*link)->next)
		;
	*link = reader->next;
	pthread_mutex_unlock(&picture->lock);

	if (--picture->n_readers == 0) {
		scanout_viewer_remove(picture->viewer);
		picture->viewer = NULL;
		free(picture->pixels);
		picture->pixels = NULL;
		picture->width = picture->height = 0;
	}
	pthread_mutex_unlock(&picture->attach_lock);
	pixman_region32_fini(&reader->damage);
}

bool reader_size(struct reader *reader, uint32_t *ret_width, uint32_t *ret_height)
{
	struct picture *picture = reader->picture;
	bool seen;

	pthread_mutex_lock(&picture->lock);
	seen = picture->width;
	if (seen) {
		*ret_width = picture->width;
		*ret_height = picture->height;
	} else {
		reader->waiting = true;
	}
	pthread_mutex_unlock(&picture->lock);
	return seen;
}

void reader_restart(struct reader *reader)
{
	pthread_mutex_lock(&reader->picture->lock);
	damage_all(reader);
	pthread_mutex_unlock(&reader->picture->lock);
}

/* Locked. */
static void copy_out(const struct picture *picture, uint32_t *pixels, uint32_t width,
		     pixman_region32_t *region)
{
	int n;
	const pixman_box32_t *boxes = pixman_region32_rectangles(region, &n);

	for (int i = 0; i < n; i++)
		for (int y = boxes[i].y1; y < boxes[i].y2; y++)
			memcpy(pixels + (size_t)y * width + boxes[i].x1,
			       picture->pixels + (size_t)y * picture->width + boxes[i].x1,
			       (size_t)(boxes[i].x2 - boxes[i].x1) * sizeof(*pixels));
}

bool reader_take(struct reader *reader, uint32_t *pixels, uint32_t width, uint32_t height,
		 pixman_region32_t *region)
{
	struct picture *picture = reader->picture;
	bool any;

	pthread_mutex_lock(&picture->lock);
	pixman_region32_intersect_rect(&reader->damage, &reader->damage, 0, 0,
				       min_u32(width, picture->width),
				       min_u32(height, picture->height));
	/* A new era's first frame is damage in full, so nothing is lost by waiting for it. */
	any = pixman_region32_not_empty(&reader->damage) &&
	      picture->era == scanout_era(picture->so);
	if (any) {
		copy_out(picture, pixels, width, &reader->damage);
		pixman_region32_union(region, region, &reader->damage);
		pixman_region32_clear(&reader->damage);
	}
	reader->waiting = !any;
	pthread_mutex_unlock(&picture->lock);
	return any;
}
