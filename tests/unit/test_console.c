/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The option, the address, the password file: what users get wrong, and what they are told. */
#include "console/console.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/text.h"
#include "console/listener.h"
#include "console/password.h"
#include "console/picture.h"
#include "unit.h"

static char dir[] = "/tmp/test-console-XXXXXX";
static struct scanout *so;
static uint8_t mem[4096];

/* prefix, then the path of `name` in our directory. */
static char *in_dir(const char *prefix, const char *name)
{
	char *text;

	assert_true(asprintf(&text, "%s%s/%s", prefix, dir, name) > 0);
	return text;
}

/* That the option is refused with this errno and a sentence that says this. */
static void assert_refused(const char *spec, int err, const char *says)
{
	_cleanup_free_ char *error = NULL;
	struct console *console = (struct console *)&mem;

	assert_int_equal(console_open(spec, so, "test", &console, &error), err);
	assert_ptr_equal(console, &mem);
	assert_non_null(error);
	if (!strstr(error, says))
		fail_msg("'%s' gives: %s", spec, error);
}

static void malformed_options(void **state)
{
	assert_refused("", -EINVAL, "KIND=ADDRESS");
	assert_refused("vnc", -EINVAL, "for example vnc=127.0.0.1:5901");
	assert_refused("vnc=", -EINVAL, "KIND=ADDRESS");
	assert_refused("spice=1", -EINVAL, "the kinds are: vnc.");
	assert_refused("vnc=1,passwd=x", -EINVAL,
		       "no option 'passwd'; its options are: password-file.");
	assert_refused("vnc=1,password-file", -EINVAL, "KEY=VALUE");
	assert_refused("vnc=1,=x", -EINVAL, "KEY=VALUE");
	assert_refused("vnc=1,,x=y", -EINVAL, "'1,x=y' is no address");
	assert_refused("vnc=,password-file=a", -EINVAL, "KIND=ADDRESS");
	assert_refused("vnc=1,password-file=a,password-file=b", -EINVAL, "twice");
	assert_refused("vnc=host.example:1", -EINVAL, "'host.example:1' is no address");
	assert_refused("vnc=65536", -EINVAL, "no address");
	assert_refused("vnc=127.0.0.1:-1", -EINVAL, "no address");
	assert_refused("vnc=127.0.0.1:", -EINVAL, "no address");
	assert_refused("vnc=:5900", -EINVAL, "no address");
	assert_refused("vnc=::1:5900", -EINVAL, "no address");
	assert_refused("vnc=[::1:5900", -EINVAL, "no address");
	assert_refused("vnc=[]:5900", -EINVAL, "no address");
	assert_refused("vnc=unix:", -EINVAL, "path of a socket");
	assert_refused("vnc=unix:/0123456789012345678901234567890123456789012345678901234567890123"
		       "4567890123456789012345678901234567890123456789",
		       -EINVAL, "shorter");
	assert_refused("vnc=unix:/nonexistent/socket", -ENOENT, "/nonexistent/socket");
}

static void a_comma_in_a_value_is_written_twice(void **state)
{
	_cleanup_free_ char *spec = in_dir("vnc=unix:", "a,,b,"), *path = in_dir("", "a,b");
	_cleanup_free_ char *error = NULL;
	struct console *console;
	struct stat st;

	if (console_open(spec, so, "test", &console, &error) < 0)
		fail_msg("%s", error);
	assert_int_equal(stat(path, &st), 0);
	console_close(console);
	assert_refused("vnc=1,password-file=/nonexistent/a,,b", -ENOENT, "/nonexistent/a,b");
}

static void address_forms(void **state)
{
	static const struct {
		const char *text, *means;
		bool local;
	} forms[] = {
		{ "5901", "127.0.0.1:5901", true },
		{ "localhost:1", "127.0.0.1:1", true },
		{ "127.1.2.3:65535", "127.1.2.3:65535", true },
		{ "0.0.0.0:5900", "0.0.0.0:5900", false },
		{ "192.0.2.1:5900", "192.0.2.1:5900", false },
		{ "[::1]:5900", "[::1]:5900", true },
		{ "[::]:5900", "[::]:5900", false },
		{ "[::ffff:127.0.0.1]:5900", "[::ffff:127.0.0.1]:5900", true },
		{ "[::ffff:192.0.2.1]:5900", "[::ffff:192.0.2.1]:5900", false },
		{ "[2001:db8::1]:5900", "[2001:db8::1]:5900", false },
		{ "unix:/run/vm1.vnc", "unix:/run/vm1.vnc", true },
		{ "unix:relative:5900", "unix:relative:5900", true },
	};

	for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
		_cleanup_free_ char *error = NULL, *text = NULL;
		struct address address;

		assert_int_equal(address_parse(forms[i].text, &address, &error), 0);
		text = address_format(&address);
		assert_string_equal(text, forms[i].means);
		assert_int_equal(address_is_local(&address), forms[i].local);
	}
}

