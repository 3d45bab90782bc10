/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The guest's first and only process. It takes commands, a line each, on the second serial port and answers
 * each with one line, "ok …" or "error …"; the first serial port is the kernel's console. It says
 * "ready …" once it listens, so that whoever drives it notices a reboot.
 *
 * Kernel command line: vgpu.autoload=0 leaves the display without a driver until "load";
 * vgpu.demo starts the animated picture at boot; vgpu.fbcon lets the kernel put a text console on the
 * display.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define CHANNEL "/dev/ttyS1"
#define MAX_ARGS 16
#define FRAME_NS (1000000000 / 60) /* of the demo, where the machine is fast enough */

static bool want_fbcon;
static struct text demo_report;

void text_add(struct text *t, const char *fmt, ...)
{
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(t->buf + t->len, sizeof(t->buf) - t->len, fmt, ap);
	va_end(ap);
	if (n > 0)
		t->len += n;
	if (t->len >= sizeof(t->buf))
		t->len = sizeof(t->buf) - 1;
}

int parse_u32(const char *s, uint32_t *ret)
{
	unsigned long v;
	char *end;

	errno = 0;
	v = strtoul(s, &end, 0);
	if (errno || end == s || *end || v > UINT32_MAX)
		return -EINVAL;
	*ret = v;
	return 0;
}

int read_small_file(const char *path, char *buf, size_t size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return -errno;
	n = read(fd, buf, size - 1);
	if (n < 0)
		n = -errno;
	close(fd);
	if (n < 0)
		return n;
	while (n > 0 && isspace((unsigned char)buf[n - 1]))
		n--;
	buf[n] = '\0';
	return n;
}

int write_small_file(const char *path, const char *value)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int rc = 0;

	if (fd < 0)
		return -errno;
	if (write(fd, value, strlen(value)) < 0)
		rc = -errno;
	close(fd);
	return rc;
}

uint64_t now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000000000ull + ts.tv_nsec;
}

/* The image holds, for each driver, a list of module files in the order in which they load. */
static int load_modules(const char *driver)
{
	char path[300], name[200];
	FILE *list;
	int rc = 0;

	snprintf(path, sizeof(path), "/modules/%s.list", driver);
	list = fopen(path, "re");
	if (!list)
		return -errno;
	while (rc == 0 && fscanf(list, "%199s", name) == 1) {
		const char *options = "";
		int fd;

		snprintf(path, sizeof(path), "/modules/%s", name);
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd < 0) {
			rc = -errno;
			break;
		}
		/* A text console on the display would draw between our pictures. */
		if (strcmp(name, "drm_kms_helper.ko") == 0 && !want_fbcon)
			options = "fbdev_emulation=0";
		if (syscall(SYS_finit_module, fd, options, 0) < 0 && errno != EEXIST)
			rc = -errno;
		close(fd);
	}
	fclose(list);
	return rc;
}

static const char *driver_for_display(void)
{
	char pci[PCI_NAME_LEN], vendor[16];

	if (pci_find_display(pci) == 0 &&
	    pci_read_attr(pci, "vendor", vendor, sizeof(vendor)) > 0 &&
	    strcmp(vendor, "0x1af4") == 0)
		return "virtio-gpu";
	return "bochs";
}

static int run_load(int argc, char **argv, struct text *out)
{
	const char *driver = argc > 1 ? argv[1] : driver_for_display();

	if (strchr(driver, '/'))
		return -EINVAL;
	text_add(out, "driver=%s", driver);
	return load_modules(driver);
}

