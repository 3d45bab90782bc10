"""vgpu-probe: our devices pass its checks, wrong ones don't, and no server makes it hang or crash."""
import errno
import json
import os
import pathlib
import select
import signal
import struct
import subprocess
import tempfile
import time

import pytest
from rig import fake_vfio_user as fake
from rig import place
from rig.daemon import environment

QUICK = '--timeout=0.3'


@pytest.fixture
def path():
    """Of a socket, which must be short."""
    place.program('vgpu-probe')
    with tempfile.TemporaryDirectory(prefix='vgpu-probe-e2e-') as directory:
        yield pathlib.Path(directory) / 'vfio'


def probe(*arguments, timeout=60, **more):
    done = subprocess.run([place.program('vgpu-probe'), *map(str, arguments)], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=timeout, check=False, env=environment(), **more)
    for sanitizer in ('Sanitizer', 'runtime error'):
        assert sanitizer not in done.stderr, done.stderr[-4000:]
    assert done.returncode in (0, 1, 2), (done.returncode, done.stderr[-2000:])
    return done


def spawn(*options, model='selftest'):
    return ['--spawn', '--', place.program('vgpud'), '--control=none', '--log-level=error', f'--model={model}',
            *options]


def results(done):
    """{name: (result, reason)} of check --json."""
    answer = json.loads(done.stdout)
    assert answer['version'] == 1
    return {c['name']: (c['result'], c['reason']) for c in answer['checks']}


# Our devices

@pytest.mark.parametrize('model,options', [
    ('bochs-display', ()), ('selftest', ()), ('selftest', ('--mmap=off',)),
    ('selftest', ('--msi=1', '--msix=1', '--aperture=16M')), ('selftest', ('--msi=0', '--msix=2048')),
], ids=lambda v: v if isinstance(v, str) else ' '.join(v) or 'plain')
def test_our_devices_pass(model, options, evidence):
    """Not even advice: what is advice to others is our own promise."""
    device = f'model={model},socket={{}}' + ''.join(',' + o.removeprefix('--') for o in options)
    done = probe('check', '--json', '--strict', '--spawn', '--', place.program('vgpud'), '--control=none',
                 '--log-level=error', f'--device={device}', timeout=110)
    (evidence / 'checks.json').write_text(done.stdout)
    (evidence / 'stderr.txt').write_text(done.stderr)
    found = results(done)
    bad = {name: r for name, r in found.items() if r[0] in ('FAIL', 'advice')}
    assert not bad and done.returncode == 0, f'{bad} {done.stderr[-2000:]}'
    assert sum(r[0] == 'ok' for r in found.values()) > (150 if model == 'selftest' else 100)
    if model == 'selftest' and not options:
        skipped = {name for name, r in found.items() if r[0] == 'skip'}
        assert skipped <= {'dma.huge-pages', 'selftest.dma-huge-pages'}
        for table in ('dma-fd', 'dma-twin', 'dma-crossing', 'msix-mask', 'doorbell-fds'):
            assert found[f'selftest.{table}'][0] == 'ok'


def test_lines():
    """One line a check, and the reason behind those that are not ok."""
    done = probe('check', '--only=info.*', *spawn(model='bochs-display'))
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert lines[0].startswith('ok     info.device ') and lines[0].endswith('(vfio-user: VFIO_USER_DEVICE_GET_INFO)')
    skipped = [i for i, line in enumerate(lines) if line.startswith('skip ')]
    assert skipped and all(lines[i + 1].startswith('       it needs ') for i in skipped)
    assert lines[-1].split()[1:4:2] == ['ok,', 'failed,']


def test_list_agrees_with_check():
    listed = {c['name'] for c in json.loads(probe('check', '--list', '--json').stdout)['checks']}
    assert listed == set(results(probe('check', '--json', *spawn(), timeout=110)))
    lines = probe('check', '--list', '--only=dma.*').stdout.splitlines()
    assert {line.split()[0] for line in lines} == {name for name in listed if name.startswith('dma.')}


