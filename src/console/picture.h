/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The picture that a console's readers (its connected viewers) take from, each
 * at its own pace. The scan thread copies damaged pixels in and notes for each
 * reader what it has yet to take; that is all that it ever waits for. A reader
 * copies out what it has yet to take and works on its own copy from then on, for
 * as long as it likes.
 *
 * The picture is the scanout's viewer exactly while it has readers.
 */
#pragma once

#include <pixman.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "scanout/scanout.h"

struct reader;

struct picture {
	struct scanout *so;
	uint32_t max_width, max_height; /* what lies beyond is cut off */

	pthread_mutex_t attach_lock; /* readers come and go; never taken by the scan thread */
	struct scanout_viewer *viewer;
	_Atomic unsigned int n_readers;

	pthread_mutex_t lock; /* all below; held to copy pixels, never for I/O */
	uint32_t width, height; /* 0: nothing has been seen yet */
	uint32_t *pixels;
	uint64_t era; /* of the pixels; once the scanout is in another, nobody is given them */
	struct reader *readers;
};

/* Embedded in whatever reads. */
struct reader {
	struct picture *picture;
	struct reader *next;
	int wake_fd; /* an eventfd */
	bool waiting; /* wants to be woken by the next change */
	pixman_region32_t damage; /* what it has yet to take */
};

void picture_init(struct picture *picture, struct scanout *so, uint32_t max_width,
		  uint32_t max_height);

/* All readers must have been detached. */
void picture_done(struct picture *picture);

/*
 * Adds a reader, to which all is damage. wake_fd stays the caller's, and is
 * written to when something changes after reader_take() found nothing. Returns
 * 0 or a negative errno.
 */
int reader_attach(struct picture *picture, struct reader *reader, int wake_fd);

/* No wake-up comes after this returns. */
void reader_detach(struct reader *reader);

/*
 * The size of the picture; false if nothing has been seen yet: then wake_fd is
 * written to when something is.
 */
bool reader_size(struct reader *reader, uint32_t *ret_width, uint32_t *ret_height);

/* The reader starts from nothing: all is damage again. */
void reader_restart(struct reader *reader);

/*
 * Copies what changed since the last call into pixels (width x height, rows
 * without padding; where the picture is of another size, what both have in
 * common) and adds the region to *region. Returns false if nothing changed, or
 * if the scanout was told to forget what the picture holds and nothing newer
 * has come: then the next change writes to wake_fd, once.
 */
bool reader_take(struct reader *reader, uint32_t *pixels, uint32_t width, uint32_t height,
		 pixman_region32_t *region);
