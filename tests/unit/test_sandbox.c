/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Attempts to get out by a system call. Each is made by a process of its own, which
 * enters the real sandbox first; what is expected of it is its exit status, its
 * signal, and what it said. Linked with all of vgpud, whose filter this therefore
 * is, and without sanitizers: they need, and get, more than a vgpud does.
 */
#include "unit.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/log.h"
#include "base/text.h"
#include "base/thread.h"
#include "sandbox/layers.h"
#include "sandbox_child.h"

#if SANITIZED
#error "what is tested here is what a vgpud without sanitizers may do"
#endif

/* --- calls that end the process --- */

static pid_t parent;

#define ATTEMPT(name, number, ...)                                                                 \
	{                                                                                          \
		name, number,                                                                      \
		{                                                                                  \
			__VA_ARGS__                                                                \
		}                                                                                  \
	}
#define PARENT ((long)-4711) /* the process that runs the tests */

static const struct attempt {
	const char *name;
	long number;
	long args[6];
} attempts[] = {
	/* files */
	ATTEMPT("openat", SYS_openat, AT_FDCWD, (long)"/etc/passwd", O_RDONLY),
	ATTEMPT("openat2", SYS_openat2, AT_FDCWD, (long)"/", 0, 0),
	ATTEMPT("open_by_handle_at", SYS_open_by_handle_at, -1, 0, O_RDONLY),
	ATTEMPT("newfstatat", SYS_newfstatat, AT_FDCWD, (long)"/etc", 0, 0),
	ATTEMPT("statx", SYS_statx, AT_FDCWD, (long)"/etc", 0, 0, 0),
	ATTEMPT("unlinkat", SYS_unlinkat, AT_FDCWD, (long)"/tmp/x", AT_REMOVEDIR),
	ATTEMPT("renameat2", SYS_renameat2, AT_FDCWD, (long)"/a", AT_FDCWD, (long)"/b", 0),
	ATTEMPT("symlinkat", SYS_symlinkat, (long)"/etc", AT_FDCWD, (long)"/b"),
	ATTEMPT("linkat", SYS_linkat, AT_FDCWD, (long)"/a", AT_FDCWD, (long)"/b", 0),
	ATTEMPT("mkdirat", SYS_mkdirat, AT_FDCWD, (long)"/a", 0777),
	ATTEMPT("mknodat", SYS_mknodat, AT_FDCWD, (long)"/a", S_IFBLK | 0666, 0x801),
	ATTEMPT("getdents64", SYS_getdents64, 0, 0, 0),
	ATTEMPT("chdir", SYS_chdir, (long)"/"),
	ATTEMPT("fchdir", SYS_fchdir, 0),
	ATTEMPT("chroot", SYS_chroot, (long)"/"),
	ATTEMPT("mount", SYS_mount, 0, (long)"/", 0, 0x44000, 0),
	ATTEMPT("move_mount", SYS_move_mount, -1, (long)"", -1, (long)"", 0),
	ATTEMPT("pivot_root", SYS_pivot_root, (long)".", (long)"."),
	ATTEMPT("dup", SYS_dup, 0),
	ATTEMPT("ioctl", SYS_ioctl, 0, 0x5412 /* TIOCSTI */, (long)"x"),
	/* programs and processes */
	ATTEMPT("execve", SYS_execve, (long)"/bin/sh", 0, 0),
	ATTEMPT("execveat", SYS_execveat, -1, (long)"", 0, 0, AT_EMPTY_PATH),
	ATTEMPT("clone", SYS_clone, SIGCHLD, 0, 0, 0, 0),
	ATTEMPT("clone", SYS_clone, CLONE_NEWUSER | SIGCHLD, 0, 0, 0, 0),
	ATTEMPT("ptrace", SYS_ptrace, 16 /* PTRACE_ATTACH */, PARENT, 0, 0),
	ATTEMPT("process_vm_readv", SYS_process_vm_readv, PARENT, 0, 0, 0, 0, 0),
	ATTEMPT("process_vm_writev", SYS_process_vm_writev, PARENT, 0, 0, 0, 0, 0),
	ATTEMPT("pidfd_open", SYS_pidfd_open, PARENT, 0),
	ATTEMPT("pidfd_getfd", SYS_pidfd_getfd, 0, 0, 0),
	ATTEMPT("kcmp", SYS_kcmp, PARENT, PARENT, 0, 0, 0),
	ATTEMPT("kill", SYS_kill, PARENT, 0),
	ATTEMPT("kill", SYS_kill, -1, 0),
	ATTEMPT("tkill", SYS_tkill, PARENT, 0),
	ATTEMPT("tgkill", SYS_tgkill, PARENT, PARENT, 0),
	ATTEMPT("rt_sigqueueinfo", SYS_rt_sigqueueinfo, PARENT, 0, 0),
	ATTEMPT("fcntl", SYS_fcntl, 0, F_SETOWN, PARENT),
	ATTEMPT("prlimit64", SYS_prlimit64, PARENT, 0, (long)"rlimits.........", 0),
	/* rights */
	ATTEMPT("unshare", SYS_unshare, CLONE_NEWUSER),
	ATTEMPT("setns", SYS_setns, 0, 0),
	ATTEMPT("setuid", SYS_setuid, 0),
	ATTEMPT("setresuid", SYS_setresuid, 0, 0, 0),
	ATTEMPT("setgroups", SYS_setgroups, 0, 0),
	ATTEMPT("capset", SYS_capset, 0, 0),
	ATTEMPT("prctl", SYS_prctl, PR_SET_DUMPABLE, 1),
	ATTEMPT("prctl", SYS_prctl, PR_SET_PTRACER, -1),
	ATTEMPT("seccomp", SYS_seccomp, 0, 0, 0),
	ATTEMPT("rt_sigaction", SYS_rt_sigaction, SIGSYS, 0, 0, 8),
	ATTEMPT("personality", SYS_personality, 0x0040000 /* ADDR_NO_RANDOMIZE */),
	/* code */
	ATTEMPT("mmap", SYS_mmap, 0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1),
	ATTEMPT("mmap", SYS_mmap, 0, 4096, PROT_READ | PROT_WRITE | PROT_EXEC,
		MAP_PRIVATE | MAP_ANONYMOUS, -1),
	ATTEMPT("pkey_mprotect", SYS_pkey_mprotect, 0, 0, PROT_EXEC, -1),
	ATTEMPT("remap_file_pages", SYS_remap_file_pages, 0, 0, 0, 0, 0),
	/* the network */
	ATTEMPT("socket", SYS_socket, AF_INET, SOCK_STREAM, 0),
	ATTEMPT("socket", SYS_socket, AF_UNIX, SOCK_STREAM, 0),
	ATTEMPT("socket", SYS_socket, AF_NETLINK, SOCK_RAW, 0),
	ATTEMPT("connect", SYS_connect, 0, 0, 0),
	ATTEMPT("bind", SYS_bind, 0, 0, 0),
	ATTEMPT("listen", SYS_listen, 0, 0),
	ATTEMPT("sendto", SYS_sendto, 0, (long)"x", 1, 0, (long)"address.........", 16),
	ATTEMPT("sendto", SYS_sendto, 0, (long)"x", 1, 0, 1L << 32, 0),
	ATTEMPT("sendmsg", SYS_sendmsg, 0, 0, MSG_FASTOPEN | MSG_NOSIGNAL | MSG_DONTWAIT),
	ATTEMPT("sendmmsg", SYS_sendmmsg, 0, 0, 0, 0),
	ATTEMPT("setsockopt", SYS_setsockopt, 0, SOL_SOCKET, SO_ATTACH_FILTER, 0, 0),
	/* the kernel's wider surface */
	ATTEMPT("io_uring_setup", SYS_io_uring_setup, 1, 0),
	ATTEMPT("io_uring_enter", SYS_io_uring_enter, 0, 0, 0, 0, 0, 0),
	ATTEMPT("bpf", SYS_bpf, 0, 0, 0),
	ATTEMPT("perf_event_open", SYS_perf_event_open, 0, 0, 0, 0, 0),
	ATTEMPT("userfaultfd", SYS_userfaultfd, 0),
	ATTEMPT("keyctl", SYS_keyctl, 0, 0, 0, 0, 0),
	ATTEMPT("add_key", SYS_add_key, 0, 0, 0, 0, 0),
	ATTEMPT("init_module", SYS_init_module, 0, 0, 0),
	ATTEMPT("kexec_load", SYS_kexec_load, 0, 0, 0, 0),
	ATTEMPT("reboot", SYS_reboot, 0, 0, 0, 0),
	ATTEMPT("shmget", SYS_shmget, 0, 4096, 0600),
	ATTEMPT("msgget", SYS_msgget, 0, 0600),
	ATTEMPT("fanotify_init", SYS_fanotify_init, 0, 0),
	ATTEMPT("inotify_init1", SYS_inotify_init1, 0),
	ATTEMPT("vmsplice", SYS_vmsplice, 0, 0, 0, 0),
	ATTEMPT("splice", SYS_splice, 0, 0, 0, 0, 0, 0),
};

