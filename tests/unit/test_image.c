/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "scanout/image.h"

#include <errno.h>
#include <fcntl.h>
#include <png.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <xxhash.h>

#include "base/cleanup.h"
#include "unit.h"

enum {
	WIDTH = 2500, /* more than the hash packs at a time */
	HEIGHT = 40,
};

static uint32_t pixels[WIDTH * HEIGHT];
static struct scanout_image image = { WIDTH, HEIGHT, pixels };

static void draw(void)
{
	for (uint32_t i = 0; i < WIDTH * HEIGHT; i++)
		pixels[i] = 0xff000000 | i * 2654435761u >> 8;
}

static void hash_is_as_documented(void **state)
{
	static uint8_t bytes[8 + WIDTH * HEIGHT * 3];
	struct scanout_image small = { 1, 2, (uint32_t[]){ 0xff010203, 0xff040506 } };
	const uint8_t small_bytes[] = { 1, 0, 0, 0, 2, 0, 0, 0, 1, 2, 3, 4, 5, 6 };

	assert_true(scanout_image_hash(&small) == XXH3_64bits(small_bytes, sizeof(small_bytes)));

	draw();
	memcpy(bytes, (uint32_t[]){ htole32(WIDTH), htole32(HEIGHT) }, 8);
	for (size_t i = 0; i < WIDTH * HEIGHT; i++) {
		bytes[8 + 3 * i] = (uint8_t)(pixels[i] >> 16);
		bytes[8 + 3 * i + 1] = (uint8_t)(pixels[i] >> 8);
		bytes[8 + 3 * i + 2] = (uint8_t)pixels[i];
	}
	assert_true(scanout_image_hash(&image) == XXH3_64bits(bytes, sizeof(bytes)));
}

static void hash_sees_colour_and_shape_only(void **state)
{
	struct scanout_image turned = { HEIGHT, WIDTH, pixels };
	uint64_t hash;

	draw();
	hash = scanout_image_hash(&image);
	assert_true(scanout_image_hash(&turned) != hash);
	pixels[77] &= 0xffffff; /* the X byte is nobody's */
	assert_true(scanout_image_hash(&image) == hash);
	pixels[77] ^= 1;
	assert_true(scanout_image_hash(&image) != hash);
}

static void png_reads_back(void **state)
{
	static uint8_t rgb[WIDTH * HEIGHT * 3];
	_cleanup_close_ int fd = memfd_create("png", MFD_CLOEXEC);
	png_image reader = { .version = PNG_IMAGE_VERSION };
	FILE *file;

	draw();
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "before", 6), 6); /* it starts where the fd stands */
	assert_int_equal(scanout_image_write_png(&image, fd), 0);
	assert_int_equal(lseek(fd, 6, SEEK_SET), 6);

	file = fdopen(dup(fd), "r");
	assert_true(png_image_begin_read_from_stdio(&reader, file));
	assert_int_equal(reader.width, WIDTH);
	assert_int_equal(reader.height, HEIGHT);
	assert_int_equal(reader.format, PNG_FORMAT_RGB);
	assert_true(png_image_finish_read(&reader, NULL, rgb, 0, NULL));
	fclose(file);
	for (size_t i = 0; i < WIDTH * HEIGHT; i++) {
		assert_int_equal(rgb[3 * i], pixels[i] >> 16 & 0xff);
		assert_int_equal(rgb[3 * i + 1], pixels[i] >> 8 & 0xff);
		assert_int_equal(rgb[3 * i + 2], pixels[i] & 0xff);
	}
}

static void png_errors_come_back(void **state)
{
	_cleanup_close_ int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
	struct scanout_image impossible = { 0, 0, pixels };

	assert_int_equal(scanout_image_write_png(&image, -1), -EBADF);
	if (full >= 0)
		assert_int_equal(scanout_image_write_png(&image, full), -ENOSPC);
	assert_int_equal(scanout_image_write_png(&impossible, -1), -EIO);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hash_is_as_documented),
		cmocka_unit_test(hash_sees_colour_and_shape_only),
		cmocka_unit_test(png_reads_back),
		cmocka_unit_test(png_errors_come_back),
	};

	return cmocka_run_group_tests_name("image", tests, NULL, NULL);
}
