"""The other byte order: a big-endian buffer, for which Linux' bochs driver switches the device over."""
import pytest
from rig import pattern, picture
from rig.agent import AgentError

ORDER = '0x604'
LITTLE, BIG = 0x1e1e1e1e, 0xbebebebe


def draw(guest, depth, seed, width=800, height=600):
    try:
        guest.agent.run('draw', width, height, depth, 'noise', seed)
    except AgentError as e:
        if depth == '32be' and 'Invalid argument' in str(e):
            pytest.skip('the kernel of this guest has no BGRX8888 in its bochs driver')
        raise


def byte_order(guest):
    return int(guest.agent.run('mmio-read', ORDER, 4)['value'], 0)


def check(guest, evidence, depth, seed):
    draw(guest, depth, seed)
    assert byte_order(guest) == (BIG if depth == '32be' else LITTLE)
    shot = guest.shot(evidence, f'seed-{seed}')
    picture.assert_same(shot, pattern.picture('noise', 800, 600, seed), evidence)
    return shot


def test_there_and_back(guest, oracle, evidence):
    """Each frame in the order of its buffer, at the same size: only the byte order tells them apart."""
    for seed, depth in enumerate(('32be', '32', '32be'), 1):
        shot = check(guest, evidence, depth, seed)
        if guest is not oracle:
            picture.assert_same(shot, check(oracle, evidence, depth, seed), evidence)


def test_hash_is_of_what_is_seen(vgpu_guest):
    hashes = []
    for depth in ('32be', '32'):
        draw(vgpu_guest, depth, 9)
        hashes.append(vgpu_guest.vgpu.hash())
    assert hashes[0] == hashes[1]


def test_driver_restores_it(guest, evidence):
    """A driver that is bound anew finds whatever the last one left, and draws as before."""
    draw(guest, '32be', 1)
    guest.agent.run('unbind')
    assert byte_order(guest) == BIG
    guest.agent.run('bind')
    for seed, depth in enumerate(('32', '32be', '32'), 2):
        check(guest, evidence, depth, seed)


def test_reset_restores_it(vgpu_guest, evidence):
    """Little-endian is power-on state."""
    draw(vgpu_guest, '32be', 1)
    vgpu_guest.reboot()
    check(vgpu_guest, evidence, '32', 2)
