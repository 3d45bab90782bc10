"""The VNC console, with a viewer of our own that decodes raw pixels: what it shows, and what it may not disturb."""
import os
import time

import pytest
from PIL import Image
from rig import pattern, picture
from rig.daemon import refuses
from rig.vfio_user import Client
from rig.vgpud import Vgpud
from rig.vnc import DESKTOP_SIZE, EXTENDED_DESKTOP_SIZE, Refused, Viewer

RESIZE = {'both': (EXTENDED_DESKTOP_SIZE, DESKTOP_SIZE), 'desktop-size': (DESKTOP_SIZE,),
          'extended-desktop-size': (EXTENDED_DESKTOP_SIZE,)}


def draw(guest, width, height, seed, name='noise'):
    guest.agent.run('draw', width, height, 32, name, seed)
    return pattern.picture(name, width, height, seed)


def no_viewers(vgpu):
    vgpu.wait(lambda: vgpu.show()['scanout']['viewers'] == 0, 'end of the viewers')


@pytest.fixture
def vgpu(evidence):
    """A vGPU without a machine, for what a client alone can show."""
    with Vgpud(evidence) as made:
        yield made


# What it shows

def test_viewer_sees_what_a_screenshot_shows(vgpu_guest, evidence):
    with Viewer(vgpu_guest.vgpu.vnc) as viewer:
        assert viewer.title == vgpu_guest.vgpu.name
        for seed, (width, height) in enumerate(((1024, 768), (640, 480), (1280, 1024)), 1):
            expected = draw(vgpu_guest, width, height, seed)
            seen = viewer.wait_for_picture(expected)
            picture.assert_same(seen, vgpu_guest.shot(evidence), evidence)
        picture.assert_same(viewer.refresh(), expected, evidence)


def test_only_what_changed_is_sent(vgpu):
    with Client(vgpu.socket) as client, Viewer(vgpu.vnc) as viewer:
        memory = client.negotiate().vram()
        memory[:] = b'\x55' * len(memory)
        client.set_mode(1280, 1024)
        expected = Image.new('RGB', (1280, 1024), (0x55,) * 3)
        viewer.wait_for_picture(expected)
        viewer.request()
        assert viewer.is_quiet(0.5)
        before = viewer.dots
        for x, y in ((0, 0), (1279, 1023), (700, 300)):
            memory[4 * (1280 * y + x):4 * (1280 * y + x) + 4] = b'\x30\x20\x10\xff'
            expected.putpixel((x, y), (0x10, 0x20, 0x30))
            viewer.wait_for_picture(expected)
        assert viewer.dots - before < 1280 * 1024 / 20


def test_blanked_screen_is_black(vgpu_guest):
    expected = draw(vgpu_guest, 800, 600, 5)
    with Viewer(vgpu_guest.vgpu.vnc) as viewer:
        viewer.wait_for_picture(expected)
        vgpu_guest.agent.run('blank', 'on')
        viewer.wait_for_picture(Image.new('RGB', (800, 600)))
        vgpu_guest.agent.run('blank', 'off')
        viewer.wait_for_picture(expected)


@pytest.mark.parametrize('kind', RESIZE)
def test_mode_changes(vgpu_guest, kind):
    draw(vgpu_guest, 640, 480, 1)
    with Viewer(vgpu_guest.vgpu.vnc, resize=RESIZE[kind]) as viewer:
        for seed, size in enumerate(((640, 480), (1280, 1024), (800, 600)), 1):
            viewer.wait_for_picture(draw(vgpu_guest, *size, seed))
        assert viewer.sizes == [(640, 480), (1280, 1024), (800, 600)]


def test_viewer_that_cannot_be_resized(vgpu_guest):
    """It keeps the size that it was given, and sees the part that fits, on black."""
    draw(vgpu_guest, 800, 600, 1)
    with Viewer(vgpu_guest.vgpu.vnc, resize=()) as viewer:
        viewer.wait_for_picture(pattern.picture('noise', 800, 600, 1))
        viewer.wait_for_picture(draw(vgpu_guest, 1280, 1024, 2).crop((0, 0, 800, 600)))
        smaller = Image.new('RGB', (800, 600))
        smaller.paste(draw(vgpu_guest, 640, 480, 3))
        viewer.wait_for_picture(smaller)
        viewer.wait_for_picture(draw(vgpu_guest, 800, 600, 4))
        assert viewer.sizes == [(800, 600)]


