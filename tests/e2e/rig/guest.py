"""A machine with a display that can be looked at: QEMU's own, the oracle, or a vGPU of ours."""
from . import picture
from .vgpud import Vgpud
from .vm import BOCHS_DISPLAY, Vm, vfio_user


class Guest:
    """Our Linux guest before one of the displays. Boots while it is made; ready() waits."""

    kind = None

    def __init__(self, vm):
        self.vm = vm
        self._booted = False

    @property
    def agent(self):
        if not self._booted:
            self.vm.agent.wait_ready()
            self._booted = True
        return self.vm.agent

    def reboot(self):
        self.agent.tell('reboot')
        self._booted = False
        return self.agent

    def shot(self, evidence, name='screen'):
        """The picture on the display now. Its file is evidence, name-kind.png."""
        path = evidence / f'{name}-{self.kind}.png'
        self._capture(path)
        return picture.load(path)

    def _capture(self, path):
        raise NotImplementedError

    def close(self):
        self.vm.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class OracleGuest(Guest):
    """QEMU's bochs-display and QEMU's screendump: how it should look."""

    kind = 'oracle'

    def __init__(self, directory, guest='', **more):
        super().__init__(Vm(directory, BOCHS_DISPLAY, guest, name='oracle', **more))

    def _capture(self, path):
        self.vm.screendump(path)


class VgpuGuest(Guest):
    """A vGPU that is already running, in a machine of its own."""

    kind = 'vgpud'

    def __init__(self, directory, vgpu, guest='', name='vm', bus=(), **more):
        """bus: the arguments for a bus that the device is to sit on, whose id is 'bus'."""
        self.vgpu = vgpu
        where = {'bus': 'bus'} if bus else {}
        display = [*bus, *vfio_user(vgpu.socket, id='vgpu', **where)]
        super().__init__(Vm(directory, display, guest, name=name, **more))

    def _capture(self, path):
        self.vgpu.screenshot(path)


class OwnVgpuGuest(VgpuGuest):
    """With a vGPU that lives as long as the machine."""

    def __init__(self, directory, guest='', name='vgpu', rom=None, **more):
        vgpu = Vgpud(directory, name, rom)
        try:
            super().__init__(directory, vgpu, guest, **more)
        except BaseException:
            vgpu.stop()
            raise

    def close(self):
        super().close()
        self.vgpu.stop()
