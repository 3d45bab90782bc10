/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What goes wrong between a vGPU and its VMM. The device's socket is never
 * connected to: a device serves one client, and that is the VMM's place.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "doctor.h"
#include "members.h"
#include "vmm_cmdline.h"

enum {
	MAX_CMDLINE = 256 * 1024,
};

#define SHARE "start the guest with memory that is shared (share=on); see: vgpuctl qemu-args"

static void check_socket(struct doctor *doctor, const char *check, const char *socket)
{
	struct stat st;

	if (!socket)
		doctor_say(doctor, MARK_OK, check, NULL,
			   "its socket was given to it as a file descriptor");
	else if (stat(socket, &st) < 0 && errno == EACCES)
		doctor_say(doctor, MARK_PROBLEM, check,
			   "run the VMM as a user who may enter its directory",
			   "no permission to reach %s", socket);
	else if (stat(socket, &st) < 0)
		doctor_say(doctor, MARK_PROBLEM, check, "somebody removed it: start vgpud again",
			   "%s: %s", socket, strerror(errno));
	else if (!S_ISSOCK(st.st_mode))
		doctor_say(doctor, MARK_PROBLEM, check,
			   "somebody replaced it: remove the file and start vgpud again",
			   "%s is not a socket", socket);
	else if (access(socket, W_OK) < 0)
		doctor_say(doctor, MARK_PROBLEM, check,
			   "run the VMM as the user of the socket, or change its mode",
			   "you may not connect to %s", socket);
	else
		doctor_say(doctor, MARK_OK, check, NULL, "%s can be connected to", socket);
}

/* Whether what the client shares is mapped. */
static void check_dma(struct doctor *doctor, const char *check, const json_t *dma)
{
	uint64_t bytes = number_or_0(dma, "bytes"), mapped;

	if (!get_number(dma, "mapped_bytes", &mapped) || !bytes)
		doctor_say(doctor, MARK_OK, check, NULL, "the client has mapped no memory yet");
	else if (!mapped)
		doctor_say(doctor, MARK_PROBLEM, check, SHARE,
			   "none of the guest's memory is shared with the device");
	else
		doctor_say(doctor, MARK_OK, check, NULL, "%s of %s of the guest's memory is shared",
			   human_bytes(mapped), human_bytes(bytes));
}

static void report_cmdline(struct doctor *doctor, const char *check, uintmax_t pid,
			   const struct vmm_cmdline *vmm)
{
	if (vmm->kind == VMM_UNKNOWN)
		doctor_say(doctor, MARK_OK, check, NULL,
			   "the client %ju is no VMM whose options are known here", pid);
	else if (vmm->memory == VMM_MEMORY_PRIVATE)
		doctor_say(doctor, MARK_PROBLEM, check, SHARE,
			   "process %ju has memory without share=on: the device sees other pages "
			   "than the guest",
			   pid);
	else if (vmm->memory == VMM_MEMORY_ANONYMOUS)
		doctor_say(doctor, MARK_PROBLEM, check, SHARE,
			   "process %ju has no shared memory backend", pid);
	else if (vmm->memory == VMM_MEMORY_UNKNOWN)
		doctor_say(doctor, MARK_OK, check, NULL,
			   "the options of process %ju do not tell whether it shares its memory",
			   pid);
	else
		doctor_say(doctor, MARK_OK, check, NULL, "process %ju shares its memory", pid);
	if (vmm->other_display)
		doctor_say(doctor, MARK_WARNING, check, "add -vga none",
			   "process %ju has a second display, which firmware and guest may prefer",
			   pid);
	if (vmm->display_device)
		doctor_say(doctor, MARK_WARNING, check, "leave out that -device",
			   "process %ju has a -device that is a second display, which firmware and "
			   "guest may prefer",
			   pid);
}

static void check_vmm(struct doctor *doctor, const char *check, uint64_t pid)
{
	_cleanup_free_ char *path = text_format("/proc/%ju/cmdline", (uintmax_t)pid);
	_cleanup_free_ char *data = malloc(MAX_CMDLINE);
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC);
	struct vmm_cmdline vmm;
	size_t used = 0;
	ssize_t n = 1;

	if (fd < 0 || !data) {
		doctor_say(doctor, MARK_WARNING, check, "run this as root to have them checked",
			   "the options of process %ju cannot be read", (uintmax_t)pid);
		return;
	}
	while (used < MAX_CMDLINE && n > 0) {
		n = read(fd, data + used, MAX_CMDLINE - used);
		used += n > 0 ? (size_t)n : 0;
	}
	vmm_cmdline_parse(data, used, &vmm);
	report_cmdline(doctor, check, (uintmax_t)pid, &vmm);
}

static void check_device(struct doctor *doctor, const struct target *target, const json_t *device)
{
	const json_t *client = json_object_get(device, "client");
	_cleanup_free_ char *check =
		text_format("%s/%s", target->name, get_string(device, "id", "?"));
	uint64_t pid;

	check_socket(doctor, check, get_string(device, "socket", NULL));
	if (!get_flag(client, "connected")) {
		doctor_say(doctor, MARK_OK, check, NULL, "no VMM is connected");
		return;
	}
	check_dma(doctor, check, json_object_get(device, "dma"));
	if (get_number(client, "pid", &pid) && pid)
		check_vmm(doctor, check, pid);
}

/* Less than there could be: by its options, or by what the host allows. */
void doctor_sandbox(struct doctor *doctor, const struct target *target, const json_t *sandbox)
{
	const char *seccomp = get_string(sandbox, "seccomp", NULL);

	if (!seccomp)
		return;
	if (!get_flag(sandbox, "namespaces"))
		doctor_say(doctor, MARK_WARNING, target->name,
			   "start it with --sandbox=namespace, which says what it lacks",
			   "its sandbox has no namespaces");
	if (strcmp(seccomp, "kill") != 0 && strcmp(seccomp, "trap") != 0)
		doctor_say(doctor, MARK_WARNING, target->name, "leave out --seccomp",
			   "its system calls are not filtered (seccomp %s)", seccomp);
	else if (get_flag(sandbox, "namespaces"))
		doctor_say(doctor, MARK_OK, target->name, NULL, "it runs in a sandbox");
}

void doctor_vgpu(struct doctor *doctor, const struct target *target, const json_t *devices)
{
	for (size_t i = 0; i < json_array_size(devices); i++)
		check_device(doctor, target, json_array_get(devices, i));
}
