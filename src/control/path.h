/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Where control sockets lie unless told otherwise, the one rule that vgpud and
 * vgpuctl share: DIRECTORY/NAME.ctl.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
	CONTROL_NAME_MAX = 64, /* bytes of a vGPU's name */
};

#define CONTROL_SUFFIX ".ctl"

/*
 * True if name may name a vGPU: 1 to CONTROL_NAME_MAX bytes of [A-Za-z0-9._-],
 * not starting with '.' or '-', so that it is a file name, an argument and a
 * label as it stands. NULL is not.
 */
bool control_name_valid(const char *name);

/*
 * The directory of control sockets: $VGPUD_RUNTIME_DIR if that is set, else
 * $XDG_RUNTIME_DIR/vgpud, or /run/vgpud for root and where there is no such
 * variable. Paths that are not absolute are ignored. The caller frees *ret.
 * Returns 0 or -ENOMEM.
 */
int control_default_directory(char **ret);

/*
 * The control socket of the vGPU called name in that directory. The caller
 * frees *ret. Returns 0; -EINVAL if the name is not valid; -ENAMETOOLONG if
 * the path would not fit a socket address; -ENOMEM.
 */
int control_default_path(const char *name, char **ret);

/*
 * The name in the last component of the path of a control socket: "vm1" for
 * "/run/vgpud/vm1.ctl". The caller frees *ret. Returns 0; -EINVAL if the path
 * does not end in a valid name and CONTROL_SUFFIX; -ENOMEM.
 */
int control_name_of_path(const char *path, char **ret);

/*
 * Makes the directory (mode 0700) if it is not there; its parent must be.
 * Returns 0 or a negative errno.
 */
int control_make_directory(const char *directory);
