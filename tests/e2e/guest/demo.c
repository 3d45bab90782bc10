/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A picture worth looking at: plasma, bouncing discs, big letters and a frame counter, in integer
 * arithmetic and tables because the guest usually runs under emulation. Each line is composed in ordinary
 * memory and then copied once to the frame that is not shown; a page flip shows it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "agent.h"

#define N_DISCS 4
#define N_LINES 4

struct disc {
	int x, y, radius, dx, dy; /* in dots; speed in dots a frame */
	uint32_t colour;
};

struct label {
	int x, y, scale;
	char text[64];
};

static struct {
	bool running;
	struct frame frames[2];
	int back; /* index of the frame to draw to */
	int width, height;
	uint32_t count, fps, count_at_second;
	uint64_t start, second;
	struct disc discs[N_DISCS];
	struct label lines[N_LINES];
	int8_t wave[256]; /* one period, -63…63 */
	uint32_t palette[256];
	uint32_t row[MAX_WIDTH];
} demo;

/* PSF2, of which the first 128 glyphs are ASCII in the fonts that the image is made with */
static struct {
	uint8_t *bits;
	int width, height, stride, n;
} font;

static uint32_t le32(const uint8_t *p)
{
	return p[0] | p[1] << 8 | p[2] << 16 | (uint32_t)p[3] << 24;
}

static int font_load(const char *path)
{
	static uint8_t file[256 * 1024];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint32_t header, glyph_size;
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, file, sizeof(file));
	close(fd);
	if (n < 32 || le32(file) != 0x864ab572)
		return -EINVAL;
	header = le32(file + 8);
	font.n = le32(file + 16);
	glyph_size = le32(file + 20);
	font.height = le32(file + 24);
	font.width = le32(file + 28);
	font.stride = (font.width + 7) / 8;
	if (font.n < 128 || glyph_size != (uint32_t)(font.stride * font.height) ||
	    header + 128 * glyph_size > (uint32_t)n)
		return -EINVAL;
	font.bits = file + header;
	return 0;
}

/* Without a mathematics library: a parabola is close enough to half a sine. */
static void make_tables(void)
{
	for (int i = 0; i < 256; i++) {
		int half = i % 128;
		int v = 63 * 4 * half * (128 - half) / (128 * 128);

		demo.wave[i] = i < 128 ? v : -v;
	}
	for (int i = 0; i < 256; i++) {
		uint32_t r = 70 + demo.wave[i];
		uint32_t g = 66 + demo.wave[(i + 85) % 256];
		uint32_t b = 120 + demo.wave[(i + 170) % 256];

		demo.palette[i] = r << 16 | g << 8 | b;
	}
}

/* Plasma has half the resolution in both directions: each value makes two dots on two lines. */
static void plasma_row(int y, uint32_t t)
{
	int8_t *w = demo.wave;
	uint32_t base = t + w[(uint8_t)(y / 4 + t)] + 2 * w[(uint8_t)(y / 3 - 2 * t)];

	for (int x = 0; x < demo.width / 2; x++) {
		uint8_t v = base + w[(uint8_t)(x + 2 * t)] + w[(uint8_t)(x / 2 + y / 4 - t)];
		uint32_t c = demo.palette[v];

		demo.row[2 * x] = c;
		demo.row[2 * x + 1] = c;
	}
}

static int root(int n)
{
	int r = 0;

	for (int bit = 1 << 14; bit; bit >>= 1)
		if ((r + bit) * (r + bit) <= n)
			r += bit;
	return r;
}

static void fill(int from, int to, uint32_t colour)
{
	if (from < 0)
		from = 0;
	if (to > demo.width)
		to = demo.width;
	for (int x = from; x < to; x++)
		demo.row[x] = colour;
}

static void disc_row(const struct disc *d, int y)
{
	int dy = y - d->y, half, shine;

	if (dy <= -d->radius || dy >= d->radius)
		return;
	half = root(d->radius * d->radius - dy * dy);
	fill(d->x - half, d->x + half, d->colour);
	shine = d->radius / 3;
	dy += d->radius / 3;
	if (dy > -shine && dy < shine) {
		half = root(shine * shine - dy * dy);
		fill(d->x - d->radius / 3 - half, d->x - d->radius / 3 + half,
		     d->colour | 0x606060);
	}
}

static void text_row(const struct label *l, int y, int shift, uint32_t colour)
{
	int line = (y - l->y - shift) / l->scale;
	int x = l->x + shift;

	if (y < l->y + shift || line >= font.height)
		return;
	for (const char *c = l->text; *c; c++) {
		const uint8_t *bits = font.bits + ((*c & 0x7f) * font.height + line) * font.stride;

		for (int i = 0; i < font.width; i++, x += l->scale)
			if (bits[i / 8] & 0x80 >> i % 8)
				fill(x, x + l->scale, colour);
	}
}

