/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Scanout: what is on screen.
 *
 * A device owns pixel memory (an aperture that the guest stores into without
 * trapping, later a resource) and tells scanout where in it the frame lies.
 * Viewers (consoles) never see that memory: they see the *shadow*, a copy in
 * one pixel format that scanout's own thread keeps up to date by comparing.
 *
 *     device thread --scanout_set()--> mode --+
 *     guest stores ---> pixel memory ---------+--> scan thread --> shadow --> viewers
 *
 * The device thread is never made to wait: scanout_set() copies a few words
 * under a mutex that is held for no longer than that by anybody. The scan
 * thread runs only while there is a viewer; with none, scanout costs nothing.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	SCANOUT_MAX_SIZE = 16384, /* of width and height, in pixels */
	SCANOUT_OFF_WIDTH = 640, /* the picture of a screen that is off: black, of this size */
	SCANOUT_OFF_HEIGHT = 480,
	/*
	 * Of a frame that viewers are given; rows below are cut off. It bounds what a
	 * guest can make the host spend on its shadow: 128 MiB, and half as much again
	 * for formats of 16 bits. 7680x4320 fits.
	 */
	SCANOUT_VIEW_MAX_PIXELS = 32 << 20,
};

enum scanout_state {
	SCANOUT_OFF, /* no valid mode */
	SCANOUT_BLANKED, /* a mode is set, the screen is black */
	SCANOUT_ON,
};

/* How a pixel lies in memory. */
enum scanout_format {
	SCANOUT_XRGB8888, /* 32 bits, little-endian: bytes B G R X */
	SCANOUT_BGRX8888, /* 32 bits, big-endian XRGB: bytes X R G B */
	SCANOUT_RGB565, /* 16 bits, little-endian */
	SCANOUT_RGB565_BE, /* 16 bits, big-endian */
};

/* "off", "blanked" or "on". */
const char *scanout_state_name(enum scanout_state state);

/* Bytes a pixel. */
unsigned int scanout_format_bytes(enum scanout_format format);

struct scanout_mode {
	uint32_t width, height; /* pixels, 1 to SCANOUT_MAX_SIZE */
	uint32_t stride; /* bytes from a row to the next, >= width * bytes a pixel */
	enum scanout_format format;
	uint64_t offset; /* bytes from the start of the pixel memory to the first pixel */
};

/* A rectangle in pixels, inside the frame. */
struct scanout_rect {
	uint32_t x, y, width, height;
};

/*
 * A picture that the caller owns: 32 bits a pixel, XRGB8888 in host order with
 * X = 0xff, rows without padding. Release with scanout_image_done().
 */
struct scanout_image {
	uint32_t width, height;
	uint32_t *pixels;
	enum scanout_state state; /* of the screen when it was taken */
};

void scanout_image_done(struct scanout_image *image);

/* What anybody may ask about a scanout at any time. */
struct scanout_info {
	enum scanout_state state;
	struct scanout_mode mode; /* the last valid one; zero if there was none */
	uint64_t frames; /* passes of the scan thread in which something had changed */
	uint64_t scans; /* passes of the scan thread */
	unsigned int viewers;
};

struct scanout;

/*
 * mem[0..size) is the pixel memory; it stays the caller's and must stay mapped
 * until scanout_free(). The scanout starts OFF. Returns NULL with errno set.
 */
struct scanout *scanout_new(const void *mem, size_t size);

/* Ends the scan thread. All viewers must have been removed. NULL is allowed. */
void scanout_free(struct scanout *so);

/*
 * The device thread's side: from now on the screen shows this. Viewers are told
 * of a screen that is off when it has been so for 50 ms: who only changes modes
 * does not make them flash. mode is ignored
 * (may be NULL) if state is SCANOUT_OFF. The mode must fit the pixel memory:
 * returns -EINVAL and changes nothing if it does not. Never blocks.
 */
int scanout_set(struct scanout *so, enum scanout_state state, const struct scanout_mode *mode);

/*
 * Forget every pixel seen so far: the next viewer or capture sees only what is
 * in the pixel memory then. Called when a tenant leaves. It begins another era.
 */
void scanout_forget(struct scanout *so);

/*
 * The number of the era. A viewer that keeps pixels shows them only while this
 * is the era of the frame that they come from: the frame that replaces them
 * comes with the next pass, which is later, and much later where memory is short.
 */
uint64_t scanout_era(struct scanout *so);

void scanout_get_info(struct scanout *so, struct scanout_info *ret);

/*
 * Called after a change of state, size or format, on the thread that made it;
 * must not block; of the scanout it may only ask for scanout_get_info(). One
 * listener (the control socket's events); set before the device runs.
 */
void scanout_set_listener(struct scanout *so, void (*changed)(void *opaque), void *opaque);

/*
 * Takes the picture that is on screen now, straight from the pixel memory:
 * black of the mode's size while blanked, black of SCANOUT_OFF_WIDTH x
 * SCANOUT_OFF_HEIGHT while off. Needs no viewer and starts none. The caller
 * owns *ret. Returns 0 or -ENOMEM.
 */
int scanout_capture(struct scanout *so, struct scanout_image *ret);

/*
 * A viewer's view of the shadow. Both calls come on the scan thread, one at a
 * time; what they are given is valid only until they return, so a viewer
 * copies what it needs and returns soon (a viewer that stalls here stalls the
 * other viewers, never the device).
 */
struct scanout_frame {
	uint32_t width, height; /* of the screen, height at most scanout_view_height() */
	uint32_t stride; /* bytes */
	const uint32_t *pixels; /* XRGB8888, host order; X is undefined */
	uint64_t era; /* in which it was read; all of the first frame of an era is damage */
};

/* How many rows of a screen of this size viewers are given. */
uint32_t scanout_view_height(uint32_t width, uint32_t height);

struct scanout_viewer_ops {
	/*
	 * The frame has another size than before (or this is the viewer's first
	 * call): all of it is new. damaged() does not follow for this frame.
	 * A change of format, a blanked screen or a panned one of the same size
	 * is damage.
	 */
	void (*resized)(void *opaque, const struct scanout_frame *frame);
	/* These rectangles changed; they do not overlap. n >= 1. */
	void (*damaged)(void *opaque, const struct scanout_frame *frame,
			const struct scanout_rect *rects, size_t n);
};

struct scanout_viewer;

/*
 * Adds a viewer; the scan thread wakes up if it was the first, and calls
 * resized() soon with what was in the pixel memory after this was called (*ret is
 * set before that). Returns 0, or a negative errno with *ret untouched.
 */
int scanout_viewer_add(struct scanout *so, const struct scanout_viewer_ops *ops, void *opaque,
		       struct scanout_viewer **ret);

/*
 * After this returns no call is running and none will come. Not from within one
 * of its calls. NULL is allowed.
 */
void scanout_viewer_remove(struct scanout_viewer *viewer);

/*
 * Bounds of the scan interval in microseconds: the thread scans every `min`
 * while things change. While nothing does it backs off so far that scanning
 * costs a few percent of a CPU, at most to `max`: small screens are always
 * scanned every `min`. Defaults 16667 and 100000.
 */
void scanout_set_interval(struct scanout *so, unsigned int min_us, unsigned int max_us);
