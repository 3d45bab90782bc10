"""Two machines, two vGPUs, at the same time: each shows its own."""
from rig import pattern, picture
from rig.guest import OwnVgpuGuest


def test_two_machines(evidence, vgpu_guest):
    with OwnVgpuGuest(evidence, name='other') as other:
        guests = vgpu_guest, other
        for seed in (1, 2):
            for i, guest in enumerate(guests):
                guest.agent.run('draw', 640 + 160 * i, 480 + 120 * i, 32, 'noise', seed + 10 * i)
            for i, guest in enumerate(guests):
                expected = pattern.picture('noise', 640 + 160 * i, 480 + 120 * i, seed + 10 * i)
                picture.assert_same(guest.shot(evidence, f'machine-{i}'), expected, evidence)
        assert vgpu_guest.vgpu.hash() != other.vgpu.hash()
