"""The selftest device in a real machine: what a VMM makes of every kind of region, interrupt and DMA.

The guest's own vfio-pci, behind an emulated IOMMU, is the driver. src/device/selftest_regs.h describes the
registers.
"""
import hashlib
import re

import pytest
from rig import place
from rig.vgpud import Vgpud
from rig.vm import SHARED_MEMORY, Vm, vfio_user

ID = '1234:7e57'
REGS, MIXED, APERTURE, CONFIG = 0, 2, 4, 7
INTX, MSI, MSIX = 0, 1, 2
SCRATCH, WRITES, LAST_OFFSET, LAST_WIDTH, LAST_VALUE = 0x20, 0x30, 0x38, 0x3c, 0x40
RAISE = {INTX: 0x80, MSI: 0x84, MSIX: 0x88}
RAISE_ERR = 0x8c
SOURCE, TARGET, LENGTH, SEED, COMPLETION, COMMAND, STATUS, ERROR, RESULT = (
    0x100, 0x108, 0x110, 0x118, 0x11c, 0x120, 0x124, 0x128, 0x130)
SUM, FILL, COPY = 1, 2, 3
BUSY, DONE, FAILED = 1, 2, 3
EPERM, EFAULT = 1, 14
COMMAND_REGISTER, MEMORY, MASTER = 0x04, 0x02, 0x04

IOVA = 0x40000000  # of 2 MiB of the guest's memory


def checksum(data):
    total = 0
    for byte in data:
        total = (total * 31 + byte + 1) & 0xffffffffffffffff
    return total


def guest_bytes(length, seed):
    """What the guest's dma-fill writes."""
    return bytes((seed + 7 * n + (n >> 8)) & 0xff for n in range(length))


def device_bytes(length, seed):
    """What the device's FILL writes."""
    return bytes((seed + n + (n >> 8) * 5) & 0xff for n in range(length))


class Machine:
    """A machine with the device, and its driver in the guest."""

    def __init__(self, directory, name, options='', memory=SHARED_MEMORY):
        self.vgpu = Vgpud(directory, name, device='model=selftest' + options)
        try:
            device = ['-device', 'intel-iommu,caching-mode=on', *vfio_user(self.vgpu.socket)]
            self.vm = Vm(directory, device, 'vgpu.autoload=0 intel_iommu=on', name=name, memory=memory)
        except BaseException:
            self.vgpu.stop()
            raise
        self.run = self.vm.agent.run
        self.pci = self.rom = None  # known once it has started

    def start(self):
        """Waits for the guest, and takes the device."""
        self.vm.agent.wait_ready()
        self.run('load', 'vfio-pci')
        self.pci = self.run('find-function', ID)['pci']
        self.rom = self.sh(f'cd /sys/bus/pci/devices/{self.pci}; echo 1 > rom; wc -c < rom; tail -c +257 rom | md5sum')
        self.run('vfio-open', ID)
        self.run('dma-map', IOVA)
        self.set_master(True)
        return self

    def sh(self, command):
        self.vm.agent.send(f'sh {command}')
        answer = self.vm.agent.receive(20)
        assert answer.startswith('ok status=0 output='), answer
        return answer.partition('output=')[2].replace('\\n', '\n')

    def read(self, offset, width=4, region=REGS):
        return int(self.run('vfio-read', region, hex(offset), width)['value'], 0)

    def write(self, offset, value, width=4, region=REGS, times=1):
        self.run('vfio-write', region, hex(offset), width, hex(value), times)

    def set_master(self, on):
        self.write(COMMAND_REGISTER, MEMORY | MASTER if on else MEMORY, 2, CONFIG)

    def dma(self, command, source=0, target=0, length=0, seed=0, completion=0):
        """Carries a command out and returns how it ended: (status, error, result)."""
        for offset, value, width in ((SOURCE, source, 8), (TARGET, target, 8), (LENGTH, length, 8), (SEED, seed, 4),
                                     (COMPLETION, completion, 4), (COMMAND, command, 4)):
            self.write(offset, value, width)
        for _ in range(2000):
            status = self.read(STATUS)
            if status != BUSY:
                return status, self.read(ERROR), self.read(RESULT, 8)
        raise AssertionError('the command does not end')

    def sum(self, offset, length):
        """The checksum of the guest's memory, by the guest."""
        return int(self.run('dma-sum', offset, length)['sum'], 0)

    def interrupts(self, index, vector, ms=1000):
        return int(self.run('vfio-wait', index, vector, ms)['count'])

    def triggered(self, name):
        (irq,) = (i for i in self.vgpu.show()['irqs'] if i['name'] == name)
        return irq['triggered']

    def close(self):
        self.vm.close()
        self.vgpu.stop()


@pytest.fixture(scope='module')
def machine():
    m = Machine(place.artifacts('shared-selftest'), 'selftest')
    try:
        yield m.start()
    finally:
        m.close()


