/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "device/model.h"

/*
 * The selftest device, 1234:7e57: every kind of region, interrupt and access to
 * guest memory that a VFIO device can have. selftest_regs.h describes it.
 */
extern const struct device_model selftest_model;
