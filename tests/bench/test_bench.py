#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Runs every benchmark for a few rounds: that it works, that its figures have the shape that readers of the JSON
rely on, and that those bars are met which no noise can touch.

test_bench.py BENCH_RUN BUILD [unittest's arguments]
"""

import json
import os
import subprocess
import sys
import unittest

RUN, BUILD = (os.path.abspath(path) for path in sys.argv[1:3])
ROWS = ['trapped-read', 'trapped-calls', 'posted-write', 'adaptive-spin', 'dma', 'damage', 'pixel', 'idle-guest',
        'startup', 'many']
# What is counted rather than timed.
NOISE_PROOF = {
    ('trapped-calls', 'system calls, blocking'),
    ('trapped-calls', 'system calls, polling'),
    ('trapped-calls', 'allocations, blocking'),
    ('trapped-calls', 'allocations, polling'),
    ('idle-guest', 'wake-ups in 10 s'),
    ('idle-guest', 'private memory beyond VRAM'),
    ('many', 'idle, CPU of all in 10 s'),
    ('many', 'idle, wake-ups of all in 10 s'),
}


def run(*arguments, **popen):
    return subprocess.run([RUN, f'--build={BUILD}', '--no-build', *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=110, check=False, **popen)


class Quick(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        done = run('--quick', '--json=-')
        assert done.returncode == 0, done.stderr
        cls.report, cls.table = json.loads(done.stdout), done.stderr

    def figures(self, row):
        return [figure for figure in self.report['figures'] if figure['row'] == row]

    def test_report(self):
        self.assertEqual(self.report['version'], 1)
        self.assertTrue(self.report['quick'])
        self.assertEqual(self.report['failures'], [])
        self.assertEqual(set(self.report['machine']), {'cpus', 'cpu', 'kernel', 'arch'})

    def test_every_row_is_measured(self):
        for row in ROWS:
            with self.subTest(row):
                self.assertTrue([f for f in self.figures(row) if 'measured' in f], self.table)

    def test_figures(self):
        for figure in self.report['figures']:
            with self.subTest(f'{figure["row"]}: {figure["name"]}'):
                if 'skipped' in figure:
                    self.assertTrue(figure['skipped'])
                    continue
                self.assertGreaterEqual(figure['measured'], 0)
                self.assertTrue(figure['unit'])
                if 'floor_is' in figure:
                    self.assertGreater(figure['floor'], 0)
                    self.assertGreater(figure['ratio'], 0)
                if 'bar' in figure:
                    value = figure[figure['bar_is'].split()[0]]
                    self.assertEqual(figure['met'], value >= figure['bar'] if figure['bar_is'].endswith('least')
                                     else value <= figure['bar'])

    def test_what_noise_cannot_touch(self):
        seen = set()
        for figure in self.report['figures']:
            key = figure['row'], figure['name']
            if key in NOISE_PROOF:
                seen.add(key)
                with self.subTest(key):
                    self.assertTrue(figure['met'], figure)
        self.assertEqual(seen, NOISE_PROOF)

    def test_table_has_every_figure(self):
        for figure in self.report['figures']:
            self.assertIn(f'  {figure["name"]} ', self.table)


class Command(unittest.TestCase):
    def test_an_unknown_row_is_refused(self):
        done = run('no-such-row')
        self.assertEqual(done.returncode, 2)
        self.assertIn('no-such-row', done.stderr)

    def test_a_program_that_fails_fails_the_run(self):
        done = run('--quick', '--json=-', 'startup', env=dict(os.environ, TMPDIR='/nonexistent'))
        self.assertEqual(done.returncode, 1)
        self.assertEqual(json.loads(done.stdout)['figures'], [])
        self.assertEqual(len(json.loads(done.stdout)['failures']), 1)


if __name__ == '__main__':
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
