/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Completion scripts, made from the tables of commands and options. Behind --
 * the server's own completion is asked. Helps are plain ASCII without quotes.
 */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "common/output.h"
#include "probe.h"

static void print_commands(void)
{
	for (const struct probe_command *c = probe_commands; c->name; c++)
		printf("%s%s", c == probe_commands ? "" : " ", c->name);
}

static void print_bash(void)
{
	fputs("# bash completion for vgpu-probe, made by: vgpu-probe --completion=bash\n"
	      "_vgpu_probe()\n"
	      "{\n"
	      "\tlocal cur=${COMP_WORDS[COMP_CWORD]} i\n"
	      "\tlocal options='",
	      stdout);
	for (const struct probe_option *o = probe_option_table; o->name; o++)
		printf("%s--%s%s", o == probe_option_table ? "" : " ", o->name,
		       o->value ? "=" : "");
	fputs("' commands='", stdout);
	print_commands();
	fputs("'\n"
	      "\tCOMPREPLY=()\n"
	      "\tfor ((i = 1; i < COMP_CWORD; i++)); do\n"
	      "\t\tif [[ ${COMP_WORDS[i]} == -- ]]; then\n"
	      "\t\t\tdeclare -F _command_offset >/dev/null && _command_offset $((i + 1))\n"
	      "\t\t\treturn\n"
	      "\t\tfi\n"
	      "\tdone\n"
	      "\tif [[ $cur == -* ]]; then\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
	      "\t\t[[ ${COMPREPLY[0]} == *= ]] && compopt -o nospace\n"
	      "\telse\n"
	      "\t\tmapfile -t COMPREPLY < <(compgen -f -- \"$cur\"\n"
	      "\t\t\t((COMP_CWORD == 1)) && compgen -W \"$commands\" -- \"$cur\")\n"
	      "\tfi\n"
	      "}\n"
	      "complete -o filenames -F _vgpu_probe vgpu-probe\n",
	      stdout);
}

static void print_zsh(void)
{
	fputs("#compdef vgpu-probe\n"
	      "# zsh completion for vgpu-probe, made by: vgpu-probe --completion=zsh\n"
	      "_vgpu_probe_first() {\n"
	      "\t_alternative 'commands:command:(",
	      stdout);
	print_commands();
	fputs(")' 'files:socket:_files'\n"
	      "}\n"
	      "_vgpu_probe() {\n"
	      "\t_arguments",
	      stdout);
	for (const struct probe_option *o = probe_option_table; o->name; o++) {
		if (o->value)
			printf(" \\\n\t\t'--%s=[%s]:%s: '", o->name, o->help, o->value);
		else
			printf(" \\\n\t\t'--%s[%s]'", o->name, o->help);
	}
	fputs(" \\\n\t\t'1:command or socket:_vgpu_probe_first' '*:socket or server:_files'\n"
	      "}\n"
	      "if [[ $funcstack[1] == _vgpu-probe ]]; then\n"
	      "\t_vgpu_probe \"$@\"\n"
	      "else\n"
	      "\tcompdef _vgpu_probe vgpu-probe\n"
	      "fi\n",
	      stdout);
}

static void print_fish(void)
{
	fputs("# fish completion for vgpu-probe, made by: vgpu-probe --completion=fish\n", stdout);
	for (const struct probe_command *c = probe_commands; c->name; c++)
		printf("complete -c vgpu-probe -n __fish_use_subcommand -a %s -d '%s'\n", c->name,
		       c->summary);
	for (const struct probe_option *o = probe_option_table; o->name; o++) {
		printf("complete -c vgpu-probe -l %s%s -d '%s'", o->name, o->value ? " -x" : "",
		       o->help);
		if (o->commands)
			printf(" -n '__fish_seen_subcommand_from %s'", o->commands);
		putchar('\n');
	}
}

int print_completion(const char *shell)
{
	static const struct {
		const char *name;
		void (*print)(void);
	} shells[] = { { "bash", print_bash }, { "zsh", print_zsh }, { "fish", print_fish } };

	for (size_t i = 0; i < ARRAY_SIZE(shells); i++)
		if (strcmp(shell, shells[i].name) == 0) {
			shells[i].print();
			return EXIT_OK;
		}
	return usage_error("--completion: '%s' is none of bash, zsh and fish", shell);
}
