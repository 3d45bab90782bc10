"""Fixtures: guests that boot once and serve many tests, evidence, and a limit on every test's time."""
import pathlib
import signal
import tempfile

import pytest
from rig import place
from rig.guest import OracleGuest, OwnVgpuGuest
from rig.launcher import Launcher

LIMIT = 120  # seconds; the rig's own limits are shorter and say more


@pytest.fixture(autouse=True)
def _limit():
    def stop(*_):
        raise TimeoutError(f'the test took longer than {LIMIT} s')

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(LIMIT)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def evidence(request):
    """The directory for this test's pictures and logs."""
    directory = place.artifacts(request.node.name)
    yield directory
    if not any(directory.iterdir()):
        directory.rmdir()


# Machines are costly and modes are cheap: these two serve every test that leaves the machine running.
# Commands to the guest don't depend on what was drawn before.
@pytest.fixture(scope='session')
def oracle():
    with OracleGuest(place.artifacts('shared-oracle')) as guest:
        yield guest


@pytest.fixture(scope='session')
def vgpu_guest():
    place.program('vgpud')
    with OwnVgpuGuest(place.artifacts('shared-vgpud')) as guest:
        yield guest


@pytest.fixture(params=['oracle', 'vgpud'])
def guest(request):
    """First the oracle, which checks the rig itself, then ours."""
    return request.getfixturevalue('oracle' if request.param == 'oracle' else 'vgpu_guest')


# For tests of the daemon itself, without a machine.
@pytest.fixture
def sockets():
    """A directory for sockets, whose paths must be short."""
    place.program('vgpud')
    with tempfile.TemporaryDirectory(prefix='vgpud-e2e-') as directory:
        yield pathlib.Path(directory)


@pytest.fixture
def launch(sockets, evidence):
    launcher = Launcher(sockets, evidence)
    yield launcher
    launcher.close()


@pytest.fixture
def vfio(sockets):
    """Where the device of a launched daemon listens."""
    return sockets / 'vfio'
