"""A vfio-user server in a thread: a small PCI device that is right, and what a test wants to be wrong."""
import array
import errno
import json
import os
import select
import socket
import struct
import threading

VERSION, DMA_MAP, DMA_UNMAP, GET_INFO, REGION_INFO, IO_FDS, IRQ_INFO, SET_IRQS, READ, WRITE = range(1, 11)
DMA_READ, DMA_WRITE, RESET = 11, 12, 13
REPLY, NO_REPLY, ERROR = 1, 0x10, 0x20
CONFIG, BAR0, BAR2 = 7, 0, 2
PAGE = 4096
BAR2_SIZE = 16 * PAGE
MAX_XFER = 1 << 20
ERR_IRQ = 3


class Hangup(Exception):
    """The server wants to be rid of its client."""


class Refusal(Exception):
    """An error reply."""


def header(id_, command, size, flags=0, error=0):
    return struct.pack('<HHIII', id_, command, size, flags, error)


class Server(threading.Thread):
    """
    Listens at path until close(). A defect is a method of a subclass: on_COMMAND(payload, fds) returns
    the reply's payload and descriptors, or raises; talk(client) is all of a conversation.
    """

    def __init__(self, path):
        super().__init__(daemon=True)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(os.fspath(path))
        self.listener.listen(16)
        self.stopping = threading.Event()
        self.start()

    def close(self):
        self.stopping.set()
        self.listener.shutdown(socket.SHUT_RDWR)
        self.join(10)
        assert not self.is_alive()
        self.listener.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def run(self):
        while not self.stopping.is_set():
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.power_on()
            with client:
                try:
                    self.talk(client)
                except (Hangup, OSError):
                    pass
                finally:
                    self.power_off()

    # A device, and its state

    def power_on(self):
        self.version = None
        self.maps = {}
        self.irq = None
        self.config = bytearray(256)
        struct.pack_into('<HH', self.config, 0, 0x1af4, 0x10ff)
        self.config[8:12] = b'\x01\x00\x00\xff'
        struct.pack_into('<I', self.config, 0x10 + 8, 0x8)  # BAR 2: prefetchable
        struct.pack_into('<HH', self.config, 0x2c, 0x1af4, 0x10ff)
        self.writable = bytearray(256)
        struct.pack_into('<H', self.writable, 4, 0x0006)
        struct.pack_into('<I', self.writable, 0x10, 0xffffffff & ~(PAGE - 1))
        struct.pack_into('<I', self.writable, 0x10 + 8, 0xffffffff & ~(BAR2_SIZE - 1))
        self.writable[0x3c] = 0xff
        self.bar0 = bytearray(PAGE)
        self.memory = os.memfd_create('bar2')
        os.ftruncate(self.memory, BAR2_SIZE)

    def power_off(self):
        os.close(self.memory)
        if self.irq is not None:
            os.close(self.irq)

    def region(self, index):
        """Size, flags and descriptor."""
        return {BAR0: (PAGE, 3, None), BAR2: (BAR2_SIZE, 7, self.memory), CONFIG: (256, 3, None)}.get(index, (0, 0, None))

    def irq_info(self, index):
        """Flags and count."""
        return (9, 1) if index == ERR_IRQ else (0, 0)

    # The wire

    def exactly(self, client, n, fds):
        data = b''
        while len(data) < n:
            while not select.select([client], [], [], 0.2)[0]:
                if self.stopping.is_set():
                    raise Hangup
            chunk, ancillary, _, _ = client.recvmsg(n - len(data), socket.CMSG_SPACE(253 * 4))
            for _, _, raw in ancillary:
                fds.extend(array.array('i', raw[:len(raw) // 4 * 4]))
            if not chunk:
                raise Hangup
            data += chunk
        return data

    def receive(self, client):
        """Header fields, payload, descriptors."""
        fds = []
        try:
            id_, command, size, flags, _ = struct.unpack('<HHIII', self.exactly(client, 16, fds))
            if size < 16 or size > 16 + 16 + MAX_XFER:
                raise Hangup
            return id_, command, flags, self.exactly(client, size - 16, fds), fds
        except BaseException:
            for fd in fds:
                os.close(fd)
            raise

    def talk(self, client):
        while True:
            self.answer(client, *self.receive(client))

    def answer(self, client, id_, command, flags, payload, fds):
        kind, error, reply, reply_fds = flags & 0xf, 0, b'', []
        if kind == REPLY:
            return
        if kind:
            raise Hangup
        try:
            reply, reply_fds = self.handle(command, payload, fds)
        except Refusal as e:
            error = e.args[0]
        except (struct.error, OverflowError):
            error = errno.EINVAL
        finally:
            for fd in fds:
                if fd is not None:
                    os.close(fd)
        if not flags & NO_REPLY:
            self.reply(client, id_, command, error, reply, reply_fds)

    def reply(self, client, id_, command, error, payload, fds):
        if error:
            client.sendall(header(id_, command, 16, REPLY | ERROR, error))
        else:
            socket.send_fds(client, [header(id_, command, 16 + len(payload), REPLY)], fds)
            client.sendall(payload)

    def handle(self, command, payload, fds):
        names = {VERSION: 'version', DMA_MAP: 'dma_map', DMA_UNMAP: 'dma_unmap', GET_INFO: 'get_info',
                 REGION_INFO: 'region_info', IRQ_INFO: 'irq_info_command', SET_IRQS: 'set_irqs', READ: 'read',
                 WRITE: 'write', RESET: 'reset'}
        if command not in names:
            raise Refusal(errno.ENOTSUP)
        if self.version is None and command != VERSION:
            raise Refusal(errno.EINVAL)
        return getattr(self, 'on_' + names[command])(payload, fds)

    # Commands

    def on_version(self, payload, fds):
        major, minor = struct.unpack_from('<HH', payload)
        if self.version or major:
            raise Refusal(errno.EINVAL)
        if payload[4:]:
            try:
                data = json.loads(payload[4:-1].decode())
            except (ValueError, RecursionError):
                raise Refusal(errno.EINVAL) from None
            capabilities = data.get('capabilities', {}) if isinstance(data, dict) else None
            limit = capabilities.get('max_data_xfer_size', 0) if isinstance(capabilities, dict) else None
            if payload[-1] or not isinstance(limit, int) or limit < 0:
                raise Refusal(errno.EINVAL)
        self.version = (0, min(minor, 1))
        limits = {'max_msg_fds': 8, 'max_dma_maps': 64, 'max_data_xfer_size': MAX_XFER}
        return struct.pack('<HH', *self.version) + json.dumps({'capabilities': limits}).encode() + b'\0', []

    def on_dma_map(self, payload, fds):
        argsz, flags, offset, address, size = struct.unpack_from('<IIQQQ', payload)
        if argsz < 32 or len(payload) != 32 or len(fds) > 1 or not 0 < flags < 4 or not size \
                or (offset | address | size) % PAGE or address + size > 1 << 64 or offset + size >= 1 << 63:
            raise Refusal(errno.EINVAL)
        if any(address < a + s and a < address + size for a, s in self.maps.items()):
            raise Refusal(errno.EEXIST)
        if len(self.maps) == 64:
            raise Refusal(errno.ENOSPC)
        if fds:
            self.try_map(fds[0], flags)
        self.maps[address] = size
        return b'', []

    @staticmethod
    def try_map(fd, flags):
        import mmap  # only here: a name that a region's method has, too
        try:
            mmap.mmap(fd, PAGE, prot=(1 if flags & 1 else 0) | (2 if flags & 2 else 0)).close()
        except (OSError, ValueError) as e:
            # Of a file that is shorter: as mmap(2) has it.
            if not isinstance(e, ValueError):
                raise Refusal(e.errno) from None

    def on_dma_unmap(self, payload, fds):
        argsz, flags, address, size = struct.unpack_from('<IIQQ', payload)
        if argsz < 24 or len(payload) != 24 or flags:
            raise Refusal(errno.EINVAL)
        if self.maps.get(address) != size:
            raise Refusal(errno.ENOENT)
        del self.maps[address]
        return payload, []

    def on_get_info(self, payload, fds):
        if struct.unpack_from('<IIII', payload)[0] < 16:
            raise Refusal(errno.EINVAL)
        return struct.pack('<IIII', 16, 3, 9, 5), []

    def on_region_info(self, payload, fds):
        argsz, _, index = struct.unpack_from('<IIIIQQ', payload)[:3]
        if argsz < 32 or index >= 9:
            raise Refusal(errno.EINVAL)
        size, flags, fd = self.region(index)
        return struct.pack('<IIIIQQ', 32, flags, index, 0, size, 0), [] if fd is None else [fd]

    def on_irq_info_command(self, payload, fds):
        argsz, _, index, _ = struct.unpack_from('<IIII', payload)
        if argsz < 16 or index >= 5:
            raise Refusal(errno.EINVAL)
        flags, count = self.irq_info(index)
        return struct.pack('<IIII', 16, flags, index, count), []

    def on_set_irqs(self, payload, fds):
        argsz, flags, index, start, count = struct.unpack_from('<IIIII', payload)
        data, action, bools = flags & 7, flags & 0x38, payload[20:]
        if argsz < len(payload) or index != ERR_IRQ or flags & ~0x3f or data not in (1, 2, 4) or action != 0x20 \
                or start + count > 1:
            raise Refusal(errno.EINVAL)
        if (data == 2 and (not count or len(bools) != count)) or (data == 4 and (not count or len(fds) > count)):
            raise Refusal(errno.EINVAL)
        if data == 4:
            if fds and os.readlink(f'/proc/self/fd/{fds[0]}') != 'anon_inode:[eventfd]':
                raise Refusal(errno.EBADF)
            self.bind(fds)
        elif not count:
            self.bind([])
        elif self.irq is not None and (data == 1 or bools[0]):
            self.signal()
        return b'', []

    def bind(self, fds):
        if self.irq is not None:
            os.close(self.irq)
        self.irq, fds[:1] = (fds[0], [None]) if fds else (None, [])

    def signal(self):
        if select.select([], [self.irq], [], 0)[1]:
            os.eventfd_write(self.irq, 1)

    def check_access(self, payload, flag):
        offset, index, count = struct.unpack_from('<QII', payload)
        size, flags, _ = self.region(index)
        if not flags & flag or offset + count > size or count > MAX_XFER:
            raise Refusal(errno.EINVAL)
        return index, offset, count

    def on_read(self, payload, fds):
        index, offset, count = self.check_access(payload, 1)
        if index == BAR2:
            return payload[:16] + os.pread(self.memory, count, offset), []
        data = self.config if index == CONFIG else self.bar0
        return payload[:16] + data[offset:offset + count], []

    def on_write(self, payload, fds):
        index, offset, count = self.check_access(payload, 2)
        data = payload[16:]
        if len(data) != count:
            raise Refusal(errno.EINVAL)
        if index == BAR2:
            os.pwrite(self.memory, data, offset)
        for i, byte in enumerate(data):
            if index == CONFIG:
                mask = self.writable[offset + i]
                self.config[offset + i] = (self.config[offset + i] & ~mask) | (byte & mask)
            elif index == BAR0:
                self.bar0[offset + i] = byte
        return payload[:16], []

    def on_reset(self, payload, fds):
        struct.pack_into('<H', self.config, 4, 0)
        return b'', []
