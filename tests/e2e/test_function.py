"""The PCI function and its registers as the guest finds them, ours like QEMU's."""
import shutil
import subprocess

import pytest
from rig import place

DISPI = 0x500
DISPI_REGISTERS = range(11)  # ID … VIDEO_MEMORY_64K


def value(answer):
    return int(answer['value'], 0)


def test_identity(guest):
    info = guest.agent.run('info')
    assert info['id'] == '1234:1111'
    assert int(info['revision'], 16) >= 2  # or Linux ignores the extended registers
    assert info['driver'] == 'bochs-drm'
    assert info['status'] == 'connected'
    assert '1024x768' in info['modes'].split(',')


def test_edid(guest, evidence):
    edid = bytes.fromhex(guest.agent.run('info')['edid'])
    (evidence / f'edid-{guest.kind}.bin').write_bytes(edid)
    assert edid[:8] == bytes.fromhex('00ffffffffffff00')
    assert len(edid) >= 128 and len(edid) % 128 == 0
    for block in range(0, len(edid), 128):
        assert sum(edid[block:block + 128]) % 256 == 0


def test_edid_is_conformant(vgpu_guest, evidence):
    if not shutil.which('edid-decode'):
        place.missing('no edid-decode (Debian package edid-decode)')
    path = evidence / 'edid.bin'
    path.write_bytes(bytes.fromhex(vgpu_guest.agent.run('info')['edid']))
    done = subprocess.run(['edid-decode', '--check', path], capture_output=True, text=True, timeout=20,
                          check=False)
    (evidence / 'edid.txt').write_text(done.stdout)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize('offset,width', [(0x00, 4), (0x08, 4), (0x0e, 1), (0x3d, 1)],
                         ids=['id', 'class-and-revision', 'header-type', 'interrupt-pin'])
def test_configuration_space(vgpu_guest, oracle, offset, width):
    ours, theirs = (g.agent.run('config-read', hex(offset), width) for g in (vgpu_guest, oracle))
    assert ours == theirs


@pytest.mark.parametrize('bar', [0, 2])
def test_bar_type(vgpu_guest, oracle, bar):
    """Memory, width and prefetchability: the low bits of the BAR."""
    ours, theirs = (value(g.agent.run('config-read', hex(0x10 + 4 * bar), 4)) & 0xf
                    for g in (vgpu_guest, oracle))
    assert ours == theirs


def test_registers(vgpu_guest, oracle):
    """Every DISPI register and the extended ones, after the same mode."""
    for g in (vgpu_guest, oracle):
        g.agent.run('draw', 1024, 768, 32, 'bars', 0)
    # Where in VRAM the driver put its buffer (8 and 9, the offsets) is the guest kernel's choice.
    offsets = [(DISPI + 2 * i, 2) for i in DISPI_REGISTERS if i not in (8, 9)] + [(0x600, 4), (0x604, 4)]
    ours, theirs = ({hex(offset): value(g.agent.run('mmio-read', hex(offset), width))
                     for offset, width in offsets} for g in (vgpu_guest, oracle))
    assert ours == theirs
