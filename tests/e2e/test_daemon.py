"""The daemon itself: command line, sockets, clients, its end. No guest."""
import json
import os
import re
import resource
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time

import pytest
from rig import launcher, place
from rig.daemon import answers, environment, is_listening, refuses
from rig.vfio_user import BAR0, Client
from rig.vnc import Viewer

NAME = launcher.NAME


def run(*arguments):
    return subprocess.run([place.program('vgpud'), *arguments], stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=20, check=False)


def one_sentence(text):
    """A refusal is one line that begins with who speaks."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    assert re.match(r'[A-Za-z0-9._-]+: (error: )?\S', lines[0])
    return lines[0]


# The command line

def test_help():
    done = run('--help')
    assert (done.returncode, done.stderr) == (0, '')
    for word in ('--socket-path=PATH', '--device=', '--console=', 'bochs-display', 'vram=SIZE', 'vnc=', 'vgpud(1)'):
        assert word in done.stdout


def test_version():
    done = run('--version')
    assert (done.returncode, done.stderr) == (0, '')
    assert re.fullmatch(r'vgpud \d+\.\d+\.\d+\S*\n', done.stdout)


def test_capabilities():
    done = run('--print-capabilities')
    assert (done.returncode, done.stderr) == (0, '')
    found = json.loads(done.stdout)
    assert found['version'] == 1 and found['vgpud'] in run('--version').stdout
    assert 'vnc' in found['consoles']
    in_help = run('--help').stdout
    models = {m['name']: {o['name']: o for o in m['options']} for m in found['models']}
    assert set(models['bochs-display']) == {'vram', 'rom', 'xres', 'yres'}
    for name, options in models.items():
        assert f'\n  {name}: ' in in_help
        for key, option in options.items():
            assert f'{key}={option["value"]}: ' in in_help and option['help']
    assert set(re.findall(r'^  --([a-z-]+)', in_help, re.M)) == {*found['options'], 'help', 'version', 'print-capabilities'}


@pytest.mark.parametrize('option', ['--help', '--version', '--print-capabilities'])
def test_output_that_cannot_be_written(option):
    with open('/dev/full', 'w', encoding='utf-8') as full:
        done = subprocess.run([place.program('vgpud'), option], stdin=subprocess.DEVNULL, stdout=full,
                              stderr=subprocess.PIPE, text=True, timeout=20, check=False)
    assert done.returncode == 1 and 'No space left' in done.stderr


USAGE = [
    # arguments, what the sentence says
    ([], 'nothing to serve'),
    (['--sokcet-path=/x'], 'no option --sokcet-path=/x'),
    (['-v'], 'no option -v'),
    (['--help=yes'], '--help takes no value'),
    (['--socket-path'], 'expected a value'),
    (['vfio.sock'], 'unexpected argument "vfio.sock"'),
    (['--device=socket=/x'], 'no model='),
    (['--device=bochs-display'], 'KEY=VALUE'),
    (['--device=model=bochs-display,socket=/x', '--vram=16M'], '--device='),
    (['--device=model=bochs-display,socket=/x,id=..'], 'an id is'),
    (['--device=model=bochs-display,socket=/x,id=a', '--device=model=bochs-display,socket=/y,id=a'],
     'two devices are called a'),
    (['--device=model=bochs-display,socket=/x,id=gpu1', '--device=model=bochs-display,socket=/y'],
     'two devices are called gpu1'),
    (['--fd=first'], 'number of an open descriptor'),
    (['--fd=1'], '3 or more'),
    (['--socket-path=/x', '--name=a/b'], 'a name is'),
    (['--socket-path=/x', '--name=-a'], 'a name is'),
    (['--socket-path=/x', '--poll-us=-1'], '"auto" or 0 to'),
    (['--socket-path=/x', '--log-level=loud'], 'error, warning, info or debug'),
    (['--socket-path=/x', '--model=tnt2'], 'choose one of: bochs-display'),
    (['--device=model=bochs-display,socket=/x,vrm=16M'], 'it has: vram, rom'),
    (['--socket-path=/x', '--vram=lots'], 'vram=lots: expected a size from 4M to 256M'),
    (['--socket-path=/x', '--vram=512M'], 'from 4M to 256M'),
    (['--socket-path=/x', '--vram=24M'], 'power of two'),
    (['--device=model=bochs-display,socket=/x,xres=0'], 'xres=0: expected a number'),
    (['--model=bochs-display'], 'no socket was passed'),
    (['--socket-path='], 'needs a path'),
]


@pytest.mark.parametrize('arguments,says', USAGE, ids=[' '.join(a) or 'nothing' for a, _ in USAGE])
def test_usage(arguments, says):
    code, text = refuses(['--control=none', *arguments] if arguments else [])
    assert says in one_sentence(text)
    assert code == 2


CONSOLES = [
    ('spice=1', 'the kinds are: vnc'),
    ('vnc', 'KIND=ADDRESS'),
    ('vnc=127.0.0.1:5901,passwd=x', 'password-file'),
    ('vnc=example.org:1', 'is no address'),
]


@pytest.mark.parametrize('console,says', CONSOLES, ids=[c for c, _ in CONSOLES])
def test_console_usage(vfio, console, says):
    code, text = refuses([f'--socket-path={vfio}', '--control=none', f'--console={console}'])
    assert says in one_sentence(text)
    assert code == 2
    assert not vfio.exists()


@pytest.mark.parametrize('address', ['0.0.0.0:0', '[::]:0'])
def test_open_console_without_password(vfio, address):
    code, text = refuses([f'--socket-path={vfio}', '--control=none', f'--console=vnc={address}'])
    assert 'password-file=FILE' in one_sentence(text) and address in text
    assert code == 2


def test_rom(sockets, vfio):
    empty, wrong = sockets / 'empty.rom', sockets / 'wrong.rom'
    empty.touch()
    wrong.write_bytes(bytes(2048))
    for rom, says in ((sockets / 'absent.rom', 'No such file'), (empty, 'no option ROM'), (wrong, '55 AA'),
                      (sockets, 'no option ROM')):
        code, text = refuses([f'--socket-path={vfio}', '--control=none', f'--rom={rom}'])
        assert code == 1
        assert says in one_sentence(text) and str(rom) in text


def test_memory_beyond_a_limit(vfio):
    """SIGXFSZ would end it without a word."""
    done = subprocess.run([place.program('vgpud'), f'--socket-path={vfio}', '--control=none', '--model=selftest'],
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20, check=False,
                          preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30)))
    assert done.returncode == 1 and 'BAR 4 of 8192 MiB' in one_sentence(done.stderr)


# Sockets

def test_commas_are_doubled(sockets, launch):
    path = sockets / 'a,b'
    daemon = launch(f'--device=model=bochs-display,socket={sockets}/a,,b,vram=8M', listening=False)
    daemon.wait_for_log('listening on')
    assert daemon.show(NAME)['devices'][0]['socket'] == str(path)
    daemon.stop()
    assert not path.exists()


def test_regular_file_in_the_way(vfio):
    vfio.write_text('precious')
    code, text = refuses([f'--socket-path={vfio}', '--control=none'])
    assert code == 1 and 'not a socket' in one_sentence(text)
    assert vfio.read_text() == 'precious'


@pytest.mark.parametrize('options', [[], ['--exit-on-disconnect']], ids=['plain', 'exit-on-disconnect'])
def test_socket_in_use(vfio, launch, options):
    """The daemon that has it notices nothing, not even if it would end after its first client."""
    first = launch(*options)
    for _ in range(5):
        code, text = refuses([f'--socket-path={vfio}', '--control=none'])
        assert code == 1 and 'somebody serves' in one_sentence(text)
    assert first.show(NAME)['devices'][0]['client']['connections'] == 0
    with Client(vfio) as client:
        client.negotiate()
        code, _ = refuses([f'--socket-path={vfio}', '--control=none'])
        assert code == 1
        assert client.region(BAR0)[0] == 16 << 20
        assert first.show(NAME)['devices'][0]['client']['connections'] == 1
        if not options:
            first.stop()


def test_stale_socket(vfio, launch):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(os.fspath(vfio))
    daemon = launch()
    with Client(vfio) as client:
        client.negotiate()
    daemon.stop()


def test_killed_daemon_is_followed(vfio, launch):
    """All of its sockets are taken over."""
    console = vfio.parent / 'vnc'
    first = launch(f'--console=vnc=unix:{console}')
    first.process.kill()
    first.process.wait()
    assert vfio.exists() and console.exists()
    launch(f'--console=vnc=unix:{console}').stop()
    assert list(vfio.parent.iterdir()) == []


def test_path_too_long(sockets):
    path = sockets / ('x' * 110)
    code, text = refuses([f'--socket-path={path}', '--control=none'])
    assert code == 2 and 'at most 107 bytes' in one_sentence(text)


def test_directory_missing(sockets):
    code, text = refuses([f'--socket-path={sockets}/none/vfio', '--control=none'])
    assert code == 1 and 'does not exist' in one_sentence(text)


def test_socket_is_private_and_removed(sockets, vfio, launch):
    daemon = launch(f'--console=vnc=unix:{sockets}/vnc')
    for path in (vfio, sockets / f'{NAME}.ctl', sockets / 'vnc'):
        assert stat.S_ISSOCK(path.stat().st_mode) and path.stat().st_mode & 0o777 == 0o600
    daemon.stop()
    assert list(sockets.iterdir()) == []


def test_replaced_socket_is_left_alone(sockets, vfio, launch):
    paths = [vfio, sockets / f'{NAME}.ctl', sockets / 'vnc']
    daemon = launch(f'--console=vnc=unix:{sockets}/vnc')
    for path in paths:
        path.rename(f'{path}.gone')  # so that its inode is not used again
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(os.fspath(path))
    daemon.stop()
    assert all(path.exists() for path in paths)


def test_relative_path_is_found_from_elsewhere(sockets, launch):
    """What vgpuctl says works in any directory."""
    daemon = launch('--socket-path=relative', listening=False, cwd=sockets)
    daemon.wait_for_log('listening on')
    assert daemon.show(NAME)['devices'][0]['socket'] == str((sockets / 'relative').resolve())
    daemon.stop()
    assert not (sockets / 'relative').exists()


# Clients

def test_two_devices(sockets, launch):
    """One process, two devices: each has its client, its id and its console."""
    daemon = launch(*(word for i, size in enumerate((8, 32)) for word in (
        f'--device=model=bochs-display,socket={sockets}/vfio{i},vram={size}M' + (',id=second' if i else ''),
        f'--console=vnc=unix:{sockets}/vnc{i}')), listening=False)
    daemon.wait_for_log(f'listening on {sockets}/vfio1')
    with Client(sockets / 'vfio0') as first, Client(sockets / 'vfio1') as second:
        for client, size in ((first, 8), (second, 32)):
            assert client.negotiate().region(BAR0)[0] == size << 20
        second.set_mode(800, 600)
        assert (first.mode(), second.mode()) == ((0, 0), (800, 600))
        devices = daemon.show(NAME)['devices']
        assert [d['id'] for d in devices] == ['gpu0', 'second']
        assert [d['consoles'][0]['address'] for d in devices] == [f'unix:{sockets}/vnc{i}' for i in (0, 1)]
        assert [d['scanout']['state'] for d in devices] == ['off', 'on']
        for i, (device, size) in enumerate((('gpu0', (640, 480)), ('second', (800, 600)))):
            with Viewer(sockets / f'vnc{i}') as viewer:
                assert viewer.title == f'{NAME}/{device}' and viewer.refresh().size == size
            assert f'{NAME}: {device}: a client has connected' in daemon.log()
        (only,) = daemon.show(f'{NAME}/second')['devices']
        assert only['id'] == 'second'
        first.close()
        daemon.wait(lambda: not daemon.show(NAME)['devices'][0]['client']['connected'], 'disconnect')
        assert second.mode() == (800, 600)
    daemon.stop()


def test_waiting_client_is_told_of(vfio, launch):
    daemon = launch()
    with Client(vfio), Client(vfio):
        daemon.wait_for_log(f'another client waits until process {os.getpid()} has disconnected')


def test_reconnecting_fills_no_log(vfio, launch):
    daemon = launch()
    for _ in range(300):
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(vfio))
    assert len(daemon.log().splitlines()) < 60


def test_no_descriptor_left(vfio, launch):
    """A client that can't be accepted stays in the queue; that must not keep us busy."""
    daemon = launch()
    own = len(os.listdir(f'/proc/{daemon.pid}/fd'))
    subprocess.run(['prlimit', f'--pid={daemon.pid}', f'--nofile={own}:'], check=True)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(vfio))
        daemon.wait_for_log("a client can't be accepted")
        before = daemon.cost()
        time.sleep(1)
        after = daemon.cost()
        assert after[0] - before[0] < 20
        subprocess.run(['prlimit', f'--pid={daemon.pid}', '--nofile=1000:'], check=True)
        daemon.wait_for_log('a client has connected')
    daemon.stop()


