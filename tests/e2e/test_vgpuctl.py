"""vgpuctl on vGPUs with real machines: what it prints is so, what it orders is done, what it advises works."""
import json
import os
import re
import shutil
import subprocess
import time

import pytest
from rig import pattern, picture, place
from rig.daemon import Daemon
from rig.guest import VgpuGuest
from rig.vfio_user import Client
from rig.vgpud import Vgpud
from rig.vm import Vm, vfio_user


def rows(text):
    """A table's rows as dictionaries; two blanks at least are between columns, none in a value."""
    head, *lines = text.splitlines()
    names = head.split()
    return [dict(zip(names, re.split('  +', line.strip()), strict=True)) for line in lines]


@pytest.fixture
def vgpu(evidence):
    """A vGPU without a machine."""
    with Vgpud(evidence) as made:
        yield made


# list, show

def test_list(vgpu_guest, evidence):
    """Beside the machine's vGPU: one that nobody uses, and one that has died."""
    vgpu = vgpu_guest.vgpu
    vgpu_guest.agent.run('draw', 1024, 768, 32, 'bars', 0)
    others = [Daemon(evidence / f'{name}.log', [f'--name={name}', f'--socket-path={vgpu.sockets}/{name}.vfio'],
                     vgpu.sockets) for name in ('idle', 'dead')]
    for other in others:
        other.wait_for_log('listening on')
    others[1].process.kill()
    others[1].process.wait()
    try:
        table = {row['NAME']: row for row in rows(vgpu.daemon.ctl('list'))}
        listed = json.loads(vgpu.daemon.ctl('list', '--json'))
    finally:
        others[0].stop()
        for path in vgpu.sockets.glob('dead.*'):
            path.unlink()
    assert set(table) == {vgpu.name, 'idle', 'dead'}
    assert table[vgpu.name] == {
        'NAME': vgpu.name, 'MODEL': 'bochs-display', 'CLIENT': f'pid {vgpu_guest.vm.pid}', 'SCREEN': '1024x768',
        'VIEWERS': '0', 'PID': str(vgpu.daemon.pid), 'SOCKET': str(vgpu.socket)}
    assert (table['idle']['CLIENT'], table['idle']['SCREEN']) == ('none', 'off')
    assert table['dead']['CLIENT'] == 'stale'

    assert listed['version'] == 1 and listed['directory'] == str(vgpu.sockets)
    found = {v['name']: v for v in listed['vgpus']}
    assert {name: v['state'] for name, v in found.items()} == {vgpu.name: 'running', 'idle': 'running', 'dead': 'stale'}
    (device,) = found[vgpu.name]['devices']
    assert device['client']['pid'] == vgpu_guest.vm.pid and device['scanout']['width'] == 1024


def test_show(vgpu_guest):
    vgpu = vgpu_guest.vgpu
    vgpu_guest.agent.run('draw', 800, 600, 32, 'bars', 0)
    text, device = vgpu.ctl('show'), vgpu.show()
    for expected in (f'{vgpu.name}: vgpud ', f'pid {vgpu.daemon.pid}', f'{vgpu.control}', f'{vgpu.socket}',
                     f'connected, pid {vgpu_guest.vm.pid}', 'on, 800 x 600, 32 bpp, stride 3200',
                     f'vnc unix:{vgpu.vnc}, no password, 0 viewers', '256 MiB of it shared', 'polling', 'rw mmap'):
        assert expected in text, f'{expected!r} is not in:\n{text}'
    assert device['client']['connected'] and device['faults'] == 0
    assert device['dma']['maps'] > 0
    regions = {r['index']: r for r in device['regions']}
    assert (regions[0]['size'], regions[0]['flags']) == (16 << 20, ['read', 'write', 'mmap'])
    assert (regions[2]['size'], regions[2]['flags']) == (4096, ['read', 'write'])
    latency = regions[2]['latency_ns']
    assert 0 < latency['p50'] <= latency['p90'] <= latency['p99'] <= latency['max']


def test_memory_is_shared(vgpu_guest):
    """All of the guest's memory came with a file; firmware and what else has none is not memory."""
    dma = vgpu_guest.vgpu.show()['dma']
    assert 256 << 20 <= dma['mapped_bytes'] <= dma['bytes']


