/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "common/output.h"
#include "config.h"
#include "vgpuctl.h"

enum {
	FIRST_COMMON = 256, /* getopt's values: of the common options ... */
	FIRST_OWN = 512, /* ... and of the command's own */
};

static size_t add_options(struct option *ret, const struct option_spec *specs, int first)
{
	size_t n = 0;

	for (; specs[n].name; n++)
		ret[n] = (struct option){
			specs[n].name,
			specs[n].value ? required_argument : no_argument,
			NULL,
			first + (int)n,
		};
	return n;
}

static int take_operands(struct invocation *inv, int argc, char **argv)
{
	const struct command *command = inv->command;
	size_t n = 0;

	for (; argc > 0; argc--, argv++, n++) {
		if (command->operands[n] == OPERAND_NONE)
			return usage_error("%s: what is '%s' for? see: vgpuctl help %s",
					   command->name, *argv, command->name);
		if (!**argv)
			return usage_error("%s: an empty argument", command->name);
		inv->operands[n] = *argv;
	}
	if (command->operands[n] == OPERAND_SHELL)
		return usage_error("%s: say for which shell: bash, zsh or fish", command->name);
	return EXIT_OK;
}

bool parse_arguments(const struct command *command, int argc, char **argv,
		     struct invocation *ret_inv, int *ret_status)
{
	struct option options[MAX_OPTIONS + 3] = { 0 };
	struct invocation inv = { .command = command };
	size_t n = add_options(options, common_options, FIRST_COMMON);
	bool help = false;
	int option;

	add_options(options + n, command->options, FIRST_OWN);
	opterr = 0;
	optind = 0;
	while ((option = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (option >= FIRST_OWN)
			inv.values[option - FIRST_OWN] = optarg ? optarg : "";
		else if (option == FIRST_COMMON)
			continue; /* known already */
		else if (option == FIRST_COMMON + 1 || option == 'h')
			help = true;
		else {
			*ret_status =
				usage_error(option == ':' ? "%s: %s needs a value; see: "
							    "vgpuctl help %s"
							  : "%s: no option is called %s; see: "
							    "vgpuctl help %s",
					    command->name, argv[optind - 1], command->name);
			return false;
		}
	}
	if (help) {
		print_command_help(command);
		*ret_status = EXIT_OK;
		return false;
	}
	*ret_status = take_operands(&inv, argc - optind, argv + optind);
	if (!*ret_status && command->no_json && output_is_json())
		*ret_status = usage_error("%s prints no JSON", command->name);
	*ret_inv = inv;
	return !*ret_status;
}

int run_version(const struct invocation *inv)
{
	if (output_is_json())
		print_json(json_pack("{s:i, s:s}", "version", 1, "vgpuctl", VGPUD_VERSION));
	else
		say("vgpuctl %s", VGPUD_VERSION);
	return EXIT_OK;
}

static int run(int argc, char **argv)
{
	const struct command *command;
	struct invocation inv;
	int status;

	/* Known before anything can be wrong, so that what is wrong is said in JSON. */
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			output_use_json();

	/* What stands in front of the command is an option of every command. */
	for (argc--, argv++; argc > 0 && argv[0][0] == '-'; argc--, argv++) {
		if (strcmp(argv[0], "--json") == 0) {
			continue;
		} else if (strcmp(argv[0], "--help") == 0 || strcmp(argv[0], "-h") == 0) {
			print_help();
			return EXIT_OK;
		} else if (strcmp(argv[0], "--version") == 0) {
			return run_version(NULL);
		} else {
			return usage_error("no option is called %s; see: vgpuctl help", argv[0]);
		}
	}
	if (argc == 0)
		return usage_error("say what to do; see: vgpuctl help");
	command = find_command(argv[0]);
	if (!command)
		return usage_error("no command is called '%s'; see: vgpuctl help", argv[0]);
	if (!parse_arguments(command, argc, argv, &inv, &status))
		return status;
	return command->run(&inv);
}

int main(int argc, char **argv)
{
	int status;

	/* A reader that leaves early is an error of a write, not a signal. */
	signal(SIGPIPE, SIG_IGN);
	output_setup("vgpuctl");
	status = run(argc, argv);
	return output_finish(status);
}