def test_no_place_for_the_control_socket(vfio, launch):
    """Nobody asked for one."""
    daemon = launch(environ={'VGPUD_RUNTIME_DIR': '/proc/nowhere'})
    assert 'no control socket' in daemon.log()
    with Client(vfio) as client:
        client.negotiate()


def test_second_client_waits(vfio, launch):
    daemon = launch()
    with Client(vfio) as first, Client(vfio) as second:
        first.negotiate().set_mode(640, 480)
        second.send_version()
        second.socket.settimeout(0.4)
        with pytest.raises(TimeoutError):
            second.receive()
        assert first.mode() == (640, 480)
        first.close()
        second.socket.settimeout(10)
        second.receive()
        assert second.mode() == (0, 0)
    daemon.stop()


@pytest.mark.parametrize('keep', [False, True], ids=['power-on', 'keep-state'])
def test_what_the_next_client_finds(vfio, launch, keep):
    daemon = launch(*(['--keep-state'] if keep else []))
    with Client(vfio) as first:
        memory = first.negotiate().vram()
        memory[:] = b'\xa5' * len(memory)
        first.set_mode(800, 600)
    with Client(vfio) as second:
        memory = second.negotiate().vram()
        assert memory[:] == (b'\xa5' if keep else b'\0') * len(memory)
        assert second.mode() == ((800, 600) if keep else (0, 0))
        assert second.read(BAR0, 1 << 20, 4) == memory[1 << 20:(1 << 20) + 4]
    daemon.stop()


