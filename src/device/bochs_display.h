/* SPDX-License-Identifier: GPL-2.0-or-later */
#pragma once

#include "device/model.h"

/*
 * The Bochs display, 1234:1111: a linear framebuffer and nothing else. Linux
 * drives it with its in-box bochs DRM driver, OVMF and (with an option ROM)
 * SeaBIOS draw on it. QEMU's docs/specs/standard-vga.rst describes it.
 */
extern const struct device_model bochs_display_model;