@pytest.fixture(scope='module')
def distant():
    """Nothing is shared: memory by message, every access trapped, and so every write posted."""
    m = Machine(place.artifacts('shared-selftest'), 'distant', ',mmap=off,aperture=64M', ['-machine', 'q35'])
    try:
        yield m.start()
    finally:
        m.close()


def test_bars(machine):
    lines = machine.sh(f'cat /sys/bus/pci/devices/{machine.pci}/resource').split('\n')
    start, end, flags = zip(*([int(word, 0) for word in line.split()] for line in lines[:7]))
    sizes = [last + 1 - first if last else 0 for first, last in zip(start, end)]
    assert sizes == [16 << 10, 64 << 10, 64 << 10, 0, 8 << 30, 0, 64 << 10]
    assert start[APERTURE] >= 1 << 32
    prefetch, wide = 0x2000, 0x100000
    assert [bool(f & prefetch) for f in flags] == [False, False, True, False, True, False, True]
    assert [bool(f & wide) for f in flags] == [False, False, True, False, True, False, False]


def test_rom(machine):
    """As the guest's kernel found it, which looks for an image that is in order."""
    size, digest = machine.rom.split()[:2]
    assert int(size) == 64 << 10
    assert digest == hashlib.md5(bytes((7 * n + (n >> 8)) & 0xff for n in range(0x100, 64 << 10))).hexdigest()


@pytest.mark.parametrize('which', ['machine', 'distant'])
def test_accesses_arrive_as_they_were_made(which, request):
    machine = request.getfixturevalue(which)
    assert machine.read(0) == 0x74736574
    for width in (8, 4, 2, 1):
        for offset in range(0, 8, width):
            value = int.from_bytes(bytes(range(0x80 + offset, 0x80 + offset + width)), 'little')
            before = machine.read(WRITES, 8)
            machine.write(SCRATCH + offset, value, width)
            assert machine.read(SCRATCH + offset, width) == value
            assert machine.read(WRITES, 8) == before + 1
            assert (machine.read(LAST_OFFSET), machine.read(LAST_WIDTH)) == (SCRATCH + offset, width)
            assert machine.read(LAST_VALUE, 8) == value
    assert machine.read(SCRATCH, 8) == 0x8786858483828180


def test_mixed_bar(machine):
    """Its mapped parts trap nothing, its trapped parts always, and both hold what is written."""
    mapped, trapped = [0x1000, 0x1ff8, 0x4000, 0xbff8], [0x0, 0xff8, 0x2000, 0x3ff8, 0xc000, 0xfff8]
    for offsets, expected in ((mapped, 0), (trapped, 1)):
        for offset in offsets:
            before = machine.vgpu.accesses()[MIXED]
            machine.write(offset, 0x1234500000000 + offset, 8, MIXED)
            assert machine.read(offset, 8, MIXED) == 0x1234500000000 + offset
            after = machine.vgpu.accesses()[MIXED]
            assert (after[0] - before[0], after[1] - before[1]) == (expected, expected), hex(offset)


def test_aperture_is_not_trapped(machine):
    before = machine.vgpu.accesses()[APERTURE]
    for offset in (0, 0x123456780, (8 << 30) - 8):
        machine.write(offset, offset + 1, 8, APERTURE, times=100000)
        assert machine.read(offset, 8, APERTURE) == offset + 1
    assert machine.vgpu.accesses()[APERTURE] == before == (0, 0)


def test_nothing_is_mapped_if_asked(distant):
    before = distant.vgpu.accesses()
    distant.write(0x1000, 7, 4, MIXED, times=1000)
    distant.write((64 << 20) - 4, 9, 4, APERTURE)
    assert distant.read(0x1000, 4, MIXED) == 7
    assert distant.read((64 << 20) - 4, 4, APERTURE) == 9
    after = distant.vgpu.accesses()
    assert (after[MIXED][1] - before[MIXED][1], after[APERTURE][1] - before[APERTURE][1]) == (1000, 1)


@pytest.mark.parametrize('which', ['machine', 'distant'])
def test_dma(which, request):
    """Longer than a piece of the device's work, and than a message."""
    machine = request.getfixturevalue(which)
    dma = machine.vgpu.show()['dma']
    assert dma['bytes'] >= 2 << 20 and (dma['mapped_bytes'] == 0) == (which == 'distant')

    machine.run('dma-fill', 0, 1 << 20, 5)
    expected = checksum(guest_bytes(1 << 20, 5))
    assert machine.dma(SUM, source=IOVA, length=1 << 20) == (DONE, 0, expected)
    assert machine.dma(COPY, source=IOVA, target=IOVA + (1 << 20), length=1 << 20)[:2] == (DONE, 0)
    assert machine.sum(1 << 20, 1 << 20) == expected
    assert machine.dma(FILL, target=IOVA + 0x123, length=300001, seed=77)[:2] == (DONE, 0)
    assert machine.sum(0x123, 300001) == checksum(device_bytes(300001, 77))
    assert machine.sum(0, 0x123) == checksum(guest_bytes(0x123, 5))