def test_memory_of_the_last_client_is_its_own(vfio, launch):
    """Who keeps the aperture mapped after leaving sees and changes nothing of the next client's."""
    daemon = launch()
    with Client(vfio) as first:
        old = first.negotiate().vram()
    with Client(vfio) as second:
        new = second.negotiate().vram()
        new[:4] = b'mine'
        assert old[:4] == b'\0\0\0\0'
        old[:4] = b'evil'
        assert new[:4] == b'mine' == second.read(BAR0, 0, 4)
    daemon.stop()


def test_exit_on_disconnect(vfio, launch):
    daemon = launch('--exit-on-disconnect')
    with Client(vfio) as client:
        client.negotiate()
        assert daemon.is_running()
    assert daemon.ends() == 0
    assert not vfio.exists()


def test_many_clients_in_a_row(vfio, launch):
    """Some leave before they are noticed, some in the middle of a message; nothing is left of any."""
    daemon = launch()
    with Client(vfio) as client:
        client.negotiate()
    daemon.wait(lambda: not daemon.show(NAME)['devices'][0]['client']['connected'], 'disconnect')
    files = len(os.listdir(f'/proc/{daemon.pid}/fd'))
    for i in range(60):
        with Client(vfio) as client:
            if i % 3 == 1:
                client.send_version()
            elif i % 3 == 2:
                client.negotiate().vram()
                client.socket.sendall(b'half')
    daemon.wait(lambda: not daemon.show(NAME)['devices'][0]['client']['connected'], 'disconnect')
    assert len(os.listdir(f'/proc/{daemon.pid}/fd')) <= files  # vgpuctl may not have been gone at the first count
    daemon.stop()


