/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "common/output.h"
#include "config.h"
#include "probe.h"
#include "server.h"

const struct probe_command probe_commands[] = {
	{ "dump", "show the device, as lspci would", run_dump },
	{ "check", "check it against the specifications, one line a check", run_check },
	{ "bench", "measure it, each figure with its floor", run_bench },
	{ 0 },
};

enum {
	OPTION_JSON = 256,
	OPTION_TIMEOUT,
	OPTION_ONLY,
	OPTION_LIST,
	OPTION_STRICT,
	OPTION_SPAWN,
	OPTION_COMPLETION,
};

/* --help, the completions and the parser are made from it. */
const struct probe_option probe_option_table[] = {
	{ "hex", NULL, 'x', "dump", "show config space as bytes, too" },
	{ "only", "PATTERN", OPTION_ONLY, "check bench", "only what the shell pattern matches" },
	{ "list", NULL, OPTION_LIST, "check", "say what there is to check" },
	{ "strict", NULL, OPTION_STRICT, "check", "advice is failure" },
	{ "spawn", NULL, OPTION_SPAWN, NULL, "run the server: its command follows --" },
	{ "timeout", "SECONDS", OPTION_TIMEOUT, NULL, "wait for each answer (5)" },
	{ "json", NULL, OPTION_JSON, NULL, "print JSON (version 1), errors too" },
	{ "completion", "SHELL", OPTION_COMPLETION, NULL, "print a script for bash, zsh or fish" },
	{ "help", NULL, 'h', NULL, "explain" },
	{ "version", NULL, 'V', NULL, "print the version" },
	{ 0 },
};

enum { N_OPTIONS = ARRAY_SIZE(probe_option_table) - 1 };

static struct server server;

/* Ctrl-C and the like: what we made and run does not outlive us; what was printed, is. */
static void interrupted(int number)
{
	if (server.pid)
		kill(-server.pid, SIGKILL);
	if (server.directory[0]) {
		unlink(server.spawned_path);
		rmdir(server.directory);
	}
	signal(number, SIG_DFL);
	raise(number);
}

static void print_help(void)
{
	say("Usage: vgpu-probe [dump] [OPTION...] SOCKET");
	say("       vgpu-probe check [OPTION...] SOCKET");
	say("       vgpu-probe bench [OPTION...] SOCKET");
	say("       vgpu-probe COMMAND --spawn [OPTION...] -- SERVER [ARGUMENT...]");
	say("Be the VMM and the guest's driver of a VFIO device behind a vfio-user socket.");
	say("%s", "");
	for (const struct probe_command *c = probe_commands; c->name; c++)
		say("  %-22s %s", c->name, c->summary);
	say("%s", "");
	for (size_t i = 0; i < N_OPTIONS; i++) {
		_cleanup_free_ char *left = text_format(
			"%s--%s%s%s", probe_option_table[i].option == 'x' ? "-x, " : "",
			probe_option_table[i].name, probe_option_table[i].value ? "=" : "",
			probe_option_table[i].value ? probe_option_table[i].value : "");
		_cleanup_free_ char *who =
			probe_option_table[i].commands
				? text_format(" (%s)", probe_option_table[i].commands)
				: NULL;

		say("  %-22s %s%s", left, probe_option_table[i].help, who ? who : "");
	}
	say("%s", "");
	say("SERVER is given --socket-path=PATH, or PATH in the place of {} in its arguments.");
	say("The device is used, and reset: it must not be one that a guest is using.");
}

static int parse_timeout(const char *text, unsigned int *ret_ms)
{
	char *end;
	double seconds;

	errno = 0;
	seconds = strtod(text, &end);
	if (errno || end == text || *end || !(seconds > 0) || seconds * 1000 > MAX_TIMEOUT_MS)
		return usage_error("--timeout=%s: expected seconds, up to %d", text,
				   MAX_TIMEOUT_MS / 1000);
	*ret_ms = (unsigned int)(seconds * 1000);
	if (!*ret_ms)
		*ret_ms = 1;
	return EXIT_OK;
}

static const struct probe_option *find_spec(int option)
{
	for (size_t i = 0; i < N_OPTIONS; i++)
		if (probe_option_table[i].option == option)
			return &probe_option_table[i];
	return NULL;
}

