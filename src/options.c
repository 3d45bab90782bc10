/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * One table holds every option: its name, its value's name, its help and the
 * function that takes it. --help and getopt's table are made from it.
 */
#include "options.h"

#include <fcntl.h>
#include <getopt.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "config.h"
#include "console/console.h"
#include "control/path.h"
#include "transport/spin.h"

/* The options so far, and the device that --socket-path= and the like describe. */
struct parser {
	struct options *options;
	struct device_spec short_form;
	bool short_form_used;
};

static void say(const char *format, ...) __attribute__((format(printf, 1, 2)));

static void say(const char *format, ...)
{
	_cleanup_free_ char *text = NULL;
	va_list args;

	va_start(args, format);
	text = text_vformat(format, args);
	va_end(args);
	text_clean(text); /* it may quote what a script was given by somebody else */
	fprintf(stderr, "vgpud: %s\n", text);
}

static bool add_device_option(struct device_spec *spec, const char *key, const char *value)
{
	struct device_options *options = &spec->options;

	if (options->n == ARRAY_SIZE(options->items)) {
		say("a device takes at most %zu options", ARRAY_SIZE(options->items));
		return false;
	}
	options->items[options->n].key = key;
	options->items[options->n].value = value;
	options->n++;
	return true;
}

static bool parse_fd(const char *value, int *ret)
{
	uint64_t number;

	if (text_parse_number(value, &number) < 0 || number < 3 || number > 1 << 20) {
		say("fd=%s: expected the number of an open descriptor, 3 or more", value);
		return false;
	}
	if (fcntl((int)number, F_GETFD) < 0) {
		say("fd=%s: there is no open descriptor of that number; pass a socket that "
		    "listens, or is connected",
		    value);
		return false;
	}
	*ret = (int)number;
	return true;
}

static bool parse_id(const char *value, char ret[DEVICE_ID_SIZE])
{
	if (!control_name_valid(value) || strlen(value) >= DEVICE_ID_SIZE) {
		say("id=%s: an id is 1 to %d letters, digits, '.', '_' and '-', and starts with "
		    "neither '.' nor '-'",
		    value, DEVICE_ID_SIZE - 1);
		return false;
	}
	strcpy(ret, value);
	return true;
}

static bool device_key(struct device_spec *spec, const char *key, const char *value)
{
	if (!strcmp(key, "model"))
		spec->model = value;
	else if (!strcmp(key, "socket") || !strcmp(key, "socket-path"))
		spec->socket_path = value;
	else if (!strcmp(key, "id"))
		return parse_id(value, spec->id);
	else if (!strcmp(key, "fd"))
		return parse_fd(value, &spec->fd);
	else
		return add_device_option(spec, key, value);
	return true;
}

static bool take_device(struct parser *p, char *text)
{
	struct options *options = p->options;
	struct device_spec *spec;
	char *item;

	if (options->n_devices == MAX_DEVICES) {
		say("a vgpud serves at most %d devices", MAX_DEVICES);
		return false;
	}
	spec = &options->devices[options->n_devices++];
	*spec = (struct device_spec){ .fd = -1 };
	while ((item = text_next_item(&text))) {
		char *equals = strchr(item, '=');

		if (!equals || equals == item) {
			say("--device: expected KEY=VALUE, got \"%s\"", item);
			return false;
		}
		*equals = '\0';
		if (!device_key(spec, item, equals + 1))
			return false;
	}
	if (!spec->model) {
		say("--device: says no model=; `vgpud --help` lists the models");
		return false;
	}
	return true;
}

static bool take_console(struct parser *p, char *text)
{
	struct options *options = p->options;

	if (options->n_consoles == MAX_CONSOLES) {
		say("a vgpud opens at most %d consoles", MAX_CONSOLES);
		return false;
	}
	options->consoles[options->n_consoles++] = (struct console_spec){
		.text = text,
		.device = options->n_devices ? options->n_devices - 1 : 0,
	};
	return true;
}

/* --socket-path=, --vram= and the like: a key of the only device, in its short form. */
static bool take_device_key(struct parser *p, const char *key, char *value)
{
	p->short_form_used = true;
	return device_key(&p->short_form, key, value);
}

