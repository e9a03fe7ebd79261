"""Where arrays live: NumPy on the host, CuPy on the device. The only module that names CuPy.

The array module is told from the arrays: a rule that is handed CuPy arrays computes with CuPy, and
nothing has to be switched on. CuPy is never imported to find out.
"""

import sys
from typing import Any

import numpy as np

Array = Any  # numpy.ndarray or cupy.ndarray

INSTALL_HINT = (
    'pip install "cupy-cuda13x[ctk]>=14,<15"   (or cupy-cuda12x, by the CUDA major version of the driver)'
)


# glibc hands idle memory back to the system once it exceeds twice the largest array freed so far, and then gets
# it again, page by page, in the next call: 2 ms a call of 4 on a net of 20 layers (benchmarks/spatial.py). An array that
# is allocated, never written to and freed raises that limit; it costs no memory, and elsewhere it does nothing.
np.empty(31 << 20, np.uint8)


def array_module(*arrays):
    """Return ``cupy`` if any argument is a CuPy array, else ``numpy``.

    An argument can only be a CuPy array if the caller has imported CuPy already, so looking into
    ``sys.modules`` is enough.
    """
    cupy = sys.modules.get("cupy")
    if cupy is not None and any(isinstance(a, cupy.ndarray) for a in arrays):
        return cupy
    return np


def is_array(value) -> bool:
    """True for a NumPy or CuPy array (a NumPy scalar, a list or a number is none)."""
    cupy = sys.modules.get("cupy")
    return isinstance(value, np.ndarray) or (cupy is not None and isinstance(value, cupy.ndarray))


def as_backend(tree, *, like):
    """Move the arrays of a list, tuple, dict or a single array to the array module of ``like``.

    Parameters
    ----------
    tree : array, or nested lists, tuples and dicts of arrays    anything else stays as it is
    like : array                                                 only its module counts; dtypes are kept

    Examples
    --------
    >>> x = np.ones((2, 3), dtype="float32")
    >>> as_backend([{"W": np.zeros((4, 3))}], like=x)[0]["W"].shape
    (4, 3)
    """
    if isinstance(tree, dict):
        return {key: as_backend(value, like=like) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        moved = [as_backend(value, like=like) for value in tree]
        return type(tree)(*moved) if hasattr(tree, "_fields") else type(tree)(moved)
    if not is_array(tree):
        return tree
    xp = array_module(like)
    return to_numpy(tree) if xp is np else xp.asarray(tree)


def add_rows(index, rows, count):
    """Sum of the ``rows (N, n)`` that carry the same number in ``index (N,)``; ``-> (count, n)``.

    ``total[index] += rows`` would keep one of several. Entry by entry in one long vector, because NumPy is
    four times quicker there than with whole rows.
    """
    xp, n = array_module(rows), rows.shape[1]
    total = xp.zeros(count * n, rows.dtype)
    places = index.astype("int64")[:, None] * n + xp.arange(n)  # (N, n); a small integer type would overflow
    xp.add.at(total, places.reshape(-1), rows.reshape(-1))
    return total.reshape(count, n)


def to_numpy(array) -> np.ndarray:
    """Device or host array -> NumPy array. The one deliberate synchronisation point."""
    return array.get() if hasattr(array, "get") else np.asarray(array)


def on_device(tree, device):
    """Arrays, nested as in :func:`as_backend`, on the ``"cpu"`` or the ``"gpu"``.

    Raises
    ------
    ValueError          another word, or a GPU is asked for and there is none; says what to install
    """
    if device not in ("cpu", "gpu"):
        raise ValueError(f"device must be cpu or gpu, got {device!r}")
    if device == "cpu":
        return as_backend(tree, like=np.empty(0))
    if not gpu_available():
        raise ValueError(f"device gpu: CuPy with an NVIDIA GPU is needed, and not found here: {INSTALL_HINT}")
    import cupy

    return as_backend(tree, like=cupy.empty(0))


def gpu_available() -> bool:
    """True if CuPy imports *and* sees a device (the import alone succeeds without a GPU)."""
    try:
        import cupy
    except ImportError:
        return False
    return bool(cupy.cuda.is_available())
