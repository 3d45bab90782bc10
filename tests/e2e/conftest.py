"""Fixtures: guests that boot once and serve many tests, evidence, and a limit on every test's time."""
import signal

import pytest
from rig import place
from rig.guest import OracleGuest, OwnVgpuGuest

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
