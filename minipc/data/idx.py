"""MNIST: 70,000 handwritten digits in the idx format. The files are not shipped with the package.

Source: Y. LeCun, L. Bottou, Y. Bengio & P. Haffner (1998), Gradient-based learning applied to document
recognition, Proceedings of the IEEE 86(11). Licence: CC BY-SA 3.0 (as Keras documents it).
"""

import math

import numpy as np

from .downloads import Remote, content

ORIGIN = "https://ossci-datasets.s3.amazonaws.com/mnist/"  # the copy that torchvision uses
IMAGES, LABELS = 0x803, 0x801  # magic numbers of idx: unsigned bytes, 3 axes or 1
FILES = {
    name: Remote("mnist", (f"{name}.gz", name), f"{ORIGIN}{name}.gz", size, sha256)
    for name, size, sha256 in (
        (
            "train-images-idx3-ubyte",
            47040016,
            "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        ),
        (
            "train-labels-idx1-ubyte",
            60008,
            "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        ),
        (
            "t10k-images-idx3-ubyte",
            7840016,
            "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        ),
        ("t10k-labels-idx1-ubyte", 10008, "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
    )
}


def images(part) -> np.ndarray:
    """Images of ``"train"`` or ``"t10k"``, ``(N, 784)`` uint8, row by row."""
    name = f"{part}-images-idx3-ubyte"
    pixels = read_idx(content(FILES[name]), IMAGES, name)
    return pixels.reshape(len(pixels), -1)


def labels(part) -> np.ndarray:
    """Labels of ``"train"`` or ``"t10k"``, ``(N,)`` int64."""
    name = f"{part}-labels-idx1-ubyte"
    return read_idx(content(FILES[name]), LABELS, name).astype(np.int64)


def read_idx(content, magic, name) -> np.ndarray:
    """An array of unsigned bytes in the idx format.

    Big-endian 32-bit numbers: the magic number (two zero bytes, the type 8, the number of axes), the length of
    each axis; then the bytes.

    Raises
    ------
    ValueError          another magic number, or more or fewer bytes than the header says
    """
    axes = magic & 0xFF
    header = np.frombuffer(content[: 4 * (1 + axes)], ">u4") if len(content) >= 4 * (1 + axes) else []
    if len(header) == 0 or header[0] != magic:
        raise ValueError(
            f"{name}: an idx file of {axes} axes begins with {magic:#010x}, got {content[:4].hex()}"
        )
    shape = tuple(int(n) for n in header[1:])
    expected, found = math.prod(shape), len(content) - 4 * (1 + axes)
    if found != expected:
        raise ValueError(f"{name}: the header says {shape}, that is {expected} bytes, got {found}")
    return np.frombuffer(content, np.uint8, offset=4 * (1 + axes)).reshape(shape)
