/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the host must have: a QEMU that is a vfio-user client, and the directory. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "capture.h"
#include "control/path.h"
#include "doctor.h"

#define QEMU "qemu-system-x86_64"

enum {
	QEMU_MS = 20000, /* a cold start from a slow disk */
};

/* As the shell would find it; NULL if there is none. */
static char *find_in_path(const char *name)
{
	const char *path = getenv("PATH");

	path = path ? path : "/usr/bin:/bin";
	for (;;) {
		size_t length = strcspn(path, ":");
		_cleanup_free_ char *candidate =
			text_format("%.*s/%s", length ? (int)length : 1, length ? path : ".", name);

		if (access(candidate, X_OK) == 0)
			return STEAL_PTR(candidate);
		if (!path[length])
			return NULL;
		path += length + 1;
	}
}

/* Runs it with one or two arguments; NULL, and said so, if that does not work. */
static char *ask_qemu(struct doctor *doctor, const char *qemu, const char *first,
		      const char *second)
{
	char *const argv[] = { (char *)qemu, (char *)first, (char *)second, NULL };
	char *output = NULL;
	int status, r = capture_output(argv, QEMU_MS, &output, &status);

	if (r == 0 && status == 0)
		return output;
	free(output);
	if (r < 0)
		doctor_say(doctor, MARK_PROBLEM, "qemu", NULL, "cannot run %s: %s", qemu,
			   strerror(-r));
	else
		doctor_say(doctor, MARK_PROBLEM, "qemu", NULL, "%s %s ended with %d", qemu, first,
			   status);
	return NULL;
}

static void check_qemu(struct doctor *doctor, const char *wanted)
{
	static const char newer[] = "install QEMU 10.1 or newer; on Debian 13: apt install -t "
				    "trixie-backports qemu-system-x86";
	_cleanup_free_ char *qemu = wanted ? text_format("%s", wanted) : find_in_path(QEMU);
	_cleanup_free_ char *version = NULL, *devices = NULL;
	const char *number;

	if (!qemu) {
		doctor_say(doctor, MARK_PROBLEM, "qemu",
			   "install QEMU 10.1 or newer, or name one with --qemu=PATH",
			   "no " QEMU " in PATH");
		return;
	}
	version = ask_qemu(doctor, qemu, "--version", NULL);
	if (!version)
		return;
	version[strcspn(version, "\n")] = '\0';
	number = strstr(version, "version ");
	number = number ? number + strlen("version ") : version;
	devices = ask_qemu(doctor, qemu, "-device", "help");
	if (!devices)
		return;
	if (strstr(devices, "\"vfio-user-pci\""))
		doctor_say(doctor, MARK_OK, "qemu", NULL, "%s, version %s, has vfio-user-pci", qemu,
			   number);
	else
		doctor_say(doctor, MARK_PROBLEM, "qemu", newer,
			   "%s, version %s, has no vfio-user-pci", qemu, number);
}

static void check_kvm(struct doctor *doctor)
{
	_cleanup_close_ int fd = open("/dev/kvm", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		doctor_say(doctor, MARK_OK, "kvm", NULL, "/dev/kvm can be used");
	else if (errno == EACCES)
		doctor_say(doctor, MARK_WARNING, "kvm",
			   "add your user to the group kvm; guests run without it, slowly",
			   "no permission for /dev/kvm");
	else
		doctor_say(doctor, MARK_WARNING, "kvm",
			   "guests run without it, slowly (-accel tcg)",
			   "/dev/kvm cannot be used (%s)", strerror(errno));
}

static void check_directory(struct doctor *doctor)
{
	_cleanup_free_ char *directory = NULL;
	struct stat st;

	if (control_default_directory(&directory) < 0)
		return;
	if (lstat(directory, &st) < 0 && errno == ENOENT)
		doctor_say(doctor, MARK_OK, "directory", NULL,
			   "%s is not there yet: the first vgpud makes it", directory);
	else if (stat(directory, &st) < 0 || !S_ISDIR(st.st_mode))
		doctor_say(doctor, MARK_PROBLEM, "directory", "make it a directory of mode 0700",
			   "%s is no directory that can be used", directory);
	else if (st.st_uid != getuid() && getuid() != 0)
		doctor_say(doctor, MARK_WARNING, "directory", "see that you trust that user",
			   "%s belongs to user %u", directory, st.st_uid);
	else if (st.st_mode & (S_IWGRP | S_IWOTH))
		doctor_say(doctor, MARK_PROBLEM, "directory", "chmod go-w it",
			   "others may put control sockets into %s (mode %04o)", directory,
			   st.st_mode & 07777);
	else if (access(directory, R_OK | W_OK | X_OK) < 0)
		doctor_say(doctor, MARK_PROBLEM, "directory", "chmod u+rwx it",
			   "%s cannot be read and written", directory);
	else
		doctor_say(doctor, MARK_OK, "directory", NULL, "%s is yours", directory);
}

void doctor_host(struct doctor *doctor, const char *qemu)
{
	check_qemu(doctor, qemu);
	check_kvm(doctor);
	check_directory(doctor);
}
