"""What firmware draws before any operating system: SeaBIOS by the option ROM, OVMF by its own driver.

Nothing is there to boot, so both come to rest; then the picture equals that of QEMU's bochs-display.
"""
import shutil
import time

import pytest
from PIL import ImageChops
from rig import picture, place
from rig.guest import OracleGuest, OwnVgpuGuest


CURSOR = 8, 16  # dots; SeaBIOS blinks it twice a second


def only_cursor_differs(a, b):
    box = ImageChops.difference(a, b).getbbox()
    return not box or (box[2] - box[0] <= CURSOR[0] and box[3] - box[1] <= CURSOR[1])


def settled(guest, evidence, name, rest, other_than=None, timeout=60):
    """The picture, less a blinking cursor, once it is not plain and has not changed for a while."""
    deadline = time.monotonic() + timeout
    last, since = None, 0.0
    while time.monotonic() < deadline:
        shot = guest.shot(evidence, name)
        if last is not None and shot.size == last.size and only_cursor_differs(shot, last):
            last = ImageChops.darker(last, shot)
        else:
            last, since = shot, time.monotonic()
        if (time.monotonic() - since >= rest and not picture.is_plain(last) and
                (other_than is None or last.tobytes() != other_than.tobytes())):
            last.save(evidence / f'{name}-{guest.kind}.png')
            return last
        time.sleep(0.15)
    raise AssertionError(f'{guest.kind}: the picture was plain or did not come to rest within {timeout} s')


def wait_log(guest, text, timeout=60):
    deadline = time.monotonic() + timeout
    while text not in guest.vm.firmware_log():
        assert guest.vm.is_running() and time.monotonic() < deadline, \
            f'{guest.kind}: the firmware did not say {text!r} within {timeout} s'
        time.sleep(0.1)


def seabios_pictures(guest, evidence):
    wait_log(guest, 'No bootable device')
    return [settled(guest, evidence, 'seabios', rest=1.5)]


def ovmf_pictures(guest, evidence):
    """It finds nothing to boot and asks for a key; then its menu."""
    first = settled(guest, evidence, 'ovmf', rest=3.0)
    guest.vm.qmp.run('send-key', keys=[{'type': 'qcode', 'data': 'ret'}])
    return [first, settled(guest, evidence, 'ovmf-menu', rest=1.5, other_than=first)]


def ovmf_arguments(evidence, kind):
    """The firmware in flash; its variables are the machine's own."""
    variables = evidence / f'{kind}-vars.fd'
    shutil.copyfile(place.script('qemu-root', '--file', 'OVMF_VARS_4M.fd'), variables)
    code = place.script('qemu-root', '--file', 'OVMF_CODE_4M.fd')
    return ['-drive', f'if=pflash,unit=0,format=raw,readonly=on,file={code}',
            '-drive', f'if=pflash,unit=1,format=raw,file={variables}']


def make(kind, evidence, rom=None, **more):
    if kind == 'oracle':
        return OracleGuest(evidence, guest=None, **more)
    return OwnVgpuGuest(evidence, guest=None, rom=rom, **more)


@pytest.fixture(scope='module')
def oracle_pictures():
    """What QEMU's bochs-display shows, looked up once."""
    seabios, ovmf = place.artifacts('firmware-seabios'), place.artifacts('firmware-ovmf')
    with make('oracle', seabios) as guest:
        pictures = {'seabios': seabios_pictures(guest, seabios)}
    with make('oracle', ovmf, arguments=ovmf_arguments(ovmf, 'oracle')) as guest:
        pictures['ovmf'] = ovmf_pictures(guest, ovmf)
    return pictures


def test_oracle(oracle_pictures):
    """SeaBIOS' screen; OVMF's screen and menu."""
    assert [len(oracle_pictures[firmware]) for firmware in ('seabios', 'ovmf')] == [1, 2]


def compare(got, expected, evidence):
    for ours, theirs in zip(got, expected, strict=True):
        picture.assert_same(ours, theirs, evidence)


def test_seabios(oracle_pictures, evidence):
    place.program('vgpud')
    rom = place.script('qemu-root', '--file', 'vgabios-bochs-display.bin')
    with make('vgpud', evidence, rom=rom) as guest:
        compare(seabios_pictures(guest, evidence), oracle_pictures['seabios'], evidence)


def test_ovmf(oracle_pictures, evidence):
    place.program('vgpud')
    with make('vgpud', evidence, arguments=ovmf_arguments(evidence, 'vgpud')) as guest:
        compare(ovmf_pictures(guest, evidence), oracle_pictures['ovmf'], evidence)