def test_dump():
    text = probe('dump', *spawn()).stdout
    assert text.startswith('1234:7e57 ')
    for line in ('Region 4: Memory at 0000000000000000 (64-bit, prefetchable) [size=8 GiB] mapped',
                 'mapped: 0x4000, 32 KiB', 'MSI: enabled- vectors=32', 'table_bar=1 table_offset=0x0 pba_bar=1',
                 'Interrupts 0: INTx, 1 vectors, eventfd maskable automasked', 'Interrupt: pin A'):
        assert line in text
    answer = json.loads(probe('-x', '--json', *spawn(model='bochs-display')).stdout)
    assert answer['version'] == 1 and answer['pci']['class'] == '0x038000'
    assert [(r['name'], r['access']) for r in answer['regions']] == \
        [('BAR0', 'mapped'), ('BAR2', 'trapped'), ('config', 'trapped')]
    assert len(answer['pci']['config']) == 512 and answer['pci']['config'].startswith('34121111')


def test_bench():
    done = probe('bench', '--json', *spawn(), timeout=110)
    assert done.returncode == 0, done.stderr
    found = {b['name']: b for b in json.loads(done.stdout)['benchmarks']}
    assert set(found) == {'read-polled', 'read-blocking', 'write-polled', 'write-blocking', 'write-posted',
                          'store-mapped', 'dma-fd', 'dma-message'}
    assert all(b['value'] > 0 and b['floor'] > 0 and b['ratio'] > 0 for b in found.values())
    table = probe('bench', '--only=*-posted', *spawn(model='bochs-display')).stdout.splitlines()
    assert len(table) == 2 and table[0].split()[:4] == ['name', 'device', 'floor', 'ratio']


# The command line

@pytest.mark.parametrize('arguments,status,says', [
    ((), 2, 'say which socket'),
    (('check',), 2, 'say which socket'),
    (('/x', '/y'), 2, "what is '/y' for"),
    (('--nonsense', '/x'), 2, 'no option is called --nonsense'),
    (('dump', '--strict', '/x'), 2, 'dump takes no --strict'),
    (('--timeout=0', '/x'), 2, 'expected seconds'),
    (('--timeout=soon', '/x'), 2, 'expected seconds'),
    (('check', '--spawn'), 2, 'say what to run'),
    (('/nonexistent/socket',), 1, 'No such file'),
    (('check', QUICK, '--spawn', '--', '/nonexistent/program'), 1, 'exit status 127'),
    (('check', QUICK, '--spawn', '--', 'false'), 1, 'exit status 1'),
    (('x' * 200,), 1, 'too long'),
])
def test_usage(arguments, status, says):
    done = probe(*arguments)
    assert done.returncode == status and says in done.stderr and not done.stdout
    done = probe('--json', *arguments) if '--spawn' not in arguments else None
    if done and arguments[:1] not in (('check',), ('dump',)):
        assert says in json.loads(done.stdout)['error']['message'] and done.returncode == status


def test_unknown_check():
    done = probe('check', '--only=nothing.*', *spawn())
    assert done.returncode == 1 and "no check is called like 'nothing.*'" in done.stderr


def test_help():
    text = probe('--help').stdout
    for word in ('dump', 'check', 'bench', '--only=PATTERN', '--spawn', '--strict', '--timeout=SECONDS'):
        assert word in text


def test_completion(tmp_path):
    script = probe('--completion=bash').stdout
    ask = 'COMP_WORDS=(vgpu-probe "$1") COMP_CWORD=1; compopt() { :; }; _vgpu_probe; echo "${COMPREPLY[*]}"'
    for word, expected in (('ch', 'check'), ('--st', '--strict'), ('--on', '--only=')):
        done = subprocess.run(['bash', '-c', f'{script}\n{ask}', 'bash', word], capture_output=True, text=True,
                              check=True, cwd=tmp_path)
        assert done.stdout.split() == [expected]
    assert 'complete -c vgpu-probe -l only -x' in probe('--completion=fish').stdout
    assert probe('--completion=zsh').stdout.startswith('#compdef vgpu-probe')
    assert probe('--completion=csh').returncode == 2


def has_ended(pid):
    deadline = time.monotonic() + 10
    while pathlib.Path(f'/proc/{pid}').exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not pathlib.Path(f'/proc/{pid}').exists()