def test_listens_again_after_garbage(vfio, launch):
    daemon = launch()
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as peer:
            peer.connect(os.fspath(vfio))
            peer.sendall(b'GET / HTTP/1.0\r\n\r\n')
            peer.settimeout(10)
            try:
                assert peer.recv(16) == b''
            except ConnectionResetError:
                pass
    with Client(vfio) as client:
        client.negotiate()
    daemon.stop()


# Its end, and what is around it

@pytest.mark.parametrize('with_signal', [signal.SIGTERM, signal.SIGINT], ids=['TERM', 'INT'])
def test_signal_while_a_client_is_connected(vfio, launch, with_signal):
    daemon = launch()
    with Client(vfio) as client:
        client.negotiate().set_mode(640, 480)
        daemon.stop(with_signal, timeout=2)
        assert client.closed_by_server()
    assert not vfio.exists()


def test_stays_in_the_foreground(vfio, launch):
    daemon = launch()
    assert daemon.show(NAME)['pid'] == daemon.pid
    assert os.getsid(daemon.pid) == os.getsid(0)
    assert os.readlink(f'/proc/{daemon.pid}/fd/2').endswith('vgpud.log')
    daemon.stop()


def test_log_does_not_end_in_a_socket(sockets, vfio, launch):
    """Started without standard files, as by a careless parent."""
    daemon = launch(f'--socket-path={vfio}', '--log-level=debug', listening=False,
                    prefix=['sh', '-c', 'exec "$@" <&- >&- 2>&-', 'sh'])
    daemon.wait(lambda: is_listening(vfio), 'socket')
    with Client(vfio) as client:
        client.negotiate().set_mode(640, 480)
        assert client.mode() == (640, 480)
        with pytest.raises(OSError):
            client.call(99)
        assert client.mode() == (640, 480)
        assert {os.readlink(f'/proc/{daemon.pid}/fd/{fd}') for fd in range(3)} == {'/dev/null'}
    daemon.stop()