def test_two_viewers(vgpu_guest):
    vgpu = vgpu_guest.vgpu
    expected = draw(vgpu_guest, 1024, 768, 6)
    with Viewer(vgpu.vnc) as first:
        first.wait_for_picture(expected)
        with Viewer(vgpu.vnc, resize=()) as second:
            second.wait_for_picture(expected)
            assert vgpu.show()['consoles'][0]['viewers'] == 2
            expected = draw(vgpu_guest, 1024, 768, 7)
            for viewer in (first, second):
                viewer.wait_for_picture(expected)
        first.wait_for_picture(draw(vgpu_guest, 640, 480, 8))
    no_viewers(vgpu)


def test_viewer_outlives_a_reboot(vgpu_guest):
    draw(vgpu_guest, 1024, 768, 9)
    with Viewer(vgpu_guest.vgpu.vnc) as viewer:
        viewer.wait_for_picture(pattern.picture('noise', 1024, 768, 9))
        vgpu_guest.reboot()
        viewer.wait_for_picture(draw(vgpu_guest, 800, 600, 10))


def test_viewer_stays_when_the_machine_goes(vgpu):
    """It sees the end of one tenant's picture before it sees anything of the next."""
    with Viewer(vgpu.vnc) as viewer:
        for colour in (0xa5, 0x5a):
            with Client(vgpu.socket) as client:
                memory = client.negotiate().vram()
                memory[:] = bytes([colour]) * len(memory)
                client.set_mode(800, 600)
                viewer.wait_for_picture(Image.new('RGB', (800, 600), (colour,) * 3))
            viewer.wait_for(picture.is_black)
            assert (viewer.width, viewer.height) == (640, 480)


# Who may look

PASSWORD = 'sEcret_8'


def test_password(evidence, tmp_path):
    file = tmp_path / 'password'
    file.write_text(f'{PASSWORD}\nnot this line\n')
    file.chmod(0o600)
    with Vgpud(evidence, options=[f'--console=vnc=127.0.0.1:0,password-file={file}']) as vgpu:
        console = vgpu.show()['consoles'][1]
        assert console['password']
        port = int(console['address'].rpartition(':')[2])
        with Viewer(port, PASSWORD) as viewer:
            assert viewer.offered == {2}
            assert picture.is_black(viewer.refresh())
        with pytest.raises(Refused):
            Viewer(port)
        for wrong in ('secret_8', ''):
            with pytest.raises(Refused):
                Viewer(port, wrong)
        # The other console of the same process has none, and is not opened or closed by this one's.
        with Viewer(vgpu.vnc) as viewer:
            assert viewer.offered == {1}
        with pytest.raises(Refused):
            Viewer(vgpu.vnc, PASSWORD)
        assert PASSWORD not in vgpu.daemon.log()


def test_password_file_must_be_private(tmp_path):
    file = tmp_path / 'password'
    file.write_text('secret\n')
    file.chmod(0o644)
    arguments = [f'--socket-path={tmp_path}/vfio', '--control=none']
    for path, says in ((file, 'chmod o='), (tmp_path / 'absent', 'No such file'), (tmp_path, 'is not a file')):
        code, text = refuses([*arguments, f'--console=vnc=127.0.0.1:0,password-file={path}'])
        assert code and says in text and len(text.splitlines()) == 1


@pytest.mark.parametrize('address', ['0.0.0.0:0', '[::]:0'])
def test_beyond_loopback_only_with_a_password(evidence, tmp_path, address):
    code, text = refuses([f'--socket-path={tmp_path}/vfio', '--control=none', f'--console=vnc={address}'])
    assert code and 'password-file=FILE' in text and len(text.splitlines()) == 1
    file = tmp_path / 'password'
    file.write_text(PASSWORD)
    file.chmod(0o600)
    with Vgpud(evidence, options=[f'--console=vnc={address},password-file={file}']) as vgpu:
        port = int(vgpu.show()['consoles'][1]['address'].rpartition(':')[2])
        Viewer(port, PASSWORD).close()