def interface_types():
    """The types of the interface description: {type: {member: its type}}."""
    source = (place.TREE / 'src/control/org.vgpud.Control.varlink').read_text(encoding='utf-8')
    source = re.sub('#.*', '', source)
    types = dict(re.findall(r'^type (\w+) \(([^)]*)\)', source, re.M))
    types['Show'] = re.search(r'^method Show\(\) -> \(([^)]*)\)', source, re.M)[1]
    return {name: dict(re.findall(r'(\w+): (\S+?),?\s*$', body, re.M)) for name, body in types.items()}


def assert_described(value, kind, types, where):
    """That a value is of a type of the interface, which knows every member of it."""
    if kind.startswith('?'):
        if value is None:
            return
        kind = kind[1:]
    if kind.startswith('[]'):
        for i, element in enumerate(value):
            assert_described(element, kind[2:], types, f'{where}[{i}]')
    elif kind in types:
        known = types[kind]
        assert set(value) <= set(known), f'{where} has what {kind} does not: {set(value) - set(known)}'
        for member, its_kind in known.items():
            assert member in value or its_kind.startswith('?'), f'{where}.{member} is missing'
            assert_described(value.get(member), its_kind, types, f'{where}.{member}')
    else:
        basic = {'int': int, 'float': (int, float), 'string': str, 'bool': bool, 'object': dict}[kind]
        assert isinstance(value, basic), f'{where} is {value!r}, not {kind}'


def test_interface_description_is_true(vgpu_guest):
    """What a real vGPU answers is what org.vgpud.Control says, no more and no less."""
    assert_described(vgpu_guest.vgpu.daemon.show(vgpu_guest.vgpu.name), 'Show', interface_types(), 'Show')


# hash, screenshot

def test_hash_and_screenshot(vgpu_guest, evidence):
    vgpu = vgpu_guest.vgpu
    vgpu_guest.agent.run('draw', 800, 600, 32, 'noise', 3)
    digits, size = vgpu.ctl('hash').split()
    assert re.fullmatch('[0-9a-f]{16}', digits) and size == '800x600'
    as_json = json.loads(vgpu.ctl('hash', '--json'))
    assert (as_json['hash'], as_json['width'], as_json['height'], as_json['state']) == (digits, 800, 600, 'on')

    path = evidence / 'screen.png'
    assert digits in vgpu.ctl('screenshot', path)
    picture.assert_same(picture.load(path), pattern.picture('noise', 800, 600, 3), evidence)
    about = json.loads(vgpu.ctl('screenshot', evidence / 'json.png', '--json'))
    assert (about['hash'], about['file']) == (digits, str(evidence / 'json.png'))
    assert about['size'] == (evidence / 'json.png').stat().st_size
    done = subprocess.run(vgpu.daemon.ctl_command('screenshot', vgpu.name, '-'), capture_output=True, check=True,
                          timeout=20, env=vgpu.daemon.environment)
    assert done.stdout == path.read_bytes()
    subprocess.run(vgpu.daemon.ctl_command('screenshot', vgpu.name), check=True, timeout=20, cwd=evidence,
                   capture_output=True, env=vgpu.daemon.environment)
    assert (evidence / f'{vgpu.name}.png').read_bytes() == path.read_bytes()


