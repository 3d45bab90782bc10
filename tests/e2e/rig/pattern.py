"""The guest's test pictures (tests/e2e/guest/pattern.c) once more, as PIL pictures.

Rows are built a colour at a time and repeated, so that even the largest mode takes milliseconds.
"""
from PIL import Image

NOISE = 4099
BARS = (0xffffff, 0xffff00, 0x00ffff, 0x00ff00, 0xff00ff, 0xff0000, 0x0000ff, 0x000000)


def _rgb(colour):
    return colour.to_bytes(3, 'big')


def _bars(width, height, seed):
    forwards = b''.join(_rgb(BARS[(x * 8 // width + seed) % 8]) for x in range(width))
    backwards = b''.join(_rgb(BARS[(7 - x * 8 // width + seed) % 8]) for x in range(width))
    return b''.join(backwards if y // 64 % 2 else forwards for y in range(height))


def _gradient(width, height, seed):
    row = bytearray(3 * width)
    row[0::3] = bytes(x * 255 // (width - 1) if width > 1 else 0 for x in range(width))
    row[2::3] = bytes([seed & 0xff]) * width
    rows = []
    for y in range(height):
        row[1::3] = bytes([y * 255 // (height - 1) if height > 1 else 0]) * width
        rows.append(bytes(row))
    return b''.join(rows)


def _checker(width, height, seed):
    colour = seed * 0x9e3779b1 & 0xffffff
    cells = _rgb(colour ^ 0xffffff) * 16, _rgb(colour) * 16
    rows = [((cells[i] + cells[1 - i]) * (width // 32 + 1))[:3 * width] for i in (0, 1)]
    return b''.join(rows[y // 16 % 2] for y in range(height))


def _noise(width, height, seed):
    dots = bytearray()
    for _ in range(NOISE):
        seed = (seed * 1664525 + 1013904223) & 0xffffffff
        dots += _rgb(seed >> 8)
    dots = bytes(dots) * (width // NOISE + 2)
    return b''.join(dots[3 * at:3 * (at + width)] for at in (y * 37 % NOISE for y in range(height)))


PATTERNS = {'bars': _bars, 'gradient': _gradient, 'checker': _checker, 'noise': _noise}

# RGB565 and back: the upper bits are repeated below, so that white stays white.
_FIVE = bytes((v >> 3) << 3 | v >> 5 for v in range(256))
_SIX = bytes((v >> 2) << 2 | v >> 6 for v in range(256))


def picture(name, width, height, seed, depth=32):
    """What the guest draws for these words."""
    rgb = PATTERNS[name](width, height, seed)
    if depth == 16:
        dots = bytearray(rgb)
        dots[0::3] = rgb[0::3].translate(_FIVE)
        dots[1::3] = rgb[1::3].translate(_SIX)
        dots[2::3] = rgb[2::3].translate(_FIVE)
        rgb = bytes(dots)
    return Image.frombytes('RGB', (width, height), rgb)
