"""MNIST and Fashion-MNIST: 70,000 images of 28 x 28 pixels each, in the idx format. The files are not shipped."""

import math

import numpy as np

from .about import add
from .downloads import Remote, content

IMAGES, LABELS = 0x803, 0x801  # magic numbers of idx: unsigned bytes, 3 axes or 1
MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/"  # the copy that torchvision uses
FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"

add(
    name="mnist",
    title="MNIST, handwritten digits",
    what="images of 28 x 28 pixels, row by row, grey values 0..1: x (N, 784); labels y (N,) 0..9; "
    "60,000 to train on, 10,000 to test",
    source=f"{MNIST} (4 files, 11 MB); originally http://yann.lecun.com/exdb/mnist/",
    licence="CC BY-SA 3.0, as Keras documents it",
    citation="Y. LeCun, L. Bottou, Y. Bengio and P. Haffner (1998), Gradient-based learning applied to document "
    "recognition, Proceedings of the IEEE 86(11)",
)
add(
    name="fashion_mnist",
    title="Fashion-MNIST, articles of clothing",
    what="images of 28 x 28 pixels, row by row, grey values 0..1: x (N, 784); labels y (N,) 0..9: T-shirt/top, "
    "trouser, pullover, dress, coat, sandal, shirt, sneaker, bag, ankle boot; 60,000 to train on, 10,000 to test",
    source=f"{FASHION} (4 files, 31 MB); https://github.com/zalandoresearch/fashion-mnist",
    licence="MIT, copyright Zalando SE",
    citation="H. Xiao, K. Rasul and R. Vollgraf (2017), Fashion-MNIST: a novel image dataset for benchmarking machine "
    "learning algorithms, arXiv:1708.07747",
)


def _files(folder, origin, checksums):
    """The four files of a data set; sizes when unpacked, checksums as keywords of :class:`Remote`."""
    sizes = {
        "train-images-idx3-ubyte": 47040016,
        "train-labels-idx1-ubyte": 60008,
        "t10k-images-idx3-ubyte": 7840016,
        "t10k-labels-idx1-ubyte": 10008,
    }
    return {
        name: Remote(folder, (f"{name}.gz", name), f"{origin}{name}.gz", size, **checksums[name])
        for name, size in sizes.items()
    }


FILES = {
    "mnist": _files(
        "mnist",
        MNIST,
        {  # computed from a copy whose MD5 are those that are known of the original
            "train-images-idx3-ubyte": {
                "sha256": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
            },
            "train-labels-idx1-ubyte": {
                "sha256": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
            },
            "t10k-images-idx3-ubyte": {
                "sha256": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
            },
            "t10k-labels-idx1-ubyte": {
                "sha256": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
            },
        },
    ),
    "fashion_mnist": _files(
        "fashion_mnist",
        FASHION,
        {  # packed: tensorflow/datasets, url_checksums/fashion_mnist.txt; md5: of the unpacked files, in several
            # public loaders. A sha256 of the unpacked bytes is not public.
            "train-images-idx3-ubyte": {
                "packed": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
                "md5": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
            },
            "train-labels-idx1-ubyte": {
                "packed": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
                "md5": "9018921c3c673c538a1fc5bad174d6f9",
            },
            "t10k-images-idx3-ubyte": {
                "packed": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
                "md5": "8181f5470baa50b63fa0f6fddb340f0a",
            },
            "t10k-labels-idx1-ubyte": {
                "packed": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
                "md5": "15d484375f8d13e6eb1aabb0c3f46965",
            },
        },
    ),
}


def images(dataset, part) -> np.ndarray:
    """Images of ``"train"`` or ``"t10k"``, ``(N, 784)`` uint8, row by row."""
    name = f"{part}-images-idx3-ubyte"
    pixels = read_idx(content(FILES[dataset][name]), IMAGES, f"{dataset}/{name}")
    return pixels.reshape(len(pixels), -1)


def labels(dataset, part) -> np.ndarray:
    """Labels of ``"train"`` or ``"t10k"``, ``(N,)`` int64."""
    name = f"{part}-labels-idx1-ubyte"
    return read_idx(content(FILES[dataset][name]), LABELS, f"{dataset}/{name}").astype(np.int64)


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
