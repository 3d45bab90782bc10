"""The sandbox as it is seen from outside, and that all that a vGPU is for works in it. Attempts to get out are a
unit test's (tests/unit/test_sandbox.c and test_sandbox_layers.c)."""
import ctypes
import os
import pathlib
import shutil
import socket
import subprocess

import pytest
from rig import place
from rig.daemon import refuses
from rig.launcher import NAME
from rig.vfio_user import BAR0, Client
from rig.vnc import Viewer

NAMESPACES = ('mnt', 'net', 'ipc', 'uts', 'cgroup')

# Who has no capabilities makes the namespaces inside a user namespace of its own: also a root of that kind.
WITHOUT_CAPABILITIES = ['setpriv', '--bounding-set=-all', '--inh-caps=-all']

# A user namespace in which there may be no further one.
NO_MORE_NAMESPACES = ['unshare', '--user', '--map-root-user', 'sh', '-c',
             'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"', 'sh', *WITHOUT_CAPABILITIES]

NOBODY = 65534


def is_sanitized():
    """Sanitizers look into /proc, so that is in the root of a daemon that is built with them."""
    program = place.BUILD / 'vgpud'
    return program.exists() and b'__asan_init' in program.read_bytes()


def kinds():
    """As whom the daemon is started: one user if that is all that we are."""
    if os.geteuid():
        return ['user']
    # A bare root can't make the directory that /proc is to appear in.
    return ['user', 'root'] + ([] if is_sanitized() else ['bare-root'])


def can_make_namespaces(user):
    """Whether the host lets the caller, in a user namespace or not, have a root of its own: containers may not."""
    own_root = 'mount -t tmpfs none /mnt && mkdir /mnt/old && pivot_root /mnt /mnt/old'
    return subprocess.run(['unshare', *(['--user', '--map-root-user'] if user else []), '--mount', 'sh', '-c',
                           own_root], capture_output=True, check=False, timeout=20).returncode == 0


def need_namespaces(user):
    if not can_make_namespaces(user):
        pytest.skip('this host allows no namespaces to who runs the tests')


@pytest.fixture(params=kinds())
def kind(request):
    need_namespaces(request.param != 'root')
    return request.param


@pytest.fixture
def forbidden():
    """What starts a daemon that may have no namespaces."""
    return NO_MORE_NAMESPACES if can_make_namespaces(True) else WITHOUT_CAPABILITIES if os.geteuid() == 0 else []


@pytest.fixture
def prefix(kind, sockets):
    """What makes the daemon one of that kind. A user who may not enter the build directory gets a copy of it."""
    if os.geteuid() or kind != 'user':
        yield WITHOUT_CAPABILITIES if kind == 'bare-root' else []
        return
    copy = sockets.with_name(sockets.name + '-vgpud')
    shutil.copy(place.program('vgpud'), copy)
    sockets.chmod(0o777)
    yield ['setpriv', f'--reuid={NOBODY}', f'--regid={NOBODY}', '--clear-groups', 'sh', '-c',
           'shift; exec "$0" "$@"', copy]
    copy.unlink()


def status(pid):
    """The fields of every thread: what a field says, which must be the same in all."""
    found = {}
    for task in pathlib.Path(f'/proc/{pid}/task').iterdir():
        for line in (task / 'status').read_text().splitlines():
            field, _, value = line.partition(':')
            found.setdefault(field, set()).add(value.strip())
    return {field: values.pop() for field, values in found.items() if len(values) == 1}


def namespace(pid, name):
    return os.readlink(f'/proc/{pid}/ns/{name}')


def has_landlock():
    return ctypes.CDLL(None).syscall(444, None, 0, 1) > 0


def test_all_that_it_is_for(sockets, vfio, launch, kind, prefix):
    """A device, viewers by both kinds of socket, pictures and events: then the walls, which are around every thread."""
    daemon = launch(f'--console=vnc=unix:{sockets}/vnc', '--console=vnc=0', '--sandbox=namespace',
                    '--log-level=debug', prefix=prefix)
    port = int(daemon.show(NAME)['devices'][0]['consoles'][1]['address'].rpartition(':')[2])
    with Client(vfio) as client, Viewer(sockets / 'vnc') as local, Viewer(port) as remote:
        client.negotiate().set_mode(800, 600)
        memory = client.vram()
        memory[:800 * 600 * 4] = b'\x40' * (800 * 600 * 4)
        for viewer in (local, remote):
            assert viewer.wait_for(lambda picture: picture.size == (800, 600)
                                   and picture.getpixel((0, 0)) == (0x40, 0x40, 0x40))
        daemon.ctl('screenshot', NAME, sockets / 'picture.png')
        daemon.ctl('reset', NAME)

        found = status(daemon.pid)
        assert (found['NoNewPrivs'], found['Seccomp'], found['Seccomp_filters']) == ('1', '2', '1')
        assert {found[f'Cap{name}'] for name in ('Inh', 'Prm', 'Eff', 'Bnd', 'Amb')} == {'0' * 16}
        if os.geteuid() == 0:  # others may not look, which is as it should be
            for name in NAMESPACES:
                assert namespace(daemon.pid, name) != namespace('self', name)
            assert (namespace(daemon.pid, 'user') == namespace('self', 'user')) == (kind == 'root')
            assert os.listdir(f'/proc/{daemon.pid}/root') == (['proc'] if is_sanitized() else [])
            mounts = pathlib.Path(f'/proc/{daemon.pid}/mountinfo').read_text().splitlines()
            assert [line.split()[4:6] for line in mounts if line.split()[4] == '/'] == \
                [['/', 'ro,nosuid,nodev,noexec,relatime']]
    (sockets / 'picture.png').unlink()
    daemon.stop()
    assert list(sockets.iterdir()) == []
    assert 'is no system call' not in daemon.log()
    assert 'the system call' not in daemon.log()


