/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Screenshots and hashes. The picture is copied on the main thread, which is
 * where a device allows it; compressing it takes up to seconds and happens on
 * a thread that lives for one picture. One picture is made at a time and is
 * captured only when it is its turn, so that the memory in use is that of one
 * picture however many clients ask.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>

#include "base/cleanup.h"
#include "base/memfd.h"
#include "base/syscalls.h"
#include "base/thread.h"
#include "control/base64.h"
#include "control/server.h"
#include "scanout/image.h"

SYSCALLS(SYSCALL(lseek), SYSCALL_IF(fcntl, ARG_IS(1, F_ADD_SEALS)), SYSCALL(munmap),
	 SYSCALL(write));

struct picture_job {
	struct picture_job *next;
	struct control_call *call;
	enum picture_kind kind;
	char *device; /* NULL: the first that has a screen */

	pthread_t thread;
	int done_fd; /* the server's */
	struct scanout_image image;

	/* Results, the thread's until it writes to done_fd. */
	int error;
	uint64_t hash;
	int png_fd;
	size_t png_size;
	char *png; /* base64 */
};

static void job_free(struct picture_job *job)
{
	scanout_image_done(&job->image);
	close_fd(job->png_fd);
	free(job->png);
	free(job->device);
	free(job);
}

/*
 * On the job's thread
 */

static int make_png(struct picture_job *job)
{
	_cleanup_close_ int fd = memfd_new("vgpud-screenshot");
	off_t size;
	int r;

	if (fd < 0)
		return -errno;
	r = scanout_image_write_png(&job->image, fd);
	if (r < 0)
		return r;
	size = lseek(fd, 0, SEEK_END);
	if (size < 0 || lseek(fd, 0, SEEK_SET) < 0 ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE) < 0)
		return -errno;
	job->png_size = (size_t)size;
	job->png_fd = STEAL_FD(fd);
	return 0;
}

static int make_inline(struct picture_job *job)
{
	void *map;

	if (job->png_size > CONTROL_MAX_INLINE_PNG)
		return -EFBIG;
	map = mmap(NULL, job->png_size, PROT_READ, MAP_PRIVATE, job->png_fd, 0);
	if (map == MAP_FAILED)
		return -errno;
	job->png = base64_encode(map, job->png_size);
	munmap(map, job->png_size);
	job->png_fd = close_fd(job->png_fd);
	return job->png ? 0 : -ENOMEM;
}

static void *job_thread(void *arg)
{
	struct picture_job *job = arg;

	job->hash = scanout_image_hash(&job->image);
	if (job->kind != PICTURE_HASH)
		job->error = make_png(job);
	if (job->kind == PICTURE_INLINE && !job->error)
		job->error = make_inline(job);
	eventfd_write(job->done_fd, 1);
	return NULL;
}

/*
 * On the main thread
 */

/* Captures the named device's screen, or the first that there is. */
static int job_capture(struct picture_job *job, struct control_server *server)
{
	struct control_device *device = server->devices;
	int r = -ENODATA;

	if (job->device) {
		device = control_find_device(server, job->device);
		r = device ? device->ops->capture(device->opaque, &job->image) : -ENOENT;
	} else {
		for (; device; device = device->next) {
			r = device->ops->capture(device->opaque, &job->image);
			if (r != -ENODATA)
				break;
		}
	}
	if (r < 0)
		return r;

	if (!job->device)
		job->device = strdup(device->id);
	return job->device ? 0 : -ENOMEM;
}

static void answer_error(struct picture_job *job, int error)
{
	struct control_call *call = job->call;
	json_t *device = json_pack("{s:s?}", "device", job->device);

	if (error == -ENOENT) {
		control_call_error(call, "org.vgpud.Control.NoSuchDevice", device);
	} else if (error == -ENODATA) {
		control_call_error(call, "org.vgpud.Control.NoScreen", device);
	} else {
		json_decref(device);
		control_call_failed(call, error);
	}
}

static void answer(struct picture_job *job)
{
	char hash[17];
	json_t *reply;

	if (job->error < 0) {
		answer_error(job, job->error);
		return;
	}
	snprintf(hash, sizeof(hash), "%016" PRIx64, job->hash);
	reply = json_pack("{s:s, s:I, s:I, s:s, s:s}", "device", job->device, "width",
			  (json_int_t)job->image.width, "height", (json_int_t)job->image.height,
			  "state", scanout_state_name(job->image.state), "hash", hash);
	if (job->kind != PICTURE_HASH)
		json_object_set_new(reply, "size", json_integer((json_int_t)job->png_size));
	if (job->kind == PICTURE_FD)
		json_object_set_new(reply, "pngFileDescriptor", json_integer(0));
	if (job->kind == PICTURE_INLINE)
		json_object_set_new(reply, "png", json_string_nocheck(job->png));
	control_call_reply(job->call, reply, STEAL_FD(job->png_fd));
}

/* Starts the next job whose client still waits. */
static void start_next(struct control_server *server)
{
	while (!server->picture_running && server->pictures) {
		struct picture_job *job = server->pictures;
		int r;

		server->pictures = job->next;
		job->next = NULL;
		r = job->call->conn ? job_capture(job, server) : -ECANCELED;
		if (r == 0)
			r = thread_start(&job->thread, "picture", job_thread, job);
		if (r == 0) {
			server->picture_running = job;
			return;
		}
		answer_error(job, r);
		job_free(job);
	}
}

static int on_picture_done(sd_event_source *source, int fd, uint32_t revents, void *userdata)
{
	struct control_server *server = userdata;
	struct picture_job *job = STEAL_PTR(server->picture_running);
	eventfd_t woken;

	eventfd_read(fd, &woken);
	if (!job)
		return 0;
	pthread_join(job->thread, NULL);
	answer(job);
	job_free(job);
	start_next(server);
	return 0;
}

void control_picture(struct control_call *call, enum picture_kind kind, const char *device)
{
	struct control_server *server = call->server;
	struct picture_job *job = calloc(1, sizeof(*job)), **last;

	if (job) {
		*job = (struct picture_job){
			.call = call,
			.kind = kind,
			.device = device ? strdup(device) : NULL,
			.done_fd = server->picture_fd,
			.png_fd = -1,
		};
	}
	if (!job || (device && !job->device)) {
		if (job)
			job_free(job);
		control_call_failed(call, -ENOMEM);
		return;
	}
	for (last = &server->pictures; *last; last = &(*last)->next)
		;
	*last = job;
	start_next(server);
}

int control_pictures_init(struct control_server *server)
{
	server->picture_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (server->picture_fd < 0)
		return -errno;
	return sd_event_add_io(server->event, &server->picture_done, server->picture_fd, EPOLLIN,
			       on_picture_done, server);
}

/* The connections are gone already: the answers go nowhere. */
void control_pictures_done(struct control_server *server)
{
	sd_event_source_disable_unref(server->picture_done);
	if (server->picture_running) {
		pthread_join(server->picture_running->thread, NULL);
		server->picture_running->next = server->pictures;
		server->pictures = STEAL_PTR(server->picture_running);
	}
	while (server->pictures) {
		struct picture_job *job = server->pictures;

		server->pictures = job->next;
		answer_error(job, -ECANCELED);
		job_free(job);
	}
	server->picture_fd = close_fd(server->picture_fd);
}
