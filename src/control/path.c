/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "control/path.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"

bool control_name_valid(const char *name)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz"
				      "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
				      "0123456789._-";
	size_t length;

	if (!name || name[0] == '.' || name[0] == '-')
		return false;
	length = strnlen(name, CONTROL_NAME_MAX + 1);
	return length >= 1 && length <= CONTROL_NAME_MAX && strspn(name, allowed) == length;
}

int control_default_directory(char **ret)
{
	const char *chosen = secure_getenv("VGPUD_RUNTIME_DIR");
	const char *runtime = getuid() == 0 ? NULL : getenv("XDG_RUNTIME_DIR");
	char *directory;
	int n;

	if (chosen && chosen[0] == '/')
		n = asprintf(&directory, "%s", chosen);
	else if (runtime && runtime[0] == '/')
		n = asprintf(&directory, "%s/vgpud", runtime);
	else
		n = asprintf(&directory, "/run/vgpud");
	if (n < 0)
		return -ENOMEM;
	*ret = directory;
	return 0;
}

int control_default_path(const char *name, char **ret)
{
	_cleanup_free_ char *directory = NULL;
	char *path;
	int r;

	if (!control_name_valid(name))
		return -EINVAL;
	r = control_default_directory(&directory);
	if (r < 0)
		return r;
	if (asprintf(&path, "%s/%s" CONTROL_SUFFIX, directory, name) < 0)
		return -ENOMEM;
	if (strlen(path) >= sizeof(((struct sockaddr_un *)NULL)->sun_path)) {
		free(path);
		return -ENAMETOOLONG;
	}
	*ret = path;
	return 0;
}

int control_name_of_path(const char *path, char **ret)
{
	const char *slash = strrchr(path, '/');
	const char *last = slash ? slash + 1 : path;
	size_t length = strlen(last), suffix = strlen(CONTROL_SUFFIX);
	char *name;

	if (length <= suffix || strcmp(last + length - suffix, CONTROL_SUFFIX) != 0)
		return -EINVAL;
	name = strndup(last, length - suffix);
	if (!name)
		return -ENOMEM;
	if (!control_name_valid(name)) {
		free(name);
		return -EINVAL;
	}
	*ret = name;
	return 0;
}

int control_make_directory(const char *directory)
{
	struct stat st;

	if (mkdir(directory, 0700) == 0)
		return 0;
	if (errno != EEXIST)
		return -errno;
	if (stat(directory, &st) < 0)
		return -errno;
	return S_ISDIR(st.st_mode) ? 0 : -ENOTDIR;
}