@pytest.mark.parametrize('which', ['machine', 'distant'])
def test_dma_that_is_not_allowed(which, request):
    machine = request.getfixturevalue(which)
    machine.set_master(False)
    assert machine.dma(SUM, source=IOVA, length=64) == (FAILED, EPERM, 0)
    machine.set_master(True)
    assert machine.dma(SUM, source=IOVA, length=64)[0] == DONE

    # The IOMMU takes the memory away again.
    faults = machine.vgpu.show()['faults']
    machine.run('dma-unmap', IOVA)
    assert machine.vgpu.show()['dma']['maps'] == 0
    assert machine.dma(SUM, source=IOVA, length=64) == (FAILED, EFAULT, 0)
    assert machine.dma(COPY, source=IOVA, target=IOVA + 4096, length=64) == (FAILED, EFAULT, 0)
    assert machine.vgpu.show()['faults'] == faults + 2
    machine.run('dma-map', IOVA)
    assert machine.dma(SUM, source=IOVA, length=64)[0] == DONE


@pytest.mark.parametrize('which', ['machine', 'distant'])
@pytest.mark.parametrize('index,vectors', [(MSI, 4), (MSIX, 16), (INTX, 1)], ids=['msi', 'msix', 'intx'])
def test_interrupts(which, index, vectors, request):
    """By a register and as the completion of DMA, up to the guest's eventfd."""
    machine = request.getfixturevalue(which)
    last = vectors - 1
    machine.run('vfio-irq', index, vectors)
    try:
        for _ in range(2):
            machine.write(RAISE[index], last if vectors > 1 else 1)
            assert machine.interrupts(index, last) == 1
            if index == INTX:
                machine.write(RAISE[INTX], 0)
                machine.run('vfio-unmask')
            assert machine.dma(SUM, source=IOVA, length=64, completion=(index + 1) << 16 | last)[0] == DONE
            assert machine.interrupts(index, last) == 1
            if index == INTX:
                assert machine.read(RAISE[INTX]) == 1
                machine.run('vfio-unmask')  # still up: once more
                assert machine.interrupts(index, last) == 1
                machine.write(RAISE[INTX], 0)
                machine.run('vfio-unmask')
        for vector in range(vectors):
            assert machine.interrupts(index, vector, 0) == 0
    finally:
        machine.run('vfio-irq', index, 0)


def test_function_mask(machine):
    """MSI-X' Function Mask reaches the device, which holds back until it is cleared."""
    at = machine.read(0x34, 1, CONFIG)
    while machine.read(at, 1, CONFIG) != 0x11:
        at = machine.read(at + 1, 1, CONFIG)
        assert at

    def set_control(high):
        machine.sh(f"printf '\\{high:03o}' | "
                   f'dd of=/sys/bus/pci/devices/{machine.pci}/config bs=1 seek={at + 3} conv=notrunc 2>/dev/null')

    machine.run('vfio-irq', MSIX, 2)
    try:
        set_control(0xc0)
        before = machine.triggered('MSI-X')
        machine.write(RAISE[MSIX], 1)
        assert machine.interrupts(MSIX, 1, 50) == 0
        assert machine.triggered('MSI-X') == before
        set_control(0x80)
        assert machine.interrupts(MSIX, 1) == 1
        assert machine.triggered('MSI-X') == before + 1
    finally:
        machine.run('vfio-irq', MSIX, 0)


def test_reboot_resets(machine):
    """Registers are as after power-on, memory is as it was."""
    resets = machine.vgpu.show()['resets']
    machine.write(SCRATCH, 0x55, 8)
    machine.write(RAISE[INTX], 1)
    machine.write(64, 0x66, 8, APERTURE)
    machine.vm.agent.tell('reboot')
    machine.start()
    assert machine.vgpu.show()['resets'] > resets
    assert machine.read(SCRATCH, 8) == 0
    assert machine.read(RAISE[INTX]) == 0
    assert machine.read(STATUS) == 0
    assert machine.read(64, 8, APERTURE) == 0x66


def test_has_no_screen(machine):
    """Whoever looks for one is told so."""
    assert 'scanout' not in machine.vgpu.show()
    for verb in (['screenshot', '-'], ['hash']):
        machine.vgpu.ctl(*verb, status=1)
    assert re.search(r'^selftest +selftest +pid \d+ +- ', machine.vgpu.daemon.ctl('list'), re.MULTILINE)


def test_error_stops_the_machine(distant):
    """ERR is for what cannot be recovered from: QEMU stops the guest. So this test is the last."""
    distant.vm.agent.send(f'vfio-write {REGS} {RAISE_ERR:#x} 4 0')
    distant.vm.qmp.wait_event('STOP')
    assert distant.vm.qmp.run('query-status')['status'] == 'internal-error'
