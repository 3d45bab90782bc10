#!/usr/bin/python3 -B
# SPDX-License-Identifier: GPL-2.0-or-later
"""What a vGPU costs that a guest has attached and does not use: a real Linux guest in a real QEMU, and nobody looking.

Prints figures as the other benchmarks do (bench/bench.h). It is a script since the guest's rig is one, that of the
end-to-end tests; where that can't run, a client that only stays connected stands in for the guest, and the figures
say so.
"""
import argparse
import json
import os
import pathlib
import sys
import tempfile
import time

TREE = pathlib.Path(__file__).resolve().parents[1]


def report(name, unit, measured, bar, note):
    print(json.dumps({'row': 'idle-guest', 'name': name, 'unit': unit, 'measured': measured,
                      'bar_is': 'measured at most', 'bar': bar, 'met': measured <= bar, 'note': note}), flush=True)


def wake_ups(pid):
    """Times that any thread has gone to sleep or was put off its CPU so far."""
    total = 0
    for task in pathlib.Path(f'/proc/{pid}/task').iterdir():
        for line in (task / 'status').read_text().splitlines():
            if line.partition(':')[0].endswith('voluntary_ctxt_switches'):
                total += int(line.split()[1])
    return total


def private_bytes(pid):
    """What this process alone has written and nobody else could: all that ends with it.

    Neither video memory nor the guest's, which are memory files, nor pages of programs and libraries, which any other
    vgpud shares and the kernel can drop.
    """
    total, counts = 0, False
    for line in pathlib.Path(f'/proc/{pid}/smaps').read_text().splitlines():
        words = line.split()
        if not words[0].endswith(':'):
            counts = '/memfd:' not in line
        elif counts and words[0] in ('Private_Dirty:', 'Swap:'):
            total += int(words[1]) * 1024
    return total


def measure(vgpud, guest, quick):
    seconds = 1 if quick else 10
    time.sleep(seconds / 4)
    before = wake_ups(vgpud.daemon.pid)
    time.sleep(seconds)
    report('wake-ups in 10 s', 'wake-ups', wake_ups(vgpud.daemon.pid) - before, 0, guest)
    report('private memory beyond VRAM', 'MiB', private_bytes(vgpud.daemon.pid) / 2**20, 3, guest)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument('--vgpud', type=pathlib.Path, default=TREE / 'build' / 'vgpud')
    parser.add_argument('--quick', action='store_true', help='a client in the place of a guest, and one second')
    chosen = parser.parse_args()
    os.environ['VGPUD_BUILD'] = str(chosen.vgpud.parent)
    sys.path.insert(0, str(TREE / 'tests' / 'e2e'))
    from rig import place, vfio_user  # pylint: disable=import-outside-toplevel
    from rig.guest import VgpuGuest  # pylint: disable=import-outside-toplevel
    from rig.vgpud import Vgpud  # pylint: disable=import-outside-toplevel

    with tempfile.TemporaryDirectory(prefix='vgpud-bench-') as directory:
        with Vgpud(directory) as vgpud:
            if not chosen.quick:
                try:
                    place.script('qemu-root')
                    place.script('guest-image')
                except BaseException as e:  # pytest's own, which are no Exception
                    print(f'no real guest: {e}', file=sys.stderr)
                else:
                    with VgpuGuest(directory, vgpud) as guest:
                        guest.agent.run('draw', 1024, 768, 32, 'noise', 1)
                        measure(vgpud, 'a Linux guest in QEMU', False)
                        return
            with vfio_user.Client(vgpud.socket).negotiate() as client:
                client.set_mode(1024, 768)
                measure(vgpud, 'a client, no guest', chosen.quick)


if __name__ == '__main__':
    main()
