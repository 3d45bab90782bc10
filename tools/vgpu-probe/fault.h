/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Memory that a device shares may vanish while we touch it: its file is the
 * device's to truncate. Everything that we do in such memory goes through here.
 */
#pragma once

#include <stddef.h>

/* memcpy(), memset() that return -EFAULT if a page was not there. */
int guarded_copy(void *to, const void *from, size_t length);
int guarded_set(void *to, int byte, size_t length);
