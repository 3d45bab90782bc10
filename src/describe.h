/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What `vgpuctl show` is told about a vGPU and its devices, as JSON. */
#pragma once

#include <jansson.h>

#include "device/model.h"
#include "door.h"
#include "sandbox/sandbox.h"

/* New objects. Their counters may move while they are made. */
json_t *describe_device(const char *id, struct device *device, const struct door *door);
json_t *describe_scanout(struct scanout *so);
json_t *describe_sandbox(const struct sandbox_info *info);
