/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

enum {
	PASSWORD_MAX = 8, /* VNC authentication is DES with the password as its key */
};

/*
 * Reads the password in the first line of a file. Warns if it is longer than
 * VNC heeds; refuses a file that everybody may read. Returns 0, or a negative
 * errno with *ret_error a sentence that the caller frees.
 */
int password_read(const char *path, char ret[PASSWORD_MAX + 1], char **ret_error);
