/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "vfio/region.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "unit.h"

enum {
	RW = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE,
	RWM = RW | VFIO_REGION_INFO_FLAG_MMAP,
};

/* A handler that remembers how it was called, on registers that hold what was written. */
struct recorder {
	uint8_t bytes[0x10000];
	struct call {
		bool write;
		uint64_t offset;
		unsigned int width;
	} calls[64];
	size_t n;
};

static void record(struct recorder *r, bool write, uint64_t offset, unsigned int width)
{
	assert_true(width == 1 || width == 2 || width == 4 || width == 8);
	assert_int_equal(offset % width, 0);
	assert_true(offset + width <= sizeof(r->bytes));
	if (r->n < ARRAY_SIZE(r->calls))
		r->calls[r->n] = (struct call){ write, offset, width };
	r->n++;
}

static uint64_t recorder_read(void *opaque, uint64_t offset, unsigned int width)
{
	struct recorder *r = opaque;

	record(r, false, offset, width);
	return get_le(r->bytes + offset, width);
}

static void recorder_write(void *opaque, uint64_t offset, uint64_t value, unsigned int width)
{
	struct recorder *r = opaque;

	record(r, true, offset, width);
	put_le(r->bytes + offset, value, width);
}

static const struct vfio_region_ops ops4 = { recorder_read, recorder_write, 4 };
static const struct vfio_region_ops ops8 = { recorder_read, recorder_write, 8 };

static struct recorder recorder;

static int setup(void **state)
{
	memset(&recorder, 0, sizeof(recorder));
	for (size_t i = 0; i < sizeof(recorder.bytes); i++)
		recorder.bytes[i] = (uint8_t)(i * 7 + 3);
	return 0;
}

static struct vfio_region trapped(uint64_t size, const struct vfio_region_ops *ops)
{
	return (struct vfio_region){
		.name = "test", .flags = RW, .size = size, .ops = ops, .opaque = &recorder, .fd = -1
	};
}

static void expect_calls(const struct call *calls, size_t n)
{
	assert_int_equal(recorder.n, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(recorder.calls[i].write, calls[i].write);
		assert_int_equal(recorder.calls[i].offset, calls[i].offset);
		assert_int_equal(recorder.calls[i].width, calls[i].width);
	}
	recorder.n = 0;
}

#define EXPECT_CALLS(...)                                                                          \
	expect_calls((const struct call[]){ __VA_ARGS__ },                                         \
		     sizeof((const struct call[]){ __VA_ARGS__ }) / sizeof(struct call))

static void accesses_are_split_into_natural_ones(void **state)
{
	struct vfio_region region = trapped(0x1000, &ops4);
	uint8_t buf[16];

	assert_int_equal(vfio_region_read(&region, 0x10, buf, 4), 0);
	EXPECT_CALLS({ false, 0x10, 4 });
	assert_memory_equal(buf, recorder.bytes + 0x10, 4);

	/* Eight bytes where four are the most: lowest address first. */
	assert_int_equal(vfio_region_read(&region, 0x20, buf, 8), 0);
	EXPECT_CALLS({ false, 0x20, 4 }, { false, 0x24, 4 });

	assert_int_equal(vfio_region_write(&region, 0x21, "\1\2\3\4", 4), 0);
	EXPECT_CALLS({ true, 0x21, 1 }, { true, 0x22, 2 }, { true, 0x24, 1 });
	assert_memory_equal(recorder.bytes + 0x21, "\1\2\3\4", 4);

	assert_int_equal(vfio_region_read(&region, 0x32, buf, 4), 0);
	EXPECT_CALLS({ false, 0x32, 2 }, { false, 0x34, 2 });

	assert_int_equal(vfio_region_read(&region, 0x31, buf, 3), 0);
	EXPECT_CALLS({ false, 0x31, 1 }, { false, 0x32, 2 });

	region.ops = &ops8;
	assert_int_equal(vfio_region_read(&region, 0x44, buf, 12), 0);
	EXPECT_CALLS({ false, 0x44, 4 }, { false, 0x48, 8 });
	assert_int_equal(vfio_region_write(&region, 0x48, "\1\2\3\4\5\6\7\10", 8), 0);
	EXPECT_CALLS({ true, 0x48, 8 });
}

static void every_offset_and_length_reads_the_right_bytes(void **state)
{
	struct vfio_region region = trapped(64, &ops4);

	for (unsigned int max = 0; max < 2; max++) {
		region.ops = max ? &ops8 : &ops4;
		for (uint64_t offset = 0; offset <= 64; offset++)
			for (size_t length = 0; length <= 64; length++) {
				uint8_t buf[64 + 1];
				int r;

				memset(buf, 0xee, sizeof(buf));
				r = vfio_region_read(&region, offset, buf, length);
				if (offset + length > 64) {
					assert_int_equal(r, -EINVAL);
					assert_int_equal(buf[0], 0xee);
				} else {
					assert_int_equal(r, 0);
					assert_memory_equal(buf, recorder.bytes + offset, length);
					assert_int_equal(buf[length], 0xee);
				}
				recorder.n = 0;
			}
	}
}

