"""What the guest draws through its DRM driver is what is seen, dot by dot.

Three witnesses: arithmetic (rig.pattern), QEMU's own bochs-display, and vgpud.
"""
import pytest
from rig import pattern, picture

MODES = [
    (640, 480, 'bars', 0),
    (800, 600, 'checker', 7),
    (1024, 768, 'gradient', 0x80),
    (1280, 1024, 'noise', 1),
    (1920, 1080, 'noise', 2),
]


@pytest.mark.parametrize('width,height,name,seed', MODES, ids=lambda v: str(v))
def test_mode(guest, oracle, evidence, width, height, name, seed):
    expected = pattern.picture(name, width, height, seed)
    guest.agent.run('draw', width, height, 32, name, seed)
    got = guest.shot(evidence)
    picture.assert_same(got, expected, evidence)
    if guest is not oracle:
        oracle.agent.run('draw', width, height, 32, name, seed)
        picture.assert_same(got, oracle.shot(evidence), evidence)


def test_blank(vgpu_guest, evidence):
    """Power management blacks the screen and gives the picture back. (QEMU's bochs-display ignores it.)"""
    guest = vgpu_guest
    guest.agent.run('draw', 800, 600, 32, 'gradient', 200)
    guest.agent.run('blank', 'on')
    assert guest.vgpu.show()['scanout']['state'] == 'blanked'
    assert picture.is_black(guest.shot(evidence, 'blanked'))
    guest.agent.run('blank', 'off')
    assert guest.vgpu.show()['scanout']['state'] == 'on'
    picture.assert_same(guest.shot(evidence), pattern.picture('gradient', 800, 600, 200), evidence)


def test_scanout_is_described(vgpu_guest):
    vgpu_guest.agent.run('draw', 1024, 768, 32, 'bars', 0)
    scanout = vgpu_guest.vgpu.show()['scanout']
    assert (scanout['state'], scanout['width'], scanout['height']) == ('on', 1024, 768)
    assert (scanout['stride'], scanout['bpp']) == (4096, 32)


def test_hash(vgpu_guest):
    """Equal pictures have equal hashes, wherever they lie in VRAM and whatever the unused byte holds."""
    hashes = []
    for name, seed in (('noise', 1), ('noise', 2), ('noise', 1)):
        vgpu_guest.agent.run('draw', 800, 600, 32, name, seed)
        hashes.append(vgpu_guest.vgpu.hash())
    assert hashes[0] == hashes[2] != hashes[1]
    vgpu_guest.agent.run('draw', 800, 600, 32, 'noise', 1, 900)
    assert vgpu_guest.vgpu.hash() == hashes[0]
