/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Completion scripts, made from the table of commands, so that they know what
 * this vgpuctl knows. Summaries and helps are plain ASCII without quotes; a
 * test has each shell's parser look at the result.
 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "common/output.h"
#include "vgpuctl.h"

static void print_names_of_options(const struct option_spec *options)
{
	for (; options->name; options++)
		printf(" --%s%s", options->name, options->value ? "=" : "");
}

static void print_names_of_commands(void)
{
	for (const struct command *c = commands; c->name; c++)
		printf("%s%s", c == commands ? "" : " ", c->name);
}

/*
 * bash
 */

static const char *bash_words(enum operand operand)
{
	switch (operand) {
	case OPERAND_VGPU:
		return "$(vgpuctl list --names 2>/dev/null)";
	case OPERAND_SHELL:
		return "bash zsh fish";
	case OPERAND_COMMAND:
		return "$commands";
	case OPERAND_FILE:
	case OPERAND_NONE:
		break;
	}
	return NULL;
}

static void print_bash_command(const struct command *command)
{
	printf("\t%s)\n\t\toptions='", command->name);
	print_names_of_options(command->options);
	print_names_of_options(common_options);
	printf("'\n");
	if (command->operands[0] != OPERAND_NONE) {
		printf("\t\tcase $position in\n");
		for (int i = 0; command->operands[i] != OPERAND_NONE; i++) {
			const char *words = bash_words(command->operands[i]);

			if (words)
				printf("\t\t%d) words=\"%s\" ;;\n", i, words);
			else
				printf("\t\t%d) files=1 ;;\n", i);
		}
		printf("\t\tesac\n");
	}
	printf("\t\t;;\n");
}

static void print_bash(void)
{
	fputs("# bash completion for vgpuctl, made by: vgpuctl completion bash\n"
	      "_vgpuctl()\n"
	      "{\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} command= position=-1 i\n"
	      "\tlocal options= words= files=\n"
	      "\tlocal commands='",
	      stdout);
	print_names_of_commands();
	fputs("'\n"
	      "\tCOMPREPLY=()\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tcase ${COMP_WORDS[i]} in\n"
	      "\t\t-* | =) [[ ${COMP_WORDS[i]} == '=' ]] && ((i++)) ;;\n"
	      "\t\t*)\n"
	      "\t\t\t[[ $command ]] || command=${COMP_WORDS[i]}\n"
	      "\t\t\t((position++))\n"
	      "\t\t\t;;\n"
	      "\t\tesac\n"
	      "\tdone\n"
	      "\tcase $command in\n"
	      "\t'') words=$commands options='--json --help --version' ;;\n",
	      stdout);
	for (const struct command *c = commands; c->name; c++)
		print_bash_command(c);
	fputs("\tesac\n"
	      "\tif [[ $cur == -* ]]; then\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
	      "\t\t[[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n"
	      "\telif [[ $cur == '=' || ${COMP_WORDS[COMP_CWORD - 1]} == '=' || $files ]]; then\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -f -- \"${cur#=}\")\n"
	      "\telse\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -W \"$words\" -- \"$cur\")\n"
	      "\tfi\n"
	      "}\n"
	      "complete -o filenames -F _vgpuctl vgpuctl\n",
	      stdout);
}

/*
 * zsh
 */

static const char *zsh_operand(enum operand operand)
{
	switch (operand) {
	case OPERAND_VGPU:
		return "vGPU:_vgpuctl_vgpus";
	case OPERAND_FILE:
		return "file:_files";
	case OPERAND_SHELL:
		return "shell:(bash zsh fish)";
	case OPERAND_COMMAND:
		return "command:_vgpuctl_commands";
	case OPERAND_NONE:
		break;
	}
	return NULL;
}

static void print_zsh_options(const struct option_spec *options)
{
	for (; options->name; options++) {
		if (options->value)
			printf(" \\\n\t\t\t'--%s=[%s]:%s:%s'", options->name, options->help,
			       options->value, options->file ? "_files" : " ");
		else
			printf(" \\\n\t\t\t'--%s[%s]'", options->name, options->help);
	}
}

