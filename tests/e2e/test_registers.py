"""Modes set by registers, as firmware sets them: depths, strides and offsets that no driver uses."""
import pytest
from rig import pattern, picture

X_OFFSET, Y_OFFSET = '0x510', '0x512'

CASES = [
    # width, height, depth, pattern, seed, virtual width, x, y
    (640, 480, 16, 'noise', 1, 640, 0, 0),
    (800, 600, 16, 'gradient', 77, 800, 0, 0),
    (1024, 768, 16, 'bars', 3, 1104, 40, 9),
    (720, 400, 32, 'checker', 5, 720, 0, 0),
    (1024, 768, 32, 'noise', 6, 1100, 50, 20),
    (1280, 1024, 32, 'noise', 7, 2048, 768, 1),
]


@pytest.fixture
def bare(guest):
    """The display without a driver; afterwards with one again."""
    guest.agent.run('unbind')
    yield guest
    guest.agent.run('bind')


@pytest.mark.parametrize('width,height,depth,name,seed,virtual,x,y', CASES,
                         ids=[f'{c[0]}x{c[1]}x{c[2]}+{c[6]}+{c[7]}' for c in CASES])
def test_register_mode(bare, oracle, evidence, width, height, depth, name, seed, virtual, x, y):
    words = 'dispi', width, height, depth, name, seed, virtual, x, y
    expected = pattern.picture(name, virtual, y + height, seed, depth).crop((x, y, x + width, y + height))
    bare.agent.run(*words)
    got = bare.shot(evidence)
    picture.assert_same(got, expected, evidence)
    if bare is not oracle:
        oracle.agent.run('unbind')
        try:
            oracle.agent.run(*words)
            picture.assert_same(got, oracle.shot(evidence), evidence)
        finally:
            oracle.agent.run('bind')


def test_pan(bare, evidence):
    """Moving the window by registers alone. (Linux' bochs driver takes no notice of a panned buffer.)"""
    bare.agent.run('dispi', 800, 600, 32, 'noise', 8, 900, 100, 500)
    whole = pattern.picture('noise', 900, 1100, 8)
    for x, y in ((0, 0), (1, 0), (100, 333), (0, 500)):
        bare.agent.run('mmio-write', X_OFFSET, 2, x)
        bare.agent.run('mmio-write', Y_OFFSET, 2, y)
        picture.assert_same(bare.shot(evidence, f'at-{x}-{y}'), whole.crop((x, y, x + 800, y + 600)), evidence)
