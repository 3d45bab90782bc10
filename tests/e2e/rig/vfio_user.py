"""A vfio-user client without a machine: what the daemon's tests need of the protocol, and no more."""
import mmap
import os
import socket
import struct

VERSION, GET_INFO, REGION_INFO, REGION_READ, REGION_WRITE, RESET = 1, 4, 5, 9, 10, 13
REPLY, ERROR = 1, 0x20
BAR0, BAR2 = 0, 2
DISPI = 0x500
XRES, YRES, BPP, ENABLE = (DISPI + 2 * i for i in (1, 2, 3, 4))


class Client:
    """where: the path of a socket, or a connected one. Waits where others are before it."""

    def __init__(self, where, timeout=10):
        if isinstance(where, socket.socket):
            self.socket = where
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(os.fspath(where))
        self.socket.settimeout(timeout)
        self._id = 0

    def send(self, command, payload=b''):
        self._id = (self._id + 1) % 0x10000
        self.socket.sendall(struct.pack('<HHIII', self._id, command, 16 + len(payload), 0, 0) + payload)

    def receive(self):
        """The reply to what was sent: its payload and descriptors. An error reply is an OSError."""
        data, fds, _, _ = socket.recv_fds(self.socket, 16, 8)
        data += self._exactly(16 - len(data), not data)
        id_, _, size, flags, error = struct.unpack('<HHIII', data)
        assert (id_, flags & 0xf) == (self._id, REPLY)
        payload = self._exactly(size - 16)
        if flags & ERROR:
            raise OSError(error, os.strerror(error))
        return payload, fds

    def _exactly(self, n, ended=False):
        data = b''
        while len(data) < n:
            chunk = b'' if ended else self.socket.recv(n - len(data))
            if not chunk:
                raise ConnectionResetError('the server has closed the connection')
            data += chunk
        return data

    def call(self, command, payload=b''):
        self.send(command, payload)
        return self.receive()

    def send_version(self):
        self.send(VERSION, struct.pack('<HH', 0, 0) + b'{"capabilities":{"max_msg_fds":8}}\0')

    def negotiate(self):
        self.send_version()
        self.receive()
        return self

    def region(self, index):
        """Size, flags, and the descriptor of its memory or None."""
        payload, fds = self.call(REGION_INFO, struct.pack('<IIIIQQ', 4096, 0, index, 0, 0, 0))
        _, flags, _, _, size, _ = struct.unpack_from('<IIIIQQ', payload)
        return size, flags, fds[0] if fds else None

    def read(self, region, offset, n):
        payload, _ = self.call(REGION_READ, struct.pack('<QII', offset, region, n))
        return payload[16:]

    def write(self, region, offset, data):
        self.call(REGION_WRITE, struct.pack('<QII', offset, region, len(data)) + data)

    def vram(self):
        """The aperture, mapped as a VMM maps it."""
        size, _, fd = self.region(BAR0)
        memory = mmap.mmap(fd, size)
        os.close(fd)
        return memory

    def set_mode(self, width, height):
        for register, value in ((ENABLE, 0), (XRES, width), (YRES, height), (BPP, 32), (ENABLE, 0x41)):
            self.write(BAR2, register, struct.pack('<H', value))

    def mode(self):
        """Width and height, (0, 0) if there is no mode."""
        width, height, enabled = (struct.unpack('<H', self.read(BAR2, r, 2))[0] for r in (XRES, YRES, ENABLE))
        return (width, height) if enabled & 1 else (0, 0)

    def closed_by_server(self):
        """Waits until the server hangs up."""
        return self.socket.recv(1) == b''

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
