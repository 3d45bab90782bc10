/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How many system calls and allocations a trapped access takes: counted on a
 * real vgpud, the calls by tracing it, the allocations by a library that is
 * preloaded.
 *
 * A server that polls asks again and again whether something has come. That is
 * the price of waiting, not of the access, so what is called from a receive that
 * found nothing until one that found something is not counted.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/ptrace.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "alloc_count.h"
#include "base/cleanup.h"
#include "base/text.h"
#include "bench.h"
#include "client.h"
#include "daemon.h"

enum {
	WARM_UP = 100,
	QUIET_MS = 100, /* after which all is at rest */
};

/* Shared by client and tracer: accesses are being made that count. */
static atomic_bool *counting;

/* --- the client, a process of its own --- */

static void access_device(struct client *client, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		client_read32(client, VFIO_PCI_BAR2_REGION_INDEX, BOCHS_REGISTER);
}

/* Tells the tracer by `counting` which accesses are to be counted. */
static pid_t start_client(const char *socket, unsigned int accesses)
{
	pid_t pid = fork();
	struct client client;

	if (pid < 0)
		bench_die("fork");
	if (pid)
		return pid;
	client_connect(&client, socket, false);
	access_device(&client, WARM_UP);
	bench_sleep_ms(QUIET_MS);
	atomic_store(counting, true);
	access_device(&client, accesses);
	bench_sleep_ms(QUIET_MS);
	atomic_store(counting, false);
	bench_sleep_ms(QUIET_MS); /* what is being counted ends */
	_exit(0);
}

/* --- the tracer --- */

enum { MAX_THREADS = 64 };

struct tracer {
	pid_t client;
	/* The call that each thread is in, since the end of a call does not name it. */
	struct thread {
		pid_t tid;
		uint64_t nr;
		bool waiting; /* nothing has come */
	} threads[MAX_THREADS];
	unsigned int n_threads;
	uint64_t calls;
};

/* <sys/ptrace.h> does not get along with <linux/ptrace.h>, and names things by glibc's version. */
static long trace(int request, pid_t tid, uintptr_t addr, void *data)
{
	return syscall(SYS_ptrace, request, tid, addr, data);
}

static void trace_thread(struct tracer *tracer, pid_t tid)
{
	if (tracer->n_threads == MAX_THREADS) {
		errno = E2BIG;
		bench_die("the threads of vgpud");
	}
	if (trace(PTRACE_SEIZE, tid, 0, (void *)PTRACE_O_TRACESYSGOOD) < 0 ||
	    trace(PTRACE_INTERRUPT, tid, 0, NULL) < 0)
		bench_die("ptrace");
	tracer->threads[tracer->n_threads++].tid = tid;
}

static void trace_process(struct tracer *tracer, pid_t pid)
{
	_cleanup_free_ char *path = text_format("/proc/%d/task", pid);
	DIR *dir = opendir(path);
	struct dirent *entry;

	if (!dir)
		bench_die(path);
	while ((entry = readdir(dir)))
		if (*entry->d_name != '.')
			trace_thread(tracer, (pid_t)strtol(entry->d_name, NULL, 10));
	closedir(dir);
}

static struct thread *thread_of(struct tracer *tracer, pid_t tid)
{
	for (unsigned int i = 0; i < tracer->n_threads; i++)
		if (tracer->threads[i].tid == tid)
			return &tracer->threads[i];
	return NULL;
}

static bool receives(uint64_t nr)
{
	return nr == SYS_recvmsg || nr == SYS_recvfrom || nr == SYS_read;
}

/* At its end: the receive that waited for the first access belongs to that. */
static void count_call(struct tracer *tracer, struct thread *thread)
{
	struct ptrace_syscall_info info;

	if (trace(PTRACE_GET_SYSCALL_INFO, thread->tid, sizeof(info), &info) < 0)
		return;
	if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
		thread->nr = info.entry.nr;
	if (info.op != PTRACE_SYSCALL_INFO_EXIT)
		return;
	if (receives(thread->nr))
		thread->waiting = info.exit.rval == -EAGAIN;
	if (!thread->waiting && atomic_load(counting))
		tracer->calls++;
}