static void beyond_loopback_needs_a_password(void **state)
{
	assert_refused("vnc=0.0.0.0:5900", -EINVAL, "password-file=FILE");
	assert_refused("vnc=[::]:5900", -EINVAL, "tunnel");
	assert_refused("vnc=192.0.2.1:5900", -EINVAL, "192.0.2.1:5900");
}

static void write_file(const char *path, const char *text, mode_t mode)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void password_files(void **state)
{
	_cleanup_free_ char *path = in_dir("", "password"), *error = NULL;
	char password[PASSWORD_MAX + 1];

	write_file(path, "secret\r\nmore\n", 0640);
	assert_int_equal(password_read(path, password, &error), 0);
	assert_string_equal(password, "secret");
	write_file(path, "123456789", 0600);
	assert_int_equal(password_read(path, password, &error), 0); /* and warns */
	assert_string_equal(password, "12345678");
	assert_null(error);

	write_file(path, "\nsecret\n", 0600);
	assert_int_equal(password_read(path, password, &error), -EINVAL);
	assert_non_null(strstr(error, "empty"));
	free(STEAL_PTR(error));
	write_file(path, "secret\n", 0604);
	assert_int_equal(password_read(path, password, &error), -EPERM);
	assert_non_null(strstr(error, "chmod o="));
	free(STEAL_PTR(error));
	assert_int_equal(password_read(dir, password, &error), -EINVAL);
	assert_non_null(strstr(error, "not a file"));
	free(STEAL_PTR(error));
	unlink(path);
	assert_int_equal(password_read(path, password, &error), -ENOENT);
	assert_non_null(strstr(error, path));
	assert_string_equal(password, "12345678");
}

static void sockets_are_private_and_tidied(void **state)
{
	_cleanup_free_ char *path = in_dir("", "vnc"), *spec = in_dir("vnc=unix:", "vnc");
	_cleanup_free_ char *error = NULL;
	struct console *console;
	struct stat st;

	assert_int_equal(console_open(spec, so, "test", &console, &error), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode, S_IFSOCK | 0600);
	assert_refused(spec, -EADDRINUSE, "somebody serves");
	console_close(console);
	assert_int_equal(stat(path, &st), -1);

	/* Somebody put something else there meanwhile: that is not ours to remove. */
	assert_int_equal(console_open(spec, so, "test", &console, &error), 0);
	assert_int_equal(unlink(path), 0);
	write_file(path, "precious", 0600);
	console_close(console);
	assert_int_equal(stat(path, &st), 0);
	assert_refused(spec, -EEXIST, "not a socket");
	assert_int_equal(stat(path, &st), 0);
	unlink(path);
}

static void stale_sockets_are_replaced(void **state)
{
	_cleanup_free_ char *path = in_dir("", "stale"), *spec = in_dir("vnc=unix:", "stale");
	_cleanup_free_ char *error = NULL;
	struct sockaddr_un un = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct console *console;

	strcpy(un.sun_path, path);
	assert_int_equal(bind(fd, (struct sockaddr *)&un, sizeof(un)), 0);
	close(fd); /* as a process that was killed does */
	assert_int_equal(console_open(spec, so, "test", &console, &error), 0);
	console_close(console);
}

static void taken_ports_are_told(void **state)
{
	_cleanup_free_ char *error = NULL, *spec = NULL;
	struct console *console;
	json_t *description;

	assert_int_equal(console_open("vnc=0", so, "test", &console, &error), 0);
	description = console_describe(console);
	assert_string_equal(json_string_value(json_object_get(description, "kind")), "vnc");
	assert_int_equal(json_integer_value(json_object_get(description, "viewers")), 0);
	assert_true(json_is_false(json_object_get(description, "password")));
	assert_true(asprintf(&spec, "vnc=%s",
			     json_string_value(json_object_get(description, "address"))) > 0);
	json_decref(description);
	assert_refused(spec, -EADDRINUSE, "Cannot listen on 127.0.0.1:");
	console_close(console);
}

