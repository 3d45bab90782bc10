"""A VNC viewer (RFB 3.8, RFC 6143) for tests: raw pixels, 32 bits, and the two ways to be told of another size."""
import os
import select
import socket
import struct
import time

from PIL import Image

from . import des

RAW, DESKTOP_SIZE, EXTENDED_DESKTOP_SIZE = 0, -223, -308
NONE, VNC_AUTH = 1, 2


class Refused(Exception):
    """The server does not let us in; says why."""


class Viewer:
    """where: the path of a socket, or a port of 127.0.0.1. Sees the screen when it asks: refresh(), wait_for().

    resize: the pseudo-encodings that it knows for a screen that changes its size.
    """

    def __init__(self, where, password=None, resize=(EXTENDED_DESKTOP_SIZE, DESKTOP_SIZE), shared=True, timeout=20):
        if isinstance(where, int):
            self.socket = socket.create_connection(('127.0.0.1', where), timeout)
        else:
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.connect(os.fspath(where))
        self.socket.settimeout(timeout)
        self.resize = resize
        self.sizes = []  # all that it was told
        self.rectangles = self.dots = 0  # received
        try:
            self._handshake(password, shared)
        except BaseException:
            self.socket.close()
            raise

    def _handshake(self, password, shared):
        version = self._exactly(12)
        assert version == b'RFB 003.008\n', version
        self.socket.sendall(version)
        offered = self._exactly(self._exactly(1)[0])
        if not offered:
            raise Refused(self._text())
        self.offered = set(offered)
        wanted = NONE if password is None else VNC_AUTH
        if wanted not in self.offered:
            raise Refused(f'offers {self.offered}')
        self.socket.sendall(bytes([wanted]))
        if wanted == VNC_AUTH:
            # The key is the password with the bits of each byte reversed (RFC 6143, 7.2.2, erratum 4951).
            key = bytes(int(f'{c:08b}'[::-1], 2) for c in password.encode()[:8].ljust(8, b'\0'))
            challenge = self._exactly(16)
            self.socket.sendall(des.encrypt(key, challenge[:8]) + des.encrypt(key, challenge[8:]))
        if struct.unpack('>I', self._exactly(4))[0]:
            raise Refused(self._text())
        self.socket.sendall(bytes([shared]))
        width, height = struct.unpack('>HH', self._exactly(20)[:4])
        self.title = self._text()
        self._resize(width, height)
        # 32 bits, depth 24, little-endian, true colour; red in bits 16 to 23
        self.socket.sendall(struct.pack('>B3xBBBBHHHBBB3x', 0, 32, 24, 0, 1, 255, 255, 255, 16, 8, 0))
        encodings = (RAW, *self.resize)
        self.socket.sendall(struct.pack(f'>BxH{len(encodings)}i', 2, len(encodings), *encodings))

    def _exactly(self, n):
        data = bytearray()
        while len(data) < n:
            chunk = self.socket.recv(min(n - len(data), 1 << 20))
            if not chunk:
                raise ConnectionResetError('the server has closed the connection')
            data += chunk
        return bytes(data)

    def _text(self):
        return self._exactly(struct.unpack('>I', self._exactly(4))[0]).decode()

    def _resize(self, width, height):
        self.width, self.height = width, height
        self.pixels = bytearray(4 * width * height)
        self.sizes.append((width, height))

    def request(self, incremental=True):
        self.socket.sendall(struct.pack('>BBHHHH', 3, incremental, 0, 0, self.width, self.height))

    def receive(self):
        """One message of the server. Whether it was an update."""
        kind = self._exactly(1)[0]
        if kind == 3:  # cut text
            self._exactly(3)
            self._text()
        elif kind != 2:  # the bell has no more to it
            assert kind == 0, f'unknown message {kind}'
            for _ in range(struct.unpack('>xH', self._exactly(3))[0]):
                self._rectangle()
        return kind == 0

    def _rectangle(self):
        x, y, width, height, encoding = struct.unpack('>HHHHi', self._exactly(12))
        if encoding == RAW:
            assert x + width <= self.width and y + height <= self.height
            rows = self._exactly(4 * width * height)
            for i in range(height):
                at = 4 * ((y + i) * self.width + x)
                self.pixels[at:at + 4 * width] = rows[4 * width * i:4 * width * (i + 1)]
            self.rectangles += 1
            self.dots += width * height
            return
        assert encoding in self.resize, f'encoding {encoding} was not asked for'
        if encoding == EXTENDED_DESKTOP_SIZE:
            self._exactly(16 * struct.unpack('>B3x', self._exactly(4))[0])
        if (width, height) != (self.width, self.height):
            self._resize(width, height)

    def picture(self):
        """What it shows, as it was last told."""
        return Image.frombytes('RGB', (self.width, self.height), bytes(self.pixels), 'raw', 'BGRX')

    def refresh(self):
        """Asks for all of the screen and waits for that."""
        before = self.sizes[-1]
        self.request(incremental=False)
        while not self.receive():
            pass
        if self.sizes[-1] != before:
            self.refresh()
        return self.picture()

    def wait_for(self, wanted, timeout=10):
        """Takes updates until wanted(picture) holds, and returns that picture."""
        deadline = time.monotonic() + timeout
        asked = False
        while True:
            picture = self.picture()
            if wanted(picture):
                return picture
            left = deadline - time.monotonic()
            assert left > 0, f'the picture did not come within {timeout} s'
            if not asked:
                self.request()
                asked = True
            if select.select([self.socket], [], [], left)[0] and self.receive():
                asked = False

    def wait_for_picture(self, expected, timeout=10):
        return self.wait_for(lambda p: p.size == expected.size and p.tobytes() == expected.tobytes(), timeout)

    def is_quiet(self, seconds):
        """Whether nothing comes for a while."""
        return not select.select([self.socket], [], [], seconds)[0]

    def close(self):
        self.socket.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
