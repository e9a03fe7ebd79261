"""Autograd oracles: losses and energies written from the equations, every derivative taken by autograd.

No derivative in this file is derived by hand, so a mistake in a hand-derived rule cannot hide here.

========  ===================================================================  =========================
id        equation                                                             function
========  ===================================================================  =========================
(BP.1)    mu_l = phi_l(W_l s_{l-1} + b_l)  or  W_l phi_l(s_{l-1}) + b_l        predict, feedforward
(BP.3)    Loss = 1/2 (y-yhat)^T Pi_L (y-yhat)  or  -y^T log softmax(yhat)      loss_value
(LOSS.4)  Loss = -y^T log sigmoid(yhat) - (1-y)^T log(1 - sigmoid(yhat))       loss_value
(BP.4)    delta_l = dLoss/ds_l at the feedforward point                        deltas
(BP.5)    dLoss/dW_l, dLoss/db_l, post form                                    loss_gradient
(BP.6)    dLoss/dW_l, dLoss/db_l, pre form                                     loss_gradient
(sPC.1)   mu_l = f_l(s_{l-1}), eps_l = s_l - mu_l                              spc_energy
(sPC.2)   E(s, theta) = 1/2 sum_{l<L} eps_l^T Pi_l eps_l + Loss(yhat, y)       spc_energy
(sPC.4)   dE/ds_l                                                              spc_activity_gradient
(sPC.6)   dE/dW_l, dE/db_l, post form                                          spc_weight_gradient
(sPC.7)   dE/dW_l, dE/db_l, pre form                                           spc_weight_gradient
(ePC.1)   s_0 = x, s_l = f_l(s_{l-1}) + e_l (l < L), yhat = f_L(s_{L-1})       states_from_errors
(ePC.2)   E(e, theta) = 1/2 sum_{l<L} e_l^T Pi_l e_l + Loss(yhat(x, e), y)     epc_energy
(ePC.4)   dE/de_l                                                              epc_error_gradient
(ePC.6)   dE/dW_l, dE/db_l with the derived states held fixed                  epc_weight_gradient
(ePC.7)   M = ds/de                                                            state_error_jacobian
(ePC.9)   H_s = d2E/ds2                                                        energy_hessian_states
          H_e = d2E/de2                                                        energy_hessian_errors
(ePC.10)  Tot_l, derivative of E(e, theta) at fixed e                          epc_total_weight_gradient
========  ===================================================================  =========================

Conventions. Batch first, (B, n); W is (n_out, n_in); eps = state - prediction; losses and energies are per
sample, (B,); gradients are to be descended; parameter gradients are sums over the batch, structured as
``params``. Lists of results are indexed by the layer; entry 0 is None where nothing exists.

layers     list of (activation name, form), one a block, counted from zero; form "post" or "pre"
params     list of {"W", "b"}, one a block, counted from zero
s          [x, s_1, ..., s_{L-1}], the states
e          [None, e_1, ..., e_{L-1}], the error variables
loss       "mse", "cross_entropy" (logits; y are labels (B,) or rows that sum to one, (B, n_L)) or
           "binary_cross_entropy" (logits; y between 0 and 1)
precision  None or the precisions of layers 1 to L: each None (one), a scalar, (n_l,) or symmetric (n_l, n_l)
Pi         the last of them, the output precision; None for the cross-entropy
"""

import autograd.numpy as anp
import numpy as np
from autograd import grad, hessian, jacobian


def tanh(a):
    """tanh a, same shape; cut where it is exactly one, before autograd's cosh(a) ** 2 overflows."""
    return anp.tanh(anp.clip(a, -300.0, 300.0))


ACTIVATIONS = {
    "identity": lambda a: a,
    "tanh": tanh,
    "sigmoid": lambda a: 0.5 * (1.0 + tanh(0.5 * a)),  # 1 / (1 + exp(-a)) without overflow
    "relu": lambda a: anp.where(a > 0, a, 0.0),
    "leaky_relu": lambda a: anp.where(a > 0, a, 0.01 * a),
    "gelu": lambda a: 0.5 * a * (1.0 + tanh((2.0 / np.pi) ** 0.5 * (a + 0.044715 * a**3))),
    "softplus": lambda a: anp.logaddexp(0.0, a),  # log(1 + exp(a)) without overflow
}


# Values: the equations, line by line