static int take_option(const struct probe_command *command, int option,
		       struct probe_options *options, bool *spawn)
{
	const struct probe_option *spec = find_spec(option);

	if (spec->commands && !strstr(spec->commands, command->name))
		return usage_error("%s takes no --%s", command->name, spec->name);
	switch (option) {
	case 'x':
		options->hex = true;
		break;
	case OPTION_ONLY:
		options->only = optarg;
		break;
	case OPTION_LIST:
		options->list = true;
		break;
	case OPTION_STRICT:
		options->strict = true;
		break;
	case OPTION_SPAWN:
		*spawn = true;
		break;
	case OPTION_TIMEOUT:
		return parse_timeout(optarg, &options->timeout_ms);
	default:
		break;
	}
	return EXIT_OK;
}

/* What is left of the command line: a socket, or a command to run. */
static int find_server(bool spawn, int argc, char **argv, const struct probe_options *options)
{
	int r;

	if (spawn && argc == 0)
		return usage_error("--spawn: say what to run after --");
	if (spawn) {
		r = server_spawn(&server, argv);
		return r < 0 ? fail("spawn", "cannot run %s: %s", argv[0], strerror(-r)) : EXIT_OK;
	}
	if (argc == 0)
		return usage_error("say which socket; see: vgpu-probe --help");
	if (argc > 1)
		return usage_error("what is '%s' for? see: vgpu-probe --help", argv[1]);
	server.path = argv[0];
	return EXIT_OK;
}

static int print_version(void)
{
	if (output_is_json())
		print_json(json_pack("{s:i, s:s}", "version", 1, "vgpu-probe", VGPUD_VERSION));
	else
		say("vgpu-probe %s", VGPUD_VERSION);
	return EXIT_OK;
}

static bool spawns(int argc, char **argv)
{
	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--spawn") == 0)
			return true;
	return false;
}

static int parse_and_run(const struct probe_command *command, int argc, char **argv)
{
	struct probe_options options = { .server = &server, .timeout_ms = DEFAULT_TIMEOUT_MS };
	struct option longs[N_OPTIONS + 1] = { 0 };
	bool spawn = false;
	int option, status;

	for (size_t i = 0; i < N_OPTIONS; i++)
		longs[i] = (struct option){ probe_option_table[i].name,
					    probe_option_table[i].value ? required_argument
									: no_argument,
					    NULL, probe_option_table[i].option };
	opterr = 0;
	/* Options may stand behind the socket; the command of --spawn has options of its own. */
	while ((option = getopt_long(argc, argv, spawns(argc, argv) ? "+:hx" : ":hx", longs,
				     NULL)) != -1) {
		if (option == '?' || option == ':')
			return usage_error(option == ':'
						   ? "%s needs a value; see: vgpu-probe --help"
						   : "no option is called %s; see: "
						     "vgpu-probe --help",
					   argv[optind - 1]);
		if (option == 'h') {
			print_help();
			return EXIT_OK;
		}
		if (option == 'V')
			return print_version();
		if (option == OPTION_COMPLETION)
			return print_completion(optarg);
		status = take_option(command, option, &options, &spawn);
		if (status)
			return status;
	}
	if (options.list)
		return command->run(&options);
	status = find_server(spawn, argc - optind, argv + optind, &options);
	if (status)
		return status;
	status = command->run(&options);
	server_done(&server);
	return status;
}

static int run(int argc, char **argv)
{
	const struct probe_command *command = &probe_commands[0];

	for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
		if (strcmp(argv[i], "--json") == 0)
			output_use_json();
	for (const struct probe_command *c = probe_commands; argc > 1 && c->name; c++) {
		if (strcmp(argv[1], c->name) != 0)
			continue;
		command = c;
		argc--;
		argv++;
		break;
	}
	return parse_and_run(command, argc, argv);
}

int main(int argc, char **argv)
{
	int status;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGINT, interrupted);
	signal(SIGTERM, interrupted);
	signal(SIGHUP, interrupted);
	output_setup("vgpu-probe");
	status = run(argc, argv);
	return output_finish(status);
}
