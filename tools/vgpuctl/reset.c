/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "base/cleanup.h"
#include "common/output.h"
#include "control/json_text.h"
#include "members.h"
#include "target.h"
#include "vgpuctl.h"

int run_reset(const struct invocation *inv)
{
	_cleanup_(target_done) struct target target = { 0 };
	struct control_reply reply;
	const char *device;
	int r;

	r = target_resolve(inv->operands[0], &target);
	if (r)
		return r;
	r = target_call(&target, "org.vgpud.Control.Reset", target_parameters(&target), RESET_MS,
			&reply);
	if (r)
		return r;
	device = get_string(reply.parameters, "device", "?");
	if (output_is_json())
		print_json(json_pack("{s:i, s:o, s:s}", "version", 1, "name",
				     json_text(target.name), "device", device));
	else
		say("%s/%s was reset", target.name, device);
	control_reply_done(&reply);
	return EXIT_OK;
}
