"""A peer that talks in lines over a UNIX socket, with a time limit on everything.

We listen and the peer connects: nothing it says is lost, and nobody polls for a socket to appear.
"""
import socket
import time


class Silence(Exception):
    """The peer did not say what was waited for, in time or ever."""


class LinePeer:
    def __init__(self, path):
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._socket = None
        self._buffer = b''

    def accept(self, timeout, alive):
        """Waits until the peer connects; alive() tells whether it still may."""
        deadline = time.monotonic() + timeout
        self._listener.settimeout(0.2)
        while True:
            try:
                self._socket, _ = self._listener.accept()
                self._listener.close()
                return
            except socket.timeout:
                if not alive():
                    raise Silence('the process ended before it connected') from None
                if time.monotonic() > deadline:
                    raise Silence(f'no connection within {timeout} s') from None

    def send(self, line, timeout=10):
        self._socket.settimeout(timeout)
        self._socket.sendall(line.encode() + b'\n')

    def receive(self, timeout):
        deadline = time.monotonic() + timeout
        while b'\n' not in self._buffer:
            self._socket.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                data = self._socket.recv(65536)
            except socket.timeout:
                raise Silence(f'no line within {timeout} s') from None
            except OSError as e:
                raise Silence(f'connection lost: {e}') from None
            if not data:
                raise Silence('connection closed')
            self._buffer += data
        line, self._buffer = self._buffer.split(b'\n', 1)
        return line.decode(errors='replace').rstrip('\r')

    def close(self):
        self._listener.close()
        if self._socket:
            self._socket.close()