static void addresses_that_are_no_utf8_are_described(void **state)
{
	_cleanup_free_ char *spec = in_dir("vnc=unix:", "caf\xe9"), *error = NULL;
	_cleanup_free_ char *expected = in_dir("unix:", "caf?");
	struct console *console;
	json_t *description;

	assert_int_equal(console_open(spec, so, "test", &console, &error), 0);
	assert_int_equal(console_start(console, &error), 0);
	description = console_describe(console);
	assert_non_null(description);
	assert_string_equal(json_string_value(json_object_get(description, "address")), expected);
	json_decref(description);
	console_close(console);
}

struct look {
	struct reader reader;
	int wake_fd;
	uint32_t pixels[32 * 32];
};

static void look_begin(struct look *look, struct picture *picture)
{
	look->wake_fd = eventfd(0, EFD_CLOEXEC);
	memset(look->pixels, 0, sizeof(look->pixels));
	assert_int_equal(reader_attach(picture, &look->reader, look->wake_fd), 0);
}

static void look_end(struct look *look)
{
	reader_detach(&look->reader);
	close(look->wake_fd);
}

static bool look_take(struct look *look)
{
	pixman_region32_t region;
	bool any;

	pixman_region32_init(&region);
	any = reader_take(&look->reader, look->pixels, 32, 32, &region);
	pixman_region32_fini(&region);
	return any;
}

/* Takes what there is and what comes, until all is of this colour. */
static void look_wait(struct look *look, uint32_t rgb)
{
	eventfd_t ignored;

	while (look->pixels[0] != rgb)
		if (!look_take(look))
			eventfd_read(look->wake_fd, &ignored);
	assert_int_equal(look->pixels[ARRAY_SIZE(look->pixels) - 1], rgb);
}

/* Stores as a guest does, while the scan thread reads. */
static __attribute__((no_sanitize("thread"))) void fill_screen(uint8_t v)
{
	for (size_t i = 0; i < sizeof(mem); i++)
		((volatile uint8_t *)mem)[i] = v;
}

static void nobody_is_shown_the_last_tenant(void **state)
{
	const struct scanout_mode mode = { 32, 32, 128, SCANOUT_XRGB8888, 0 };
	struct picture picture;
	struct look first, second;

	fill_screen(0x11);
	assert_int_equal(scanout_set(so, SCANOUT_ON, &mode), 0);
	picture_init(&picture, so, 64, 64);
	look_begin(&first, &picture);
	look_wait(&first, 0xff111111);

	/* A tenant leaves, and the scan thread is late. */
	scanout_set_interval(so, 1000000, 1000000);
	usleep(1100000); /* the pass that this brought is over */
	fill_screen(0x22);
	scanout_forget(so);
	look_begin(&second, &picture);
	assert_true(!look_take(&second) || second.pixels[0] == 0xff222222);
	memset(first.pixels, 0, sizeof(first.pixels));
	reader_restart(&first.reader);
	assert_true(!look_take(&first) || first.pixels[0] == 0xff222222);

	scanout_set_interval(so, 1000, 1000);
	look_wait(&second, 0xff222222);
	look_wait(&first, 0xff222222);
	look_end(&first);
	look_end(&second);
	picture_done(&picture);
	scanout_set(so, SCANOUT_OFF, NULL);
}

static void help_names_what_is_taken(void **state)
{
	assert_non_null(strstr(console_help(), "vnc="));
	assert_non_null(strstr(console_help(), "password-file="));
	console_close(NULL);
}

static void kinds_are_listed(void **state)
{
	size_t i;

	for (i = 0; console_kind_name(i); i++) {
		_cleanup_free_ char *spec = text_format("%s=", console_kind_name(i));

		assert_non_null(strstr(console_help(), spec));
	}
	assert_true(i > 0);
	assert_string_equal(console_kind_name(0), "vnc");
	assert_null(console_kind_name(i + 1));
}

static int setup(void **state)
{
	so = scanout_new(mem, sizeof(mem));
	return so && mkdtemp(dir) ? 0 : -1;
}

static int teardown(void **state)
{
	scanout_free(so);
	return rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(malformed_options),
		cmocka_unit_test(a_comma_in_a_value_is_written_twice),
		cmocka_unit_test(address_forms),
		cmocka_unit_test(beyond_loopback_needs_a_password),
		cmocka_unit_test(password_files),
		cmocka_unit_test(sockets_are_private_and_tidied),
		cmocka_unit_test(stale_sockets_are_replaced),
		cmocka_unit_test(taken_ports_are_told),
		cmocka_unit_test(addresses_that_are_no_utf8_are_described),
		cmocka_unit_test(nobody_is_shown_the_last_tenant),
		cmocka_unit_test(help_names_what_is_taken),
		cmocka_unit_test(kinds_are_listed),
	};

	return cmocka_run_group_tests_name("console", tests, setup, teardown);
}