def test_interrupt_leaves_nothing(tmp_path):
    process = subprocess.Popen([place.program('vgpu-probe'), 'check', '--spawn', '--', 'sh', '-c',
                                'echo $$; exec sleep 60', '{}'], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                               env=dict(environment(), TMPDIR=os.fspath(tmp_path)), text=True)
    child = int(process.stderr.readline())
    assert list(tmp_path.iterdir())
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == -signal.SIGINT
    process.stderr.close()
    assert has_ended(child) and not list(tmp_path.iterdir())


def test_a_wrapper_leaves_nothing(tmp_path):
    """A script that does not exec its server: both end."""
    script = tmp_path / 'wrapper'
    script.write_text('#!/bin/sh\n"$@" &\necho $! > ' + f'{tmp_path}/pid\nwait\n')
    script.chmod(0o755)
    done = probe('check', '--only=info.device', '--spawn', '--', script, place.program('vgpud'), '--control=none',
                 '--log-level=error', '--model=selftest')
    assert done.returncode == 0, done.stderr
    assert has_ended((tmp_path / 'pid').read_text().strip())


# Servers that are wrong: the check that is about it says so

class WithoutEexist(fake.Server):
    def on_dma_map(self, payload, fds):
        self.maps = {}
        return super().on_dma_map(payload, fds)


class WithCutOffset(fake.Server):
    """Takes 64 bits for 32."""

    def check_access(self, payload, flag):
        offset, index, count = struct.unpack_from('<QII', payload)
        size, _, _ = self.region(index)
        if (offset + count) % (1 << 32) > size or count > size:
            raise fake.Refusal(errno.EINVAL)
        return index, offset % (1 << 32), count


class WithOtherBarSize(fake.Server):
    def power_on(self):
        super().power_on()
        struct.pack_into('<I', self.writable, 0x10, 0xffffffff & ~(2 * fake.PAGE - 1))


class WithWritableId(fake.Server):
    def power_on(self):
        super().power_on()
        self.writable[2] = 0xff


class WithStatusThatIsSet(fake.Server):
    def power_on(self):
        super().power_on()
        self.writable[7] = 0xf9


class WithoutSignal(fake.Server):
    def signal(self):
        pass


class WithLostEventfds(fake.Server):
    def on_reset(self, payload, fds):
        self.bind([])
        return super().on_reset(payload, fds)


class WithLostMaps(fake.Server):
    def on_reset(self, payload, fds):
        self.maps = {}
        return super().on_reset(payload, fds)


class WithOtherMemory(fake.Server):
    """The mapping is not what accesses reach."""

    def region(self, index):
        size, flags, fd = super().region(index)
        return size, flags, os.open('/dev/zero', os.O_RDWR) if fd else None


class WithAnyIndex(fake.Server):
    def on_region_info(self, payload, fds):
        argsz, _, index = struct.unpack_from('<III', payload)
        return super().on_region_info(struct.pack('<IIIIQQ', argsz, 0, index % 9, 0, 0, 0), fds)


class WithKeptDescriptors(fake.Server):
    def answer(self, client, id_, command, flags, payload, fds):
        super().answer(client, id_, command, flags, payload, [])


class WithRepliesToNoReply(fake.Server):
    def answer(self, client, id_, command, flags, payload, fds):
        super().answer(client, id_, command, flags & ~fake.NO_REPLY, payload, fds)


class WithServedReplies(fake.Server):
    def answer(self, client, id_, command, flags, payload, fds):
        super().answer(client, id_, command, 0, payload, fds)


class WithAnyMajor(fake.Server):
    def on_version(self, payload, fds):
        return super().on_version(b'\0\0' + payload[2:], fds)


class WithHigherMinor(fake.Server):
    def on_version(self, payload, fds):
        reply, reply_fds = super().on_version(payload, fds)
        return b'\0\0\5\0' + reply[4:], reply_fds


class WithoutEcho(fake.Server):
    def on_dma_unmap(self, payload, fds):
        super().on_dma_unmap(payload, fds)
        return b'', []


class WithPayloadInErrors(fake.Server):
    def reply(self, client, id_, command, error, payload, fds):
        if error and command != fake.IO_FDS:
            client.sendall(fake.header(id_, command, 24, fake.REPLY | fake.ERROR, error) + bytes(8))
        else:
            super().reply(client, id_, command, error, payload, fds)


