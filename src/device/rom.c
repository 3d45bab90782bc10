/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "device/rom.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/bytes.h"
#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "pci/function.h"

enum {
	ROM_MIN_SIZE = 2048, /* a ROM BAR decodes no less */
	ROM_PCIR_POINTER = 0x18,
	PCIR_LENGTH = 24,
};

static int read_all(int fd, uint8_t *buf, size_t length)
{
	while (length) {
		ssize_t n = read(fd, buf, length);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return n < 0 ? -errno : -EIO;
		buf += n;
		length -= (size_t)n;
	}
	return 0;
}

static void warn_if_foreign(const char *path, const uint8_t *rom, size_t length, uint16_t vendor,
			    uint16_t device)
{
	size_t at = get_le16(rom + ROM_PCIR_POINTER);

	if (at + PCIR_LENGTH > length || memcmp(rom + at, "PCIR", 4)) {
		log_warning("%s has no PCI data structure; firmware will not run it", path);
		return;
	}
	if (get_le16(rom + at + 4) != vendor || get_le16(rom + at + 6) != device)
		log_warning("%s is for device %04x:%04x, not for %04x:%04x; firmware will not "
			    "run it",
			    path, get_le16(rom + at + 4), get_le16(rom + at + 6), vendor, device);
}

int rom_load(const char *path, uint16_t vendor, uint16_t device, uint8_t **ret_memory,
	     uint64_t *ret_size, char **ret_error)
{
	/* Without O_NONBLOCK, opening a FIFO would wait for its writer. */
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_free_ uint8_t *memory = NULL;
	uint64_t size = ROM_MIN_SIZE;
	struct stat st;
	int r;

	if (fd < 0 || fstat(fd, &st) < 0) {
		r = -errno;
		*ret_error = text_format("the option ROM %s can't be read: %s", path, strerror(-r));
		return r;
	}
	if (!S_ISREG(st.st_mode) || st.st_size < ROM_PCIR_POINTER + 2 ||
	    st.st_size > PCI_ROM_MAX_SIZE) {
		*ret_error =
			text_format("%s is no option ROM: expected a file of at most 16 MiB", path);
		return -ENOEXEC;
	}
	while (size < (uint64_t)st.st_size)
		size *= 2;

	memory = malloc(size);
	if (!memory)
		return -ENOMEM;
	memset(memory, 0xff, size);
	r = read_all(fd, memory, (size_t)st.st_size);
	if (r < 0) {
		*ret_error = text_format("the option ROM %s can't be read: %s", path, strerror(-r));
		return r;
	}
	if (memory[0] != 0x55 || memory[1] != 0xaa) {
		*ret_error = text_format("%s is no option ROM: it does not start with 55 AA", path);
		return -ENOEXEC;
	}
	warn_if_foreign(path, memory, (size_t)st.st_size, vendor, device);
	*ret_memory = STEAL_PTR(memory);
	*ret_size = size;
	return 0;
}