def test_log_lines_carry_the_name(vfio, launch):
    daemon = launch('--log-level=debug', name='labelled')
    with Client(vfio) as client:
        client.negotiate().set_mode(640, 480)
        with pytest.raises(OSError):
            client.call(99)
    daemon.wait_for_log('disconnected')
    daemon.stop()
    assert [line for line in daemon.log().splitlines() if not line.startswith('labelled: ')] == []


def test_nothing_is_injected(sockets, launch):
    """Neither into the log nor into what a wrong command line is told."""
    evil = 'x\n\x1b[2J\x9b1m\x7f'
    code, text = refuses([f'--log-level={evil}'])
    assert code == 2
    others = [text, refuses([f'--{evil}'])[1], refuses([evil])[1],
              refuses([f'--device=model=bochs-display,id={evil}'])[1]]
    daemon = launch(f'--socket-path={sockets}/{evil}', listening=False)
    daemon.wait_for_log('listening on')
    daemon.stop()
    for text in (*others, daemon.log()):
        assert not re.search('[\x00-\x09\x0b-\x1f\x7f-\x9f]', text)
        one_sentence('\n'.join(line for line in text.splitlines() if 'x?' in line))


def test_journal_prefix(launch):
    """Under systemd each line begins with its priority."""
    daemon = launch(environ={'JOURNAL_STREAM': '1:1'})
    daemon.stop()
    assert all(re.match('<[3467]>one: ', line) for line in daemon.log().splitlines())


# Descriptors that are handed over

def listener(path):
    made = socket.socket(socket.AF_UNIX)
    made.bind(os.fspath(path))
    made.listen(2)
    return made


def test_listening_descriptor(sockets, launch):
    path = sockets / 'handed'
    with listener(path) as handed:
        daemon = launch(f'--fd={handed.fileno()}', listening=False, pass_fds=[handed.fileno()])
        for _ in range(2):
            with Client(path) as client:
                client.negotiate()
        assert daemon.show(NAME)['devices'][0]['socket'] == str(path)
        daemon.stop()
        assert path.exists()  # it is not ours


def test_connected_descriptor(launch):
    ours, theirs = socket.socketpair()
    with theirs:
        daemon = launch(f'--fd={theirs.fileno()}', listening=False, pass_fds=[theirs.fileno()])
    with Client(ours) as client:
        client.negotiate().set_mode(640, 480)
        state = daemon.show(NAME)['devices'][0]
        assert state['client']['connected'] and state['socket'] is None
    assert daemon.ends() == 0


@pytest.mark.parametrize('kind', ['closed', 'file', 'inet', 'datagram'])
def test_wrong_descriptor(kind):
    made = {'closed': lambda: socket.socket(socket.AF_UNIX), 'file': tempfile.TemporaryFile,
            'inet': socket.socket, 'datagram': lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)}[kind]
    with made() as wrong:
        fds = [] if kind == 'closed' else [wrong.fileno()]
        code, text = refuses([f'--fd={wrong.fileno()}', '--control=none'], pass_fds=fds)
    if kind == 'closed':
        assert code == 2 and 'no open descriptor of that number' in one_sentence(text)
    else:
        assert code == 1 and 'is not a UNIX stream socket' in one_sentence(text)


