r"""Backpropagation through the chain: the gradient all other rules are compared with.

=========  ==========================================================================================
(BP.1)     :math:`a_l = W_l s_{l-1} + b_l`, :math:`\mu_l = \phi_l(a_l)`; on the way up :math:`s_l = \mu_l`
(BP.3)     :math:`\xi_L = -\partial\mathcal L/\partial\hat y`
(BP.4)     :math:`\delta_L = -\xi_L`, :math:`\delta_l = J_{l+1}^\top \delta_{l+1}`
(BP.5)     :math:`\partial\mathcal L/\partial W_l = (\delta_l \odot \phi'(a_l))\, s_{l-1}^\top` (post form)
(BP.6)     :math:`\partial\mathcal L/\partial W_l = \delta_l\, \phi(s_{l-1})^\top` (pre form)
=========  ==========================================================================================

(BP.2), (BP.5) and (BP.6) are the business of the blocks, in ``Dense.vjp``.
"""

from .arguments import prepare
from .network import Gradient, by_layer, check_loss


def gradient(net, params, x, y):
    r"""Gradient of the summed loss by backpropagation, Eqs. (BP.1)-(BP.6).

    Parameters
    ----------
    net : Network
    params : list of dicts            as :meth:`Network.init` draws them
    x : (B, n[0])                     input
    y : (B, n[L]) or labels (B,)      target; integer labels for cross_entropy only

    Returns
    -------
    Gradient
        ``grads`` (sum over the batch, structure of ``params``), ``loss`` (B,), ``states`` s[0..L-1] and
        ``errors``, where ``errors[l]`` is minus dLoss/ds_l.

    Raises
    ------
    ValueError, TypeError             bad shapes, dtypes, labels or values, by symbol, before any work
    FloatingPointError                the loss is not finite; says in which block that began

    Notes
    -----
    Cost: O(B P) time for P weights, O(B sum n[l]) memory.
    Derivation: reference/equations.md.  Source: Rumelhart, Hinton & Williams (1986), Nature 323.

    Examples
    --------
    >>> import numpy as np, minipc as pc
    >>> net = pc.Network([pc.Dense(1, 1)])
    >>> g = gradient(net, [{"W": np.array([[2.0]]), "b": np.zeros(1)}], np.array([[1.0]]), np.array([[5.0]]))
    >>> g.loss, g.grads[0]["W"]
    (array([4.5]), array([[-3.]]))
    """
    x, y = prepare(net, params, x, y)
    L, f, theta = len(net.blocks), by_layer(net.blocks), by_layer(params)
    s, tape, grads, delta = [x], [None], [None] * L, [None] * (L + 1)
    for l in range(1, L + 1):
        mu, t = f[l].forward(theta[l], s[l - 1])  # (BP.1)
        s.append(mu)
        tape.append(t)
    loss = net.loss.value(s[L], y)
    check_loss(net, params, x, loss)
    delta[L] = -net.loss.error(s[L], y)  # (BP.3), (BP.4)
    for l in range(L, 0, -1):  # the gradient with respect to the input is not needed
        delta[l - 1], grads[l - 1] = f[l].vjp(
            theta[l], tape[l], delta[l], input=l > 1
        )  # (BP.4), (BP.5), (BP.6)
    return Gradient(grads, loss, states=s[:L], errors=[None, *(-d for d in delta[1:])])