static void bounds_and_directions_are_checked(void **state)
{
	struct vfio_region region = trapped(0x1000, &ops4), none = { .fd = -1 };
	uint8_t buf[8] = { 0 };

	assert_int_equal(vfio_region_read(&region, 0xffd, buf, 4), -EINVAL);
	assert_int_equal(vfio_region_read(&region, 0x1000, buf, 1), -EINVAL);
	assert_int_equal(vfio_region_read(&region, UINT64_MAX, buf, 1), -EINVAL);
	assert_int_equal(vfio_region_read(&region, UINT64_MAX - 3, buf, 8), -EINVAL);
	assert_int_equal(vfio_region_write(&region, 0xffd, buf, 4), -EINVAL);
	assert_int_equal(vfio_region_read(&none, 0, buf, 1), -EINVAL);
	assert_int_equal(vfio_region_write(&none, 0, buf, 1), -EINVAL);
	assert_int_equal(vfio_region_read(&none, 0, buf, 0), -EINVAL);

	region.flags = VFIO_REGION_INFO_FLAG_READ;
	assert_int_equal(vfio_region_write(&region, 0, buf, 4), -EINVAL);
	region.flags = VFIO_REGION_INFO_FLAG_WRITE;
	assert_int_equal(vfio_region_read(&region, 0, buf, 4), -EINVAL);
	assert_int_equal(recorder.n, 0);
	assert_int_equal(region.stats.reads, 0);
	assert_int_equal(region.stats.writes, 0);

	region.flags = RW;
	assert_int_equal(vfio_region_read(&region, 0x1000, buf, 0), 0);
	assert_int_equal(recorder.n, 0);
}

static void without_a_handler_reads_give_ones(void **state)
{
	struct vfio_region region = trapped(0x1000, NULL);
	uint8_t buf[5] = { 0 };

	assert_int_equal(vfio_region_read(&region, 3, buf, 5), 0);
	assert_memory_equal(buf, "\xff\xff\xff\xff\xff", 5);
	assert_int_equal(vfio_region_write(&region, 3, buf, 5), 0);
}

static void memory_is_read_and_written(void **state)
{
	static uint8_t memory[0x1000] __attribute__((aligned(8)));
	struct vfio_region region = {
		.flags = RW, .size = sizeof(memory), .memory = memory, .fd = -1
	};
	uint8_t in[32] __attribute__((aligned(8))), out[32] __attribute__((aligned(8)));

	/* Whatever the alignment of either side, what is copied is the same. */
	for (unsigned int at = 0; at < 8; at++)
		for (unsigned int skew = 0; skew < 8; skew++)
			for (size_t length = 0; length <= 16; length++) {
				for (size_t i = 0; i < sizeof(in); i++)
					in[i] = (uint8_t)(i + at * 16 + skew);
				memset(memory, 0xcc, 64);
				memset(out, 0xdd, sizeof(out));
				assert_int_equal(vfio_region_write(&region, at, in + skew, length),
						 0);
				assert_int_equal(vfio_region_read(&region, at, out + skew, length),
						 0);
				assert_memory_equal(out + skew, in + skew, length);
				assert_int_equal(out[skew + length], 0xdd);
				assert_int_equal(memory[at + length], 0xcc);
			}
}

/* 0x0000 trapped, 0x1000 mapped, 0x3000 trapped, 0x4000 mapped, to 0x5000 trapped. */
static void sparse_regions_go_to_both(void **state)
{
	static uint8_t memory[0x6000];
	static const struct vfio_region_area areas[] = { { 0x1000, 0x2000 }, { 0x4000, 0x1000 } };
	struct vfio_region region = trapped(0x6000, &ops4);
	uint8_t buf[0x6000];

	region.flags = RWM;
	region.memory = memory;
	region.areas = areas;
	region.n_areas = ARRAY_SIZE(areas);
	memset(memory, 0xaa, sizeof(memory));

	assert_int_equal(vfio_region_read(&region, 0xffe, buf, 4), 0);
	assert_memory_equal(buf, recorder.bytes + 0xffe, 2);
	assert_memory_equal(buf + 2, "\xaa\xaa", 2);
	EXPECT_CALLS({ false, 0xffe, 2 });

	assert_int_equal(vfio_region_write(&region, 0x2ffe, "\1\2\3\4", 4), 0);
	EXPECT_CALLS({ true, 0x3000, 2 });
	assert_int_equal(memory[0x2ffe], 1);
	assert_int_equal(memory[0x2fff], 2);
	assert_int_equal(memory[0x3000], 0xaa);

	assert_int_equal(vfio_region_read(&region, 0x5000, buf, 4), 0);
	EXPECT_CALLS({ false, 0x5000, 4 });

	/* All of it in one access. */
	assert_int_equal(vfio_region_read(&region, 0, buf, sizeof(buf)), 0);
	assert_memory_equal(buf, recorder.bytes, 0x1000);
	assert_memory_equal(buf + 0x1000, memory + 0x1000, 0x2000);
	assert_memory_equal(buf + 0x3000, recorder.bytes + 0x3000, 0x1000);
	assert_memory_equal(buf + 0x4000, memory + 0x4000, 0x1000);
	assert_memory_equal(buf + 0x5000, recorder.bytes + 0x5000, 0x1000);
}