static void print_zsh(void)
{
	fputs("#compdef vgpuctl\n"
	      "# zsh completion for vgpuctl, made by: vgpuctl completion zsh\n"
	      "_vgpuctl_vgpus() {\n"
	      "\tlocal -a names\n"
	      "\tnames=(${(f)\"$(vgpuctl list --names 2>/dev/null)\"})\n"
	      "\t_describe vGPU names\n"
	      "}\n"
	      "_vgpuctl_commands() {\n"
	      "\tlocal -a commands\n"
	      "\tcommands=(\n",
	      stdout);
	for (const struct command *c = commands; c->name; c++)
		printf("\t\t'%s:%s'\n", c->name, c->summary);
	fputs("\t)\n"
	      "\t_describe command commands\n"
	      "}\n"
	      "_vgpuctl() {\n"
	      "\tlocal context state line\n"
	      "\t_arguments -C '--json[print JSON]' '--help[explain vgpuctl]' \\\n"
	      "\t\t'--version[print the version]' '1:command:_vgpuctl_commands' "
	      "'*::argument:->arguments'\n"
	      "\t[[ $state == arguments ]] || return\n"
	      "\tcase $words[1] in\n",
	      stdout);
	for (const struct command *c = commands; c->name; c++) {
		printf("\t%s)\n\t\t_arguments", c->name);
		print_zsh_options(c->options);
		print_zsh_options(common_options);
		for (int i = 0; c->operands[i] != OPERAND_NONE; i++)
			printf(" \\\n\t\t\t'%d:%s'", i + 1, zsh_operand(c->operands[i]));
		printf("\n\t\t;;\n");
	}
	fputs("\tesac\n"
	      "}\n"
	      "if [[ $funcstack[1] == _vgpuctl ]]; then\n"
	      "\t_vgpuctl \"$@\"\n"
	      "else\n"
	      "\tcompdef _vgpuctl vgpuctl\n"
	      "fi\n",
	      stdout);
}

/*
 * fish
 */

static void print_fish_options(const char *command, const struct option_spec *options)
{
	for (; options->name; options++)
		printf("complete -c vgpuctl -n '__fish_seen_subcommand_from %s' -l %s%s -d '%s'\n",
		       command, options->name,
		       !options->value ? ""
		       : options->file ? " -rF"
				       : " -x",
		       options->help);
}

static void print_fish_operand(const char *command, enum operand operand)
{
	const char *words = NULL;

	switch (operand) {
	case OPERAND_VGPU:
		words = "(vgpuctl list --names 2>/dev/null)";
		break;
	case OPERAND_SHELL:
		words = "bash zsh fish";
		break;
	case OPERAND_COMMAND:
		words = "(vgpuctl help | string match -rg \"^  ([a-z][a-z-]*)\")";
		break;
	case OPERAND_FILE:
		printf("complete -c vgpuctl -n '__fish_seen_subcommand_from %s' -F\n", command);
		return;
	case OPERAND_NONE:
		return;
	}
	printf("complete -c vgpuctl -n '__fish_seen_subcommand_from %s' -a '%s'\n", command, words);
}

static void print_fish(void)
{
	fputs("# fish completion for vgpuctl, made by: vgpuctl completion fish\n"
	      "complete -c vgpuctl -f\n"
	      "complete -c vgpuctl -n __fish_use_subcommand -l version -d 'print the version'\n",
	      stdout);
	for (const struct command *c = commands; c->name; c++) {
		printf("complete -c vgpuctl -n __fish_use_subcommand -a %s -d '%s'\n", c->name,
		       c->summary);
		print_fish_options(c->name, c->options);
		print_fish_options(c->name, common_options);
		for (int i = 0; c->operands[i] != OPERAND_NONE; i++)
			print_fish_operand(c->name, c->operands[i]);
	}
}

int run_completion(const struct invocation *inv)
{
	static const struct {
		const char *name;
		void (*print)(void);
	} shells[] = { { "bash", print_bash }, { "zsh", print_zsh }, { "fish", print_fish } };

	for (size_t i = 0; i < ARRAY_SIZE(shells); i++)
		if (strcmp(inv->operands[0], shells[i].name) == 0) {
			shells[i].print();
			return EXIT_OK;
		}
	return usage_error("completion: '%s' is none of bash, zsh and fish", inv->operands[0]);
}
