/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <string.h>

#include "vgpuctl.h"

const struct option_spec common_options[] = {
	{ "json", NULL, false, "print JSON (version 1), errors too" },
	{ "help", NULL, false, "explain the command" },
	{ 0 },
};

const struct command commands[] = {
	{
		.name = "list",
		.summary = "list the vGPUs that run here",
		.details = "A socket that nobody serves any more is shown as stale.",
		.run = run_list,
		.options = { { "names", NULL, false, "print the names alone, and ask nobody" } },
	},
	{
		.name = "show",
		.summary = "show what a vGPU is and does",
		.details = "Reads and writes are trapped accesses: what a guest does to mapped\n"
			   "memory (MMAP) costs no trap and is not counted.",
		.run = run_show,
		.operands = { OPERAND_VGPU },
	},
	{
		.name = "screenshot",
		.summary = "save what is on the screen as PNG",
		.details = "FILE is by default the name of the vGPU with .png, in this directory;\n"
			   "- is standard output. The file appears whole or not at all.",
		.run = run_screenshot,
		.operands = { OPERAND_VGPU, OPERAND_FILE },
	},
	{
		.name = "hash",
		.summary = "print a hash of what is on the screen",
		.details = "16 hexadecimal digits, equal for pictures that look the same,\n"
			   "and the size.",
		.run = run_hash,
		.operands = { OPERAND_VGPU },
	},
	{
		.name = "reset",
		.summary = "reset a device, as the VMM could",
		.run = run_reset,
		.operands = { OPERAND_VGPU },
	},
	{
		.name = "events",
		.summary = "print what happens, as it happens",
		.details = "Ends when the vGPU does. With --count, fails if fewer came in time.",
		.run = run_events,
		.operands = { OPERAND_VGPU },
		.options = { { "count", "N", false, "end after N events" },
			     { "timeout", "SECONDS", false, "end after that time" } },
	},
	{
		.name = "qemu-args",
		.summary = "print the arguments that give a QEMU guest this vGPU",
		.details =
			"For example: eval qemu-system-x86_64 \"$(vgpuctl qemu-args)\" -cdrom FILE",
		.run = run_qemu_args,
		.operands = { OPERAND_VGPU },
		.options = { { "memory", "SIZE", false, "guest memory, with K, M, G or T (1G)" },
			     { "machine", "TYPE", false, "machine type and its options (q35)" } },
	},
	{
		.name = "doctor",
		.summary = "check this host and a vGPU, and say what to do",
		.details = "Without VGPU, every vGPU that runs is checked. Fails if there is a "
			   "problem;\n"
			   "warnings are not.",
		.run = run_doctor,
		.operands = { OPERAND_VGPU },
		.options = { { "qemu", "PATH", true,
			       "check this QEMU (qemu-system-x86_64 in PATH)" } },
	},
	{
		.name = "completion",
		.summary = "print a completion script for a shell",
		.details = "SHELL is bash, zsh or fish.",
		.run = run_completion,
		.no_json = true,
		.operands = { OPERAND_SHELL },
	},
	{
		.name = "help",
		.summary = "explain vgpuctl, or one of its commands",
		.run = run_help,
		.operands = { OPERAND_COMMAND },
	},
	{
		.name = "version",
		.summary = "print the version",
		.run = run_version,
	},
	{ 0 },
};

const struct command *find_command(const char *name)
{
	for (const struct command *c = commands; c->name; c++)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

const char *operand_label(enum operand operand)
{
	switch (operand) {
	case OPERAND_VGPU:
		return "[VGPU]";
	case OPERAND_FILE:
		return "[FILE]";
	case OPERAND_COMMAND:
		return "[COMMAND]";
	case OPERAND_SHELL:
		return "SHELL";
	case OPERAND_NONE:
		break;
	}
	return NULL;
}

const char *option_value(const struct invocation *inv, const char *name)
{
	for (size_t i = 0; inv->command->options[i].name; i++)
		if (strcmp(inv->command->options[i].name, name) == 0)
			return inv->values[i];
	return NULL;
}
