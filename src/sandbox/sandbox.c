/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "sandbox/sandbox.h"

#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "sandbox/layers.h"

const char *seccomp_mode_name(enum seccomp_mode mode)
{
	static const char *const names[] = {
		[SECCOMP_KILL] = "kill",
		[SECCOMP_TRAP] = "trap",
		[SECCOMP_LOG] = "log",
		[SECCOMP_NONE] = "none",
	};

	return names[mode];
}

static int enter_namespaces(enum sandbox_mode mode, bool *ret_entered)
{
	_cleanup_free_ char *error = NULL;
	int r = namespaces_enter(&error);

	*ret_entered = r == 0;
	if (r == 0)
		return 0;
	if (mode == SANDBOX_NAMESPACE) {
		log_error("--sandbox=namespace: %s", error);
		return r;
	}
	log_warning("the sandbox has no namespaces of its own: %s; all else is in force "
		    "(--sandbox=none accepts that)",
		    error);
	return 0;
}

static int enter_landlock(int *ret_abi)
{
	int r = landlock_enter();

	if (r < 0 && r != -ENOSYS && r != -EOPNOTSUPP) {
		log_error("Landlock refuses its rules: %s; --sandbox=none does without",
			  strerror(-r));
		return r;
	}
	*ret_abi = r < 0 ? 0 : r;
	return 0;
}

static int enter_seccomp(enum seccomp_mode mode)
{
	int r = seccomp_enter(mode);

	if (r < 0)
		log_error("the filter for system calls can't be loaded: %s; --seccomp=none does "
			  "without",
			  strerror(-r));
	return r;
}

static int drop_privileges(enum sandbox_mode mode, enum seccomp_mode seccomp)
{
	int r = privileges_drop();

	if (r == 0 && mode != SANDBOX_NONE && seccomp != SECCOMP_TRAP)
		r = privileges_hide();
	if (r < 0)
		log_error("privileges can't be given up: %s", strerror(-r));
	return r;
}

int sandbox_enter(enum sandbox_mode mode, enum seccomp_mode seccomp, struct sandbox_info *ret)
{
	struct sandbox_info info = { .seccomp = seccomp };
	int r = 0;

	/* libc reads the time zone's file before its first calendar time, and never again. */
	tzset();

	if (mode != SANDBOX_NONE)
		r = enter_namespaces(mode, &info.namespaces);
	if (r == 0)
		r = drop_privileges(mode, seccomp);
	if (r == 0 && mode != SANDBOX_NONE)
		r = enter_landlock(&info.landlock);
	if (r == 0 && seccomp != SECCOMP_NONE)
		r = enter_seccomp(seccomp);
	if (r < 0)
		return r;
	log_debug("sandbox: %s, Landlock %d, seccomp %s",
		  info.namespaces ? "namespaces" : "no namespaces", info.landlock,
		  seccomp_mode_name(seccomp));
	*ret = info;
	return 0;
}
