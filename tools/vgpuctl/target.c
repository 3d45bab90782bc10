/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "target.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "common/output.h"
#include "control/json_text.h"
#include "control/path.h"
#include "members.h"
#include "vgpuctl.h"

#define CONTROL "org.vgpud.Control."
#define VARLINK "org.varlink.service."

void target_done(struct target *target)
{
	free(target->name);
	free(target->path);
	free(target->device);
}

/*
 * The default directory
 */

static int is_control(const struct dirent *entry)
{
	_cleanup_free_ char *name = NULL;

	return control_name_of_path(entry->d_name, &name) == 0;
}

int names_read(struct names *ret)
{
	_cleanup_free_ struct dirent **entries = NULL;
	_cleanup_free_ char *directory = NULL;
	struct names names = { 0 };
	int n, r;

	r = control_default_directory(&directory);
	if (r < 0)
		return r;
	n = scandir(directory, &entries, is_control, alphasort);
	if (n < 0 && errno != ENOENT)
		return -errno;

	names.names = calloc(n > 0 ? (size_t)n : 1, sizeof(*names.names));
	for (int i = 0; i < n; i++) {
		if (names.names &&
		    control_name_of_path(entries[i]->d_name, &names.names[names.n]) == 0)
			names.n++;
		free(entries[i]);
	}
	if (!names.names)
		return -ENOMEM;
	names.directory = STEAL_PTR(directory);
	*ret = names;
	return 0;
}

void names_done(struct names *names)
{
	for (size_t i = 0; i < names->n; i++)
		free(names->names[i]);
	free(names->names);
	free(names->directory);
}

static bool is_running(const char *name)
{
	_cleanup_free_ char *path = NULL;
	struct control_client *client;

	if (control_default_path(name, &path) < 0 ||
	    control_client_open(path, LIST_MS, &client) < 0)
		return false;
	control_client_close(client);
	return true;
}

/*
 * Arguments
 */

static int resolve_name(const char *name, const char *device, struct target *ret)
{
	char *path;
	int r = control_default_path(name, &path);

	if (r == -EINVAL)
		return usage_error(
			"'%s' is no name of a vGPU: letters, digits, '.', '_' and '-', at "
			"most %d; the path of a control socket starts with '/' or '.'",
			name, CONTROL_NAME_MAX);
	if (r < 0)
		return fail("path", "cannot make the path of %s's control socket: %s", name,
			    strerror(-r));
	*ret = (struct target){
		.name = text_format("%s", name),
		.path = path,
		.device = device ? text_format("%s", device) : NULL,
	};
	return EXIT_OK;
}

/* The one vGPU that runs. */
static int resolve_only(struct target *ret)
{
	_cleanup_(names_done) struct names names = { 0 };
	_cleanup_free_ char *several = NULL;
	const char *only = NULL;
	unsigned int running = 0;
	int r;

	r = names_read(&names);
	if (r < 0)
		return fail("directory", "cannot look for vGPUs: %s", strerror(-r));
	for (size_t i = 0; i < names.n; i++) {
		_cleanup_free_ char *before = several;

		if (!is_running(names.names[i])) {
			before = NULL;
			continue;
		}
		several = text_format("%s%s%s", before ? before : "", before ? ", " : "",
				      names.names[i]);
		only = names.names[i];
		running++;
	}
	if (running == 0)
		return fail("no-vgpu",
			    "no vGPU runs (there is none in %s); start one with vgpud, or give the "
			    "path of its control socket",
			    names.directory);
	if (running > 1)
		return fail("ambiguous", "several vGPUs run; say which: %s", several);
	return resolve_name(only, NULL, ret);
}

static bool is_socket(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISSOCK(st.st_mode);
}

int target_resolve(const char *argument, struct target *ret)
{
	_cleanup_free_ char *front = NULL;
	const char *slash;
	char *device;

	if (!argument)
		return resolve_only(ret);
	slash = strrchr(argument, '/');
	if (!slash && argument[0] != '.')
		return resolve_name(argument, NULL, ret);

	/* A path, or something/DEVICE, where that is a socket or a name. */
	front = slash ? strndup(argument, (size_t)(slash - argument)) : NULL;
	device = slash && slash[1] ? (char *)slash + 1 : NULL;
	if (access(argument, F_OK) < 0 && front && device) {
		if (is_socket(front)) {
			*ret = (struct target){
				.name = text_format("%s", front),
				.path = STEAL_PTR(front),
				.device = text_format("%s", device),
			};
			return EXIT_OK;
		}
		if (control_name_valid(front))
			return resolve_name(front, device, ret);
	}
	*ret = (struct target){
		.name = text_format("%s", argument),
		.path = text_format("%s", argument),
	};
	return EXIT_OK;
}

json_t *target_parameters(const struct target *target)
{
	return target->device ? json_pack("{s:o}", "device", json_text(target->device)) : NULL;
}

/*
 * Asking
 */

const char *open_error_word(int error)
{
	switch (-error) {
	case ECONNREFUSED:
		return "stale";
	case EACCES:
	case EPERM:
		return "denied";
	default:
		return "no answer";
	}
}

