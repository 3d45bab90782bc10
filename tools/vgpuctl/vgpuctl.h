/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * vgpuctl: what its files share. One table (commands.c) says what there is;
 * parsing, --help and the completions are made from it. A command is one
 * function that returns the process's exit status.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

enum {
	MAX_OPTIONS = 8, /* of one command */
	MAX_OPERANDS = 2,

	ANSWER_MS = 5000, /* how long a vgpud may take to answer */
	PICTURE_MS = 60000, /* and to make a picture */
	RESET_MS = 15000, /* and to reset a device */
	LIST_MS = 2000, /* all of them, when all are asked */
};

/* What an operand or an option's value is: how it is printed and completed. */
enum operand {
	OPERAND_NONE,
	OPERAND_VGPU,
	OPERAND_FILE,
	OPERAND_COMMAND,
	OPERAND_SHELL, /* not optional */
};

struct option_spec {
	const char *name; /* without the dashes */
	const char *value; /* what --help calls its value; NULL: a flag */
	bool file; /* the value is a file's path */
	const char *help;
};

struct invocation;

struct command {
	const char *name;
	const char *summary; /* one line, no full stop */
	const char *details; /* paragraphs for its --help, or NULL */
	int (*run)(const struct invocation *inv);
	bool no_json; /* what it prints is for a shell */
	enum operand operands[MAX_OPERANDS + 1];
	struct option_spec options[MAX_OPTIONS + 1];
};

struct invocation {
	const struct command *command;
	const char *values[MAX_OPTIONS]; /* of the command's options; "" for a flag */
	const char *operands[MAX_OPERANDS]; /* NULL where there is none */
};

extern const struct command commands[]; /* ends with a NULL name */
extern const struct option_spec common_options[]; /* that every command takes */

/* NULL if there is none of that name. */
const struct command *find_command(const char *name);

/* "[VGPU]", "SHELL", ...; NULL for OPERAND_NONE. */
const char *operand_label(enum operand operand);

/* The value of an option of the command; NULL if it was not given. */
const char *option_value(const struct invocation *inv, const char *name);

/*
 * A command line of its own for each command. argv[0] is the command's name.
 * Returns an exit status in *ret_status and false if there is nothing to run.
 */
bool parse_arguments(const struct command *command, int argc, char **argv,
		     struct invocation *ret_inv, int *ret_status);

/* The page of all commands, or of one. */
void print_help(void);
void print_command_help(const struct command *command);

int run_list(const struct invocation *inv);
int run_show(const struct invocation *inv);
int run_screenshot(const struct invocation *inv);
int run_hash(const struct invocation *inv);
int run_reset(const struct invocation *inv);
int run_events(const struct invocation *inv);
int run_qemu_args(const struct invocation *inv);
int run_doctor(const struct invocation *inv);
int run_completion(const struct invocation *inv);
int run_help(const struct invocation *inv);
int run_version(const struct invocation *inv);
