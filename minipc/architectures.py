r"""Networks that are known by a name.

=========  ==========================================================================================
(sPC.18)   muPC: :math:`\mu_l = s_{l-1} + g_l W_l \phi(s_{l-1})`, entries of W standard normal, no bias;
           :math:`g_1 = n_0^{-1/2}` (no skip, no phi), :math:`g_l = (n L)^{-1/2}`, :math:`g_L = 1/n` (no skip)
=========  ==========================================================================================
"""

from .arguments import check_count
from .blocks import Dense
from .network import Network
from .residual import Residual


def mupc(n_in, width, n_out, depth, activation="relu", loss="mse"):
    r"""A residual network in the depth-muP parameterisation, Eq. (sPC.18), on which inference stays stable at any depth.

    Parameters
    ----------
    n_in, width, n_out : int    n_0, n of every hidden layer, and n_L
    depth : int                 L, number of blocks: one in, L - 2 residual, one out; at least 2
    activation : str            phi, as for :class:`minipc.Dense`
    loss : str                  as for :class:`minipc.Network`

    Returns
    -------
    Network                     parameters ``W`` (first and last block), "1.W" (residual blocks)

    Raises
    ------
    ValueError, TypeError       for sizes that are no positive integers, a depth below 2, an unknown name

    Notes
    -----
    The gains are fixed factors, ``Dense(scale=...)``; the weights start as N(0, 1) (INIT.4), so that learning
    rates mean the same at every width and depth. Written out, the gradients are (sPC.19).
    Source: Innocenti, Achour & Buckley (2025), arXiv 2505.13124; code thebuckleylab/jpc.

    Examples
    --------
    >>> net = mupc(3, 8, 2, depth=4)
    >>> [block.formula for block in net.blocks]
    ['0.577 W s', 's + 0.177 W relu(s)', 's + 0.177 W relu(s)', '0.125 W relu(s)']
    """
    for name, value in (("n_in", n_in), ("width", width), ("n_out", n_out)):
        check_count(f"{name} of a muPC network", value, least=1)
    check_count("depth of a muPC network", depth, least=2)

    def layer(n_out, n_in, phi, gain):
        return Dense(n_in, n_out, phi, form="pre", init="normal", bias=False, scale=gain)

    first = layer(width, n_in, "identity", n_in**-0.5)  # (sPC.18)
    hidden = [Residual([layer(width, width, activation, (width * depth) ** -0.5)]) for _ in range(depth - 2)]
    last = layer(n_out, width, activation, 1 / width)  # (sPC.18)
    return Network([first, *hidden, last], loss)