def qemu():
    return f'--qemu={place.script("qemu-root")}'


def test_it_says_what_there_is(launch):
    need_namespaces(os.geteuid() != 0)
    daemon = launch('--sandbox=namespace')
    assert daemon.show(NAME)['sandbox'] == {'namespaces': True, 'landlock': has_landlock(), 'seccomp': 'kill'}
    assert 'sandbox   namespaces, ' in daemon.ctl('show', NAME)
    assert 'it runs in a sandbox' in daemon.ctl('doctor', NAME, qemu())


def test_without_namespaces(vfio, launch, forbidden):
    """By default a host that allows none is put up with, and named; all the rest is there."""
    daemon = launch(prefix=forbidden)
    assert 'user.max_user_namespaces=15000 allows them' in daemon.log()
    found = status(daemon.pid)
    assert (found['NoNewPrivs'], found['Seccomp'], found['CapEff']) == ('1', '2', '0' * 16)
    assert daemon.show(NAME)['sandbox'] == {'namespaces': False, 'landlock': has_landlock(), 'seccomp': 'kill'}
    assert 'its sandbox has no namespaces' in daemon.ctl('doctor', NAME, qemu())
    with Client(vfio) as client:
        assert client.negotiate().region(BAR0)[0] == 16 << 20
    daemon.stop()
    assert not vfio.exists()


def test_namespaces_or_nothing(sockets, vfio, launch, forbidden):
    daemon = launch(f'--socket-path={vfio}', '--sandbox=namespace', listening=False, prefix=forbidden)
    assert daemon.ends() == 1
    assert '--sandbox=namespace: unshare: ' in daemon.log() and 'user.max_user_namespaces' in daemon.log()
    assert 'listening' not in daemon.log()
    assert list(sockets.iterdir()) == []


@pytest.mark.parametrize('action,mode', [('kill', '2'), ('trap', '2'), ('log', '2'), ('none', '0')])
def test_seccomp_actions(vfio, launch, action, mode):
    daemon = launch(f'--seccomp={action}')
    assert status(daemon.pid)['Seccomp'] == mode
    assert daemon.show(NAME)['sandbox']['seccomp'] == action
    with Client(vfio) as client:
        client.negotiate()
    daemon.stop()


def test_none(vfio, launch):
    """For debugging: still without capabilities, but with the root of the host, and open to a debugger."""
    daemon = launch('--sandbox=none', '--seccomp=none')
    found = status(daemon.pid)
    assert (found['NoNewPrivs'], found['Seccomp'], found['CapEff']) == ('1', '0', '0' * 16)
    for name in NAMESPACES:
        assert namespace(daemon.pid, name) == namespace('self', name)
    assert os.readlink(f'/proc/{daemon.pid}/cwd') == os.getcwd()
    assert daemon.show(NAME)['sandbox'] == {'namespaces': False, 'landlock': False, 'seccomp': 'none'}
    with Client(vfio) as client:
        client.negotiate()
    daemon.stop()


USAGE = [
    ('--sandbox=chroot', '"namespace" gives it an empty root'),
    ('--sandbox=yes', 'expected auto, namespace or none'),
    ('--seccomp=yes', 'expected kill, trap, log or none'),
    ('--seccomp=', 'expected kill, trap, log or none'),
]


@pytest.mark.parametrize('option,says', USAGE, ids=[o for o, _ in USAGE])
def test_usage(vfio, option, says):
    code, text = refuses([f'--socket-path={vfio}', '--control=none', option])
    assert code == 2 and says in text
    assert not vfio.exists()


def descriptors(daemon):
    """What it has open, by their numbers. Only of one in no sandbox may a user know that."""
    directory = pathlib.Path(f'/proc/{daemon.pid}/fd')
    return {int(link.name): os.readlink(link) for link in directory.iterdir()}


def has_datagram_socket(daemon):
    kinds_by_inode = {line.split()[6]: line.split()[4]
                      for line in pathlib.Path('/proc/net/unix').read_text(errors='replace').splitlines()[1:]}
    return any(kinds_by_inode.get(name.removeprefix('socket:[').rstrip(']')) == '0002'
               for name in descriptors(daemon).values() if name.startswith('socket:['))


def test_the_service_manager_is_told_once(sockets, vfio, launch):
    """The socket for that could be made to send to others. It is gone when clients are served."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(os.fspath(sockets / 'notify'))
        manager.settimeout(10)
        daemon = launch('--sandbox=none', environ={'NOTIFY_SOCKET': sockets / 'notify'})
        assert manager.recv(4096) == b'READY=1'
        daemon.wait(lambda: not has_datagram_socket(daemon), 'end of the socket of the service manager')
        daemon.stop()


def test_what_a_parent_left_open_is_closed(vfio, launch):
    """A directory, a pipe, a socket that nobody asked to serve: none of it comes along into the sandbox."""
    left, right = socket.socketpair()
    directory = os.open('/', os.O_RDONLY | os.O_DIRECTORY)
    daemon = launch('--sandbox=none', pass_fds=[left.fileno(), directory])
    found = descriptors(daemon)
    assert '/' not in found.values()
    # Only the log goes to where it was started.
    assert (found[0], found[1]) == ('/dev/null', '/dev/null') and found[2].endswith('vgpud.log')
    left.close()
    right.settimeout(10)
    assert right.recv(1) == b''  # nobody holds the other end any more
    daemon.stop()
    os.close(directory)
