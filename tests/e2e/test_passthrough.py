"""The principle of the project: the guest touches the aperture at memory speed and nobody traps."""

STORES = 1000000


def test_stores_trap_nothing(vgpu_guest):
    guest = vgpu_guest
    guest.agent.run('draw', 1024, 768, 32, 'bars', 0)
    before = guest.vgpu.accesses()
    answer = guest.agent.run('stores', STORES)
    after = guest.vgpu.accesses()
    print(f'{STORES} stores in {int(answer["ns"]) / 1e6:.1f} ms')
    assert after == before
    assert after[0] == (0, 0)  # the aperture was never accessed but directly
    assert sum(reads + writes for reads, writes in after.values()) > 0  # and the counters do count


def test_registers_are_trapped(vgpu_guest):
    """The other side: each register access is counted once."""
    guest = vgpu_guest
    before = guest.vgpu.accesses()
    for _ in range(5):
        guest.agent.run('mmio-read', '0x500', 2)
    after = guest.vgpu.accesses()
    assert (after[2][0] - before[2][0], after[2][1] - before[2][1]) == (5, 0)