static void move_discs(void)
{
	for (int i = 0; i < N_DISCS; i++) {
		struct disc *d = &demo.discs[i];

		d->x += d->dx;
		d->y += d->dy;
		if ((d->x < d->radius && d->dx < 0) || (d->x > demo.width - d->radius && d->dx > 0))
			d->dx = -d->dx;
		if ((d->y < d->radius && d->dy < 0) ||
		    (d->y > demo.height - d->radius && d->dy > 0))
			d->dy = -d->dy;
	}
}

void demo_step(void)
{
	struct frame *f = &demo.frames[demo.back];
	uint64_t now = now_ns();

	if (now - demo.second >= 1000000000) {
		demo.fps =
			(demo.count - demo.count_at_second) * 1000000000ull / (now - demo.second);
		demo.count_at_second = demo.count;
		demo.second = now;
	}
	snprintf(demo.lines[3].text, sizeof(demo.lines[3].text), "frame %u, %u a second",
		 demo.count, demo.fps);

	for (int y = 0; y < demo.height; y++) {
		/* The discs' and letters' lines differ, so every line starts from clean plasma. */
		plasma_row(y & ~1, demo.count);
		for (int i = 0; i < N_DISCS; i++)
			disc_row(&demo.discs[i], y);
		for (int i = 0; i < N_LINES; i++) {
			text_row(&demo.lines[i], y, demo.lines[i].scale, 0x101020);
			text_row(&demo.lines[i], y, 0, 0xffffff);
		}
		memcpy((uint8_t *)f->map + (size_t)y * f->pitch, demo.row, demo.width * 4);
	}
	kms_flip(f);
	demo.back = !demo.back;
	demo.count++;
	move_discs();
}

static void place(void)
{
	int scale = demo.width * 2 / 5 / (5 * font.width);
	int x = demo.width / 12, y = demo.height / 6;
	struct utsname uts;

	if (scale < 1)
		scale = 1;
	uname(&uts);
	demo.lines[0] = (struct label){ .x = x, .y = y, .scale = scale, .text = "vgpud" };
	y += font.height * scale + font.height / 2;
	for (int i = 1; i < N_LINES; i++, y += font.height + 4)
		demo.lines[i] = (struct label){ .x = x, .y = y, .scale = 1 };
	snprintf(demo.lines[1].text, sizeof(demo.lines[1].text), "Linux %.50s", uts.release);
	snprintf(demo.lines[2].text, sizeof(demo.lines[2].text), "%.30s, %dx%d", kms_driver(),
		 demo.width, demo.height);

	for (int i = 0; i < N_DISCS; i++) {
		static const uint32_t colours[N_DISCS] = { 0xe04040, 0x40c060, 0xf0b020, 0x4080f0 };
		int radius = demo.height / (8 + 2 * i);

		demo.discs[i] = (struct disc){
			.x = demo.width * (i + 1) / (N_DISCS + 1),
			.y = demo.height * (3 - i % 2) / 4,
			.radius = radius,
			.dx = 3 + 2 * i,
			.dy = i % 2 ? 4 + i : -3 - i,
			.colour = colours[i],
		};
	}
}

int demo_start(uint32_t width, uint32_t height)
{
	int rc;

	if (width < 64 || width > MAX_WIDTH || height < 64 || height > MAX_WIDTH)
		return -EINVAL;
	rc = font.bits ? 0 : font_load("/font.psf");
	if (rc == 0)
		rc = kms_open();
	if (rc < 0)
		return rc;

	memset(&demo, 0, sizeof(demo));
	demo.width = width & ~1u;
	demo.height = height;
	for (int i = 0; i < 2 && rc == 0; i++)
		rc = frame_create(width, height, DOTS_XRGB8888, &demo.frames[i]);
	if (rc == 0)
		rc = kms_show(&demo.frames[0], width, height, 0);
	if (rc < 0) {
		frame_destroy(&demo.frames[0]);
		frame_destroy(&demo.frames[1]);
		return rc;
	}
	kms_keep(&(struct frame){}); /* frees what was shown before */
	demo.back = 1;
	make_tables();
	place();
	demo.start = demo.second = now_ns();
	demo.running = true;
	return 0;
}

bool demo_running(void)
{
	return demo.running;
}

void demo_stop(struct text *out)
{
	text_add(out, "frames=%u ns=%llu", demo.count, (unsigned long long)(now_ns() - demo.start));
	demo.running = false;
	frame_destroy(&demo.frames[demo.back]);
	kms_keep(&demo.frames[!demo.back]); /* the last picture stays */
}
