/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * A console shows a scanout to people. It sees nothing but the scanout, runs
 * on threads of its own, and adds itself as the scanout's viewer only while
 * somebody looks. A new console is one file and one line in console.c's table.
 */
#pragma once

#include <jansson.h>

#include "scanout/scanout.h"

struct console;

/*
 * Opens what a --console= option says: KIND=ADDRESS[,KEY=VALUE...], e.g.
 * "vnc=unix:/run/vm1.vnc", "vnc=127.0.0.1:5901",
 * "vnc=[::]:5900,password-file=/etc/vgpud/vm1.pw"; a comma in a value is written
 * twice, as in QEMU's options. title names the vGPU to people. The scanout must
 * outlive the console. Port 0 lets the kernel choose one, which
 * console_describe() tells. A UNIX socket of a dead process is replaced.
 *
 * Viewers may connect from here on, and are served after console_start(): in
 * between the process may give up the right to open anything.
 *
 * Returns 0 with *ret_console, which the caller closes; or a negative errno with
 * *ret_error, a sentence for the user that says what is wrong and what to do,
 * which the caller frees.
 */
int console_open(const char *text, struct scanout *so, const char *title,
		 struct console **ret_console, char **ret_error);

/*
 * Serves the viewers, on threads of the console's own. Returns 0, or a negative
 * errno with *ret_error as above.
 */
int console_start(struct console *console, char **ret_error);

/* Disconnects the viewers, ends the threads, removes the socket. NULL is allowed. */
void console_close(struct console *console);

/*
 * A new JSON object about this console, for `vgpuctl show`:
 * {"kind": "vnc", "address": "127.0.0.1:5901", "viewers": 2, "password": true}.
 */
json_t *console_describe(struct console *console);

/* The name of the i-th kind of console, as in --console=KIND=...; NULL past the last. */
const char *console_kind_name(size_t i);

/* What --console= accepts, one line a kind, for --help. */
const char *console_help(void);