/* Lets every thread go on from one call to the next until the client has ended. */
static void trace_until_client_ends(struct tracer *tracer)
{
	int status;

	for (;;) {
		pid_t tid = waitpid(-1, &status, __WALL);
		struct thread *thread = tid < 0 ? NULL : thread_of(tracer, tid);

		if (tid < 0)
			bench_die("waitpid");
		if (tid == tracer->client) {
			if (!WIFEXITED(status) || WEXITSTATUS(status))
				exit(1);
			return;
		}
		if (!thread || !WIFSTOPPED(status))
			continue;
		if (WSTOPSIG(status) == (SIGTRAP | 0x80))
			count_call(tracer, thread);
		trace(PTRACE_SYSCALL, tid, 0, NULL);
	}
}

static void count_calls(const char *name, const char *polls)
{
	const struct daemon_options options = { .poll_us = polls, .cpu = -1 };
	unsigned int n = bench_count(2000, 200);
	struct tracer tracer = { 0 };
	struct daemon daemon;

	daemon_start(&daemon, &options);
	trace_process(&tracer, daemon.pid);
	tracer.client = start_client(daemon.socket, n);
	trace_until_client_ends(&tracer);
	daemon_kill(&daemon); /* a process that is traced does not end as others do */
	bench_report(&(struct bench_figure){
		.name = name,
		.unit = "calls",
		.measured = (double)tracer.calls / n,
		.floor_is = "one receive, one send",
		.floor = 2,
		.ratio = (double)tracer.calls / n / 2,
		.bar_is = BENCH_MEASURED_AT_MOST,
		.bar = 2,
	});
}

/* --- allocations --- */

static alloc_count_t *make_count(void)
{
	_cleanup_free_ char *path = bench_path("count");
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	void *p;

	if (fd < 0 || ftruncate(fd, sizeof(alloc_count_t)) < 0)
		bench_die(path);
	p = mmap(NULL, sizeof(alloc_count_t), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (p == MAP_FAILED)
		bench_die("mmap");
	close(fd);
	setenv(ALLOC_COUNT_FILE, path, 1);
	return p;
}

static void count_allocations(const char *name, const char *polls)
{
	_cleanup_free_ char *library = text_format("%s/bench/liballoc-count.so", bench_build());
	const struct daemon_options options = {
		.poll_us = polls,
		.cpu = -1,
		.preload = library,
	};
	unsigned int n = bench_count(10000, 1000);
	alloc_count_t *count = make_count();
	struct daemon daemon;
	struct client client;
	uint64_t before;

	daemon_start(&daemon, &options);
	client_connect(&client, daemon.socket, false);
	access_device(&client, WARM_UP);
	bench_sleep_ms(QUIET_MS);
	before = atomic_load(count);
	if (!before) {
		errno = ENOEXEC;
		bench_die("no allocation was counted before the first access");
	}
	access_device(&client, n);
	bench_report(&(struct bench_figure){
		.name = name,
		.unit = "allocations",
		.measured = (double)(atomic_load(count) - before) / n,
		.bar_is = BENCH_MEASURED_AT_MOST,
		.bar = 0,
	});
	client_close(&client);
	daemon_stop(&daemon);
}

int main(int argc, char **argv)
{
	bench_start(argc, argv, "trapped-calls");
	counting = mmap(NULL, sizeof(*counting), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			-1, 0);
	if (counting == MAP_FAILED)
		bench_die("mmap");
	count_calls("system calls, blocking", "0");
	count_calls("system calls, polling", "1000000");
	count_allocations("allocations, blocking", "0");
	count_allocations("allocations, polling", "1000000");
	return 0;
}