static int run_info(int argc, char **argv, struct text *out)
{
	char pci[PCI_NAME_LEN], vendor[16], device[16], revision[16];
	struct utsname uts;
	int rc;

	uname(&uts);
	text_add(out, "kernel=%s", uts.release);
	rc = pci_find_display(pci);
	if (rc < 0)
		return rc;
	if (pci_read_attr(pci, "vendor", vendor, sizeof(vendor)) < 0 ||
	    pci_read_attr(pci, "device", device, sizeof(device)) < 0 ||
	    pci_read_attr(pci, "revision", revision, sizeof(revision)) < 0)
		return -EIO;
	text_add(out, " pci=%s id=%s:%s revision=%s", pci, vendor + 2, device + 2, revision + 2);
	kms_describe(out);
	return 0;
}

static int run_demo(int argc, char **argv, struct text *out)
{
	uint32_t width = 1024, height = 768;

	if ((argc > 1 && parse_u32(argv[1], &width) < 0) ||
	    (argc > 2 && parse_u32(argv[2], &height) < 0))
		return -EINVAL;
	return demo_start(width, height);
}

static int run_demo_stop(int argc, char **argv, struct text *out)
{
	/* Any command has stopped it by now. */
	text_add(out, "%s", demo_report.buf);
	return 0;
}

/* For looking around: runs a shell command and answers its exit status and output, line ends as "\n". */
static int run_sh(int argc, char **argv, struct text *out)
{
	FILE *p = popen(argv[1], "re");
	int c, status;
	struct text all = {};

	if (!p)
		return -errno;
	while ((c = getc(p)) != EOF)
		text_add(&all, c == '\n' ? "\\n" : "%c", c);
	status = pclose(p);
	text_add(out, "status=%d output=%s", WEXITSTATUS(status), all.buf);
	return 0;
}

static int run_reboot(int argc, char **argv, struct text *out)
{
	return reboot(RB_AUTOBOOT) < 0 ? -errno : 0;
}

static int run_poweroff(int argc, char **argv, struct text *out)
{
	return reboot(RB_POWER_OFF) < 0 ? -errno : 0;
}

static int run_help(int argc, char **argv, struct text *out);

static const struct command agent_commands[] = {
	{ "help", "", 0, 0, run_help },
	{ "info", "", 0, 0, run_info },
	{ "load", "[DRIVER]", 0, 1, run_load },
	{ "demo", "[W H]", 0, 2, run_demo },
	{ "demo-stop", "", 0, 0, run_demo_stop },
	{ "sh", "COMMAND", 1, 1, run_sh },
	{ "reboot", "", 0, 0, run_reboot },
	{ "poweroff", "", 0, 0, run_poweroff },
	{},
};

static const struct command *const command_tables[] = { agent_commands, pci_commands, vfio_commands,
							kms_commands };

static int run_help(int argc, char **argv, struct text *out)
{
	for (size_t i = 0; i < ARRAY_SIZE(command_tables); i++)
		for (const struct command *c = command_tables[i]; c->name; c++)
			text_add(out, "%s%s%s%s", out->len ? "; " : "", c->name,
				 *c->usage ? " " : "", c->usage);
	return 0;
}

static const struct command *find_command(const char *name)
{
	for (size_t i = 0; i < ARRAY_SIZE(command_tables); i++)
		for (const struct command *c = command_tables[i]; c->name; c++)
			if (strcmp(c->name, name) == 0)
				return c;
	return NULL;
}

static void write_all(int fd, const char *s, size_t len)
{
	while (len > 0) {
		ssize_t n = write(fd, s, len);

		if (n < 0 && errno != EINTR)
			return;
		if (n > 0) {
			s += n;
			len -= n;
		}
	}
}

static int run_line(char *line, struct text *out)
{
	char *argv[MAX_ARGS + 1];
	const struct command *c;
	int argc = 0;
	char *word, *rest = line;

	while (argc < MAX_ARGS && (word = strsep(&rest, " \r"))) {
		if (!*word)
			continue;
		argv[argc++] = word;
		if (argc == 1 && strcmp(word, "sh") == 0 && rest) {
			argv[argc++] = rest;
			break;
		}
	}
	argv[argc] = NULL;
	if (argc == 0)
		return 0;

	if (demo_running()) {
		demo_report = (struct text){};
		demo_stop(&demo_report);
	}
	c = find_command(argv[0]);
	if (!c) {
		text_add(out, "no such command, try help");
		return -ENOSYS;
	}
	if (argc - 1 < c->min_args || argc - 1 > c->max_args) {
		text_add(out, "usage: %s %s", c->name, c->usage);
		return -EINVAL;
	}
	return c->run(argc, argv, out);
}

