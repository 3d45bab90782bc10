"""Our daemon as a process: any command line, its log, how it ends."""
import json
import os
import pathlib
import signal
import socket
import subprocess
import time

from . import place


def environment(**more):
    """For our programs: nothing of the systemd that may have started the tests reaches them."""
    own = {k: v for k, v in os.environ.items()
           if k not in ('NOTIFY_SOCKET', 'LISTEN_FDS', 'LISTEN_PID', 'LISTEN_FDNAMES', 'JOURNAL_STREAM')}
    return dict(own, **{k: str(v) for k, v in more.items()})


class Daemon:
    """One vgpud, from construction to stop(). sockets is the directory of its default control socket."""

    def __init__(self, log, arguments, sockets, environ=None, prefix=(), **popen):
        """environ and popen: more of the environment, more for subprocess.Popen; prefix: what becomes vgpud."""
        self.sockets = pathlib.Path(sockets)
        self._log = pathlib.Path(log)
        self.environment = environment(**{'VGPUD_RUNTIME_DIR': self.sockets, **(environ or {})})
        command = [*prefix, place.program('vgpud'), *map(str, arguments)]
        with open(self._log, 'ab') as out:
            out.write(' '.join(map(str, command)).encode(errors='backslashreplace') + b'\n')
            out.flush()
            self._start = out.tell()
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                                            env=self.environment, **popen)

    @property
    def pid(self):
        return self.process.pid

    def is_running(self):
        return self.process.poll() is None

    def log(self):
        """What it has said so far."""
        return self._log.read_bytes()[self._start:].decode(errors='replace')

    def wait(self, condition, what, timeout=10):
        deadline = time.monotonic() + timeout
        while not condition():
            assert self.is_running(), f'vgpud ended with {self.process.returncode}: {self.log()[-2000:]}'
            assert time.monotonic() < deadline, f'vgpud: no {what} within {timeout} s; it said: {self.log()[-2000:]}'
            time.sleep(0.02)

    def wait_for_log(self, text, timeout=10):
        self.wait(lambda: text in self.log(), f'line with {text!r}', timeout)

    def ctl(self, *words, status=0):
        """Runs vgpuctl in this daemon's world and returns what it prints."""
        done = subprocess.run(self.ctl_command(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=40, check=False, env=self.environment)
        assert done.returncode == status, \
            f'vgpuctl {words[0]} ended with {done.returncode}: {done.stderr.strip() or done.stdout.strip()}'
        return done.stdout

    def ctl_command(self, *words):
        """What runs vgpuctl; it wants self.environment."""
        return [place.program('vgpuctl'), *map(str, words)]

    def show(self, name):
        return json.loads(self.ctl('show', name, '--json'))

    def cost(self):
        """CPU time in clock ticks and sleeps of all threads so far: what does not move when nothing is done."""
        ticks = sleeps = 0
        for task in pathlib.Path(f'/proc/{self.pid}/task').iterdir():
            fields = (task / 'stat').read_text().rpartition(')')[2].split()
            ticks += int(fields[11]) + int(fields[12])
            status = (task / 'status').read_text()
            sleeps += int(status.partition('\nvoluntary_ctxt_switches:')[2].split()[0])
        return ticks, sleeps

    def ends(self, timeout=10):
        """Waits for its end and returns its exit status."""
        return self.process.wait(timeout)

    def stop(self, with_signal=signal.SIGTERM, timeout=10):
        """Asks it to end, which must succeed: what a sanitizer found on the way shows here."""
        if self.is_running():
            self.process.send_signal(with_signal)
        try:
            code = self.ends(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            code = 'nothing: it had to be killed'
        assert code == 0, f'vgpud ended with {code}: {self.log()[-2000:]}'

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind and self.is_running():
            self.process.kill()  # what went wrong first is what counts
            self.process.wait(10)
        else:
            self.stop()


def refuses(arguments, **popen):
    """Runs a vgpud that must not start: its exit status and what it said."""
    done = subprocess.run([place.program('vgpud'), *map(str, arguments)], stdin=subprocess.DEVNULL,
                          capture_output=True, timeout=20, check=False, env=environment(), **popen)
    return done.returncode, done.stderr.decode(errors='backslashreplace')


def is_listening(path):
    """Whether a process listens on a socket. It does not notice the question."""
    accepting = 0x10000  # __SO_ACCEPTCON
    for line in pathlib.Path('/proc/net/unix').read_text(errors='replace').splitlines()[1:]:
        fields = line.split(maxsplit=7)
        if len(fields) == 8 and fields[7] == os.fspath(path) and int(fields[3], 16) & accepting:
            return True
    return False


def answers(path):
    """Whether somebody accepts connections on a socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
    return True