def test_descriptor_for_two(vfio):
    with socket.socket(socket.AF_UNIX) as theirs:
        fd = theirs.fileno()
        device = f'--device=model=bochs-display,fd={fd}'
        for options, says in (([f'--socket-path={vfio}', f'--fd={fd}'], 'not on both'),
                              ([device, device], 'two devices can\'t be served on descriptor')):
            code, text = refuses([*options, '--control=none'], pass_fds=[fd])
            assert code == 2 and says in one_sentence(text)


# As systemd does it: descriptors from 3 on, and LISTEN_PID, which is known only in the process itself.
ACTIVATE = '''
import fcntl, os, sys
copies = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[1].split(',')]
for target, copy in enumerate(copies, 3):
    os.dup2(copy, target)
os.environ['LISTEN_PID'] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
'''


def activation(**named):
    """The keywords for launch() that hand over listening sockets of these names."""
    fds = [s.fileno() for s in named.values()]
    return {'environ': {'LISTEN_FDS': len(fds), 'LISTEN_FDNAMES': ':'.join(named)}, 'pass_fds': fds,
            'prefix': [sys.executable, '-c', ACTIVATE, ','.join(map(str, fds))]}


def test_socket_activation(sockets, launch):
    """The socket named control is the control socket wherever it stands; the others are the devices'."""
    paths = {name: sockets / f'{name}.sock' for name in ('left', 'control', 'right')}
    made = {name: listener(path) for name, path in paths.items()}
    daemon = launch('--device=model=bochs-display,vram=8M', '--device=model=bochs-display,vram=32M',
                    listening=False, **activation(**made))
    with Client(paths['left']) as left, Client(paths['right']) as right:
        for client, size in ((left, 8), (right, 32)):
            assert client.negotiate().region(BAR0)[0] == size << 20
        state = daemon.show(paths['control'])
        assert [d['socket'] for d in state['devices']] == [str(paths['left']), str(paths['right'])]
    daemon.stop()
    assert sorted(sockets.iterdir()) == sorted(paths.values())


def test_short_form_of_socket_activation(sockets, launch):
    """--model alone, and a control socket of its own."""
    with listener(sockets / 'handed') as made:
        daemon = launch('--model=bochs-display', listening=False, **activation(vgpu=made))
        with Client(sockets / 'handed') as client:
            client.negotiate()
            assert daemon.show(NAME)['devices'][0]['client']['connected']
        daemon.stop()


def test_too_few_activated_sockets(sockets, launch):
    with listener(sockets / 'handed') as made:
        daemon = launch('--device=model=bochs-display', '--device=model=bochs-display', listening=False,
                        **activation(vgpu=made))
        assert daemon.ends() == 2
    assert 'no socket was passed' in daemon.log()


def test_socket_activation_by_systemd(sockets, vfio, evidence):
    if not shutil.which('systemd-socket-activate'):
        place.missing('no systemd-socket-activate (Debian package systemd)')
    command = ['systemd-socket-activate', f'--listen={vfio}', '--fdname=vgpu', f'--setenv=VGPUD_RUNTIME_DIR={sockets}',
               place.program('vgpud'), '--model=bochs-display', '--exit-on-disconnect', f'--name={NAME}']
    with open(evidence / 'vgpud.log', 'wb') as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment())
    deadline = time.monotonic() + 10
    while not vfio.exists():
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    with Client(vfio) as client:
        assert client.negotiate().region(BAR0)[0] == 16 << 20
    assert process.wait(10) == 0


def test_readiness(sockets, vfio, launch):
    """READY=1 says that clients can connect, to all of its sockets."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(os.fspath(sockets / 'notify'))
        manager.settimeout(10)
        daemon = launch(f'--socket-path={vfio}', f'--console=vnc=unix:{sockets}/vnc', listening=False,
                        environ={'NOTIFY_SOCKET': sockets / 'notify'})
        assert b'READY=1' in manager.recv(4096)
        assert all(answers(path) for path in (sockets / 'vnc', sockets / f'{NAME}.ctl'))
        with Client(vfio) as client:
            client.negotiate()
        daemon.stop()
