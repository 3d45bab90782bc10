/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "config.h"
#include "control/server.h"
#include "org.varlink.service.varlink.h"
#include "org.vgpud.Control.varlink.h"

struct parameter {
	const char *name;
	json_type type; /* JSON_TRUE stands for either boolean */
	bool needed;
};

struct control_method {
	const char *name;
	void (*run)(struct control_call *call);
	bool needs_more;
	struct parameter parameters[3];
};

static void get_info(struct control_call *call);
static void get_interface_description(struct control_call *call);
static void show(struct control_call *call);
static void screenshot(struct control_call *call);
static void hash(struct control_call *call);
static void reset(struct control_call *call);
static void events(struct control_call *call);

#define DEVICE                                                                                     \
	{                                                                                          \
		"device", JSON_STRING, false                                                       \
	}

/* What there is; each is described in its interface's .varlink file. */
static const struct control_method methods[] = {
	{ "org.varlink.service.GetInfo", get_info },
	{ "org.varlink.service.GetInterfaceDescription", get_interface_description,
	  .parameters = { { "interface", JSON_STRING, true } } },
	{ "org.vgpud.Control.Show", show },
	{ "org.vgpud.Control.Screenshot", screenshot,
	  .parameters = { DEVICE, { "inline", JSON_TRUE, false } } },
	{ "org.vgpud.Control.Hash", hash, .parameters = { DEVICE } },
	{ "org.vgpud.Control.Reset", reset, .parameters = { DEVICE } },
	{ "org.vgpud.Control.Events", events, .needs_more = true },
};

static const struct {
	const char *name, *description;
} interfaces[] = {
	{ "org.varlink.service", varlink_service },
	{ "org.vgpud.Control", vgpud_control },
};

static bool type_matches(const json_t *value, json_type type)
{
	return type == JSON_TRUE ? json_is_boolean(value) : json_typeof(value) == type;
}

/*
 * The name of a parameter that is missing, of the wrong type or unknown; or
 * NULL. One that is null is missing, and taken out.
 */
static const char *wrong_parameter(const struct control_method *method, json_t *parameters)
{
	const char *key;
	json_t *value;

	for (const struct parameter *p = method->parameters; p->name; p++) {
		value = json_object_get(parameters, p->name);
		if (json_is_null(value)) {
			json_object_del(parameters, p->name);
			value = NULL;
		}
		if (value ? !type_matches(value, p->type) : p->needed)
			return p->name;
	}
	json_object_foreach(parameters, key, value)
	{
		const struct parameter *p = method->parameters;

		while (p->name && strcmp(p->name, key) != 0)
			p++;
		if (!p->name)
			return key;
	}
	return NULL;
}

static void not_found(struct control_call *call, const char *method)
{
	const char *dot = strrchr(method, '.');
	size_t length = dot ? (size_t)(dot - method) : strlen(method);

	for (size_t i = 0; i < ARRAY_SIZE(interfaces); i++)
		if (strlen(interfaces[i].name) == length &&
		    strncmp(interfaces[i].name, method, length) == 0) {
			control_call_error(call, "org.varlink.service.MethodNotFound",
					   json_pack("{s:s}", "method", method));
			return;
		}
	control_call_error(call, "org.varlink.service.InterfaceNotFound",
			   json_pack("{s:s%}", "interface", method, length));
}

void control_dispatch(struct control_call *call, const char *name)
{
	const char *wrong;

	for (size_t i = 0; i < ARRAY_SIZE(methods); i++) {
		const struct control_method *method = &methods[i];

		if (strcmp(method->name, name) != 0)
			continue;
		wrong = wrong_parameter(method, call->parameters);
		if (wrong)
			control_call_error(call, "org.varlink.service.InvalidParameter",
					   json_pack("{s:s}", "parameter", wrong));
		else if (method->needs_more && (!call->more || call->oneway))
			control_call_error(call, "org.varlink.service.ExpectedMore", NULL);
		else
			method->run(call);
		return;
	}
	not_found(call, name);
}

static const char *string_parameter(struct control_call *call, const char *name)
{
	return json_string_value(json_object_get(call->parameters, name));
}

static void get_info(struct control_call *call)
{
	json_t *names = json_array();

	for (size_t i = 0; i < ARRAY_SIZE(interfaces); i++)
		json_array_append_new(names, json_string(interfaces[i].name));
	control_call_reply(call,
			   json_pack("{s:s, s:s, s:s, s:s, s:o}", "vendor", "vgpud", "product",
				     "vgpud", "version", VGPUD_VERSION, "url", "", "interfaces",
				     names),
			   -1);
}

static void get_interface_description(struct control_call *call)
{
	const char *name = string_parameter(call, "interface");

	for (size_t i = 0; i < ARRAY_SIZE(interfaces); i++)
		if (strcmp(interfaces[i].name, name) == 0) {
			control_call_reply(
				call, json_pack("{s:s}", "description", interfaces[i].description),
				-1);
			return;
		}
	control_call_error(call, "org.varlink.service.InterfaceNotFound",
			   json_pack("{s:s}", "interface", name));
}

static void show(struct control_call *call)
{
	control_call_reply(call, control_server_show(call->server), -1);
}

static void screenshot(struct control_call *call)
{
	bool in_text = json_is_true(json_object_get(call->parameters, "inline"));

	control_picture(call, in_text ? PICTURE_INLINE : PICTURE_FD,
			string_parameter(call, "device"));
}

static void hash(struct control_call *call)
{
	control_picture(call, PICTURE_HASH, string_parameter(call, "device"));
}

static void reset_done(void *arg, int result)
{
	struct control_call *call = arg;
	const char *id = call->device ? call->device->id : "";

	if (result < 0)
		control_call_error(
			call, "org.vgpud.Control.ResetFailed",
			json_pack("{s:s, s:s}", "device", id, "reason", strerror(-result)));
	else
		control_call_reply(call, json_pack("{s:s}", "device", id), -1);
}

static void reset(struct control_call *call)
{
	const char *id = string_parameter(call, "device");
	struct control_server *server = call->server;
	int r;

	if (!id && server->devices && server->devices->next) {
		control_call_error(call, "org.varlink.service.InvalidParameter",
				   json_pack("{s:s}", "parameter", "device"));
		return;
	}
	call->device = id ? control_find_device(server, id) : server->devices;
	if (!call->device) {
		control_call_error(call, "org.vgpud.Control.NoSuchDevice",
				   json_pack("{s:s}", "device", id ? id : ""));
		return;
	}
	r = call->device->ops->reset(call->device->opaque, reset_done, call);
	if (r < 0)
		reset_done(call, r);
}

static void events(struct control_call *call)
{
	control_call_listen(call);
}
