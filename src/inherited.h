/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Descriptors that this process was started with. */
#pragma once

#include "options.h"

/*
 * Closes those that nobody asked us to serve: what a careless parent left open, a
 * directory or a socket, would otherwise be inside the sandbox. Standard input and
 * output become /dev/null. Only at the start, before anything else is open.
 */
void inherited_close_others(const struct options *options);