int target_explain(const struct target *target, int error, int timeout_ms)
{
	const char *path = target->path;

	switch (-error) {
	case ENOENT:
	case ENOTDIR:
		return fail("no-vgpu",
			    "no vGPU is called %s (%s does not exist); see: vgpuctl list",
			    target->name, path);
	case ECONNREFUSED:
		if (!is_socket(path))
			return fail("not-a-socket", "%s is not a control socket", path);
		return fail(
			"stale",
			"no vgpud answers on %s: it ended without removing the socket; start it "
			"again, or remove the file",
			path);
	case EACCES:
	case EPERM:
		return fail("denied",
			    "no permission to use %s; ask as the user whose vgpud it is, "
			    "or as root",
			    path);
	case ETIMEDOUT:
		return fail(
			"timeout",
			"the vgpud on %s did not answer within %d s; see its log for what keeps "
			"it",
			path, (timeout_ms + 999) / 1000);
	case EPROTO:
	case EPROTOTYPE:
		return fail("protocol",
			    "what answers on %s is not a vgpud; is it a control socket?", path);
	case ECONNRESET:
		return fail("closed", "the vgpud on %s closed the connection; see its log for why",
			    path);
	case ENAMETOOLONG:
		return fail("path",
			    "%s is too long for the path of a socket; go to its directory "
			    "and use ./NAME",
			    path);
	default:
		return fail("connection", "cannot talk to the vgpud on %s: %s", path,
			    strerror(-error));
	}
}

int target_explain_reply(const struct target *target, const char *method,
			 const struct control_reply *reply)
{
	const char *error = reply->error, *name = target->name;
	const char *device = get_string(reply->parameters, "device", target->device);
	const char *reason = get_string(reply->parameters, "reason", "no reason given");

	if (strcmp(error, CONTROL "NoSuchDevice") == 0)
		return fail("no-such-device", "%s has no device %s; see: vgpuctl show %s", name,
			    device && device[0] ? device : "at all", name);
	if (strcmp(error, CONTROL "NoScreen") == 0)
		return fail("no-screen", "%s%s%s has no screen", name, device ? "/" : "",
			    device ? device : "");
	if (strcmp(error, CONTROL "ResetFailed") == 0)
		return fail("reset-failed", "%s/%s could not be reset: %s", name,
			    device ? device : "?", reason);
	if (strcmp(error, CONTROL "Failed") == 0)
		return fail("failed", "%s could not do that: %s", name, reason);
	if (strcmp(error, CONTROL "TooManyClients") == 0)
		return fail("too-many-clients",
			    "%s has as many clients as it takes; try again later", name);
	if (strcmp(error, VARLINK "InvalidParameter") == 0 && !target->device &&
	    strcmp(get_string(reply->parameters, "parameter", ""), "device") == 0)
		return fail("ambiguous",
			    "%s has several devices; say which, as %s/DEVICE; see: "
			    "vgpuctl show %s",
			    name, name, name);
	if (strncmp(error, VARLINK, strlen(VARLINK)) == 0)
		return fail("too-old",
			    "the vgpud of %s does not know %s as this vgpuctl does (%s); "
			    "use versions that belong together",
			    name, method, error + strlen(VARLINK));
	return fail("failed", "%s answered %s", name, error);
}

int target_open(const struct target *target, struct control_client **ret)
{
	int r = control_client_open(target->path, ANSWER_MS, ret);

	return r < 0 ? target_explain(target, r, ANSWER_MS) : EXIT_OK;
}

int target_call(const struct target *target, const char *method, json_t *parameters, int timeout_ms,
		struct control_reply *ret)
{
	struct control_client *client;
	struct control_reply reply;
	int r;

	r = target_open(target, &client);
	if (r) {
		json_decref(parameters);
		return r;
	}
	r = control_client_call(client, method, parameters, timeout_ms, &reply);
	control_client_close(client);
	if (r < 0)
		return target_explain(target, r, timeout_ms);
	if (reply.error) {
		r = target_explain_reply(target, method, &reply);
		control_reply_done(&reply);
		return r;
	}
	*ret = reply;
	return EXIT_OK;
}

int target_show(const struct target *target, json_t **ret_show, json_t **ret_devices)
{
	struct control_reply reply = { 0 };
	json_t *devices, *device;
	size_t i;
	int r;

	r = target_call(target, CONTROL "Show", NULL, ANSWER_MS, &reply);
	if (r)
		return r;
	devices = json_array();
	json_array_foreach(json_object_get(reply.parameters, "devices"), i,
			   device) if (!target->device ||
				       strcmp(get_string(device, "id", ""), target->device) == 0)
		json_array_append(devices, device);
	if (target->device && !json_array_size(devices)) {
		json_decref(devices);
		control_reply_done(&reply);
		return fail("no-such-device", "%s has no device %s; see: vgpuctl show %s",
			    target->name, target->device, target->name);
	}
	*ret_show = json_incref(reply.parameters);
	*ret_devices = devices;
	control_reply_done(&reply);
	return EXIT_OK;
}