static void accesses_are_counted(void **state)
{
	struct vfio_region region = trapped(0x1000, &ops4);
	uint8_t buf[8] = { 0 };

	vfio_region_read(&region, 0, buf, 4);
	vfio_region_read(&region, 0, buf, 8);
	vfio_region_write(&region, 0, buf, 1);
	assert_int_equal(region.stats.reads, 2);
	assert_int_equal(region.stats.read_bytes, 12);
	assert_int_equal(region.stats.writes, 1);
	assert_int_equal(region.stats.write_bytes, 1);
}

static void info_of_a_plain_region(void **state)
{
	struct vfio_region region = trapped(0x1000, &ops4), none = { .fd = -1 };
	struct vfio_region_info info;

	assert_int_equal(vfio_region_fill_info(&region, 2, 32, &info, sizeof(info)), 32);
	assert_int_equal(info.argsz, 32);
	assert_int_equal(info.flags, RW);
	assert_int_equal(info.index, 2);
	assert_int_equal(info.cap_offset, 0);
	assert_int_equal(info.size, 0x1000);
	assert_int_equal(info.offset, 0);

	assert_int_equal(vfio_region_fill_info(&none, 8, 32, &info, sizeof(info)), 32);
	assert_int_equal(info.size, 0);
	assert_int_equal(info.flags, 0);
}

/* <linux/vfio.h>, struct vfio_region_info: argsz, and CAPS only with cap_offset set. */
static void info_of_a_sparse_region(void **state)
{
	static const struct vfio_region_area areas[] = { { 0x1000, 0x2000 }, { 0x4000, 0x1000 } };
	struct vfio_region region = trapped(0x6000, &ops4);
	struct vfio_region_info info;
	uint8_t buf[32 + 16 + 32];

	region.flags = RWM;
	region.areas = areas;
	region.n_areas = 2;
	region.fd_offset = 0x10000;
	assert_int_equal(vfio_region_info_size(&region), sizeof(buf));

	for (uint32_t argsz = 32; argsz < sizeof(buf); argsz++) {
		assert_int_equal(vfio_region_fill_info(&region, 4, argsz, buf, sizeof(buf)), 32);
		memcpy(&info, buf, sizeof(info));
		assert_int_equal(info.argsz, sizeof(buf));
		assert_int_equal(info.flags, RWM);
		assert_int_equal(info.cap_offset, 0);
		assert_int_equal(info.offset, 0x10000);
	}
	/* Room that the caller's buffer does not have is not used, whatever argsz says. */
	assert_int_equal(vfio_region_fill_info(&region, 4, UINT32_MAX, buf, sizeof(buf) - 1), 32);

	assert_int_equal(vfio_region_fill_info(&region, 4, sizeof(buf), buf, sizeof(buf)),
			 sizeof(buf));
	memcpy(&info, buf, sizeof(info));
	assert_int_equal(info.argsz, sizeof(buf));
	assert_int_equal(info.flags, RWM | VFIO_REGION_INFO_FLAG_CAPS);
	assert_int_equal(info.cap_offset, 32);
	assert_int_equal(get_le16(buf + 32), VFIO_REGION_INFO_CAP_SPARSE_MMAP);
	assert_int_equal(get_le16(buf + 34), 1);
	assert_int_equal(get_le32(buf + 36), 0); /* next */
	assert_int_equal(get_le32(buf + 40), 2); /* nr_areas */
	assert_int_equal(get_le64(buf + 48), 0x1000);
	assert_int_equal(get_le64(buf + 56), 0x2000);
	assert_int_equal(get_le64(buf + 64), 0x4000);
	assert_int_equal(get_le64(buf + 72), 0x1000);
}

