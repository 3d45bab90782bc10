/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What is on the screen, as a file or as a number. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "common/output.h"
#include "control/json_text.h"
#include "members.h"
#include "target.h"
#include "vgpuctl.h"

enum {
	MAX_PICTURE = INT_MAX, /* bytes of a file that a vgpud may hand us */
};

/* Copies the whole of a file that somebody else made; returns 0 or a negative errno. */
static int copy_file(int from, int to)
{
	char buffer[65536];
	off_t offset = 0;
	struct stat st;

	if (fstat(from, &st) < 0)
		return -errno;
	if (!S_ISREG(st.st_mode) || st.st_size > MAX_PICTURE)
		return -EPROTO;
	while (offset < st.st_size) {
		ssize_t n = pread(from, buffer, sizeof(buffer), offset);

		if (n <= 0)
			return n < 0 ? -errno : -EPROTO;
		offset += n;
		for (ssize_t done = 0; done < n;) {
			ssize_t written = write(to, buffer + done, (size_t)(n - done));

			if (written < 0 && errno != EINTR)
				return -errno;
			done += written > 0 ? written : 0;
		}
	}
	return 0;
}

/* As open(2) with O_CREAT would have made it. */
static int give_usual_mode(int fd)
{
	mode_t mask = umask(0);

	umask(mask);
	return fchmod(fd, 0666 & ~mask) < 0 ? -errno : 0;
}

/* Makes the picture under another name, and gives it its own when it is on disk. */
static int save_atomically(int picture, const char *file)
{
	const char *slash = strrchr(file, '/');
	int directory_length = slash ? (int)(slash - file) + 1 : 0;
	_cleanup_free_ char *temporary = text_format("%.*s.vgpuctl-XXXXXX", directory_length, file);
	_cleanup_close_ int fd = mkostemp(temporary, O_CLOEXEC);
	int r;

	if (fd < 0)
		return -errno;
	r = copy_file(picture, fd);
	if (r == 0)
		r = give_usual_mode(fd);
	if (r == 0 && fsync(fd) < 0)
		r = -errno;
	if (r == 0 && rename(temporary, file) < 0)
		r = -errno;
	if (r < 0)
		unlink(temporary);
	return r;
}

static int save(int picture, const char *file)
{
	_cleanup_free_ char *real = realpath(file, NULL);
	_cleanup_close_ int fd = -1;
	struct stat st;

	/* A device or a pipe is written to, a link is followed, and both stay. */
	if (!real || stat(real, &st) < 0 || S_ISREG(st.st_mode))
		return save_atomically(picture, real ? real : file);
	fd = open(real, O_WRONLY | O_CLOEXEC | O_NOCTTY);
	return fd < 0 ? -errno : copy_file(picture, fd);
}

static void report(const struct target *target, const json_t *about, const char *file)
{
	if (output_is_json())
		print_json(json_pack(
			"{s:i, s:o, s:O*, s:O*, s:O*, s:O*, s:O*, s:O*, s:o}", "version", 1, "name",
			json_text(target->name), "device", json_object_get(about, "device"),
			"width", json_object_get(about, "width"), "height",
			json_object_get(about, "height"), "state", json_object_get(about, "state"),
			"hash", json_object_get(about, "hash"), "size",
			json_object_get(about, "size"), "file", json_text(file)));
	else
		say("%s: %jux%ju, %s, hash %s", file, (uintmax_t)number_or_0(about, "width"),
		    (uintmax_t)number_or_0(about, "height"),
		    human_bytes(number_or_0(about, "size")), get_string(about, "hash", "?"));
}

static int take_picture(const struct target *target, const char *file)
{
	bool to_stdout = strcmp(file, "-") == 0;
	struct control_reply reply;
	int r;

	r = target_call(target, "org.vgpud.Control.Screenshot", target_parameters(target),
			PICTURE_MS, &reply);
	if (r)
		return r;
	if (reply.fd < 0)
		r = -EPROTO;
	else
		r = to_stdout ? copy_file(reply.fd, STDOUT_FILENO) : save(reply.fd, file);
	if (r == -EPROTO)
		r = fail("protocol", "%s did not send a picture", target->name);
	else if (r < 0)
		r = fail("write", "cannot write %s: %s", to_stdout ? "standard output" : file,
			 strerror(-r));
	else if (to_stdout)
		remark("%jux%ju, %s, hash %s", (uintmax_t)number_or_0(reply.parameters, "width"),
		       (uintmax_t)number_or_0(reply.parameters, "height"),
		       human_bytes(number_or_0(reply.parameters, "size")),
		       get_string(reply.parameters, "hash", "?"));
	else
		report(target, reply.parameters, file);
	control_reply_done(&reply);
	return r;
}

/* "vm1.png", "vm1-gpu1.png" */
static char *default_file(const struct target *target)
{
	const char *slash = strrchr(target->name, '/');
	const char *base = slash ? slash + 1 : target->name;
	size_t length = strlen(base), suffix = strlen(".ctl");

	if (length > suffix && strcmp(base + length - suffix, ".ctl") == 0)
		length -= suffix;
	return text_format("%.*s%s%s.png", (int)length, base, target->device ? "-" : "",
			   target->device ? target->device : "");
}

int run_screenshot(const struct invocation *inv)
{
	_cleanup_(target_done) struct target target = { 0 };
	_cleanup_free_ char *usual = NULL;
	const char *vgpu = inv->operands[0], *file = inv->operands[1];
	int r;

	/* "screenshot -" can mean nothing else. */
	if (vgpu && !file && strcmp(vgpu, "-") == 0) {
		file = vgpu;
		vgpu = NULL;
	}
	if (file && strcmp(file, "-") == 0) {
		if (output_is_json())
			return usage_error("screenshot: standard output takes the picture or the "
					   "JSON, not both");
		if (isatty(STDOUT_FILENO))
			return usage_error("screenshot: a terminal does not show a PNG; redirect "
					   "standard output");
	}
	r = target_resolve(vgpu, &target);
	if (r)
		return r;
	usual = default_file(&target);
	return take_picture(&target, file ? file : usual);
}

int run_hash(const struct invocation *inv)
{
	_cleanup_(target_done) struct target target = { 0 };
	struct control_reply reply;
	int r;

	r = target_resolve(inv->operands[0], &target);
	if (r)
		return r;
	r = target_call(&target, "org.vgpud.Control.Hash", target_parameters(&target), PICTURE_MS,
			&reply);
	if (r)
		return r;
	if (output_is_json()) {
		json_t *object =
			json_pack("{s:i, s:o}", "version", 1, "name", json_text(target.name));

		json_object_update_missing(object, reply.parameters);
		print_json(object);
	} else {
		say("%s %jux%ju", get_string(reply.parameters, "hash", "?"),
		    (uintmax_t)number_or_0(reply.parameters, "width"),
		    (uintmax_t)number_or_0(reply.parameters, "height"));
	}
	control_reply_done(&reply);
	return EXIT_OK;
}