static void answer(int fd, char *line)
{
	static struct text out, reply;
	int rc;

	out = reply = (struct text){};
	rc = run_line(line, &out);
	if (rc < 0)
		text_add(&reply, "error %s%s%s\n", strerror(-rc), out.len ? ": " : "", out.buf);
	else
		text_add(&reply, "ok%s%s\n", out.len ? " " : "", out.buf);
	write_all(fd, reply.buf, reply.len);
}

static int open_channel(void)
{
	int fd = open(CHANNEL, O_RDWR | O_NOCTTY | O_CLOEXEC);
	struct termios t;

	if (fd < 0)
		return -errno;
	if (tcgetattr(fd, &t) == 0) {
		cfmakeraw(&t);
		t.c_cflag |= CLOCAL;
		cfsetspeed(&t, B115200);
		tcsetattr(fd, TCSAFLUSH, &t);
	}
	return fd;
}

static void serve(int fd)
{
	static char buf[4096];
	uint64_t next_frame = 0;
	size_t len = 0;

	for (;;) {
		struct pollfd pfd = { .fd = fd, .events = POLLIN };
		char *end;
		ssize_t n;

		if (demo_running()) {
			int left = next_frame > now_ns() ? (next_frame - now_ns()) / 1000000 : 0;

			if (poll(&pfd, 1, left) == 0) {
				next_frame = now_ns() + FRAME_NS;
				demo_step();
				continue;
			}
		}
		n = read(fd, buf + len, sizeof(buf) - 1 - len);
		if (n <= 0)
			continue;
		len += n;
		while ((end = memchr(buf, '\n', len))) {
			*end++ = '\0';
			answer(fd, buf);
			len -= end - buf;
			memmove(buf, end, len);
		}
		if (len == sizeof(buf) - 1)
			len = 0; /* a line too long is no command */
	}
}

static void set_up_system(void)
{
	mkdir("/dev", 0755);
	mkdir("/proc", 0755);
	mkdir("/sys", 0755);
	mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
	mount("proc", "/proc", "proc", 0, NULL);
	mount("sysfs", "/sys", "sysfs", 0, NULL);
	setenv("PATH", "/bin", 1);
	for (int fd = 0; fd <= 2; fd++) {
		int console = open("/dev/console", O_RDWR);

		if (console >= 0 && console != fd) {
			dup2(console, fd);
			close(console);
		}
	}
}

int main(void)
{
	static char cmdline[4096];
	static struct text hello;
	char uptime[64];
	int fd, rc = 0;

	set_up_system();
	read_small_file("/proc/cmdline", cmdline, sizeof(cmdline));
	fd = open_channel();
	if (fd < 0) {
		fprintf(stderr, "agent: %s: %s\n", CHANNEL, strerror(-fd));
		reboot(RB_POWER_OFF);
	}
	want_fbcon = strstr(cmdline, "vgpu.fbcon");
	if (!strstr(cmdline, "vgpu.autoload=0"))
		rc = load_modules(driver_for_display());
	if (rc < 0)
		fprintf(stderr, "agent: loading modules: %s\n", strerror(-rc));
	read_small_file("/proc/uptime", uptime, sizeof(uptime));
	text_add(&hello, "ready uptime=%.*s\n", (int)strcspn(uptime, " "), uptime);
	write_all(fd, hello.buf, hello.len);
	if (strstr(cmdline, "vgpu.demo"))
		demo_start(1024, 768);
	serve(fd);
}
