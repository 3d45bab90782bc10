/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/text.h"
#include "common/output.h"
#include "members.h"
#include "target.h"
#include "vgpuctl.h"

#define EVENTS "org.vgpud.Control.Events"

struct listening {
	const struct target *target;
	unsigned long count; /* ULONG_MAX: as many as come */
	unsigned long seen;
	uint64_t end_ns; /* UINT64_MAX: never */
};

static int parse_limits(const struct invocation *inv, struct listening *ret)
{
	const char *count = option_value(inv, "count"), *timeout = option_value(inv, "timeout");
	char *end;

	ret->count = ULONG_MAX;
	ret->end_ns = UINT64_MAX;
	if (count) {
		errno = 0;
		ret->count = strtoul(count, &end, 10);
		if (count[0] < '0' || count[0] > '9' || *end || errno || !ret->count)
			return usage_error("events: --count=%s is no number from 1 on", count);
	}
	if (timeout) {
		double seconds = strtod(timeout, &end);

		if (end == timeout || *end || !(seconds > 0 && seconds <= 1e6))
			return usage_error("events: --timeout=%s is no number of seconds", timeout);
		ret->end_ns = clock_ns() + (uint64_t)(seconds * 1e9);
	}
	return EXIT_OK;
}

static int left_ms(const struct listening *l)
{
	uint64_t now = clock_ns();

	if (l->end_ns == UINT64_MAX)
		return -1;
	return now >= l->end_ns ? 0 : (int)((l->end_ns - now + 999999) / 1000000);
}

/* Whether an event is about what was asked for: what has no device is about all. */
static bool concerns(const struct target *target, const json_t *event)
{
	const char *device = get_string(event, "device", NULL);

	return !target->device || !device || strcmp(device, target->device) == 0;
}

/* "key=value ..." of a flat object. */
static char *data_text(json_t *data)
{
	char *text = text_format("%s", "");
	const char *key;
	json_t *value;

	json_object_foreach(data, key, value)
	{
		_cleanup_free_ char *before = text;
		_cleanup_free_ char *dumped =
			json_is_string(value) ? text_format("%s", json_string_value(value))
					      : json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);

		text = text_format("%s %s=%s", before, key, dumped ? dumped : "?");
	}
	return text;
}

static void print_event(json_t *event)
{
	_cleanup_free_ char *data = NULL;
	uint64_t missed;

	if (output_is_json()) {
		json_t *object = json_pack("{s:i}", "version", 1);

		json_object_update_missing(object, event);
		print_json(object);
	} else if (get_number(event, "missed", &missed)) {
		say("%s - %ju events were missed: they came faster than they were read",
		    get_string(event, "time", "-"), (uintmax_t)missed);
	} else {
		data = data_text(json_object_get(event, "data"));
		say("%s %s %s%s", get_string(event, "time", "-"), get_string(event, "device", "-"),
		    get_string(event, "event", "?"), data);
	}
	fflush(stdout);
}

/* One reply. The first, "ready", is for whoever waits to cause something. */
static void take_event(struct listening *l, json_t *event)
{
	if (strcmp(get_string(event, "event", ""), "ready") == 0) {
		if (output_is_json())
			print_event(event);
		else if (isatty(STDOUT_FILENO))
			remark("listening to %s", l->target->name);
	} else if (concerns(l->target, event)) {
		print_event(event);
		l->seen++;
	}
}

static int listen_to(struct listening *l, struct control_client *client)
{
	while (l->seen < l->count) {
		struct control_reply reply;
		int r = control_client_receive(client, left_ms(l), &reply);

		if (r == -ETIMEDOUT && l->count == ULONG_MAX)
			return EXIT_OK;
		if (r == -ETIMEDOUT)
			return fail("timeout", "%lu of %lu events came in time", l->seen, l->count);
		if (r == -ECONNRESET && l->count == ULONG_MAX) {
			remark("%s has ended", l->target->name);
			return EXIT_OK;
		}
		if (r < 0)
			return target_explain(l->target, r, ANSWER_MS);
		if (reply.error) {
			r = target_explain_reply(l->target, EVENTS, &reply);
			control_reply_done(&reply);
			return r;
		}
		take_event(l, reply.parameters);
		control_reply_done(&reply);
		/* Nobody reads any more. */
		if (ferror(stdout))
			return EXIT_FAILED;
	}
	return EXIT_OK;
}

int run_events(const struct invocation *inv)
{
	_cleanup_(target_done) struct target target = { 0 };
	struct listening l = { .target = &target };
	struct control_client *client;
	int r;

	r = parse_limits(inv, &l);
	if (r)
		return r;
	r = target_resolve(inv->operands[0], &target);
	if (r)
		return r;
	r = target_open(&target, &client);
	if (r)
		return r;
	r = control_client_send(client, EVENTS, NULL, true, ANSWER_MS);
	r = r < 0 ? target_explain(&target, r, ANSWER_MS) : listen_to(&l, client);
	control_client_close(client);
	return r;
}