class WithIdsOfItsOwn(fake.Server):
    def reply(self, client, id_, command, error, payload, fds):
        super().reply(client, id_ if id_ < 0x8000 else 0, command, error, payload, fds)


class WithoutReconnect(fake.Server):
    """Serves some clients, and is gone."""
    clients = 1

    def run(self):
        for n in range(1, self.clients + 1):
            client, _ = self.listener.accept()
            if n == self.clients:
                self.listener.close()
            self.power_on()
            with client:
                try:
                    self.talk(client)
                except (fake.Hangup, OSError):
                    pass
            self.power_off()

    def close(self):
        self.stopping.set()
        self.join(10)


DEFECTS = [
    (WithoutEexist, ['dma.overlap']),
    (WithCutOffset, ['region.bounds']),
    (WithOtherBarSize, ['config.bar-sizes']),
    (WithWritableId, ['config.read-only']),
    (WithStatusThatIsSet, ['config.status']),
    (WithoutSignal, ['irqs.loopback', 'irqs.rebind', 'reset.eventfds']),
    (WithLostEventfds, ['reset.eventfds']),
    (WithLostMaps, ['reset.maps']),
    (WithOtherMemory, ['mmap.same']),
    (WithAnyIndex, ['info.region-index']),
    (WithKeptDescriptors, ['header.surplus-fds', 'header.stray-fds']),
    (WithRepliesToNoReply, ['header.no-reply', 'header.no-reply-error']),
    (WithServedReplies, ['header.unknown-type']),
    (WithAnyMajor, ['version.major']),
    (WithHigherMinor, ['version.minor']),
    (WithoutEcho, ['dma.map', 'dma.unmap-exact']),
    (WithPayloadInErrors, ['header.unknown-command', 'region.bounds', 'info.irq-index']),
    (WithIdsOfItsOwn, ['header.id']),
]


def test_a_right_server_passes(path):
    """The fake one, so that what is found in those below is their defect."""
    with fake.Server(path):
        done = probe('check', '--json', '--timeout=2', path, timeout=110)
    bad = {name: r for name, r in results(done).items() if r[0] == 'FAIL'}
    assert not bad and done.returncode == 0, bad


@pytest.mark.parametrize('server,names', DEFECTS, ids=[server.__name__ for server, _ in DEFECTS])
def test_a_defect_is_found(path, server, names):
    with server(path):
        for name in names:
            done = probe('check', '--json', QUICK, f'--only={name}', path)
            ((_, (result, reason)),) = results(done).items()
            assert result == 'FAIL' and len(reason) > 20 and done.returncode == 1, (name, result, reason)


# Servers that are worse

class Silent(fake.Server):
    def talk(self, client):
        self.stopping.wait(60)


class Closing(fake.Server):
    def talk(self, client):
        raise fake.Hangup


class Garbage(fake.Server):
    def talk(self, client):
        client.sendall(bytes(range(256)) * 64)
        self.exactly(client, 1 << 30, [])


class Huge(fake.Server):
    size = 0xffffffff

    def talk(self, client):
        id_, command, _, _, _ = self.receive(client)
        client.sendall(fake.header(id_, command, self.size, fake.REPLY))
        self.exactly(client, 1 << 30, [])


class Tiny(Huge):
    size = 3


class HalfHeader(fake.Server):
    def reply(self, client, id_, command, error, payload, fds):
        client.sendall(fake.header(id_, command, 16 + len(payload), fake.REPLY)[:9])


class HalfReply(fake.Server):
    def reply(self, client, id_, command, error, payload, fds):
        client.sendall(fake.header(id_, command, 16 + len(payload) + 100, fake.REPLY) + payload)


class OtherId(fake.Server):
    def reply(self, client, id_, command, error, payload, fds):
        super().reply(client, id_ ^ 1, command, error, payload, fds)


class ManyDescriptors(fake.Server):
    def reply(self, client, id_, command, error, payload, fds):
        super().reply(client, id_, command, error, payload, [self.memory] * 253)


