/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "common/output.h"
#include "vgpuctl.h"

static json_t *options_json(json_t *array, const struct option_spec *options)
{
	for (; options->name; options++)
		json_array_append_new(array,
				      json_pack("{s:s, s:s?, s:s}", "name", options->name, "value",
						options->value, "help", options->help));
	return array;
}

static json_t *command_json(const struct command *command)
{
	json_t *operands = json_array();

	for (const enum operand *o = command->operands; *o != OPERAND_NONE; o++)
		json_array_append_new(operands, json_string(operand_label(*o)));
	return json_pack(
		"{s:s, s:s, s:o, s:o}", "name", command->name, "summary", command->summary,
		"operands", operands, "options",
		options_json(options_json(json_array(), command->options), common_options));
}

/* "events [VGPU]" */
static char *synopsis(const struct command *command)
{
	char *text = text_format("%s", command->name);

	for (const enum operand *o = command->operands; *o != OPERAND_NONE; o++) {
		_cleanup_free_ char *before = text;

		text = text_format("%s %s", before, operand_label(*o));
	}
	return text;
}

static void print_options(const struct option_spec *options)
{
	for (; options->name; options++) {
		_cleanup_free_ char *left =
			text_format("--%s%s%s", options->name, options->value ? "=" : "",
				    options->value ? options->value : "");

		say("  %-20s %s", left, options->help);
	}
}

void print_help(void)
{
	json_t *array;

	if (output_is_json()) {
		array = json_array();
		for (const struct command *c = commands; c->name; c++)
			json_array_append_new(array, command_json(c));
		print_json(json_pack("{s:i, s:o}", "version", 1, "commands", array));
		return;
	}
	say("Usage: vgpuctl COMMAND [OPTION...]");
	say("Look at running vGPUs, and tell them what to do.");
	say("%s", "");
	for (const struct command *c = commands; c->name; c++) {
		_cleanup_free_ char *left = synopsis(c);

		say("  %-26s %s", left, c->summary);
	}
	say("%s", "");
	say("VGPU is a name, NAME/DEVICE, or the path of a control socket. It may be left");
	say("out while exactly one vGPU runs.");
	say("%s", "");
	say("Every command takes:");
	print_options(common_options);
}

/* Each line of a text on its own. */
static void say_lines(const char *text)
{
	while (*text) {
		size_t length = strcspn(text, "\n");

		say("%.*s", (int)length, text);
		text += length + (text[length] == '\n');
	}
}

void print_command_help(const struct command *command)
{
	_cleanup_free_ char *usage = synopsis(command);

	if (output_is_json()) {
		json_t *array = json_array();

		json_array_append_new(array, command_json(command));
		print_json(json_pack("{s:i, s:o}", "version", 1, "commands", array));
		return;
	}
	say("Usage: vgpuctl %s [OPTION...]", usage);
	say("vgpuctl %s: %s.", command->name, command->summary);
	if (command->details) {
		say("%s", "");
		say_lines(command->details);
	}
	say("%s", "");
	print_options(command->options);
	print_options(common_options);
}

int run_help(const struct invocation *inv)
{
	const struct command *command;

	if (!inv->operands[0]) {
		print_help();
		return EXIT_OK;
	}
	command = find_command(inv->operands[0]);
	if (!command)
		return usage_error("no command is called '%s'; see: vgpuctl help",
				   inv->operands[0]);
	print_command_help(command);
	return EXIT_OK;
}
