/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The last resort against a server that makes us wait where no timeout can be
 * given: a page of memory that it shares may be one that never comes (FUSE).
 */
#pragma once

/*
 * Unless it is armed again or disarmed within that time, the process says what
 * it was doing, calls expired and ends with EXIT_FAILED.
 */
void watchdog_arm(unsigned int ms, const char *what, void (*expired)(void));
void watchdog_disarm(void);
