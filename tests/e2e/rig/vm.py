"""A virtual machine under QEMU, and its display if QEMU provides it."""
import json
import pathlib
import shutil
import subprocess
import tempfile

from . import place
from .agent import Agent
from .qmp import Qmp

BOCHS_DISPLAY = ['-device', 'bochs-display,vgamem=16M']
SHARED_MEMORY = ['-machine', 'q35,memory-backend=ram', '-object', 'memory-backend-memfd,id=ram,size=256M,share=on']


def vfio_user(socket, **more):
    """The QEMU arguments for a device behind a vfio-user socket."""
    return ['-device', json.dumps(vfio_user_device(socket, **more))]


def vfio_user_device(socket, **more):
    return {'driver': 'vfio-user-pci', 'socket': {'path': str(socket), 'type': 'unix'}, **more}


class Vm:
    """Runs from construction to close(). Logs go to the directory given.

    guest: boots our Linux guest, with these words added to its command line ('' for none); None boots the
    firmware only. memory: the arguments for the machine and its memory of 256 MiB. printed: text for a shell
    that is all there is to say about machine, memory and display.
    """

    def __init__(self, directory, display=(), guest='', name='vm', arguments=(), memory=SHARED_MEMORY, printed=None):
        self.name = name
        self.directory = pathlib.Path(directory)
        # UNIX sockets have short names, so not in a build directory.
        self._sockets = pathlib.Path(tempfile.mkdtemp(prefix='vgpud-e2e-'))
        self._process = None
        self.qmp = Qmp(self._sockets / 'qmp')
        self.agent = Agent(self._sockets / 'agent')
        try:
            own = ['-accel', 'tcg', '-m', '256M', '-nodefaults', '-no-user-config', '-vga', 'none', *memory]
            self._start([*([] if printed else own), *display, *arguments], guest, printed)
        except BaseException:
            self.close()
            raise

    def _start(self, arguments, guest, printed):
        command = [*(
            ['sh', '-c', f'exec "$0" {printed.rstrip()} "$@"'] if printed else []),
            place.script('qemu-root'), '-name', self.name, '-display', 'none',
            '-qmp', f'unix:{self._sockets}/qmp',
            '-serial', f'file:{self.directory}/{self.name}.serial.log',
            '-chardev', f'socket,id=agent,path={self._sockets}/agent,'
                        f'logfile={self.directory}/{self.name}.agent.log',
            '-serial', 'chardev:agent',
            '-chardev', f'file,id=firmware,path={self.directory}/{self.name}.firmware.log',
            '-device', 'isa-debugcon,iobase=0x402,chardev=firmware',
            *arguments,
        ]
        if guest is not None:
            image = place.script('guest-image')
            command += ['-kernel', f'{image}/vmlinux', '-initrd', f'{image}/initramfs.cpio.gz',
                        '-append', f'console=ttyS0 iomem=relaxed panic=-1 {guest}'.strip()]
        with open(self.directory / f'{self.name}.qemu.log', 'w', encoding='utf-8') as log:
            print(*command, file=log, flush=True)
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.qmp.accept(30, self.is_running)
        self.agent.accept(30, self.is_running)
        self.qmp.greet()

    def is_running(self):
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self):
        return self._process.pid

    def firmware_log(self):
        """What SeaBIOS said so far."""
        path = self.directory / f'{self.name}.firmware.log'
        return path.read_text(errors='replace') if path.exists() else ''

    def screendump(self, path):
        """The picture on a display that is QEMU's own, as a PNG."""
        self.qmp.run('screendump', filename=str(path), format='png')

    def kill(self):
        """As when the host runs out of memory: no goodbye to anyone."""
        self._process.kill()
        self._process.wait(20)

    def close(self):
        if self.is_running():
            self._process.terminate()
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()
        self.qmp.close()
        self.agent.close()
        shutil.rmtree(self._sockets, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
