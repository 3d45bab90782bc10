/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Repeats inputs with no fuzzer around: fuzz-TARGET FILE|DIRECTORY... */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "fuzz.h"

enum { MAX_SIZE = 1 << 20 };

static unsigned int n_inputs;

static void run_file(const char *path)
{
	_cleanup_free_ uint8_t *buf = malloc(MAX_SIZE);
	_cleanup_free_ uint8_t *exact = NULL;
	FILE *file = fopen(path, "re");
	size_t n;

	if (!file || !buf) {
		perror(path);
		exit(1);
	}
	n = fread(buf, 1, MAX_SIZE, file);
	fclose(file);
	/* Memory of just that size, so that a sanitizer sees a byte too many. */
	exact = malloc(n ? n : 1);
	if (!exact)
		exit(1);
	memcpy(exact, buf, n);
	if (getenv("FUZZ_VERBOSE"))
		fprintf(stderr, "%s\n", path);
	LLVMFuzzerTestOneInput(exact, n);
	n_inputs++;
}

static void run_directory(const char *path)
{
	struct dirent **entries;
	int n = scandir(path, &entries, NULL, alphasort);

	if (n < 0) {
		perror(path);
		exit(1);
	}
	for (int i = 0; i < n; i++) {
		char file[4096];

		if (entries[i]->d_name[0] != '.') {
			snprintf(file, sizeof(file), "%s/%s", path, entries[i]->d_name);
			run_file(file);
		}
		free(entries[i]);
	}
	free(entries);
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		struct stat st;

		if (stat(argv[i], &st) == 0 && S_ISDIR(st.st_mode))
			run_directory(argv[i]);
		else
			run_file(argv[i]);
	}
	printf("%u inputs\n", n_inputs);
	return n_inputs ? 0 : 1;
}