static void device_authors_mistakes_are_found(void **state)
{
	static uint8_t memory[0x6000];
	struct vfio_region_area areas[2] = { { 0x1000, 0x2000 }, { 0x4000, 0x1000 } };
	struct vfio_region good = {
		.flags = RWM,
		.size = 0x6000,
		.fd = 0,
		.memory = memory,
		.ops = &ops4,
		.areas = areas,
		.n_areas = 2,
	};
	struct vfio_region r, none = { .fd = -1 };

	assert_true(vfio_region_is_valid(&good));
	assert_true(vfio_region_is_valid(&none));

#define BAD(...)                                                                                   \
	do {                                                                                       \
		r = good;                                                                          \
		__VA_ARGS__;                                                                       \
		assert_false(vfio_region_is_valid(&r));                                            \
	} while (0)
	/* VMMs take the protection from the whole region: no MMAP without both. */
	BAD(r.flags = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_MMAP);
	BAD(r.flags = VFIO_REGION_INFO_FLAG_WRITE | VFIO_REGION_INFO_FLAG_MMAP);
	BAD(r.flags |= VFIO_REGION_INFO_FLAG_CAPS);
	BAD(r.fd = -1);
	BAD(r.memory = NULL);
	BAD(r.fd_offset = 0x800);
	BAD(r.size = 0x6800);
	BAD(r.size = 0);
	BAD(r.flags = RW);
	BAD(areas[1].offset = 0x2000); /* overlaps */
	areas[1].offset = 0x4000;
	BAD(areas[1].offset = 0x0000); /* not in order */
	areas[1].offset = 0x4000;
	BAD(areas[1].size = 0x3000); /* beyond the end */
	BAD(areas[1].size = 0);
	BAD(areas[1].size = 0x800);
	areas[1].size = 0x1000;
	BAD(areas[1].offset = 0x4800);
	areas[1].offset = 0x4000;
	BAD(areas[1].offset = UINT64_MAX - 0xfff);
	areas[1].offset = 0x4000;
	{
		static const struct vfio_region_ops ops2 = { recorder_read, recorder_write, 2 };

		BAD(r.ops = &ops2);
	}
#undef BAD
	assert_true(vfio_region_is_valid(&good));
}

static void bell_rung(void *opaque, unsigned int index)
{
}

static void mistakes_with_doorbells_are_found(void **state)
{
	static const struct vfio_region_ops ops = { recorder_read, recorder_write, 8, bell_rung };
	static uint8_t memory[0x6000];
	struct vfio_region_area area = { 0x1000, 0x1000 };
	const struct vfio_doorbell good = { .offset = 0x3000, .size = 4, .fd = -1 };
	struct vfio_doorbell bells[2];
	struct vfio_region region = {
		.flags = RWM,
		.size = 0x6000,
		.fd = 0,
		.memory = memory,
		.ops = &ops,
		.areas = &area,
		.n_areas = 1,
		.doorbells = bells,
		.n_doorbells = 2,
	};

	bells[0] = bells[1] = good;
	assert_true(vfio_region_is_valid(&region));
#define BAD(...)                                                                                   \
	do {                                                                                       \
		__VA_ARGS__;                                                                       \
		assert_false(vfio_region_is_valid(&region));                                       \
		bells[1] = good;                                                                   \
	} while (0)
	BAD(bells[1].fd = 0); /* forgotten */
	BAD(bells[1].size = 0);
	BAD(bells[1].size = 3);
	BAD(bells[1].size = 16);
	BAD(bells[1].offset = 0x3002);
	BAD(bells[1].offset = 0x6000);
	BAD(bells[1].offset = UINT64_MAX - 3);
	BAD(bells[1].offset = 0x1ffc); /* mapped: nobody traps there */
#undef BAD
	region.doorbells = NULL;
	assert_false(vfio_region_is_valid(&region));
	region.doorbells = bells;
	region.ops = &ops4;
	assert_false(vfio_region_is_valid(&region));
	region.ops = &ops;
	region.flags = VFIO_REGION_INFO_FLAG_READ;
	region.n_areas = 0;
	region.memory = NULL;
	assert_false(vfio_region_is_valid(&region));
	region.flags = RW;
	assert_true(vfio_region_is_valid(&region));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(accesses_are_split_into_natural_ones, setup),
		cmocka_unit_test_setup(every_offset_and_length_reads_the_right_bytes, setup),
		cmocka_unit_test_setup(bounds_and_directions_are_checked, setup),
		cmocka_unit_test_setup(without_a_handler_reads_give_ones, setup),
		cmocka_unit_test_setup(memory_is_read_and_written, setup),
		cmocka_unit_test_setup(sparse_regions_go_to_both, setup),
		cmocka_unit_test_setup(accesses_are_counted, setup),
		cmocka_unit_test_setup(info_of_a_plain_region, setup),
		cmocka_unit_test_setup(info_of_a_sparse_region, setup),
		cmocka_unit_test_setup(device_authors_mistakes_are_found, setup),
		cmocka_unit_test_setup(mistakes_with_doorbells_are_found, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
