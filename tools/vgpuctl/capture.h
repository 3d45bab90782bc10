/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

/*
 * Runs argv[0] (a path) with no input, and collects what it prints on either
 * output, at most 1 MiB of it. A program that takes longer than timeout_ms is
 * killed. Returns 0 with a new string in *ret_output and the exit status
 * (128 + the signal) in *ret_status; -ETIMEDOUT; or another negative errno.
 */
int capture_output(char *const argv[], int timeout_ms, char **ret_output, int *ret_status);
