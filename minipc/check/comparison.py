r"""Compare gradients: per parameter relative error, cosine, norm ratio, worst entry; complex step.

=========  ==========================================================================================
(CHK.1)    relative error :math:`|g - g'| / |g'|` of a parameter, in the Euclidean norm
(CHK.2)    complex step :math:`\partial f/\partial x_i = \mathrm{Im} f(x + i h e_i) / h`, without cancellation
=========  ==========================================================================================
"""

from typing import NamedTuple

import numpy as np

from ..backend import is_array, to_numpy


class Row(NamedTuple):
    """How one array differs from the expected one."""

    name: str
    relative_error: float  # (CHK.1); 0 if both are zero, inf if only the expected one is
    cosine: float  # 1: same direction, so a mere factor is wrong
    norm_ratio: float  # got / expected
    worst: tuple  # index of the largest difference
    got: complex
    expected: complex


class Comparison(NamedTuple):
    """Result of :func:`compare`; prints as a table."""

    rows: list

    @property
    def worst(self) -> float:
        """Largest relative error of all parameters."""
        return max(row.relative_error for row in self.rows)

    def __str__(self):
        lines = [f"{'parameter':>10}  {'rel. error':>10}  {'cosine':>9}  {'norm ratio':>10}  worst entry"]
        for r in self.rows:
            lines.append(
                f"{r.name:>10}  {r.relative_error:10.1e}  {r.cosine:9.6f}  {r.norm_ratio:10.4g}  "
                f"{r.name}{list(r.worst)} = {r.got:.6g}, expected {r.expected:.6g}"
            )
        return "\n".join(lines)


def compare(g, other) -> Comparison:
    """Compare a gradient with the expected one, parameter by parameter, Eq. (CHK.1).

    Parameters
    ----------
    g, other : Gradient, or lists of dicts of arrays, or lists of arrays (None is skipped), or one array
        ``other`` is the expected one. NumPy or CuPy; the comparison is made on the host.

    Returns
    -------
    Comparison
        ``rows`` and ``worst``; ``print`` shows a table. The cosine tells a wrong direction from a wrong
        factor, the norm ratio tells the factor.

    Raises
    ------
    ValueError      if structure or shapes differ; names the parameter

    Examples
    --------
    >>> print(compare([{"W": np.array([[1.0, 2.0]])}], [{"W": np.array([[0.5, 1.0]])}]))
     parameter  rel. error     cosine  norm ratio  worst entry
          W[1]     1.0e+00   1.000000           2  W[1][0, 1] = 2, expected 1
    """
    actual, expected = leaves(g), leaves(other)
    if actual.keys() != expected.keys():
        raise ValueError(f"the structures differ: got {list(actual)}, expected {list(expected)}")
    if not any(x.size for x in expected.values()):
        raise ValueError("there is nothing to compare: no number in either structure")
    rows = []
    for name, x in expected.items():
        a = actual[name]
        if a.shape != x.shape:
            raise ValueError(f"{name} must have shape {x.shape}, got {a.shape}")
        with np.errstate(all="ignore"):  # what is not finite is reported, not warned of
            rows.append(_row(name, a, x))
    return Comparison(rows)


def _row(name, a, x):
    difference = np.abs(a - x)
    error, size, norm = np.linalg.norm(difference), np.linalg.norm(x), np.linalg.norm(a)
    worst = np.unravel_index(int(np.argmax(difference)), x.shape)
    return Row(
        name,
        _ratio(error, size),
        float((a * x.conj()).sum().real / (norm * size)) if norm * size else float(norm == size),
        float(norm / size) if size else (float("inf") if norm else 1.0),
        tuple(int(i) for i in worst),
        a[worst].item(),
        x[worst].item(),
    )


def _ratio(error, size):
    """Relative error; infinite where it is no number, so that NaN never passes for equal."""
    if not np.isfinite(error) or (error and not size):
        return float("inf")
    return float(error / size) if size else 0.0


def leaves(tree, name=""):
    """Arrays by name: parameters as ``W[1]``, items of a list as ``[1]``, a single array as ``array``."""
    if hasattr(tree, "grads"):
        tree = tree.grads
    if tree is None:
        return {}
    if isinstance(tree, dict):
        inside = "" if not name or name[0] == "[" else f"{name}."
        names = {key: f"{inside}{key}" if inside else f"{key}{name}" for key in tree}
        return {k: v for key, value in tree.items() for k, v in leaves(value, names[key]).items()}
    if isinstance(tree, list | tuple):
        shift = 1 if tree and isinstance(tree[0], dict) else 0  # params count from zero, layers from one
        found = {}
        for i, value in enumerate(tree):
            found.update(leaves(value, f"{name}[{i + shift}]"))
        return found
    if not is_array(tree):
        raise TypeError(f"{name or 'a gradient'} must be made of arrays, got {type(tree).__name__}")
    return {name or "array": to_numpy(tree)}


def complex_step(function, x, *, h=1e-200):
    """Derivative of the real scalar ``function`` at the array ``x``, Eq. (CHK.2); the shape of ``x``.

    Exact to rounding, because nothing is subtracted; but ``function`` must be written without ``abs``,
    ``conj`` and ``linalg.norm``, which are not analytic and give zero or nonsense. Cost: one call an entry.

    Examples
    --------
    >>> complex_step(lambda x: (x**3).sum(), np.array([1.0, 2.0]))
    array([ 3., 12.])
    """
    x = to_numpy(x)
    out = np.empty(x.shape)
    for i in np.ndindex(x.shape):
        z = x.astype(complex)
        z[i] += 1j * h
        out[i] = np.imag(function(z)) / h  # (CHK.2)
    return out
