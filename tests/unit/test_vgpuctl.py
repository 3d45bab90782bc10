#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs vgpuctl against control sockets of made-up vGPUs.

test_vgpuctl.py VGPUCTL CONTROL_FIXTURE [unittest's arguments]
"""

import json
import os
import shlex
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import time
import unittest

VGPUCTL, FIXTURE = (os.path.abspath(path) for path in sys.argv[1:3])
COMMANDS = ["list", "show", "screenshot", "hash", "reset", "events", "qemu-args", "doctor",
            "completion", "help", "version"]


class Case(unittest.TestCase):
    def setUp(self):
        self.dir = tempfile.mkdtemp(prefix="test-vgpuctl.")
        self.run_dir = os.path.join(self.dir, "run")
        os.mkdir(self.run_dir, 0o700)
        self.env = dict(os.environ, VGPUD_RUNTIME_DIR=self.run_dir, LC_ALL="C.UTF-8")
        self.servers = []

    def tearDown(self):
        statuses = []
        for server in self.servers:
            server.send_signal(signal.SIGTERM)
            statuses.append(server.wait(timeout=20))
            server.stdout.close()
        shutil.rmtree(self.dir)
        self.assertFalse(any(statuses), statuses)

    def path(self, name):
        return os.path.join(self.run_dir, name + ".ctl")

    def serve(self, name, path=None, **keys):
        args = [FIXTURE, path or self.path(name), name]
        args += [f"{key}={value}" for key, value in keys.items()]
        server = subprocess.Popen(args, stdout=subprocess.PIPE, text=True)
        self.assertEqual(server.stdout.readline(), "ready\n")
        self.servers.append(server)
        return server

    def stale(self, name):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(self.path(name))

    def ctl(self, *args, status=0, text=True, env=None, **more):
        done = subprocess.run([VGPUCTL, *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              text=text, cwd=self.dir, env=env or self.env, timeout=60, **more)
        self.assertEqual(done.returncode, status, (done.stdout, done.stderr))
        return done

    def json(self, *args, status=0):
        done = self.ctl(*args, "--json", status=status)
        self.assertEqual(done.stderr, "")
        answer = json.loads(done.stdout)
        self.assertEqual(answer["version"], 1)
        return answer

    def error(self, *args, status=1):
        """The message for people; --json says the same, with a code."""
        done = self.ctl(*args, status=status)
        self.assertEqual(done.stdout, "")
        answer = self.json(*args, status=status)
        self.assertEqual(done.stderr, f"vgpuctl: {answer['error']['message']}\n")
        return answer["error"]["code"], answer["error"]["message"]


class Usage(Case):
    def test_help_names_every_command(self):
        page = self.ctl("help").stdout
        self.assertEqual(page, self.ctl("--help").stdout)
        described = [c["name"] for c in self.json("help")["commands"]]
        self.assertEqual(described, COMMANDS)
        for command in COMMANDS:
            self.assertIn(f"\n  {command} ", page)
            own = self.ctl(command, "--help").stdout
            self.assertEqual(own, self.ctl("help", command).stdout)
            self.assertTrue(own.startswith(f"Usage: vgpuctl {command}"))
            self.assertIn("--json", own)
            self.assertTrue(max(map(len, own.splitlines())) < 80, own)

    def test_mistakes(self):
        for args in ([], ["nothing"], ["--nothing"], ["show", "--nothing"], ["show", "a", "b"],
                     ["show", ""], ["show", "a b"], ["show", "-x"], ["completion"],
                     ["help", "nothing"], ["list", "vm1"],
                     ["events", "--count=0"], ["events", "--count=-1"],
                     ["events", "--timeout=no"], ["events", "--timeout=nan"],
                     ["qemu-args", "--memory=1"], ["qemu-args", "--memory=0G"],
                     ["qemu-args", "--machine=q35 x"], ["screenshot", "vm1", "a", "b"]):
            with self.subTest(args):
                code, _ = self.error(*args, status=2)
                self.assertEqual(code, "usage")
        self.ctl("completion", "tcsh", status=2)
        self.json("completion", "bash", status=2)

    def test_version(self):
        self.assertTrue(self.ctl("version").stdout.startswith("vgpuctl "))
        self.assertEqual(self.ctl("--version").stdout, self.ctl("version").stdout)
        self.assertIn("vgpuctl", self.json("version"))

    def test_readers_that_leave(self):
        with open("/dev/full", "w") as full:
            done = subprocess.run([VGPUCTL, "help"], stdout=full, stderr=subprocess.PIPE, text=True)
        self.assertEqual(done.returncode, 1)
        self.assertIn("cannot write", done.stderr)
        reader, writer = os.pipe()
        os.close(reader)
        done = subprocess.run([VGPUCTL, "help"], stdout=writer, stderr=subprocess.PIPE, text=True)
        os.close(writer)
        self.assertEqual((done.returncode, done.stderr), (1, ""))

    def test_completion_scripts(self):
        for shell in ("bash", "zsh", "fish"):
            script = self.ctl("completion", shell).stdout
            for command in COMMANDS:
                self.assertIn(command, script)
            if shutil.which(shell):
                subprocess.run([shell, "-n"], input=script, text=True, check=True)

    def complete(self, *words):
        """What bash offers after these words of a command line."""
        line = " ".join(shlex.quote(word) for word in words)
        script = (self.ctl("completion", "bash").stdout +
                  f"compopt() {{ :; }}; COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _vgpuctl;"
                  "printf '%s\\n' \"${COMPREPLY[@]}\"")
        env = dict(self.env, PATH=os.path.dirname(VGPUCTL) + ":" + os.environ["PATH"])
        done = subprocess.run(["bash", "-c", script], stdout=subprocess.PIPE, text=True, check=True,
                              cwd=self.dir, env=env)
        return done.stdout.split()

    def test_bash_completes(self):
        self.stale("vm1")
        open(os.path.join(self.dir, "picture.png"), "w").close()
        self.assertEqual(self.complete("vgpuctl", ""), COMMANDS)
        self.assertEqual(self.complete("vgpuctl", "s"), ["show", "screenshot"])
        self.assertEqual(self.complete("vgpuctl", "--json", "sh"), ["show"])
        self.assertEqual(self.complete("vgpuctl", "show", ""), ["vm1"])
        self.assertEqual(self.complete("vgpuctl", "show", "--json", ""), ["vm1"])
        self.assertEqual(self.complete("vgpuctl", "show", "vm1", ""), [])
        self.assertEqual(self.complete("vgpuctl", "screenshot", "vm1", "pic"), ["picture.png"])
        self.assertEqual(self.complete("vgpuctl", "events", "--c"), ["--count="])
        self.assertEqual(self.complete("vgpuctl", "events", "--count", "=", "3", ""), ["vm1"])
        self.assertEqual(self.complete("vgpuctl", "doctor", "--qemu", "=", "pic"), ["picture.png"])
        self.assertEqual(self.complete("vgpuctl", "completion", ""), ["bash", "zsh", "fish"])
        self.assertEqual(self.complete("vgpuctl", "help", "ev"), ["events"])


class Choice(Case):
    def test_none_runs(self):
        self.stale("old")
        code, message = self.error("show")
        self.assertEqual(code, "no-vgpu")
        self.assertIn(self.run_dir, message)
        self.assertEqual(self.error("show", "vm9")[0], "no-vgpu")
        self.assertEqual(self.error("show", "old")[0], "stale")

    def test_one_runs(self):
        self.stale("old")
        self.serve("vm1")
        self.assertEqual(self.json("show")["name"], "vm1")

    def test_several_run(self):
        self.serve("vm1")
        self.serve("vm2")
        code, message = self.error("hash")
        self.assertEqual(code, "ambiguous")
        self.assertIn("vm1, vm2", message)
        self.assertEqual(self.json("show", "vm2")["name"], "vm2")

    def test_paths(self):
        path = os.path.join(self.dir, "elsewhere")
        self.serve("vm1", path=path, devices=2)
        self.assertEqual(self.json("show", path)["name"], "vm1")
        self.assertEqual(self.json("show", "./elsewhere")["name"], "vm1")
        shown = self.json("show", path + "/gpu1")["devices"]
        self.assertEqual([d["id"] for d in shown], ["gpu1"])
        self.assertEqual(self.error("show", path + "/gpu2")[0], "no-such-device")
        self.assertEqual(self.error("show", "/nonexistent/x")[0], "no-vgpu")
        open(os.path.join(self.dir, "file"), "w").close()
        self.assertEqual(self.error("show", "./file")[0], "not-a-socket")
        self.assertEqual(self.error("show", "/" + "x" * 200)[0], "path")

    def test_paths_that_are_not_utf8(self):
        path = os.path.join(self.dir, "r\udcfcn")
        self.serve("vm1", path=path)
        shown = os.path.join(self.dir, "r?n")
        self.assertEqual(self.json("show", path)["control"], shown)
        self.assertEqual(self.json("hash", path)["name"], shown)
        self.assertEqual(self.json("reset", path)["name"], shown)
        self.assertEqual(self.json("screenshot", path, "\udcfc.png")["file"], "?.png")
        self.assertTrue(os.path.exists(os.path.join(self.dir, "\udcfc.png")))
        self.assertEqual(self.json("reset", path + "/\udcfc", status=1)["error"]["code"],
                         "no-such-device")
        answer = self.json("show", path + "x", status=1)
        self.assertEqual(answer["error"]["code"], "no-vgpu")
        self.assertIn(shown + "x", answer["error"]["message"])

    def test_devices(self):
        self.serve("vm1", devices=2)
        self.assertEqual(self.json("hash", "vm1/gpu1")["device"], "gpu1")
        self.assertEqual(self.error("hash", "vm1/gpu7")[0], "no-such-device")
        self.assertEqual(self.error("show", "vm1/gpu7")[0], "no-such-device")
        self.assertEqual(self.error("reset", "vm1")[0], "ambiguous")
        self.assertEqual(self.json("reset", "vm1/gpu1")["device"], "gpu1")

    def test_something_else_answers(self):
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(self.path("vm1"))
            other.listen(1)
            for answer in (b"HTTP/1.1 400 Bad Request\r\n\r\n\0", b"[]\0", b'{"error":1}\0',
                           b'{"parameters":[]}\0', b'{"a":' + b"[" * 5000 + b"\0", b""):
                asking = subprocess.Popen([VGPUCTL, "show", "vm1", "--json"], env=self.env,
                                          stdout=subprocess.PIPE)
                client, _ = other.accept()
                client.recv(4096)
                client.sendall(answer)
                client.close()
                code = json.loads(asking.communicate(timeout=20)[0])["error"]["code"]
                self.assertEqual((asking.returncode, code),
                                 (1, "protocol" if answer else "closed"))


class List(Case):
    def test_table(self):
        self.serve("vm1", socket="/tmp/a.sock", pid=4242)
        self.serve("vm22", devices=2, size=0)
        self.stale("gone")
        lines = [line.split() for line in self.ctl("list").stdout.splitlines()]
        self.assertEqual(lines[0],
                         ["NAME", "MODEL", "CLIENT", "SCREEN", "VIEWERS", "PID", "SOCKET"])
        self.assertEqual(lines[1], ["gone", "-", "stale", "-", "-", "-", self.path("gone")])
        self.assertEqual(lines[2], ["vm1", "bochs-display", "pid", "4242", "64x48", "1",
                                    str(self.servers[0].pid), "/tmp/a.sock"])
        self.assertEqual([line[0] for line in lines[3:]], ["vm22/gpu0", "vm22/gpu1"])
        columns = {line.index("bochs") for line in self.ctl("list").stdout.splitlines()[2:]}
        self.assertEqual(len(columns), 1)

    def test_json(self):
        self.serve("vm1", devices=2)
        self.stale("gone")
        vgpus = self.json("list")["vgpus"]
        self.assertEqual([(v["name"], v["state"]) for v in vgpus],
                         [("gone", "stale"), ("vm1", "running")])
        self.assertEqual(len(vgpus[1]["devices"]), 2)
        self.assertEqual(vgpus[1]["control"], self.path("vm1"))

    def test_names(self):
        self.stale("b")
        self.stale("a")
        open(os.path.join(self.run_dir, "vm.sock"), "w").close()
        open(os.path.join(self.run_dir, ".ctl"), "w").close()
        self.assertEqual(self.ctl("list", "--names").stdout, "a\nb\n")
        self.assertEqual(self.json("list", "--names")["names"], ["a", "b"])

    def test_empty(self):
        self.assertEqual(self.ctl("list").stdout, "")
        self.assertEqual(self.json("list")["vgpus"], [])
        os.rmdir(self.run_dir)
        self.assertEqual(self.json("list")["vgpus"], [])

    def test_those_that_do_not_answer_take_two_seconds_together(self):
        for name in ("a", "b", "c"):
            self.serve(name, mute=1)
        self.serve("vm1")
        start = time.monotonic()
        vgpus = self.json("list")["vgpus"]
        self.assertLess(time.monotonic() - start, 4)
        self.assertEqual([v["state"] for v in vgpus], ["no answer"] * 3 + ["running"])
        self.assertEqual(self.json("show", "a", status=1)["error"]["code"], "timeout")


class Show(Case):
    def test_page(self):
        self.serve("vm1", socket="/tmp/a.sock")
        page = self.ctl("show").stdout
        for text in ("vm1: vgpud ", "gpu0: bochs-display", "/tmp/a.sock",
                     "none (3 connections so far)", "on, 64 x 48, 32 bpp, stride 256", "1 viewer",
                     "vnc 127.0.0.1:5901, with a password", "4 maps of 1 GiB, all of it shared",
                     "INTx, 1 of 1 enabled, triggered 5 times", "16 MiB", "rw mmap", "1200",
                     "4.7 KiB", "900 ns", "43 \u00b5s", "1.2 ms"):
            self.assertIn(text, page)

    def test_json_is_the_answer_as_it_came(self):
        self.serve("vm1", strange=1)
        answer = self.json("show")
        self.assertEqual(answer["devices"][0]["future"], {"x": 1})
        self.assertEqual(answer["pid"], self.servers[0].pid)

    def test_older_and_newer(self):
        for i, key in enumerate(("bare", "strange")):
            self.serve(f"vm{i}", **{key: 1})
            self.assertIn("gpu0", self.ctl("show", f"vm{i}").stdout)
            for command in ("list", "doctor", "qemu-args"):
                done = subprocess.run([VGPUCTL, command] + [f"vm{i}"] * (command != "list"),
                                      env=self.env, capture_output=True, text=True)
                self.assertIn(done.returncode, (0, 1), (command, done.stderr))

    def test_nothing_moves_the_cursor(self):
        self.serve("vm1", socket="/tmp/\x1b[2J\n\u009b1m\u00e9")
        for command in ("show", "list"):
            page = self.ctl(command).stdout
            self.assertIn("/tmp/?[2J???1m\u00e9", page)
            self.assertFalse([c for c in page if c != "\n" and (c < " " or "\x7f" <= c < "\xa0")])

    def test_ascii(self):
        self.serve("vm1", socket="/tmp/\u00e9")
        env = dict(self.env, LC_ALL="C")
        for command in ("show", "list"):
            self.assertTrue(self.ctl(command, env=env).stdout.isascii())
        self.assertTrue(self.ctl("doctor", env=env, status=1).stdout.isascii())
        self.assertIn("43 us", self.ctl("show", env=env).stdout)


class Screen(Case):
    def check_png(self, data):
        self.assertEqual(data[:16], b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR")
        self.assertEqual(struct.unpack(">II", data[16:24]), (64, 48))
        self.assertEqual(data[-8:-4], b"IEND")

    def read(self, name):
        with open(os.path.join(self.dir, name), "rb") as file:
            return file.read()

    def test_file(self):
        self.serve("vm1", devices=2)
        digits = self.ctl("hash").stdout.split()[0]
        self.assertRegex(digits, "^[0-9a-f]{16}$")
        line = self.ctl("screenshot").stdout
        self.check_png(self.read("vm1.png"))
        self.assertTrue(line.startswith("vm1.png: 64x48, "))
        self.assertIn(digits, line)
        self.ctl("screenshot", "vm1/gpu1")
        self.check_png(self.read("vm1-gpu1.png"))
        self.ctl("screenshot", self.path("vm1"), "other.png")
        self.check_png(self.read("other.png"))
        mask = os.umask(0)
        os.umask(mask)
        mode = stat.S_IMODE(os.stat(os.path.join(self.dir, "other.png")).st_mode)
        self.assertEqual(mode, 0o666 & ~mask)
        answer = self.json("screenshot", "vm1", "third.png")
        self.assertEqual((answer["file"], answer["hash"], answer["width"], answer["state"]),
                         ("third.png", digits, 64, "on"))
        self.assertEqual(answer["size"], len(self.read("third.png")))
        self.assertEqual(sorted(os.listdir(self.dir)),
                         ["other.png", "run", "third.png", "vm1-gpu1.png", "vm1.png"])

    def test_standard_output(self):
        self.serve("vm1")
        for args in (["-"], ["vm1", "-"]):
            done = self.ctl("screenshot", *args, text=False)
            self.check_png(done.stdout)
            self.assertIn(b"64x48", done.stderr)
        self.json("screenshot", "vm1", "-", status=2)

    def test_all_or_nothing(self):
        self.serve("vm1")
        picture = os.path.join(self.dir, "picture")
        with open(picture, "w") as file:
            file.write("old")
        held = open(picture)
        self.ctl("screenshot", "vm1", "picture")
        self.check_png(self.read("picture"))
        self.assertEqual(held.read(), "old")
        held.close()
        os.mkdir(os.path.join(self.dir, "directory"))
        code, message = self.error("screenshot", "vm1", "directory")
        self.assertEqual(code, "write")
        self.assertIn("directory", message)
        self.assertEqual(self.error("screenshot", "vm1", "missing/x.png")[0], "write")
        self.assertEqual(sorted(os.listdir(self.dir)), ["directory", "picture", "run"])

    def test_links_and_pipes_stay(self):
        self.serve("vm1")
        with open(os.path.join(self.dir, "real"), "w") as file:
            file.write("old")
        os.symlink("real", os.path.join(self.dir, "link"))
        self.ctl("screenshot", "vm1", "link")
        self.assertTrue(os.path.islink(os.path.join(self.dir, "link")))
        self.check_png(self.read("real"))
        fifo = os.path.join(self.dir, "fifo")
        os.mkfifo(fifo)
        reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
        self.ctl("screenshot", "vm1", "fifo")
        self.check_png(os.read(reader, 65536))
        os.close(reader)
        self.assertTrue(stat.S_ISFIFO(os.stat(fifo).st_mode))

    def test_no_screen(self):
        self.serve("vm1", size=0)
        self.assertEqual(self.error("screenshot")[0], "no-screen")
        self.assertEqual(self.error("hash", "vm1/gpu0")[0], "no-screen")
        self.assertEqual(os.listdir(self.dir), ["run"])

    def test_hash(self):
        self.serve("vm1")
        self.assertRegex(self.ctl("hash", "vm1").stdout, "^[0-9a-f]{16} 64x48\n$")
        answer = self.json("hash")
        self.assertEqual((answer["width"], answer["height"], answer["name"]), (64, 48, "vm1"))


class Orders(Case):
    def test_reset(self):
        self.serve("vm1")
        self.assertEqual(self.ctl("reset").stdout, "vm1/gpu0 was reset\n")
        self.assertEqual(self.json("reset", "vm1"), {"version": 1, "name": "vm1", "device": "gpu0"})
        self.serve("vm2", reset=5)
        code, message = self.error("reset", "vm2")
        self.assertEqual(code, "reset-failed")
        self.assertIn("Input/output error", message)

    def listen(self, *args):
        listening = subprocess.Popen([VGPUCTL, "events", "--json", *args], env=self.env, text=True,
                                     stdout=subprocess.PIPE)
        self.assertEqual(json.loads(listening.stdout.readline())["event"], "ready")
        return listening

    def test_events(self):
        server = self.serve("vm1")
        listening = self.listen("--count=2", "--timeout=60")
        for _ in range(2):
            server.send_signal(signal.SIGUSR1)
            event = json.loads(listening.stdout.readline())
            self.assertEqual((event["version"], event["event"], event["device"], event["data"]),
                             (1, "mode", "gpu0", {"width": 64, "state": "on"}))
        self.assertEqual(listening.wait(timeout=20), 0)
        listening.stdout.close()

    def test_lines(self):
        server = self.serve("vm1")
        shown = self.listen()
        plain = subprocess.Popen([VGPUCTL, "events", "vm1", "--count", "1"], env=self.env,
                                 text=True, stdout=subprocess.PIPE)
        while plain.poll() is None:
            server.send_signal(signal.SIGUSR1)
            time.sleep(0.05)
        self.assertRegex(plain.communicate()[0],
                         r"^\d{4}-\d\d-\d\dT[\d:.]+Z gpu0 mode width=64 state=on\n$")
        self.assertEqual(plain.returncode, 0)
        shown.terminate()
        shown.communicate()

    def test_time_is_over(self):
        self.serve("vm1")
        self.assertEqual(self.ctl("events", "--timeout=0.1").stdout, "")
        done = self.ctl("events", "--timeout=0.1", "--count=1", status=1)
        self.assertIn("0 of 1 events", done.stderr)

    def test_the_end_of_vgpud(self):
        server = self.serve("vm1")
        for args, status in ((), 0), (("--count=1",), 1):
            listening = self.listen(*args)
            server.send_signal(signal.SIGTERM)
            listening.communicate(timeout=20)
            self.assertEqual(listening.returncode, status)
            server.wait()
            self.servers.remove(server)
            server.stdout.close()
            server = self.serve("vm1")


class Qemu(Case):
    def fake_qemu(self, devices, status=0):
        path = os.path.join(self.dir, "qemu")
        with open(path, "w") as file:
            file.write("#!/bin/sh\ncase $1 in\n"
                       "--version) echo 'QEMU emulator version 99.1 (Test)' ;;\n"
                       f"-device) echo 'name \"{devices}\", bus PCI' ;;\nesac\nexit {status}\n")
        os.chmod(path, 0o755)
        return path

    def test_arguments(self):
        path = "/tmp/it's a \"socket\", $HOME"
        self.serve("vm1", devices=2, socket=path)
        args = self.json("qemu-args", "--memory=512M", "--machine=q35,accel=kvm")["args"]
        self.assertEqual(args[:8],
                         ["-machine", "q35,accel=kvm,memory-backend=mem0", "-m", "512M",
                          "-object", "memory-backend-memfd,id=mem0,size=512M,share=on",
                          "-vga", "none"])
        self.assertEqual(args[8::2], ["-device"] * 2)
        for device in args[9::2]:
            self.assertEqual(json.loads(device), {"driver": "vfio-user-pci",
                                                  "socket": {"path": path, "type": "unix"}})
        text = self.ctl("qemu-args", "--memory=512M", "--machine=q35,accel=kvm").stdout
        self.assertEqual(text.count(" \\\n"), 5)
        shell = subprocess.run(["sh", "-c", f"printf '%s\\0' {text}"], check=True,
                               stdout=subprocess.PIPE, text=True)
        self.assertEqual(shell.stdout.split("\0")[:-1], args)

    def test_arguments_in_any_locale(self):
        """They are for a shell, which takes every byte as it is."""
        path = "/tmp/h\u00f6/\x7f\u009b \U0001f600"
        self.serve("vm1", socket=path)
        texts = {self.ctl("qemu-args", env=dict(self.env, LC_ALL=locale)).stdout
                 for locale in ("C", "C.UTF-8")}
        self.assertEqual(len(texts), 1)
        device = json.loads(shlex.split(texts.pop().replace("\\\n", ""))[-1])
        self.assertEqual(device["socket"]["path"], path)

    def test_no_device(self):
        self.serve("vm1", devices=0)
        code, message = self.error("qemu-args")
        self.assertEqual(code, "no-device")
        self.assertIn("vm1 has no device", message)

    def test_no_path(self):
        self.serve("vm1")
        self.assertEqual(self.error("qemu-args")[0], "no-socket")

    def results(self, *args, status):
        answer = self.json("doctor", *args, status=status)
        self.assertEqual(answer["ok"], status == 0)
        return {(c["check"], c["result"]) for c in answer["checks"]}, str(answer)

    def test_doctor_and_qemu(self):
        found, _ = self.results("--qemu=" + self.fake_qemu("vfio-user-pci"), status=0)
        self.assertIn(("qemu", "ok"), found)
        self.assertIn(("directory", "ok"), found)
        found, text = self.results("--qemu=" + self.fake_qemu("vfio-pci"), status=1)
        self.assertIn(("qemu", "problem"), found)
        self.assertIn("trixie-backports", text)
        found, text = self.results("--qemu=" + self.fake_qemu("", status=3), status=1)
        self.assertIn("ended with 3", text)
        found, text = self.results("--qemu=/nonexistent", status=1)
        self.assertIn("cannot run", text)
        env = dict(self.env, PATH="/nonexistent")
        self.assertIn("qemu-system-x86_64 in PATH", self.ctl("doctor", env=env, status=1).stdout)

    def test_doctor_and_directory(self):
        qemu = "--qemu=" + self.fake_qemu("vfio-user-pci")
        os.chmod(self.run_dir, 0o777)
        found, _ = self.results(qemu, status=1)
        self.assertIn(("directory", "problem"), found)
        os.rmdir(self.run_dir)
        open(self.run_dir, "w").close()
        found, text = self.results(qemu, status=1)
        self.assertIn(("vGPUs", "problem"), found)
        self.assertIn("Not a directory", text)

    def test_doctor_and_vgpu(self):
        qemu = "--qemu=" + self.fake_qemu("vfio-user-pci")
        device = os.path.join(self.dir, "gpu.sock")
        self.serve("vm1", socket=device)
        _, text = self.results(qemu, "vm1", status=1)
        self.assertIn("start vgpud again", text)
        open(device, "w").close()
        _, text = self.results(qemu, "vm1", status=1)
        self.assertIn("not a socket", text)
        os.unlink(device)
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(device)
        found, _ = self.results(qemu, status=0)
        self.assertNotIn(("vm1/gpu0", "problem"), found)
        page = self.ctl("doctor", qemu).stdout
        self.assertIn("\u2713 vm1/gpu0: no VMM is connected\n", page)
        self.stale("old")
        found, _ = self.results(qemu, status=0)
        self.assertIn(("old", "warning"), found)

    def vmm(self, *args):
        """A process with the command line of a QEMU."""
        process = subprocess.Popen(["qemu-system-x86_64", *args], executable=shutil.which("python3"),
                                   stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        return process

    def test_doctor_and_client(self):
        qemu = "--qemu=" + self.fake_qemu("vfio-user-pci")
        code = "import sys; sys.stdin.read()"
        right = self.vmm("-c", code, "-vga", "none", "-M", "q35,memory-backend=m",
                         "-object", "memory-backend-memfd,id=m,share=on")
        wrong = self.vmm("-c", code, "-M", "q35,memory-backend=m", "-object",
                         "memory-backend-file,id=m", "-device", "bochs-display")
        self.serve("right", pid=right.pid)
        self.serve("wrong", pid=wrong.pid)
        self.serve("messages", pid=right.pid, mapped=0)
        found, text = self.results(qemu, "right", status=0)
        self.assertIn("shares its memory", text)
        found, text = self.results(qemu, "wrong", status=1)
        self.assertIn(("wrong/gpu0", "warning"), found)
        self.assertIn("share=on", text)
        self.assertIn("-vga none", text)
        self.assertIn("leave out that -device", text)
        found, text = self.results(qemu, "messages", status=1)
        self.assertIn("none of the guest", text)
        for process in (right, wrong):
            process.communicate()


if __name__ == "__main__":
    unittest.main(argv=[sys.argv[0], *sys.argv[3:]])
