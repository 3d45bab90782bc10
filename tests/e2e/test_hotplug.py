"""The display is pulled out of a running machine and put back."""
from rig import pattern, picture
from rig.guest import OwnVgpuGuest
from rig.vm import vfio_user_device


def test_unplug_and_replug(evidence):
    # The window behind the port must have room for the aperture when it comes back.
    port = ['-device', 'pcie-root-port,id=bus,chassis=1,slot=1,pref64-reserve=64M']
    with OwnVgpuGuest(evidence, bus=port) as guest:
        for seed in range(3):
            guest.agent.run('draw', 1024, 768, 32, 'noise', seed)
            picture.assert_same(guest.shot(evidence, f'round-{seed}'),
                                pattern.picture('noise', 1024, 768, seed), evidence)
            guest.agent.run('stores', 1000)

            guest.vm.qmp.run('device_del', id='vgpu')
            guest.agent.run('wait-device', 'absent', 15000)
            guest.vm.qmp.wait_event('DEVICE_DELETED', device='vgpu')
            guest.vgpu.wait(lambda: not guest.vgpu.connected(), 'disconnect')

            guest.vm.qmp.run('device_add', **vfio_user_device(guest.vgpu.socket, id='vgpu', bus='bus'))
            guest.agent.run('wait-device', 'present', 15000)
        assert guest.vgpu.connected()
