/* SPDX-License-Identifier: GPL-2.0-or-later */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "control/base64.h"
#include "control/path.h"
#include "unit.h"

static void names(void **state)
{
	char longest[CONTROL_NAME_MAX + 2];

	memset(longest, 'a', sizeof(longest));
	longest[CONTROL_NAME_MAX + 1] = '\0';
	assert_false(control_name_valid(longest));
	longest[CONTROL_NAME_MAX] = '\0';
	assert_true(control_name_valid(longest));
	assert_true(control_name_valid("a"));
	assert_true(control_name_valid("Vm_1.old-2"));
	assert_false(control_name_valid(NULL));
	assert_false(control_name_valid(""));
	assert_false(control_name_valid("."));
	assert_false(control_name_valid(".hidden"));
	assert_false(control_name_valid("--json"));
	assert_false(control_name_valid("a/b"));
	assert_false(control_name_valid("a b"));
	assert_false(control_name_valid("\xc3\xa9"));
}

static void paths(void **state)
{
	char *path = NULL;

	assert_int_equal(control_default_path("a/b", &path), -EINVAL);
	assert_null(path);
	assert_int_equal(control_default_path("vm1", &path), 0);
	assert_true(path[0] == '/');
	assert_string_equal(strrchr(path, '/'), "/vm1.ctl");
	free(path);
}

/* Root's directory does not depend on who became root, and how. */
static void directories(void **state)
{
	const char *runtime = getuid() == 0 ? "/run/vgpud" : "/tmp/runtime/vgpud";
	char *directory;

	unsetenv("VGPUD_RUNTIME_DIR");
	setenv("XDG_RUNTIME_DIR", "/tmp/runtime", 1);
	assert_int_equal(control_default_directory(&directory), 0);
	assert_string_equal(directory, runtime);
	free(directory);
	setenv("XDG_RUNTIME_DIR", "relative", 1);
	assert_int_equal(control_default_directory(&directory), 0);
	assert_string_equal(directory, "/run/vgpud");
	free(directory);
	unsetenv("XDG_RUNTIME_DIR");
	assert_int_equal(control_default_directory(&directory), 0);
	assert_string_equal(directory, "/run/vgpud");
	free(directory);
	setenv("VGPUD_RUNTIME_DIR", "/tmp/chosen", 1);
	assert_int_equal(control_default_directory(&directory), 0);
	assert_string_equal(directory, "/tmp/chosen");
	free(directory);
}

static void names_of_paths(void **state)
{
	char *name = NULL;

	assert_int_equal(control_name_of_path("/run/vgpud/vm1.ctl", &name), 0);
	assert_string_equal(name, "vm1");
	free(name);
	assert_int_equal(control_name_of_path("a.b.ctl", &name), 0);
	assert_string_equal(name, "a.b");
	free(name);
	assert_int_equal(control_name_of_path(".ctl", &name), -EINVAL);
	assert_int_equal(control_name_of_path("/x/..ctl", &name), -EINVAL);
	assert_int_equal(control_name_of_path("/x/vm1.sock", &name), -EINVAL);
	assert_int_equal(control_name_of_path("/x.ctl/", &name), -EINVAL);
}

/* The examples of RFC 4648, section 10. */
static void base64(void **state)
{
	static const char *const examples[] = { "",	    "Zg==",	"Zm8=",	   "Zm9v",
						"Zm9vYg==", "Zm9vYmE=", "Zm9vYmFy" };

	for (size_t i = 0; i < 7; i++) {
		char *text = base64_encode("foobar", i);

		assert_string_equal(text, examples[i]);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names),       cmocka_unit_test(paths),
		cmocka_unit_test(directories), cmocka_unit_test(names_of_paths),
		cmocka_unit_test(base64),
	};

	return cmocka_run_group_tests_name("control-path", tests, NULL, NULL);
}
