"""DES for single blocks, by the tables of FIPS 46-3: VNC's password check needs it. For tests only."""

_INITIAL = [start - 8 * i for start in (58, 60, 62, 64, 57, 59, 61, 63) for i in range(8)]
_FINAL = [_INITIAL.index(i) + 1 for i in range(1, 65)]
_EXPAND = [(4 * i + j - 1) % 32 + 1 for i in range(8) for j in range(6)]
_PERMUTE = [16, 7, 20, 21, 29, 12, 28, 17, 1, 15, 23, 26, 5, 18, 31, 10,
            2, 8, 24, 14, 32, 27, 3, 9, 19, 13, 30, 6, 22, 11, 4, 25]
_CHOICE_1 = [57, 49, 41, 33, 25, 17, 9, 1, 58, 50, 42, 34, 26, 18, 10, 2, 59, 51, 43, 35, 27, 19, 11, 3, 60, 52, 44, 36,
             63, 55, 47, 39, 31, 23, 15, 7, 62, 54, 46, 38, 30, 22, 14, 6, 61, 53, 45, 37, 29, 21, 13, 5, 28, 20, 12, 4]
_CHOICE_2 = [14, 17, 11, 24, 1, 5, 3, 28, 15, 6, 21, 10, 23, 19, 12, 4, 26, 8, 16, 7, 27, 20, 13, 2,
             41, 52, 31, 37, 47, 55, 30, 40, 51, 45, 33, 48, 44, 49, 39, 56, 34, 53, 46, 42, 50, 36, 29, 32]
_SHIFTS = (1, 1, 2, 2, 2, 2, 2, 2, 1, 2, 2, 2, 2, 2, 2, 1)
# Each row of a box as 16 hexadecimal digits.
_BOXES = [[int(digit, 16) for row in box.split() for digit in row] for box in (
    'e4d12fb83a6c5907 0f74e2d1a6cb9538 41e8d62bfc973a50 fc8249175b3ea06d',
    'f18e6b34972dc05a 3d47f28ec01a69b5 0e7ba4d158c6932f d8a13f42b67c05e9',
    'a09e63f51dc7b428 d709346a285ecbf1 d6498f30b12c5ae7 1ad069874fe3b52c',
    '7de3069a1285bc4f d8b56f03472c1ae9 a690cb7df13e5284 3f06a1d8945bc72e',
    '2c417ab6853fd0e9 eb2c47d150fa3986 421bad78f9c5630e b8c71e2d6f09a453',
    'c1af92680d34e75b af427c9561de0b38 9ef528c3704a1db6 432c95fabe17608d',
    '4b2ef08d3c975a61 d0b7491ae35c2f86 14bdc37eaf680592 6bd814a7950fe23c',
    'd2846fb1a93e50c7 1fd8a374c56b0e92 7b419ce206adf358 21e74a8dfc90356b')]


def _pick(bits, table):
    return [bits[i - 1] for i in table]


def _keys(key):
    left, right = key[:28], key[28:]
    for shift in _SHIFTS:
        left, right = left[shift:] + left[:shift], right[shift:] + right[:shift]
        yield _pick(left + right, _CHOICE_2)


def _round(half, key):
    bits = [a ^ b for a, b in zip(_pick(half, _EXPAND), key)]
    out = []
    for i, box in enumerate(_BOXES):
        b = bits[6 * i:6 * i + 6]
        value = box[32 * b[0] + 16 * b[5] + 8 * b[1] + 4 * b[2] + 2 * b[3] + b[4]]
        out += [value >> shift & 1 for shift in (3, 2, 1, 0)]
    return _pick(out, _PERMUTE)


def encrypt(key, block):
    bits = _pick([byte >> shift & 1 for byte in block for shift in range(7, -1, -1)], _INITIAL)
    key = _pick([byte >> shift & 1 for byte in key for shift in range(7, -1, -1)], _CHOICE_1)
    left, right = bits[:32], bits[32:]
    for round_key in _keys(key):
        left, right = right, [a ^ b for a, b in zip(left, _round(right, round_key))]
    bits = _pick(right + left, _FINAL)
    return bytes(int(''.join(map(str, bits[i:i + 8])), 2) for i in range(0, 64, 8))
