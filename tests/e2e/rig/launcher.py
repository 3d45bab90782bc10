"""Starts daemons for a test, which end before it does."""
from .daemon import Daemon

NAME = 'one'


class Launcher:
    """Starts daemons of this test that end before it does."""

    def __init__(self, sockets, evidence):
        self._sockets, self._evidence, self._daemons = sockets, evidence, []

    def __call__(self, *arguments, name=NAME, listening=True, **more):
        """listening: its device's socket is the file 'vfio', which is waited for."""
        path = self._sockets / 'vfio'
        arguments = [f'--name={name}', *([f'--socket-path={path}'] if listening else []), *arguments]
        daemon = Daemon(self._evidence / 'vgpud.log', arguments, self._sockets, **more)
        self._daemons.append(daemon)
        if listening:
            daemon.wait_for_log('listening on')
        return daemon

    def close(self):
        for daemon in self._daemons:
            if daemon.is_running():
                daemon.process.kill()
                daemon.process.wait()
