/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Anonymous files. */
#pragma once

/*
 * An empty, close-on-exec file in memory that can be sealed and, where the
 * kernel knows that, never be executed: some hosts (vm.memfd_noexec) allow no
 * other. name is for /proc. Returns the descriptor, or -1 with errno.
 */
int memfd_new(const char *name);
