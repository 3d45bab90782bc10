"""Pictures as people and tests compare them: size and RGB, nothing else."""
from PIL import Image, ImageChops


def load(path):
    with Image.open(path) as image:
        return image.convert('RGB')


def is_black(image):
    return image.getbbox() is None


def is_plain(image):
    """A single colour, whichever."""
    return all(low == high for low, high in image.getextrema())


def assert_same(got, expected, evidence):
    """Dot by dot. Where they differ, what was expected is left in the directory evidence."""
    if got.size == expected.size and got.tobytes() == expected.tobytes():
        return
    expected.save(evidence / 'expected.png')
    assert got.size == expected.size, f'size {got.size}, expected {expected.size}'
    difference = ImageChops.difference(got, expected)
    difference.point(lambda v: 255 if v else 0).save(evidence / 'difference.png')
    box = difference.getbbox()
    gray = difference.convert('RGB').tobytes()
    wrong = sum(1 for i in range(0, len(gray), 3) if gray[i:i + 3] != b'\0\0\0')
    first = next(i // 3 for i in range(0, len(gray), 3) if gray[i:i + 3] != b'\0\0\0')
    at = first % got.width, first // got.width
    raise AssertionError(f'{wrong} of {got.width * got.height} dots differ, within {box}; the first at {at}: '
                         f'{got.getpixel(at)}, expected {expected.getpixel(at)}; see {evidence}')
