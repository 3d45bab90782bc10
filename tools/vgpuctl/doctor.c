/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "doctor.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "control/json_text.h"
#include "control/path.h"
#include "vgpuctl.h"

void doctor_say(struct doctor *doctor, enum mark mark, const char *check, const char *fix,
		const char *format, ...)
{
	static const char *const words[] = {
		[MARK_OK] = "ok",
		[MARK_WARNING] = "warning",
		[MARK_PROBLEM] = "problem",
	};
	_cleanup_free_ char *message = NULL;
	va_list args;

	va_start(args, format);
	message = text_vformat(format, args);
	va_end(args);
	doctor->problem = doctor->problem || mark == MARK_PROBLEM;
	if (output_is_json())
		json_array_append_new(doctor->checks,
				      json_pack("{s:o, s:s, s:o, s:s?}", "check", json_text(check),
						"result", words[mark], "message",
						json_text(message), "fix", fix));
	else
		say("%s %s: %s%s%s", mark_text(mark), check, message, fix ? "; " : "",
		    fix ? fix : "");
}

static int examine_one(struct doctor *doctor, const struct target *target)
{
	json_t *show, *devices;
	int r;

	r = target_show(target, &show, &devices);
	if (r)
		return r;
	doctor_sandbox(doctor, target, json_object_get(show, "sandbox"));
	doctor_vgpu(doctor, target, devices);
	json_decref(devices);
	json_decref(show);
	return EXIT_OK;
}

/* Every vGPU of the default directory; one that does not answer is a finding. */
static void examine_all(struct doctor *doctor)
{
	_cleanup_(names_done) struct names names = { 0 };
	int r;

	r = names_read(&names);
	if (r < 0) {
		doctor_say(doctor, MARK_PROBLEM, "vGPUs", NULL,
			   "cannot look for those that run: %s", strerror(-r));
		return;
	}
	for (size_t i = 0; i < names.n; i++) {
		_cleanup_(target_done) struct target target = { 0 };
		struct control_client *client;

		if (target_resolve(names.names[i], &target))
			continue;
		r = control_client_open(target.path, LIST_MS, &client);
		if (r < 0) {
			doctor_say(doctor, MARK_WARNING, target.name,
				   strcmp(open_error_word(r), "stale") == 0
					   ? "start it again, or remove the file"
					   : NULL,
				   "%s is %s", target.path, open_error_word(r));
			continue;
		}
		control_client_close(client);
		if (examine_one(doctor, &target))
			doctor->problem = true;
	}
	if (names.n == 0)
		doctor_say(doctor, MARK_OK, "vGPUs", NULL, "none runs");
}

int run_doctor(const struct invocation *inv)
{
	_cleanup_(target_done) struct target target = { 0 };
	struct doctor doctor = { 0 };
	int r = EXIT_OK;

	if (inv->operands[0]) {
		r = target_resolve(inv->operands[0], &target);
		if (r)
			return r;
	}
	doctor.checks = json_array();
	doctor_host(&doctor, option_value(inv, "qemu"));
	if (inv->operands[0])
		r = examine_one(&doctor, &target);
	else
		examine_all(&doctor);

	if (r == EXIT_OK && output_is_json())
		print_json(json_pack("{s:i, s:b, s:O}", "version", 1, "ok", !doctor.problem,
				     "checks", doctor.checks));
	json_decref(doctor.checks);
	return r ? r : doctor.problem ? EXIT_FAILED : EXIT_OK;
}
