r"""A skip connection around a chain of blocks.

=========  ==========================================================================================
(RES.1)    :math:`\mu = \kappa s + f(s)`, where f is the chain and :math:`\kappa` the fixed factor ``skip``
(RES.2)    :math:`J^\top v = \kappa v + J_f^\top v`; the parameters are those of the chain
(RES.3)    forward mode, :math:`\kappa \dot s + J_f \dot s` plus the change by the chain's parameters
=========  ==========================================================================================

Seen from outside a Residual is one block with one prediction: the activities inside of the chain are no
states, they carry no errors and do not relax.
"""

from dataclasses import dataclass

from .arguments import is_number
from .normalisation import freeze

FACES = ("forward", "vjp", "jvp", "out_shape", "shapes", "config", "init_params")


def is_block(value) -> bool:
    """An instance with the faces of a block."""
    return not isinstance(value, type) and all(hasattr(value, face) for face in FACES)


@dataclass(frozen=True)
class Residual:
    """``skip * s + f(s)`` with a chain of blocks f, Eq. (RES.1); its output has the shape of its input.

    Parameters
    ----------
    blocks : list of blocks      the chain f; any blocks, also Residual ones, but none that takes integers
    skip : float                 fixed factor of the skip connection, finite

    Raises
    ------
    ValueError, TypeError        for an empty chain, something that is no block, a factor that is no number

    Notes
    -----
    The parameters of the chain lie in one dict, their names begin with the place of their block: "1.W", "1.b",
    "2.W"; "2.1.W" where block 2 is a Residual itself. Cost: that of the chain.

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> block = Residual([pc.Dense(2, 3, "tanh"), pc.Dense(3, 2)])
    >>> list(block.shapes)
    ['1.W', '1.b', '2.W', '2.b']
    >>> p = block.init_params(np.random.default_rng(0), "float64")
    >>> block.forward({name: 0 * value for name, value in p.items()}, np.array([[5.0, 7.0]]))[0]
    array([[5., 7.]])
    """

    blocks: tuple
    skip: float = 1.0

    def __post_init__(self):
        if not isinstance(self.blocks, list | tuple):
            raise TypeError(f"blocks of a Residual block must be a list of blocks, got {self.blocks!r}")
        if not self.blocks:
            raise ValueError("blocks of a Residual block must hold at least one block, got an empty list")
        for l, block in enumerate(self.blocks, start=1):
            if not is_block(block):
                raise TypeError(f"block {l} of a Residual block must be a block, got {block!r}")
            if getattr(block, "integer_input", False):
                raise ValueError(
                    f"block {l} of a Residual block must take numbers, got {block!r}, which takes integers"
                )
        if not is_number(self.skip) or not -float("inf") < self.skip < float("inf"):
            raise ValueError(f"skip of a Residual block must be a finite number, got {self.skip!r}")
        object.__setattr__(self, "blocks", tuple(self.blocks))

    @property
    def shapes(self) -> dict:
        """Shape of every parameter of the chain, by place and name."""
        return {f"{l}.{name}": n for l, f in enumerate(self.blocks, 1) for name, n in f.shapes.items()}

    @property
    def in_shape(self):
        """Shape of a sample at the input, None if the first block of the chain takes what comes."""
        return self.blocks[0].in_shape

    def out_shape(self, in_shape) -> tuple:
        """Shape of a sample at the output, the same; a ValueError if the chain does not lead back to it."""
        shape = tuple(in_shape)
        for block in self.blocks:
            shape = block.out_shape(shape)
        if shape != tuple(in_shape):
            raise ValueError(
                f"the chain of a Residual must lead back to the shape of its input, {tuple(in_shape)}; got {shape}"
            )
        return shape

    @property
    def formula(self) -> str:
        """The map in one line, for summaries."""
        skip = "s" if self.skip == 1 else f"{self.skip:.3g} s"
        chain = self.blocks[0].formula if len(self.blocks) == 1 else f"{len(self.blocks)} blocks"
        return f"{skip} + {chain}"

    def config(self) -> dict:
        """The arguments that build this block again, each inner block as [name, config]; see ``registry.build``."""
        inner = [[type(block).__name__, block.config()] for block in self.blocks]
        return {"blocks": inner, "skip": float(self.skip)}

    def init_params(self, rng, dtype) -> dict:
        """Draw the parameters of the chain, block after block; host arrays of ``dtype``."""
        return self._flat([block.init_params(rng, dtype) for block in self.blocks])

    def forward(self, p, s):
        """Output and tape, Eq. (RES.1); the tape is the list of the chain's tapes."""
        r, tapes = s, []
        for block, q in zip(self.blocks, self._inner(p), strict=True):
            r, tape = block.forward(q, r)
            tapes.append(tape)
        return self._skip(s) + r, tapes  # (RES.1)

    def vjp(self, p, tape, v, *, input=True, params=True):
        """Pull ``v`` back along both ways: ``J^T v`` and the parameter gradient of the chain, Eq. (RES.2)."""
        back, grads, q = v, [], self._inner(p)
        for l in reversed(range(len(self.blocks))):
            wanted = input or l > 0  # below the first block it may not be
            back, g = self.blocks[l].vjp(q[l], tape[l], back, input=wanted, params=params)
            grads.insert(0, g)
        down = self._skip(v) + back if input else None  # (RES.2)
        return down, self._flat(grads) if params else None

    def jvp(self, p, tape, s_dot, p_dot=None):
        """Push tangents forward along both ways, Eq. (RES.3)."""
        r_dot = s_dot
        q_dots = [None] * len(self.blocks) if p_dot is None else self._inner(p_dot)
        for block, q, t, q_dot in zip(self.blocks, self._inner(p), tape, q_dots, strict=True):
            r_dot = block.jvp(q, t, r_dot, q_dot)
        return self._skip(s_dot) + r_dot  # (RES.3)

    def freeze(self, p, s):
        """The block with frozen normalisations inside, and the parameters with the statistics of the input ``s``."""
        r, blocks, inner = s, [], []
        for block, q in zip(self.blocks, self._inner(p), strict=True):
            block, q = freeze(block, q, r)
            blocks.append(block)
            inner.append(q)
            r, _ = block.forward(q, r)
        return Residual(blocks, self.skip), self._flat(inner)

    def _skip(self, s):
        """``skip * s``."""
        return s if self.skip == 1 else float(self.skip) * s

    def _inner(self, p):
        """One dict of parameters for each block of the chain."""
        return [{name: p[f"{l}.{name}"] for name in f.shapes} for l, f in enumerate(self.blocks, 1)]

    def _flat(self, inner):
        """The inverse of :meth:`_inner`."""
        return {f"{l}.{name}": value for l, q in enumerate(inner, 1) for name, value in q.items()}