static bool take_name(struct parser *p, char *value)
{
	if (!control_name_valid(value)) {
		say("--name=%s: a name is 1 to %d letters, digits, '.', '_' and '-', and starts "
		    "with neither '.' nor '-'",
		    value, CONTROL_NAME_MAX);
		return false;
	}
	p->options->name = value;
	return true;
}

static bool take_control(struct parser *p, char *value)
{
	p->options->control = value;
	return true;
}

static bool take_poll_us(struct parser *p, char *value)
{
	uint64_t number;

	if (!strcmp(value, "auto")) {
		p->options->poll_us = SPIN_AUTO;
		return true;
	}
	if (text_parse_number(value, &number) < 0 || number > SPIN_MAX_US) {
		say("--poll-us=%s: expected \"auto\" or 0 to %d microseconds", value, SPIN_MAX_US);
		return false;
	}
	p->options->poll_us = (int)number;
	return true;
}

static bool take_keep_state(struct parser *p, char *value)
{
	p->options->keep_state = true;
	return true;
}

static bool take_exit_on_disconnect(struct parser *p, char *value)
{
	p->options->exit_on_disconnect = true;
	return true;
}

/* The index of value among the words, or -1. */
static int find_word(const char *const *words, size_t n, const char *value)
{
	for (size_t i = 0; i < n; i++)
		if (!strcmp(value, words[i]))
			return (int)i;
	return -1;
}

static bool take_log_level(struct parser *p, char *value)
{
	static const char *const words[] = { "error", "warning", "info", "debug" };
	int i = find_word(words, ARRAY_SIZE(words), value);

	if (i < 0) {
		say("--log-level=%s: expected error, warning, info or debug", value);
		return false;
	}
	p->options->log_level = (enum log_level)i;
	return true;
}

static bool take_sandbox(struct parser *p, char *value)
{
	static const char *const words[] = {
		[SANDBOX_AUTO] = "auto",
		[SANDBOX_NAMESPACE] = "namespace",
		[SANDBOX_NONE] = "none",
	};
	int i = find_word(words, ARRAY_SIZE(words), value);

	if (i < 0 && !strcmp(value, "chroot")) {
		say("--sandbox=chroot: vgpud shares no directory; \"namespace\" gives it an empty "
		    "root, also as root");
		return false;
	}
	if (i < 0) {
		say("--sandbox=%s: expected auto, namespace or none", value);
		return false;
	}
	p->options->sandbox = (enum sandbox_mode)i;
	return true;
}

static bool take_seccomp(struct parser *p, char *value)
{
	for (int i = SECCOMP_KILL; i <= SECCOMP_NONE; i++) {
		if (strcmp(value, seccomp_mode_name((enum seccomp_mode)i)))
			continue;
		p->options->seccomp = (enum seccomp_mode)i;
		return true;
	}
	say("--seccomp=%s: expected kill, trap, log or none", value);
	return false;
}

static const struct option_row {
	const char *name;
	const char *value_name; /* NULL: takes none */
	const char *help;
	/* One of these; neither: it is a key of the only device. */
	bool (*take)(struct parser *p, char *value);
	enum options_result (*print)(void); /* prints and is done */
} rows[];

static enum options_result print_help(void);
static enum options_result print_version(void);
static enum options_result print_capabilities(void);