class Mute(fake.Server):
    """Never answers one command."""
    command = None

    def reply(self, client, id_, command, error, payload, fds):
        if command != self.command:
            super().reply(client, id_, command, error, payload, fds)


class Flooding(fake.Server):
    """Asks for memory for ever, and answers nothing."""
    message = fake.header(1, fake.DMA_READ, 32) + struct.pack('<QQ', 0, 16)

    def talk(self, client):
        client.setblocking(False)
        while not self.stopping.is_set():
            readable, writable, _ = select.select([client], [client], [], 0.2)
            if readable and not client.recv(65536):
                raise fake.Hangup
            if writable:
                try:
                    client.send(self.message * 64)
                except BlockingIOError:
                    pass


class FloodingWithReplies(Flooding):
    message = fake.header(1, fake.READ, 16, fake.REPLY)


class Dripping(fake.Server):
    def talk(self, client):
        while not self.stopping.wait(0.05):
            client.sendall(b'\x20')


WORSE = [Silent, Closing, Garbage, Huge, Tiny, HalfHeader, HalfReply, OtherId, ManyDescriptors, Flooding,
         FloodingWithReplies, Dripping]


@pytest.mark.parametrize('command', ['dump', 'check', 'bench'])
@pytest.mark.parametrize('server', WORSE, ids=lambda s: s.__name__)
def test_a_bad_server_is_given_up(path, server, command):
    with server(path):
        start = time.monotonic()
        done = probe(command, QUICK, path, timeout=20)
        took = time.monotonic() - start
    assert done.returncode == 1 and done.stderr.count('\n') == 1 and took < 5, (took, done.stderr)


@pytest.mark.parametrize('command', [fake.VERSION, fake.GET_INFO, fake.REGION_INFO, fake.IRQ_INFO, fake.READ])
def test_one_command_without_an_answer(path, command):
    with type('Mute', (Mute,), {'command': command})(path):
        done = probe('dump', QUICK, path, timeout=20)
    assert done.returncode == 1 and '300 ms' in done.stderr, done.stderr


@pytest.mark.parametrize('clients,failed', [(1, 0), (5, 1)])
def test_a_server_that_goes_is_given_up(path, clients, failed):
    """
    Not check by check: people are told once, and of --spawn. One that has gone after the first look at the
    device has done nothing wrong, and yet nothing was checked.
    """
    gone = type('Gone', (WithoutReconnect,), {'clients': clients})
    with gone(path):
        done = probe('check', '--json', '--timeout=2', path, timeout=20)
    found = results(done)
    assert done.returncode == 1 and json.loads(done.stdout)['ok'] is False
    assert sum(r == 'FAIL' for r, _ in found.values()) == failed
    assert found['dma.map'] == ('skip', 'the server serves nobody any more')
    path.unlink()
    with gone(path):
        done = probe('check', '--timeout=2', path, timeout=20)
    lines = done.stdout.splitlines()
    assert done.returncode == 1 and len(lines) <= 10, done.stdout
    assert 'checks were not made' in lines[-3] and '--spawn' in lines[-2]
    assert sum('cannot connect' in line for line in lines) == failed


class Sloppy(fake.Server):
    """Takes what Linux does not, and has the same map twice: nothing that the specification forbids."""

    def on_dma_map(self, payload, fds):
        _, _, _, iova, size = struct.unpack('<IIQQQ', payload)
        self.maps[iova] = size
        return b'', []


@pytest.mark.parametrize('name,expected', [('dma.flags', 'advice'), ('dma.unaligned', 'advice'), ('dma.fds', 'advice'),
                                           ('dma.empty', 'advice'), ('reset.maps', 'ok')])
def test_what_is_a_servers_own_business_is_no_failure(path, name, expected):
    with Sloppy(path):
        done = probe('check', '--json', QUICK, f'--only={name}', path)
    assert results(done)[name][0] == expected and done.returncode == 0, done.stdout


class GoesOn(fake.Server):
    """Answers a header that says less than its own size, and takes what follows for the next."""

    def receive(self, client):
        while True:
            bytes_ = self.exactly(client, 16, fds := [])
            id_, command, size, flags, _ = struct.unpack('<HHIII', bytes_)
            if size >= 16:
                return id_, command, flags, self.exactly(client, size - 16, fds), fds
            self.reply(client, id_, command, errno.EINVAL, b'', [])


