"""CIFAR-10 from the official binary archive, or the lossy subset that some have instead. Neither is shipped.

The archive's other version holds pickles and is never read. A record of the binary one is a label and 3 x 32 x 32 bytes:
the red, green and blue plane of the image, each row by row.
"""

import io
import warnings

import numpy as np

from .about import add
from .downloads import Remote, content, found

URL = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
ARCHIVE = (
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"  # tensorflow/datasets, url_checksums
)
FOLDER = "cifar-10-batches-bin"  # in the archive
SHAPE = (3, 32, 32)
BATCHES = {  # sha256: ankane/torchvision-ruby; that of the test batch also in other public loaders
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}
FILES = {
    name: Remote(
        "cifar10",
        (name, f"{FOLDER}/{name}"),
        URL,
        10000 * 3073,
        sha256,
        member=f"{FOLDER}/{name}",
        packed=ARCHIVE,
        length=170_052_171,
    )
    for name, sha256 in BATCHES.items()
}
LOSSY = Remote(
    "cifar10",
    ("cifar10_jpeg_20k_5k.npz",),
    None,
    23254044,
    "0162703862382928fcce06413b922c09253b57683c3c1cfe2b2d68bc6e9f5228",
)

add(
    name="cifar10",
    title="CIFAR-10, small colour photographs",
    what="images x (N, 3, 32, 32), red, green, blue, 0..1; labels y (N,) 0..9: airplane, automobile, bird, cat, deer, "
    "dog, frog, horse, ship, truck; 50,000 to train on, 10,000 to test. Where only the lossy JPEG subset is found, "
    "20,000 and 5,000, with a warning",
    source=f"{URL} (170 MB), https://www.cs.toronto.edu/~kriz/cifar.html; the subset has no public address",
    licence="none stated; the page asks to cite the report. The photographs come from a crawl of the web",
    citation="A. Krizhevsky (2009), Learning multiple layers of features from tiny images, technical report, University of "
    "Toronto",
)


class LossySubsetWarning(UserWarning):
    """The images are a lossy JPEG subset of CIFAR-10: results are not comparable with published ones."""


def arrays():
    """Training images ``(N, 3, 32, 32)`` uint8 and labels ``(N,)`` int64, then those to test."""
    if all(found(file) for file in FILES.values()) or not found(LOSSY):
        return _official()
    warnings.warn(
        "this is NOT CIFAR-10 but a subset of it, 20,000 + 5,000 images with the losses of JPEG: do not compare results "
        f"with published ones. For CIFAR-10 put {URL} into the folder cifar10 under MINIPC_DATA",
        LossySubsetWarning,
        stacklevel=3,
    )
    return _lossy()


def _official():
    *train, test = (read_records(content(file)) for file in FILES.values())
    return *(np.concatenate(parts) for parts in zip(*train, strict=True)), *test


def read_records(data):
    """Images and labels of records of 3,073 bytes."""
    records = np.frombuffer(data, np.uint8).reshape(-1, 3073)
    return records[:, 1:].reshape(-1, *SHAPE), records[:, 0].astype(np.int64)


def _lossy():
    with np.load(io.BytesIO(content(LOSSY)), allow_pickle=False) as file:
        parts = [
            [file[f"{part}_{kind}"] for kind in ("bytes", "offsets", "labels")] for part in ("train", "test")
        ]
    return (*(result for part in parts for result in _decoded(*part)),)


def _decoded(data, offsets, labels):
    """Images of JPEG files that stand one after another; the one of number i begins at ``offsets[i]``."""
    try:
        from PIL import Image
    except ImportError:
        raise ImportError('the JPEG subset of CIFAR-10 needs Pillow: pip install "minipc[data]"') from None
    images = np.empty((len(labels), *SHAPE), np.uint8)
    for image, begin, end in zip(images, offsets[:-1], offsets[1:], strict=True):
        with Image.open(io.BytesIO(data[begin:end].tobytes())) as picture:
            image[...] = np.asarray(picture).transpose(2, 0, 1)
    return images, labels.astype(np.int64)
