"""Guests come and go: reboot, rebinding, reset, a machine that dies, another that follows."""
import pytest
from rig import pattern, picture
from rig.guest import VgpuGuest
from rig.vgpud import Vgpud


def draw_and_check(guest, evidence, seed, name='screen'):
    guest.agent.run('draw', 800, 600, 32, 'noise', seed)
    picture.assert_same(guest.shot(evidence, name), pattern.picture('noise', 800, 600, seed), evidence)


def assert_nothing_to_see(vgpu, evidence, name):
    """Off, and whatever a screenshot of that is, it has no picture in it."""
    assert vgpu.show()['scanout']['state'] != 'on'
    vgpu.screenshot(evidence / f'{name}.png')
    assert picture.is_black(picture.load(evidence / f'{name}.png'))


def test_reboot(guest, evidence):
    draw_and_check(guest, evidence, 11, 'before')
    guest.reboot()
    draw_and_check(guest, evidence, 12, 'after')


def test_rebind(guest, evidence):
    draw_and_check(guest, evidence, 13, 'before')
    for _ in range(3):
        guest.agent.run('unbind')
        guest.agent.run('bind')
    draw_and_check(guest, evidence, 14, 'after')


def test_reset_by_hand(vgpu_guest, evidence):
    """vgpuctl reset: the screen goes off under the guest, and the next mode brings it back."""
    vgpu = vgpu_guest.vgpu
    draw_and_check(vgpu_guest, evidence, 15, 'before')
    resets = vgpu.show()['resets']
    vgpu.ctl('reset')
    assert vgpu.show()['resets'] == resets + 1
    assert_nothing_to_see(vgpu, evidence, 'reset')
    # A reset clears the function's configuration too; the guest's kernel restores it with the driver.
    vgpu_guest.reboot()
    draw_and_check(vgpu_guest, evidence, 16, 'after')


def test_next_tenant_sees_nothing(evidence):
    """A machine is killed; the next one on the same vGPU finds no trace of it, on the screen or in VRAM."""
    with Vgpud(evidence) as vgpu:
        with VgpuGuest(evidence, vgpu, name='first') as first:
            draw_and_check(first, evidence, 17, 'first')
            first.agent.run('vram-fill', 1)
            assert int(first.agent.run('vram-scan')['nonzero']) == 16 << 20
            assert vgpu.connected()
            first.vm.kill()
        vgpu.wait(lambda: not vgpu.connected(), 'disconnect')
        assert_nothing_to_see(vgpu, evidence, 'between')

        with VgpuGuest(evidence, vgpu, guest='vgpu.autoload=0', name='second') as second:
            assert second.agent.run('vram-scan') == {'bytes': str(16 << 20), 'nonzero': '0', 'first': '0'}
            assert_nothing_to_see(vgpu, evidence, 'before-drawing')
            second.agent.run('load')
            draw_and_check(second, evidence, 18, 'second')


@pytest.mark.parametrize('how', ['poweroff', 'terminate'])
def test_listens_again(evidence, how):
    """An orderly end: the daemon stays, its client is gone."""
    with Vgpud(evidence) as vgpu:
        with VgpuGuest(evidence, vgpu) as guest:
            guest.agent.run('info')
            if how == 'poweroff':
                guest.agent.tell('poweroff')
                guest.vm.qmp.wait_event('SHUTDOWN')
        vgpu.wait(lambda: not vgpu.connected(), 'disconnect')
        assert vgpu.is_running()