def predict(layer, p, s):
    """mu_l (B, n_out) from s_{l-1} (B, n_in), (BP.1)."""
    name, form = layer
    phi = ACTIVATIONS[name]
    if form == "post":
        return phi(anp.dot(s, p["W"].T) + p["b"])  # (BP.1) post form
    if form == "pre":
        return anp.dot(phi(s), p["W"].T) + p["b"]  # (BP.1) pre form
    raise ValueError(f'form must be "post" or "pre"; got {form!r}')


def feedforward(layers, params, x):
    """[x, s_1, ..., s_{L-1}, yhat], each (B, n_l), (BP.1)."""
    s = [x]
    for layer, p in zip(layers, params, strict=True):
        s.append(predict(layer, p, s[-1]))  # (BP.1)
    return s


def quadratic(v, Pi):
    """1/2 v^T Pi v per sample, (B,), from v (B, n) and Pi None, scalar, (n,) or (n, n)."""
    if Pi is None:
        weighted = v
    elif anp.ndim(Pi) < 2:
        weighted = v * Pi
    else:
        weighted = anp.dot(v, Pi.T)
    return 0.5 * anp.sum(v * weighted, axis=1)


def log_softmax(z):
    """Logarithm of the softmax (B, n) of logits (B, n); the largest logit is taken out first, (BP.3)."""
    z = z - anp.max(z, axis=1, keepdims=True)
    return z - anp.log(anp.sum(anp.exp(z), axis=1, keepdims=True))


def target_rows(y, n):
    """Labels (B,) as one-hot rows (B, n); rows (B, n) unchanged."""
    return np.eye(n)[np.asarray(y)] if np.ndim(y) == 1 else y


def loss_value(loss, yhat, y, Pi=None):
    """Loss (B,) of the output yhat (B, n_L), (BP.3)."""
    if loss == "mse":
        return quadratic(y - yhat, Pi)  # (BP.3) squared error
    if loss == "cross_entropy":
        if Pi is not None:
            raise ValueError("the cross-entropy has no output precision: Pi_L must be None")
        return -anp.sum(target_rows(y, yhat.shape[1]) * log_softmax(yhat), axis=1)  # (BP.3) cross-entropy
    if loss == "binary_cross_entropy":
        if Pi is not None:
            raise ValueError("the binary cross-entropy has no output precision: Pi_L must be None")
        one, other = anp.logaddexp(0.0, -yhat), anp.logaddexp(0.0, yhat)  # -log sigmoid of yhat and of -yhat
        return anp.sum(y * one + (1.0 - y) * other, axis=1)  # (LOSS.4)
    raise ValueError(f'loss must be "mse", "cross_entropy" or "binary_cross_entropy"; got {loss!r}')


def precisions(layers, precision):
    """The L precisions of layers 1 to L, None where nothing was given."""
    if precision is None:
        return [None] * len(layers)
    if len(precision) != len(layers):
        raise ValueError(f"precision must have {len(layers)} entries, one a layer; got {len(precision)}")
    return list(precision)


def spc_energy(layers, params, s, y, loss, precision=None):
    """E (B,) of the states s = [x, s_1, ..., s_{L-1}], (sPC.1), (sPC.2)."""
    *hidden, output = precisions(layers, precision)
    mu = [predict(layer, p, s_below) for layer, p, s_below in zip(layers, params, s, strict=True)]  # (sPC.1)
    E = loss_value(loss, mu[-1], y, output)  # (sPC.2) output term
    for s_l, mu_l, Pi_l in zip(s[1:], mu[:-1], hidden, strict=True):
        E = E + quadratic(s_l - mu_l, Pi_l)  # (sPC.2) hidden term, eps_l = s_l - mu_l
    return E


def states_from_errors(layers, params, e, x):
    """[x, s_1, ..., s_{L-1}], each (B, n_l), from e = [None, e_1, ..., e_{L-1}], (ePC.1)."""
    s = [x]
    for layer, p, e_l in zip(layers[:-1], params[:-1], e[1:], strict=True):
        s.append(predict(layer, p, s[-1]) + e_l)  # (ePC.1)
    return s


def epc_energy(layers, params, e, x, y, loss, precision=None):
    """E (B,) of the errors e = [None, e_1, ..., e_{L-1}], (ePC.1), (ePC.2)."""
    *hidden, output = precisions(layers, precision)
    s = states_from_errors(layers, params, e, x)  # (ePC.1)
    yhat = predict(layers[-1], params[-1], s[-1])  # (ePC.1)
    E = loss_value(loss, yhat, y, output)  # (ePC.2) output term
    for e_l, Pi_l in zip(e[1:], hidden, strict=True):
        E = E + quadratic(e_l, Pi_l)  # (ePC.2) hidden term
    return E


# First derivatives, all by autograd


