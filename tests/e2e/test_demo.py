"""The animated picture: page flips between two buffers, with pictures taken while it moves."""
import time

from rig import picture


def test_demo(guest, evidence):
    guest.agent.run('demo')
    shots = []
    for i in range(3):
        time.sleep(0.5)
        shots.append(guest.shot(evidence, f'moment-{i}'))
    answer = guest.agent.run('demo-stop')
    frames, seconds = int(answer['frames']), int(answer['ns']) / 1e9
    print(f'{frames / seconds:.1f} frames a second')
    assert frames > 4
    for shot in shots:
        assert shot.size == (1024, 768) and not picture.is_plain(shot)
    assert len({shot.tobytes() for shot in shots}) == len(shots)
    # It stands still now, and the last picture stays.
    assert guest.shot(evidence, 'last').tobytes() == guest.shot(evidence, 'last').tobytes()
