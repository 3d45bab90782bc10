/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How long it takes from a guest's store into video memory until a VNC viewer
 * has decoded the pixel: a real vgpud, a client that has the aperture mapped and
 * stores at random times, and a real viewer (libvncclient) that looks at its
 * framebuffer after every rectangle. Once while another part of the screen
 * changes all the time, and once on a screen that has been still for a while.
 */
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "bench.h"
#include "client.h"
#include "daemon.h"
#include "vnc_viewer.h"

enum {
	WIDTH = 1280,
	HEIGHT = 800,
	REFRESH_US = 16667, /* what scanout refreshes at while things change */
	MOVING_ROWS = 16, /* at the top, where there is always something new */
	MOVES_MS = 5,
	MAX_STORES = 250,
	PATIENCE_S = 10,
};

/* What the viewer waits for. Written before the store; nobody looks before there is a new one. */
static struct {
	_Atomic uint32_t x, y, colour;
	uint64_t seen_ns;
	sem_t seen;
	atomic_bool stop;
} watch;

/* --- the viewer, a thread of its own --- */

static void look(rfbClient *viewer, int x, int y, int w, int h)
{
	uint32_t colour = atomic_load(&watch.colour);
	const uint32_t *pixels = (const uint32_t *)viewer->frameBuffer;

	if (!colour ||
	    (pixels[atomic_load(&watch.y) * (uint32_t)viewer->width + atomic_load(&watch.x)] &
	     0xffffff) != colour)
		return;
	watch.seen_ns = clock_ns();
	atomic_store(&watch.colour, 0);
	sem_post(&watch.seen);
}

static void *run_viewer(void *opaque)
{
	rfbClient *viewer = opaque;

	while (!atomic_load(&watch.stop)) {
		int n = WaitForMessage(viewer, 100000);

		if (n < 0 || (n > 0 && !HandleRFBServerMessage(viewer)))
			bench_die("the viewer");
	}
	return NULL;
}

/* --- the guest --- */

struct guest {
	struct client client;
	volatile uint32_t *pixels;
	size_t size;
	atomic_bool moving;
	uint32_t colour;
};

static void set_mode(struct client *client)
{
	static const uint16_t mode[] = { WIDTH, HEIGHT, 32, 0x41 }; /* XRES, YRES, BPP, ENABLE */

	for (unsigned int i = 0; i < ARRAY_SIZE(mode); i++)
		client_write(client, VFIO_PCI_BAR2_REGION_INDEX, BOCHS_REGISTER + 2 + 2 * i,
			     &mode[i], sizeof(mode[i]));
}

static void *move(void *opaque)
{
	struct guest *guest = opaque;

	for (uint32_t i = 0; !atomic_load(&watch.stop); i++) {
		if (atomic_load(&guest->moving))
			guest->pixels[i % (WIDTH * MOVING_ROWS)] = i;
		bench_sleep_ms(MOVES_MS);
	}
	return NULL;
}

/* Stores one pixel and waits until it is seen. Milliseconds. */
static double store(struct guest *guest)
{
	uint32_t x = (uint32_t)bench_random(WIDTH);
	uint32_t y = MOVING_ROWS + (uint32_t)bench_random(HEIGHT - MOVING_ROWS);
	struct timespec limit;
	uint64_t start;

	guest->colour = guest->colour % 0xffffff + 1;
	atomic_store(&watch.x, x);
	atomic_store(&watch.y, y);
	atomic_store(&watch.colour, guest->colour);
	start = clock_ns();
	guest->pixels[y * WIDTH + x] = guest->colour;

	clock_gettime(CLOCK_REALTIME, &limit);
	limit.tv_sec += PATIENCE_S;
	while (sem_timedwait(&watch.seen, &limit) < 0)
		if (errno != EINTR)
			bench_die("a pixel in the viewer");
	return (double)(watch.seen_ns - start) / 1e6;
}

static void report(struct guest *guest, const char *p50, const char *p95, unsigned int n,
		   unsigned int still_ms, unsigned int random_ms)
{
	double times[MAX_STORES], interval = REFRESH_US / 1e3, value;

	for (unsigned int i = 0; i < n; i++) {
		bench_sleep_ms(still_ms);
		bench_sleep_until(clock_ns() + bench_random(random_ms * 1000000ULL));
		times[i] = store(guest);
	}
	for (int i = 0; i < 2; i++) {
		value = bench_percentile(times, n, i ? 95 : 50);
		bench_report(&(struct bench_figure){
			.name = i ? p95 : p50,
			.unit = "ms",
			.measured = value,
			.floor_is = "one refresh interval",
			.floor = interval,
			.ratio = value / interval,
			.bar_is = i ? BENCH_MEASURED_AT_MOST : BENCH_NO_BAR,
			.bar = interval + 10,
		});
	}
}

int main(int argc, char **argv)
{
	const struct daemon_options options = { .cpu = -1, .vnc = true };
	const struct viewer_options viewer_options = { .encoding = "tight" };
	pthread_t viewer_thread, mover;
	struct guest guest = { 0 };
	struct daemon daemon;
	rfbClient *viewer;

	bench_start(argc, argv, "pixel");
	daemon_start(&daemon, &options);
	client_connect(&guest.client, daemon.socket, false);
	guest.pixels = (volatile uint32_t *)client_map(&guest.client, VFIO_PCI_BAR0_REGION_INDEX,
						       &guest.size);
	set_mode(&guest.client);
	viewer = viewer_connect(daemon.vnc, &viewer_options);
	if (!viewer || viewer->width != WIDTH || viewer->height != HEIGHT)
		bench_die("a viewer of the guest's mode");
	viewer->GotFrameBufferUpdate = look;
	sem_init(&watch.seen, 0, 0);
	if (pthread_create(&viewer_thread, NULL, run_viewer, viewer) ||
	    pthread_create(&mover, NULL, move, &guest))
		bench_die("threads");

	atomic_store(&guest.moving, true);
	bench_sleep_ms(500);
	report(&guest, "p50, screen in motion", "p95, screen in motion", bench_count(MAX_STORES, 5),
	       5, 50);
	atomic_store(&guest.moving, false);
	report(&guest, "p50, screen still before", "p95, screen still before", bench_count(40, 3),
	       250, 150);

	atomic_store(&watch.stop, true);
	pthread_join(viewer_thread, NULL);
	pthread_join(mover, NULL);
	viewer_close(viewer);
	client_close(&guest.client);
	daemon_stop(&daemon);
	return 0;
}