def test_hash_is_of_size_and_colours(vgpu):
    with Client(vgpu.socket) as client:
        memory = client.negotiate().vram()
        hashes = {}
        for name, dot, size in (('black', b'\0\0\0\0', (640, 480)), ('junk', b'\0\0\0\xff', (640, 480)),
                                ('larger', b'\0\0\0\0', (800, 600)), ('blue', b'\xff\0\0\0', (640, 480)),
                                ('red', b'\0\0\xff\0', (640, 480))):
            memory[:] = dot * (len(memory) // 4)
            client.set_mode(*size)
            hashes[name] = vgpu.hash()
        assert hashes.pop('junk') == hashes['black']
        assert len(set(hashes.values())) == len(hashes)
    vgpu.wait(lambda: not vgpu.connected(), 'disconnect')
    assert vgpu.hash() == hashes['black']  # of a screen that is off


# reset, events

class Events:
    """vgpuctl events while something happens."""

    def __init__(self, vgpu, *options):
        self._process = subprocess.Popen(vgpu.daemon.ctl_command('events', vgpu.name, '--json', *options),
                                         stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                         env=vgpu.daemon.environment)
        assert self.next()['event'] == 'ready'

    def next(self):
        line = self._process.stdout.readline()
        assert line, 'vgpuctl has ended'
        return json.loads(line)

    def until(self, name, **data):
        """The events up to the first of this name with these data."""
        events = []
        while not events or events[-1]['event'] != name or \
                any(events[-1]['data'].get(k) != v for k, v in data.items()):
            events.append(self.next())
        return events

    def close(self):
        self._process.kill()
        self._process.communicate()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def test_events_of_a_machine(vgpu, evidence):
    with Events(vgpu) as events:
        with VgpuGuest(evidence, vgpu) as guest:
            (connected,) = events.until('connected')
            assert connected['device'] == 'gpu0' and connected['data'] == {'pid': guest.vm.pid}
            assert re.fullmatch(r'\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z', connected['time'])
            guest.agent.run('draw', 1024, 768, 32, 'bars', 0)
            before = events.until('screen', state='on', width=1024, height=768)
            assert 'reset' in [e['event'] for e in before]
            guest.agent.run('blank', 'on')
            events.until('screen', state='blanked')
            guest.agent.run('blank', 'off')
            events.until('screen', state='on')

            resets = vgpu.show()['resets']
            assert json.loads(vgpu.ctl('reset', '--json'))['device'] == 'gpu0'
            assert {e['event'] for e in events.until('reset')} <= {'screen', 'reset'}
            assert vgpu.show()['resets'] == resets + 1
            assert vgpu.show()['scanout']['state'] == 'off'
            guest.vm.kill()
            events.until('disconnected')


def test_events_as_lines(vgpu):
    command = vgpu.daemon.ctl_command('events', vgpu.name, '--count=3', '--timeout=20')
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                               env=vgpu.daemon.environment)
    with Events(vgpu):  # whoever asks later is ready later
        time.sleep(0.3)
    with Client(vgpu.socket) as client:
        client.negotiate().set_mode(640, 480)
    lines = [line.split(maxsplit=3) for line in process.communicate(timeout=20)[0].splitlines()]
    assert process.returncode == 0
    assert [line[1:3] for line in lines] == [['gpu0', 'connected'], ['gpu0', 'screen'], ['gpu0', 'screen']] or \
           [line[1:3] for line in lines] == [['gpu0', 'connected'], ['gpu0', 'screen'], ['gpu0', 'reset']]
    assert lines[0][3] == f'pid={os.getpid()}'
    assert 'state=on width=640 height=480' in lines[1][3]


# qemu-args, doctor

def doctor(vgpu, *options, status):
    """What doctor found: the checks as JSON, after a look at the text, which says the same."""
    text = vgpu.ctl('doctor', *options, status=status)
    found = json.loads(vgpu.ctl('doctor', *options, '--json', status=status))
    assert found['version'] == 1 and found['ok'] == (status == 0)
    assert len(text.splitlines()) == len(found['checks'])
    for check in found['checks']:
        assert check['message'] in text and (check['fix'] or '') in text
    return found['checks']


def problems(checks):
    return [c for c in checks if c['result'] == 'problem']


def qemu():
    return f'--qemu={place.script("qemu-root")}'


def test_qemu_args_boot_a_guest(vgpu, evidence):
    """Verbatim, in a shell, with a kernel after them; and then doctor has nothing to say against it."""
    printed = vgpu.ctl('qemu-args')
    as_json = json.loads(vgpu.ctl('qemu-args', '--json'))
    words = subprocess.run(['sh', '-c', f'printf "%s\\n" {printed}'], capture_output=True, text=True, check=True)
    assert words.stdout.splitlines() == as_json['args']
    with Vm(evidence, printed=printed) as vm:
        vm.agent.wait_ready()
        vm.agent.run('draw', 1024, 768, 32, 'noise', 21)
        vgpu.screenshot(evidence / 'screen.png')
        picture.assert_same(picture.load(evidence / 'screen.png'), pattern.picture('noise', 1024, 768, 21), evidence)
        dma = vgpu.show()['dma']
        assert dma['mapped_bytes'] >= 1 << 30

        checks = doctor(vgpu, qemu(), status=0)
        assert problems(checks) == []
        assert [c['check'] for c in checks if c['result'] == 'warning'] in ([], ['kvm'])
        said = ' '.join(c['message'] for c in checks)
        for expected in ('has vfio-user-pci', 'can be connected to', f'process {vm.pid} shares its memory'):
            assert expected in said


def test_doctor_before_a_machine_runs(vgpu):
    checks = doctor(vgpu, qemu(), status=0)
    assert 'no VMM is connected' in [c['message'] for c in checks]