static const struct option_row rows[] = {
	{ "socket-path", "PATH", "serve one device on this UNIX socket", NULL, NULL },
	{ "fd", "N",
	  "serve it on this descriptor: a listening socket, or a connected one (then\n"
	  "vgpud ends when the client does)",
	  NULL, NULL },
	{ "model", "MODEL", "what that device is (bochs-display)", NULL, NULL },
	{ "vram", "SIZE", "its video memory, see the model", NULL, NULL },
	{ "rom", "FILE", "its option ROM, see the model", NULL, NULL },
	{ "xres", "PIXELS", "the width that it prefers, see the model", NULL, NULL },
	{ "yres", "PIXELS", "and the height", NULL, NULL },
	{ "device", "model=MODEL,socket=PATH[,KEY=VALUE...]",
	  "serve a device; may be repeated. Keys: model, socket or fd, id, and the\n"
	  "model's own",
	  take_device, NULL },
	{ "console", "KIND=ADDRESS[,KEY=VALUE...]",
	  "show the screen of the last --device before this; may be repeated", take_console, NULL },
	{ "control", "PATH",
	  "control socket; \"none\" for none (NAME.ctl in the runtime directory)", take_control,
	  NULL },
	{ "name", "NAME", "what the vGPU is called in logs, titles and vgpuctl (vgpud-PID)",
	  take_name, NULL },
	{ "poll-us", "N|auto", "poll this long for the next access before sleeping (auto)",
	  take_poll_us, NULL },
	{ "keep-state", NULL,
	  "the next client finds the device as the last one left it, screen and all",
	  take_keep_state, NULL },
	{ "exit-on-disconnect", NULL, "end when a client disconnects", take_exit_on_disconnect,
	  NULL },
	{ "sandbox", "MODE", "auto, namespace (fail where that can't be had) or none (auto)",
	  take_sandbox, NULL },
	{ "seccomp", "ACTION",
	  "on a system call that vgpud does not need: kill, trap (with a core dump), log\n"
	  "(and make it), or none: no filter (kill)",
	  take_seccomp, NULL },
	{ "log-level", "LEVEL", "error, warning, info or debug (info)", take_log_level, NULL },
	{ "print-capabilities", NULL, "print as JSON what this vgpud can do", NULL,
	  print_capabilities },
	{ "version", NULL, "print the version", NULL, print_version },
	{ "help", NULL, "print this", NULL, print_help },
};

static void print_rows(void)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		const struct option_row *row = &rows[i];

		printf("  --%s%s%s\n", row->name, row->value_name ? "=" : "",
		       row->value_name ? row->value_name : "");
		for (const char *line = row->help; line;) {
			int length = (int)strcspn(line, "\n");

			printf("        %.*s\n", length, line);
			line = line[length] ? line + length + 1 : NULL;
		}
	}
}

static enum options_result print_help(void)
{
	const struct device_model *model;

	printf("Usage: vgpud --socket-path=PATH [OPTION...]\n"
	       "       vgpud --device=model=MODEL,socket=PATH[,KEY=VALUE...] [OPTION...]\n\n"
	       "A virtual GPU in its own process; a VMM attaches it through VFIO\n"
	       "(QEMU: -device vfio-user-pci). `vgpuctl qemu-args` prints how.\n\n");
	print_rows();
	printf("\nModels and their keys:\n");
	for (size_t i = 0; (model = device_model_at(i)); i++) {
		printf("  %s: %s\n", model->name, model->summary);
		for (const struct device_option *o = model->options; o->key; o++)
			printf("        %s=%s: %s\n", o->key, o->value_name, o->help);
	}
	printf("\nConsoles:\n%s\n", console_help());
	printf("\nExit status: 0 asked to stop, 1 failure at run time, 2 wrong usage.\n"
	       "Manual page: vgpud(1).\n");
	return OPTIONS_DONE;
}

static enum options_result print_version(void)
{
	printf("vgpud %s\n", VGPUD_VERSION);
	return OPTIONS_DONE;
}

static json_t *describe_model(const struct device_model *model)
{
	json_t *options = json_array();

	for (const struct device_option *o = model->options; o->key; o++)
		json_array_append_new(options, json_pack("{s:s, s:s, s:s}", "name", o->key, "value",
							 o->value_name, "help", o->help));
	return json_pack("{s:s, s:s, s:o}", "name", model->name, "summary", model->summary,
			 "options", options);
}

static enum options_result print_capabilities(void)
{
	const struct device_model *model;
	json_t *models = json_array(), *features = json_array(), *consoles = json_array(), *all;
	const char *kind;