def test_a_server_that_goes_on_gets_advice(path):
    with GoesOn(path):
        done = probe('check', '--json', QUICK, '--only=header.undersized', path)
    ((_, (result, reason)),) = results(done).items()
    assert result == 'advice' and "can't be trusted" in reason, (result, reason)


# Servers that lie

class Lying(fake.Server):
    """on_COMMAND's reply, with something else in its place."""
    command, offset, value = None, 0, b''

    def reply(self, client, id_, command, error, payload, fds):
        if command == self.command and not error:
            payload = payload[:self.offset] + self.value + payload[self.offset + len(self.value):]
        super().reply(client, id_, command, error, payload, fds)


def u32(*values):
    return struct.pack(f'<{len(values)}I', *values)


def sparse(next_, areas, n=None):
    """A region's size, offset, and a capability of sparse areas behind the fixed part."""
    return struct.pack('<QQ', 1 << 40, 0) + struct.pack('<HHIII', 1, 1, next_, len(areas) if n is None else n, 0) \
        + b''.join(struct.pack('<QQ', *a) for a in areas)


LIES = {
    'many regions': (fake.GET_INFO, 8, u32(0xffffffff)),
    'many interrupts': (fake.GET_INFO, 12, u32(0xffffffff)),
    'no regions': (fake.GET_INFO, 8, u32(0, 0)),
    'endless regions': (fake.REGION_INFO, 16, b'\xff' * 16),
    'regions of other indices': (fake.REGION_INFO, 8, u32(5)),
    'capabilities far away': (fake.REGION_INFO, 4, u32(15, 0, 0x7fffffff)),
    'capabilities before': (fake.REGION_INFO, 4, u32(15, 0, 4)),
    'capabilities in a loop': (fake.REGION_INFO, 4, u32(15, 0, 32) + sparse(32, [])),
    'many areas': (fake.REGION_INFO, 4, u32(15, 0, 32) + sparse(0, [(0, 4096)], 0xffffffff)),
    'areas outside': (fake.REGION_INFO, 4, u32(15, 0, 32) + sparse(0, [((1 << 64) - 4096, 8192)])),
    'areas beyond the file': (fake.REGION_INFO, 4, u32(15, 0, 32) + sparse(0, [(1 << 30, 1 << 31)])),
    'many vectors': (fake.IRQ_INFO, 12, u32(0xffffffff)),
    'all config space is ones': (fake.READ, 16, b'\xff\xff\xff\xff'),
    'all config space is a loop': (fake.READ, 16, b'\x40\x40\x40\x40'),
    'reads of other places': (fake.READ, 0, b'\x77'),
    'no JSON': (fake.VERSION, 4, b'['),
    'JSON of other types': (fake.VERSION, 4, b'{"capabilities": [], "x": "'),
}


@pytest.mark.parametrize('what', LIES)
def test_lies(path, what):
    """It may find whatever it wants, and ends."""
    command, offset, value = LIES[what]
    with type('Liar', (Lying,), {'command': command, 'offset': offset, 'value': value})(path):
        probe('dump', QUICK, path, timeout=20)
        probe('check', '--timeout=0.1', '--only=[imc]*.*', path, timeout=100)
        probe('bench', '--timeout=0.1', '--only=store*', path, timeout=20)


class ShortFile(fake.Server):
    """Says that it has more memory than its file, or has it no more once it is mapped."""
    truncated = 0

    def on_read(self, payload, fds):
        os.ftruncate(self.memory, self.truncated)
        reply, reply_fds = super().on_read(payload, fds)
        return reply.ljust(16 + struct.unpack_from('<I', payload, 12)[0], b'\0'), reply_fds


def test_memory_that_goes_away(path):
    """A touch of it is SIGBUS, which must be a finding and not the end."""
    with ShortFile(path):
        done = probe('check', '--json', QUICK, '--only=mmap.*', path)
        bench = probe('bench', '--timeout=1', '--only=store*', path)
    found = results(done)
    assert found['mmap.same'][0] == 'FAIL' and 'its file' in found['mmap.same'][1], found
    assert bench.returncode in (0, 1)
