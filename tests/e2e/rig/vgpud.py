"""A vGPU for a machine: our daemon with one device, a bochs display if not told otherwise."""
import os
import pathlib
import shutil
import tempfile

from .daemon import Daemon


class Vgpud:
    """Runs from construction to stop(). Its control socket is the default one of its name."""

    def __init__(self, directory, name='vgpu', rom=None, options=(), device=None):
        """device: what --device= says of it, but for its socket."""
        self.name = name
        self.sockets = pathlib.Path(tempfile.mkdtemp(prefix='vgpud-e2e-'))
        self.socket = self.sockets / 'vfio'
        self.control = self.sockets / f'{name}.ctl'
        self.vnc = self.sockets / 'vnc'
        display = [f'--socket-path={self.socket}', '--model=bochs-display', '--vram=16M',
                   f'--console=vnc=unix:{self.vnc}']
        arguments = [*([f'--device={device},socket={self.socket}'] if device else display), f'--name={name}', *options]
        if rom:
            arguments.append(f'--rom={rom}')
        log = pathlib.Path(directory) / f'{name}.vgpud.log'
        log.unlink(missing_ok=True)
        self.daemon = Daemon(log, arguments, self.sockets)
        self.daemon.wait_for_log('listening on')

    def is_running(self):
        return self.daemon.is_running()

    def wait(self, condition, what, timeout=10):
        self.daemon.wait(condition, what, timeout)

    def ctl(self, verb, *rest, status=0):
        """Runs vgpuctl on this vGPU and returns what it prints."""
        return self.daemon.ctl(verb, self.name, *rest, status=status)

    def show(self):
        """What is known of the device."""
        state = self.daemon.show(self.name)
        assert state['version'] == 1 and state['name'] == self.name
        (device,) = state['devices']
        return device

    def connected(self):
        return self.show()['client']['connected']

    def accesses(self):
        """How often each region was accessed and the client had to ask us: {index: (reads, writes)}."""
        return {r['index']: (r['reads'], r['writes']) for r in self.show()['regions']}

    def hash(self):
        return self.ctl('hash').strip()

    def screenshot(self, path):
        self.ctl('screenshot', os.fspath(path))

    def stop(self):
        try:
            self.daemon.stop()
        finally:
            shutil.rmtree(self.sockets, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()
