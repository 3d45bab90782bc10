"""Where things are, and what is missing."""
import os
import pathlib
import re
import shutil
import subprocess

import pytest

TREE = pathlib.Path(__file__).resolve().parents[3]
BUILD = pathlib.Path(os.environ.get('VGPUD_BUILD', TREE / 'build')).resolve()
ARTIFACTS = pathlib.Path(os.environ.get('VGPUD_ARTIFACTS', BUILD / 'e2e-artifacts')).resolve()

_failed = {}
_cleared = set()


def artifacts(name):
    """A directory of this name for pictures and logs of this run, without those of an earlier one."""
    directory = ARTIFACTS / re.sub(r'[^A-Za-z0-9_.+-]+', '_', name).strip('_')
    if directory not in _cleared:
        shutil.rmtree(directory, ignore_errors=True)
        _cleared.add(directory)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def missing(reason):
    """A prerequisite is not there: skips the test, or fails it where everything is to be tested."""
    if os.environ.get('CI'):
        pytest.fail(f'needed and missing: {reason}', pytrace=False)
    pytest.skip(reason)


def script(name, *arguments):
    """The one line that a script of ours prints. It may make something that takes a minute."""
    call = (name, *arguments)
    if call in _failed:
        missing(_failed[call])
    try:
        done = subprocess.run([TREE / 'scripts' / name, *arguments], check=True, text=True, timeout=600,
                              stdin=subprocess.DEVNULL, capture_output=True)
    except (OSError, subprocess.SubprocessError) as e:
        # Once is enough: whoever asks next gets the same answer at once.
        _failed[call] = f'scripts/{" ".join(call)}: {getattr(e, "stderr", None) or e}'
        missing(_failed[call])
    return done.stdout.strip()


def program(name):
    """A program of our build."""
    path = BUILD / name
    if not os.access(path, os.X_OK):
        missing(f'no {name} in {BUILD}: build it, or set VGPUD_BUILD')
    return path
