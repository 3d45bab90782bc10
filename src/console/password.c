/* SPDX-License-Identifier: GPL-2.0-or-later */
#include "console/password.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "console/kind.h"

static int check_file(int fd, const char *path, char **ret_error)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return console_fail(ret_error, -errno, "The password file %s: %s.", path,
				    strerror(errno));
	if (!S_ISREG(st.st_mode))
		return console_fail(ret_error, -EINVAL, "The password file %s is not a file.",
				    path);
	if (st.st_mode & S_IROTH)
		return console_fail(ret_error, -EPERM,
				    "Everybody can read the password file %s; take that away "
				    "(chmod o= %s) and choose a new password.",
				    path, path);
	return 0;
}

int password_read(const char *path, char ret[PASSWORD_MAX + 1], char **ret_error)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	char line[256];
	size_t length;
	ssize_t n;
	int r;

	if (fd < 0)
		return console_fail(ret_error, -errno, "Cannot open the password file %s: %s.",
				    path, strerror(errno));
	r = check_file(fd, path, ret_error);
	if (r < 0)
		return r;

	n = read(fd, line, sizeof(line) - 1);
	if (n < 0)
		return console_fail(ret_error, -errno, "Cannot read the password file %s: %s.",
				    path, strerror(errno));
	line[n] = '\0';
	length = strcspn(line, "\r\n");
	line[length] = '\0';

	if (!length) {
		r = console_fail(ret_error, -EINVAL,
				 "The first line of the password file %s is empty; write the "
				 "password there.",
				 path);
	} else {
		if (length > PASSWORD_MAX)
			log_warning("the password in %s is longer than %d characters: VNC heeds "
				    "only the first %d",
				    path, PASSWORD_MAX, PASSWORD_MAX);
		memset(ret, 0, PASSWORD_MAX + 1);
		memcpy(ret, line, length < PASSWORD_MAX ? length : PASSWORD_MAX);
	}
	explicit_bzero(line, sizeof(line));
	return r;
}
