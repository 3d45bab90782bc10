/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Between bench-trapped-calls and the library that it preloads into vgpud. */
#pragma once

#include <stdatomic.h>
#include <stdint.h>

typedef _Atomic uint64_t alloc_count_t;

/* The variable that names a file of one alloc_count_t, which every allocation adds to. */
#define ALLOC_COUNT_FILE "BENCH_ALLOC_COUNT"