	for (size_t i = 0; (model = device_model_at(i)); i++)
		json_array_append_new(models, describe_model(model));
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (!rows[i].print)
			json_array_append_new(features, json_string(rows[i].name));
	for (size_t i = 0; (kind = console_kind_name(i)); i++)
		json_array_append_new(consoles, json_string(kind));
	all = json_pack("{s:i, s:s, s:s, s:o, s:o, s:o}", "version", 1, "type", "vfio-user",
			"vgpud", VGPUD_VERSION, "models", models, "options", features, "consoles",
			consoles);
	json_dumpf(all, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(all);
	return OPTIONS_DONE;
}

/* Devices that were given no id are gpu0, gpu1, ... Two of the same id are an error. */
static bool finish_ids(struct options *options)
{
	for (unsigned int i = 0; i < options->n_devices; i++) {
		char *id = options->devices[i].id;

		if (!id[0])
			snprintf(id, DEVICE_ID_SIZE, "gpu%u", i);
		for (unsigned int other = 0; other < i; other++) {
			if (strcmp(id, options->devices[other].id))
				continue;
			say("two devices are called %s; give each an id= of its own", id);
			return false;
		}
	}
	return true;
}

static bool finish_sockets(struct options *options)
{
	for (unsigned int i = 0; i < options->n_devices; i++) {
		const struct device_spec *spec = &options->devices[i];

		if (spec->fd < 0)
			continue;
		if (spec->socket_path) {
			say("a device is served on a socket path or on a descriptor, not on both");
			return false;
		}
		for (unsigned int other = 0; other < i; other++) {
			if (options->devices[other].fd != spec->fd)
				continue;
			say("two devices can't be served on descriptor %d; pass one for each",
			    spec->fd);
			return false;
		}
	}
	return true;
}

/* The short form becomes a device like any other. */
static bool finish(struct parser *p)
{
	struct options *options = p->options;

	if (p->short_form_used) {
		if (options->n_devices) {
			say("--device= says everything about its device; --socket-path=, --vram= "
			    "and the like describe the only one, without it");
			return false;
		}
		options->devices[options->n_devices++] = p->short_form;
	}
	if (!options->n_devices) {
		say("nothing to serve; try: vgpud --socket-path=/tmp/vgpu.sock, or vgpud --help");
		return false;
	}
	return finish_sockets(options) && finish_ids(options);
}

static const struct option_row *find_row(const char *name, size_t length)
{
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++)
		if (strlen(rows[i].name) == length && !strncmp(rows[i].name, name, length))
			return &rows[i];
	return NULL;
}

/* What getopt_long() stumbled over: a short option, or the argument before optind. */
static void explain(int c, char *const *argv)
{
	const char *argument = argv[optind - 1];
	const char letter[] = { '-', (char)optopt, '\0' };
	const struct option_row *row = NULL;

	if (optopt)
		argument = letter;
	else if (!strncmp(argument, "--", 2))
		row = find_row(argument + 2, strcspn(argument + 2, "="));
	if (c == ':')
		say("%s: expected a value; see vgpud --help", argument);
	else if (row)
		say("%s: --%s takes no value", argument, row->name);
	else
		say("there is no option %s, or it is ambiguous; see vgpud --help", argument);
}

static bool take(struct parser *p, const struct option_row *row, char *value)
{
	return row->take ? row->take(p, value) : take_device_key(p, row->name, value);
}

enum options_result options_parse(int argc, char **argv, struct options *ret)
{
	struct parser p = {
		.options = ret,
		.short_form = { .model = "bochs-display", .fd = -1 },
	};
	struct option longs[ARRAY_SIZE(rows) + 1] = { 0 };
	int index = 0, c;

	*ret = (struct options){
		.poll_us = SPIN_AUTO,
		.log_level = LOG_LEVEL_INFO,
		.sandbox = SANDBOX_AUTO,
		.seccomp = SECCOMP_KILL,
	};
	for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
		longs[i].name = rows[i].name;
		longs[i].has_arg = rows[i].value_name ? required_argument : no_argument;
	}

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":hV", longs, &index)) != -1) {
		if (c == 'h')
			return print_help();
		if (c == 'V')
			return print_version();
		if (c != 0) {
			explain(c, argv);
			return OPTIONS_USAGE;
		}
		if (rows[index].print)
			return rows[index].print();
		if (!take(&p, &rows[index], optarg))
			return OPTIONS_USAGE;
	}
	if (optind < argc) {
		say("unexpected argument \"%s\"", argv[optind]);
		return OPTIONS_USAGE;
	}
	return finish(&p) ? OPTIONS_RUN : OPTIONS_USAGE;
}