@pytest.mark.parametrize('memory,says', [
    (['-machine', 'q35,memory-backend=ram', '-object', 'memory-backend-memfd,id=ram,size=256M,share=off'],
     'without share=on'),
    (['-machine', 'q35'], 'no shared memory backend'),
], ids=['share-off', 'anonymous'])
def test_doctor_finds_memory_that_is_not_shared(vgpu, evidence, memory, says):
    with Vm(evidence, vfio_user(vgpu.socket), guest=None, memory=memory) as vm:
        vgpu.wait(lambda: vgpu.show()['dma']['maps'] > 0, 'memory of the machine')
        found = problems(doctor(vgpu, qemu(), status=1))
        assert found and all('share=on' in c['fix'] and 'qemu-args' in c['fix'] for c in found)
        assert any(says in c['message'] and str(vm.pid) in c['message'] for c in found)


def test_doctor_finds_a_second_display(vgpu, evidence):
    """A warning only: it may be wanted."""
    with Vm(evidence, [*vfio_user(vgpu.socket), '-vga', 'std'], guest=None):
        vgpu.wait(lambda: vgpu.show()['dma']['maps'] > 0, 'memory of the machine')
        checks = doctor(vgpu, qemu(), status=0)
    assert ['add -vga none'] == [c['fix'] for c in checks if 'second display' in c['message']]


def stub(path, version, devices):
    path.write_text('#!/bin/sh\n'
                    f'case $1 in --version) echo "QEMU emulator version {version} (Debian)" ;;\n'
                    f'-device) echo \'{devices}\' ;; *) exit 1 ;; esac\n')
    path.chmod(0o755)
    return path


def test_doctor_finds_an_old_qemu(vgpu, evidence):
    old = stub(evidence / 'qemu-system-x86_64', '7.2.15', 'name "bochs-display", bus PCI')
    (found,) = problems(doctor(vgpu, f'--qemu={old}', status=1))
    assert '7.2.15' in found['message'] and 'has no vfio-user-pci' in found['message']
    assert 'QEMU 10.1 or newer' in found['fix']
    (found,) = problems(doctor(vgpu, f'--qemu={evidence}/absent', status=1))
    assert 'cannot run' in found['message']
    new = stub(evidence / 'qemu-system-x86_64', '11.1.0', 'name "vfio-user-pci", bus PCI')
    assert problems(doctor(vgpu, f'--qemu={new}', status=0)) == []


def test_doctor_finds_a_missing_socket(vgpu):
    vgpu.socket.unlink()
    (found,) = problems(doctor(vgpu, qemu(), status=1))
    assert str(vgpu.socket) in found['message'] and 'start vgpud again' in found['fix']
    vgpu.socket.write_text('no socket')
    (found,) = problems(doctor(vgpu, qemu(), status=1))
    assert 'is not a socket' in found['message'] and 'remove the file' in found['fix']


def test_doctor_without_its_vgpu(vgpu):
    done = subprocess.run(vgpu.daemon.ctl_command('doctor', 'other', qemu()), capture_output=True, text=True,
                          timeout=40, check=False, env=vgpu.daemon.environment)
    assert done.returncode == 1 and 'no vGPU is called other' in done.stderr


NOBODY = 65534


def test_doctor_finds_wrong_permissions(vgpu, evidence):
    """As a user who may ask, but not attach."""
    usable = stub(vgpu.sockets / 'qemu-system-x86_64', '11.1.0', 'name "vfio-user-pci", bus PCI')
    vgpu.sockets.chmod(0o755)
    vgpu.control.chmod(0o666)
    vgpu.socket.chmod(0)
    more = {}
    command = vgpu.daemon.ctl_command('doctor', vgpu.name, f'--qemu={usable}', '--json')
    if os.getuid() == 0:
        more = {'user': NOBODY, 'group': NOBODY, 'extra_groups': []}
        # Another user may not get to where it was built.
        command[0] = shutil.copy(command[0], vgpu.sockets / 'vgpuctl')
    done = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False,
                          env=vgpu.daemon.environment, **more)
    (evidence / 'doctor.json').write_text(done.stdout + done.stderr)
    assert done.returncode == 1
    (found,) = problems(json.loads(done.stdout)['checks'])
    assert f'may not connect to {vgpu.socket}' in found['message']
    assert 'user of the socket' in found['fix']