# What it may not disturb

def stall(vgpu):
    """A viewer that asks and does not read: the server's thread for it is stuck in the middle of an update."""
    viewer = Viewer(vgpu.vnc)
    for _ in range(20):
        viewer.request(incremental=False)
    time.sleep(0.2)
    return viewer


def demo_rate(guest, during):
    """Frames a second of the animation while during() runs."""
    guest.agent.run('demo')
    during()
    answer = guest.agent.run('demo-stop')
    return int(answer['frames']) / (int(answer['ns']) / 1e9)


def test_stalled_viewer_stalls_nobody_else(vgpu_guest):
    guest, vgpu = vgpu_guest, vgpu_guest.vgpu

    def look(viewer):
        """For two seconds; how many updates came."""
        before, end = viewer.rectangles, time.monotonic() + 2
        viewer.wait_for(lambda _: time.monotonic() > end, 20)
        return viewer.rectangles - before

    with Viewer(vgpu.vnc) as viewer:
        rates, latencies, updates = [], [], []
        stalled = None
        for _ in range(2):
            rates.append(demo_rate(guest, lambda: updates.append(look(viewer))))
            latencies.append(int(guest.agent.run('reads', 2000)['median']) / 1e3)
            stalled = stalled or stall(vgpu)
        assert vgpu.show()['scanout']['viewers'] == 1
        assert vgpu.show()['consoles'][0]['viewers'] == 2
        stalled.close()
    report = f'frames a second {rates}, read of a register {latencies} us, updates {updates}: without and with'
    print(report)
    assert rates[1] > rates[0] / 2, report
    assert latencies[1] < latencies[0] * 2 + 50, report
    assert updates[1] > updates[0] / 2, report
    no_viewers(vgpu)


def test_end_with_a_stalled_viewer(vgpu):
    with Client(vgpu.socket) as client:
        client.negotiate().set_mode(1280, 1024)
        with stall(vgpu):
            start = time.monotonic()
            vgpu.daemon.stop(timeout=10)
            assert time.monotonic() - start < 2


def test_nothing_is_done_without_viewers(vgpu_guest):
    """An idle guest, nobody looks: no pass over the screen, no CPU time, no wake-up, in any thread."""
    vgpu = vgpu_guest.vgpu
    expected = draw(vgpu_guest, 1024, 768, 11)
    before = vgpu.show()['scanout']['scans']
    with Viewer(vgpu.vnc) as viewer:
        viewer.wait_for_picture(expected)
    no_viewers(vgpu)
    time.sleep(0.5)
    scans = vgpu.show()['scanout']['scans']
    assert scans > before
    time.sleep(0.1)
    cost = vgpu.daemon.cost()
    time.sleep(3)
    assert vgpu.daemon.cost() == cost
    assert vgpu.show()['scanout']['scans'] == scans


def test_guests_at_work_cost_no_scan_either(vgpu_guest):
    """The animation draws and flips; without a viewer nobody compares pictures."""
    vgpu = vgpu_guest.vgpu
    no_viewers(vgpu)
    scans = vgpu.show()['scanout']['scans']
    demo_rate(vgpu_guest, lambda: time.sleep(1))
    assert vgpu.show()['scanout']['scans'] == scans


def test_viewers_leave_nothing_behind(vgpu):
    files = None
    for _ in range(20):
        Viewer(vgpu.vnc).close()
    no_viewers(vgpu)
    time.sleep(0.2)
    files = os.listdir(f'/proc/{vgpu.daemon.pid}/fd')
    for _ in range(20):
        Viewer(vgpu.vnc).close()
    no_viewers(vgpu)
    vgpu.wait(lambda: len(os.listdir(f'/proc/{vgpu.daemon.pid}/fd')) == len(files), 'end of the connections')