def loss_gradient(layers, params, x, y, loss, Pi=None):
    """Structure of params: derivative of the loss summed over the batch, (BP.5), (BP.6)."""
    return grad(lambda params: anp.sum(loss_value(loss, feedforward(layers, params, x)[-1], y, Pi)))(params)


def deltas(layers, params, x, y, loss, Pi=None):
    """[None, delta_1, ..., delta_L], each (B, n_l): dLoss/ds_l at the feedforward point, (BP.4)."""

    def total(shift):
        s_l = x
        for layer, p, shift_l in zip(layers, params, shift, strict=True):
            s_l = predict(layer, p, s_l) + shift_l  # a shift of s_l, zero here, is seen by all layers above
        return anp.sum(loss_value(loss, s_l, y, Pi))

    zero = [np.zeros_like(s_l) for s_l in feedforward(layers, params, x)[1:]]
    return [None, *grad(total)(zero)]


def spc_activity_gradient(layers, params, s, y, loss, precision=None):
    """[None, dE/ds_1, ..., dE/ds_{L-1}], each (B, n_l), (sPC.4)."""
    if len(s) == 1:
        return [None]

    def total(free):
        return anp.sum(spc_energy(layers, params, [s[0], *free], y, loss, precision))

    return [None, *grad(total)(list(s[1:]))]


def spc_weight_gradient(layers, params, s, y, loss, precision=None):
    """Structure of params: derivative of the summed energy at fixed states, (sPC.6), (sPC.7)."""
    return grad(lambda params: anp.sum(spc_energy(layers, params, s, y, loss, precision)))(params)


def epc_error_gradient(layers, params, e, x, y, loss, precision=None):
    """[None, dE/de_1, ..., dE/de_{L-1}], each (B, n_l), (ePC.4)."""
    if len(e) == 1:
        return [None]

    def total(free):
        return anp.sum(epc_energy(layers, params, [None, *free], x, y, loss, precision))

    return [None, *grad(total)(list(e[1:]))]


def epc_weight_gradient(layers, params, e, x, y, loss, precision=None):
    """Structure of params: the local gradient, derived states held fixed, (ePC.6)."""
    s = states_from_errors(layers, params, e, x)  # (ePC.1), from here on constants
    return spc_weight_gradient(layers, params, s, y, loss, precision)  # (ePC.6)


def epc_total_weight_gradient(layers, params, e, x, y, loss, precision=None):
    """Structure of params: derivative of the summed E(e, theta) at fixed e, "Tot" of (ePC.10)."""
    return grad(lambda params: anp.sum(epc_energy(layers, params, e, x, y, loss, precision)))(params)


# Dense Jacobian and Hessians of one sample; n = n_1 + ... + n_{L-1}


def stack(free):
    """One vector (n,) from the free layers [(1, n_1), ..., (1, n_{L-1})] of one sample."""
    if any(v.shape[0] != 1 for v in free):
        raise ValueError(f"one sample only: each layer must be (1, n_l); got {[v.shape for v in free]}")
    return anp.concatenate([v[0] for v in free])


def unstack(vector, widths):
    """The layers [(1, n_1), ..., (1, n_{L-1})] of a vector (n,); inverse of ``stack``."""
    ends = np.cumsum(widths)
    return [vector[end - n : end][None, :] for n, end in zip(widths, ends, strict=True)]


def state_error_jacobian(layers, params, e, x):
    """M = ds/de (n, n) of one sample, (ePC.7)."""
    widths = [e_l.shape[1] for e_l in e[1:]]

    def states(vector):
        return stack(states_from_errors(layers, params, [None, *unstack(vector, widths)], x)[1:])

    return jacobian(states)(stack(e[1:]))  # (ePC.7)


def energy_hessian_states(layers, params, s, y, loss, precision=None):
    """H_s = d2E/ds2 (n, n) of one sample, as in (ePC.9)."""
    widths = [s_l.shape[1] for s_l in s[1:]]

    def energy(vector):
        return anp.sum(spc_energy(layers, params, [s[0], *unstack(vector, widths)], y, loss, precision))

    return hessian(energy)(stack(s[1:]))


def energy_hessian_errors(layers, params, e, x, y, loss, precision=None):
    """H_e = d2E/de2 (n, n) of one sample, as in (ePC.9)."""
    widths = [e_l.shape[1] for e_l in e[1:]]

    def energy(vector):
        return anp.sum(epc_energy(layers, params, [None, *unstack(vector, widths)], x, y, loss, precision))

    return hessian(energy)(stack(e[1:]))