static int make(const void *arg)
{
	const struct attempt *attempt = arg;
	long args[6];

	for (int i = 0; i < 6; i++)
		args[i] = attempt->args[i] == PARENT ? parent : attempt->args[i];
	enter(SANDBOX_AUTO, SECCOMP_KILL);
	syscall(attempt->number, args[0], args[1], args[2], args[3], args[4], args[5]);
	return 0;
}

static void assert_named(const struct outcome *outcome, const char *name)
{
	_cleanup_free_ char *wanted = text_format("the system call %s (", name);

	if (!WIFSIGNALED(outcome->status) || WTERMSIG(outcome->status) != SIGSYS)
		fail_msg("%s: status %x, '%s'", name, outcome->status, outcome->said);
	if (!strstr(outcome->said, wanted))
		fail_msg("%s is not named: '%s'", name, outcome->said);
}

static void forbidden_calls_end_the_process_and_are_named(void **state)
{
	struct outcome outcome;

	for (size_t i = 0; i < ARRAY_SIZE(attempts); i++) {
		in_child(make, &attempts[i], &outcome);
		assert_named(&outcome, attempts[i].name);
	}
}

static int open_a_file(const void *arg)
{
	enter(SANDBOX_AUTO, SECCOMP_KILL);
	return open("/etc/shadow", O_RDONLY) < 0 ? 1 : 0;
}

