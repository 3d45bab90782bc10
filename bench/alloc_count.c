/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Counts every allocation of the program that it is preloaded into. */
#include "alloc_count.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

/* What glibc calls its own; its allocator is made to be interposed (malloc(3)). */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

static alloc_count_t before_main; /* until the file is there */
static alloc_count_t *count = &before_main;

static __attribute__((constructor)) void open_file(void)
{
	const char *path = getenv(ALLOC_COUNT_FILE);
	int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
	void *p = mmap(NULL, sizeof(*count), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p != MAP_FAILED)
		count = p;
	if (fd >= 0)
		close(fd);
}

void *malloc(size_t size)
{
	atomic_fetch_add(count, 1);
	return __libc_malloc(size);
}

void *calloc(size_t nmemb, size_t size)
{
	atomic_fetch_add(count, 1);
	return __libc_calloc(nmemb, size);
}

void *realloc(void *ptr, size_t size)
{
	atomic_fetch_add(count, 1);
	return __libc_realloc(ptr, size);
}

void *memalign(size_t alignment, size_t size)
{
	atomic_fetch_add(count, 1);
	return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
	return memalign(alignment, size);
}

int posix_memalign(void **memptr, size_t alignment, size_t size)
{
	void *p = memalign(alignment, size);

	if (!p)
		return ENOMEM;
	*memptr = p;
	return 0;
}