static void what_was_to_be_opened_is_said(void **state)
{
	struct outcome outcome;

	in_child(open_a_file, NULL, &outcome);
	assert_named(&outcome, "openat");
	assert_non_null(strstr(outcome.said, " of /etc/shadow is none"));
}

static int make_memory_executable(const void *arg)
{
	void *memory = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	enter(SANDBOX_AUTO, SECCOMP_KILL);
	return mprotect(memory, 4096, PROT_READ | PROT_EXEC);
}

static void memory_never_becomes_code(void **state)
{
	struct outcome outcome;

	in_child(make_memory_executable, NULL, &outcome);
	assert_named(&outcome, "mprotect");
}

static int attempt_with_sigsys_blocked(const void *arg)
{
	sigset_t set;

	enter(SANDBOX_AUTO, SECCOMP_KILL);
	sigfillset(&set);
	sigprocmask(SIG_BLOCK, &set, NULL);
	syscall(SYS_execve, "/bin/sh", NULL, NULL);
	return 0;
}

static void a_blocked_signal_saves_nobody(void **state)
{
	struct outcome outcome;

	in_child(attempt_with_sigsys_blocked, NULL, &outcome);
	assert_true(WIFSIGNALED(outcome.status) && WTERMSIG(outcome.status) == SIGSYS);
}

static void *attempt_thread(void *arg)
{
	syscall(SYS_socket, AF_INET, SOCK_STREAM, 0);
	_exit(0);
}

static int attempt_in_a_thread(const void *arg)
{
	pthread_t thread = 0;

	enter(SANDBOX_AUTO, SECCOMP_KILL);
	if (thread_start(&thread, "attempt", attempt_thread, NULL) < 0)
		return 1;
	pthread_join(thread, NULL);
	return 0;
}

static void threads_are_in_it_too(void **state)
{
	struct outcome outcome;

	in_child(attempt_in_a_thread, NULL, &outcome);
	assert_named(&outcome, "socket");
}

#if defined(__x86_64__)
static void *call_by_another_name(void *arg)
{
	const long x32 = 0x40000000;

	syscall(x32 | SYS_getpid);
	return NULL;
}

static int call_as_another_architecture(const void *arg)
{
	pthread_t thread = 0;

	enter(SANDBOX_AUTO, SECCOMP_KILL);
	if (thread_start(&thread, "attempt", call_by_another_name, NULL) < 0)
		return 1;
	pthread_join(thread, NULL);
	return 0;
}

/* Not the thread alone, which would leave its locks to the others. */
static void another_architectures_calls_end_the_process(void **state)
{
	struct outcome outcome;

	in_child(call_as_another_architecture, NULL, &outcome);
	assert_true(WIFSIGNALED(outcome.status) && WTERMSIG(outcome.status) == SIGSYS);
}
#endif

/* A socket that listens can be shut down, and then connect, if that is asked of sendto(). */
static int connect_a_listener(const void *arg)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (bind(fd, (struct sockaddr *)&in, sizeof(in)) < 0 || listen(fd, 1) < 0)
		return 1;
	enter(SANDBOX_AUTO, SECCOMP_KILL);
	shutdown(fd, SHUT_RDWR);
	return sendto(fd, "x", 1, MSG_FASTOPEN, arg, sizeof(in)) < 0 ? 2 : 0;
}

static void a_listener_does_not_become_a_client(void **state)
{
	struct sockaddr_in in = { .sin_family = AF_INET,
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	socklen_t length = sizeof(in);
	struct outcome outcome;

	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(listen(fd, 1), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &length), 0);
	in_child(connect_a_listener, &in, &outcome);
	assert_named(&outcome, "sendto");
	close(fd);
}

/* --- the other actions --- */

static int make_a_socket(const void *arg)
{
	enter(SANDBOX_AUTO, *(const enum seccomp_mode *)arg);
	return socket(AF_UNIX, SOCK_STREAM, 0) < 0;
}

static void log_lets_it_pass(void **state)
{
	const enum seccomp_mode mode = SECCOMP_LOG;
	struct outcome outcome;

	in_child(make_a_socket, &mode, &outcome);
	assert_int_equal(outcome.status, 0);
	assert_null(strstr(outcome.said, "the system call"));
}

static void trap_ends_it_too(void **state)
{
	const enum seccomp_mode mode = SECCOMP_TRAP;
	struct outcome outcome;

	in_child(make_a_socket, &mode, &outcome);
	assert_named(&outcome, "socket");
}

/* --- what still works --- */

static void *name_thread(void *arg)
{
	prctl(PR_GET_NAME, arg);
	return malloc(1 << 20);
}

static int do_what_a_vgpud_does(const void *arg)
{
	char name[16] = "", own[16] = "";
	pthread_t thread = 0;
	void *memory;

	enter(SANDBOX_AUTO, SECCOMP_KILL);
	if (thread_start(&thread, "worker", name_thread, name) < 0)
		return 1;
	pthread_join(thread, &memory);
	free(memory);
	prctl(PR_GET_NAME, own);
	if (strcmp(name, "worker") || !strcmp(own, "worker"))
		return 2;
	if (syscall(SYS_clone3, NULL, 0) != -1 || errno != ENOSYS)
		return 3;
	if (syscall(SYS_tgkill, getpid(), gettid(), 0) < 0)
		return 4;
	/* libc looks into these on its own, and does without. */
	if (open("/proc/sys/vm/overcommit_memory", O_RDONLY) != -1 || errno != ENOENT)
		return 5;
	if (prctl(PR_GET_NAME, own) < 0 || mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
						MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED)
		return 6;
	log_error("still here");
	return 42;
}

static void what_is_needed_works(void **state)
{
	struct outcome outcome;

	in_child(do_what_a_vgpud_does, NULL, &outcome);
	if (!WIFEXITED(outcome.status) || WEXITSTATUS(outcome.status) != 42)
		fail_msg("status %x, '%s'", outcome.status, outcome.said);
	assert_non_null(strstr(outcome.said, "still here"));
}

static int abort_in_it(const void *arg)
{
	enter(SANDBOX_AUTO, SECCOMP_KILL);
	abort();
}

static void an_abort_is_an_abort(void **state)
{
	struct outcome outcome;

	in_child(abort_in_it, NULL, &outcome);
	assert_true(WIFSIGNALED(outcome.status) && WTERMSIG(outcome.status) == SIGABRT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(forbidden_calls_end_the_process_and_are_named),
		cmocka_unit_test(what_was_to_be_opened_is_said),
		cmocka_unit_test(memory_never_becomes_code),
		cmocka_unit_test(a_blocked_signal_saves_nobody),
		cmocka_unit_test(threads_are_in_it_too),
#if defined(__x86_64__)
		cmocka_unit_test(another_architectures_calls_end_the_process),
#endif
		cmocka_unit_test(a_listener_does_not_become_a_client),
		cmocka_unit_test(log_lets_it_pass),
		cmocka_unit_test(trap_ends_it_too),
		cmocka_unit_test(what_is_needed_works),
		cmocka_unit_test(an_abort_is_an_abort),
	};

	parent = getpid();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
