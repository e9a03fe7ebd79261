"""Named derivation mistakes: each is one substitution in the engine's own source, in a student's words.

``load(mistake)`` builds a second engine with this one mistake in it. Tests prove with it that the suite can
fail, ``verify`` takes negative controls from it, and lectures can show what a mistake does to learning.

>>> MISTAKES["the top-down term has the wrong sign"].equation
'sPC.4'
>>> load("the top-down term has the wrong sign").spc.gradient.__name__
'gradient'
"""

import ast
import contextlib
import functools
import importlib
import inspect
import pathlib
import sys
import types
from typing import NamedTuple

PACKAGE = pathlib.Path(__file__).parent


class Mistake(NamedTuple):
    """One wrong line: ``old`` occurs exactly once in ``minipc/<module>.py`` and becomes ``new``."""

    name: str
    module: str
    equation: str
    old: str
    new: str


_TABLE = [
    # --- functions: a derivative beside the wrong value
    Mistake("tanh' is written 1 - mu", "functions", "ACT.2", "return 1 - mu * mu", "return 1 - mu"),
    Mistake(
        "tanh' is taken at mu instead of a",
        "functions",
        "ACT.2",
        "return 1 - mu * mu",
        "return 1 - array_module(a).tanh(mu) ** 2",
    ),
    Mistake("sigmoid' lacks the factor 1 - mu", "functions", "ACT.3", "return mu * (1 - mu)", "return mu"),
    Mistake(
        "gelu' forgets the product rule",
        "functions",
        "ACT.6",
        "0.5 * (1 + t) + 0.5 * a *",
        "0.5 * (1 + t) + 0 * a *",
    ),
    Mistake(
        "the softmax is missing in the error of the cross-entropy",
        "functions",
        "LOSS.2",
        "return y - softmax(yhat)",
        "return y - yhat",
    ),
    Mistake(
        "the target is counted twice in the binary cross-entropy's error",
        "functions",
        "LOSS.4",
        "return y - sigmoid(yhat)",
        "return 2 * y - sigmoid(yhat)",
    ),
    Mistake(
        "the curvature of the binary cross-entropy is that of the softmax",
        "functions",
        "LOSS.3",
        "return p * (1 - p) * v",
        "return p * v - p * (p * v).sum(axis=1, keepdims=True)",
    ),
    Mistake(
        "the second derivative of tanh lacks the chain rule's phi'",
        "functions",
        "ACT.9",
        "return -2 * mu * (1 - mu * mu)",
        "return -2 * mu",
    ),
    # --- blocks
    Mistake(
        "W is not transposed",
        "blocks",
        "BP.2",
        'down = down_through(p["W"], back)',
        'down = up_through(p["W"], back)',
    ),
    Mistake(
        "W is not transposed (pre form)",
        "blocks",
        "BP.2",
        'back = down_through(p["W"], v)  # forward: mu = phi(s)',
        'back = up_through(p["W"], v)  # forward: mu = phi(s)',
    ),
    Mistake(
        "phi' is missing (post form)",
        "blocks",
        "BP.2",
        "back = self._through_phi(tape, v)",
        "back = v",
    ),
    Mistake(
        "phi' is missing (pre form)",
        "blocks",
        "BP.2",
        "down = self._through_phi(tape, back)",
        "down = back",
    ),
    Mistake(
        "phi' is counted twice (post form)",
        "blocks",
        "BP.2",
        "back = self._through_phi(tape, v)",
        "back = self._through_phi(tape, self._through_phi(tape, v))",
    ),
    Mistake(
        "phi' is counted twice (pre form)",
        "blocks",
        "BP.2",
        "down = self._through_phi(tape, back)",
        "down = self._through_phi(tape, self._through_phi(tape, back))",
    ),
    Mistake(
        "phi' sits one layer off, before W instead of after it (pre form)",
        "blocks",
        "BP.2",
        'back = down_through(p["W"], v)  # forward: mu = phi(s) @ W.T + b\n'
        "                down = self._through_phi(tape, back)",
        'down = down_through(p["W"], self._through_phi(tape, v))',
    ),
    Mistake(
        "phi' is missing in the weight gradient",
        "blocks",
        "BP.5",
        '"W": back.T @ tape.s',
        '"W": v.T @ tape.s',
    ),
    Mistake(
        "the presynaptic activity went through phi",
        "blocks",
        "BP.5",
        '"W": back.T @ tape.s',
        '"W": back.T @ ACTIVATIONS[self.activation].phi(tape.s)',
    ),
    Mistake(
        "the presynaptic activity did not go through phi (pre form)",
        "blocks",
        "BP.6",
        '"W": v.T @ tape.r',
        '"W": v.T @ tape.s',
    ),
    Mistake(
        "the weight gradient is a batch mean, not a sum",
        "blocks",
        "BP.5",
        '"W": back.T @ tape.s',
        '"W": back.T @ tape.s / len(v)',
    ),
    Mistake(
        "the bias gradient is a batch mean, not a sum",
        "blocks",
        "BP.5",
        '"b": back.sum(axis=0)',
        '"b": back.mean(axis=0)',
    ),
    Mistake(
        "the tangent of the weights is forgotten",
        "blocks",
        "JVP.1",
        "a_dot = a_dot + self._affine(p_dot, tape.s)",
        'a_dot = a_dot + self._affine({**p_dot, "W": 0 * p_dot["W"]}, tape.s)',
    ),
    Mistake(
        "the fixed factor is missing in the weight gradient",
        "blocks",
        "sPC.19",
        '{**grads, "W": self._scaled(grads["W"])}',
        "grads",
    ),
    Mistake(
        "the bias is scaled too",
        "blocks",
        "sPC.18",
        'return a + p["b"] if self.bias else a',
        'return a + self._scaled(p["b"]) if self.bias else a',
    ),
    Mistake(
        "of rows with the same index only the last counts",
        "backend",
        "EMB.2",
        "xp.add.at(total, places.reshape(-1), rows.reshape(-1))",
        "total[places.reshape(-1)] += rows.reshape(-1)",
    ),
    # --- convolution and pooling
    Mistake(
        "the kernel is flipped: a convolution where frameworks have a cross-correlation",
        "convolution",
        "CONV.1",
        "columns[:, i, j] = image[pixels]",
        "columns[:, k - 1 - i, k - 1 - j] = image[pixels]",
    ),
    Mistake(
        "the kernel is not flipped on the way down",
        "convolution",
        "CONV.2",
        "image[pixels] += columns[:, i, j]",
        "image[pixels] += columns[:, k - 1 - i, k - 1 - j]",
    ),
    Mistake(
        "overlapping windows overwrite each other on the way down",
        "convolution",
        "CONV.2",
        "image[pixels] += columns[:, i, j]",
        "image[pixels] = columns[:, i, j]",
    ),
    Mistake(
        "rows and columns of the kernel are swapped on the way down",
        "convolution",
        "CONV.2",
        "image[pixels] += columns[:, i, j]",
        "image[pixels] += columns[:, j, i]",
    ),
    Mistake(
        "the border is repeated, not zero",
        "convolution",
        "CONV.5",
        "            image[:, :, pad : pad + H, pad : pad + W] = s.transpose(1, 0, 2, 3)",
        '            image = xp.pad(s.transpose(1, 0, 2, 3), ((0, 0), (0, 0), (pad, pad), (pad, pad)), "edge")',
    ),
    Mistake(
        "phi' is missing in the kernel's gradient",
        "convolution",
        "CONV.3",
        'back = self._through_phi(tape, v) if self.form == "post" else v',
        "back = v",
    ),
    Mistake(
        "the bias gradient is a mean over samples and pixels",
        "convolution",
        "CONV.3",
        '"b": back.sum(axis=1)',
        '"b": back.mean(axis=1)',
    ),
    Mistake(
        "the tangent of the kernel is forgotten",
        "convolution",
        "CONV.4",
        "a_dot = a_dot + self._affine(p_dot, tape.columns, tape.shape)",
        'a_dot = a_dot + p_dot["b"][:, None, None]',
    ),
    Mistake(
        "every pixel that equals the maximum gets the whole derivative",
        "convolution",
        "POOL.2",
        "yield pixels, equal & free",
        "yield pixels, equal",
    ),
    Mistake(
        "every pixel of the window gets the derivative of the maximum",
        "convolution",
        "POOL.2",
        "down[pixels] += v * wins",
        "down[pixels] += v",
    ),
    Mistake(
        "a pixel that wins in several windows counts once",
        "convolution",
        "POOL.2",
        "down[pixels] += v * wins",
        "down[pixels] = down[pixels] * ~wins + v * wins",
    ),
    Mistake(
        "the mean of a window is not divided on the way down",
        "convolution",
        "POOL.4",
        "down[pixels] += share",
        "down[pixels] += v",
    ),
    # --- normalisation
    Mistake(
        "the mean is treated as a constant",
        "normalisation",
        "LN.2",
        "return g - g.mean(axis=axes, keepdims=True) - s_hat * along",
        "return g - s_hat * along",
    ),
    Mistake(
        "the variance is treated as a constant",
        "normalisation",
        "BN.2",
        "return g - g.mean(axis=axes, keepdims=True) - s_hat * along",
        "return g - g.mean(axis=axes, keepdims=True)",
    ),
    Mistake(
        "gamma is applied after the means on the way down",
        "normalisation",
        "LN.2",
        'tape.rate * centred(p["gamma"] * v, tape.s_hat, self._axes)',
        'p["gamma"] * tape.rate * centred(v, tape.s_hat, self._axes)',
    ),
    Mistake(
        "the layer normalises over the batch",
        "normalisation",
        "LN.1",
        "return tuple(range(1, len(self.shape) + 1))",
        "return (0,)",
    ),
    Mistake(
        "the gradient of gamma takes the output for the normalised input",
        "normalisation",
        "BN.3",
        '"gamma": (v * tape.s_hat).sum(axis=AXES)',
        '"gamma": (v * (tape.s_hat * p["gamma"][:, None, None] + p["beta"][:, None, None])).sum(axis=AXES)',
    ),
    Mistake(
        "frozen statistics are differentiated as if they were the batch's",
        "normalisation",
        "BN.4",
        '            if self.statistics == "batch":\n                g = centred',
        "            if True:\n                g = centred",
    ),
    # --- residual
    Mistake(
        "the skip is dropped on the way down",
        "residual",
        "RES.2",
        "down = self._skip(v) + back if input else None",
        "down = back if input else None",
    ),
    Mistake(
        "the factor of the skip stands in front of the chain",
        "residual",
        "RES.1",
        "return self._skip(s) + r, tapes",
        "return s + self._skip(r), tapes",
    ),
    Mistake(
        "the part of the skip goes through the chain as well",
        "residual",
        "RES.2",
        "back, grads, q = v, [], self._inner(p)",
        "back, grads, q = v + self._skip(v), [], self._inner(p)",
    ),
    Mistake(
        "the skip is dropped in forward mode",
        "residual",
        "RES.3",
        "return self._skip(s_dot) + r_dot",
        "return r_dot",
    ),
    # --- muPC
    Mistake(
        "the skip is kept at the output",
        "architectures",
        "sPC.19",
        "last = layer(n_out, width, activation, 1 / width)",
        "last = Residual([layer(n_out, width, activation, 1 / width)])",
    ),
    Mistake(
        "the gain of the branches does not know the depth",
        "architectures",
        "sPC.18",
        "(width * depth) ** -0.5",
        "width**-0.5",
    ),
    Mistake(
        "the branches have no skip",
        "architectures",
        "sPC.18",
        "hidden = [Residual([layer(width, width, activation, (width * depth) ** -0.5)]) for _ in range(depth - 2)]",
        "hidden = [layer(width, width, activation, (width * depth) ** -0.5) for _ in range(depth - 2)]",
    ),
    Mistake(
        "the gain of the output is 1/sqrt(n), not 1/n",
        "architectures",
        "sPC.18",
        "last = layer(n_out, width, activation, 1 / width)",
        "last = layer(n_out, width, activation, width**-0.5)",
    ),
    Mistake(
        "the gain of the branches counts the hidden layers, not the blocks",
        "architectures",
        "sPC.18",
        "(width * depth) ** -0.5",
        "(width * (depth - 1)) ** -0.5",
    ),
    Mistake(
        "the input goes through phi",
        "architectures",
        "sPC.18",
        'first = layer(width, n_in, "identity", n_in**-0.5)',
        "first = layer(width, n_in, activation, n_in**-0.5)",
    ),
    Mistake(
        "the gain of the first block is left out",
        "architectures",
        "sPC.18",
        '"identity", n_in**-0.5)',
        '"identity", 1.0)',
    ),
    Mistake(
        "the gains are squared: the root is missing",
        "architectures",
        "sPC.18",
        "(width * depth) ** -0.5",
        "(width * depth) ** -1.0",
    ),
    # --- backprop
    Mistake(
        "the output delta has the wrong sign",
        "backprop",
        "BP.4",
        "delta[L] = -net.loss",
        "delta[L] = net.loss",
    ),
    # --- what sPC and ePC share
    Mistake("the precision is inverted", "inference", "sPC.3", "return eps * Pi", "return eps / Pi"),
    Mistake(
        "the energy lacks the factor 1/2",
        "inference",
        "sPC.2",
        "0.5 * inner(eps[l], xi[l])",
        "1.0 * inner(eps[l], xi[l])",
    ),
    Mistake(
        "the output error is counted twice in the energy",
        "inference",
        "sPC.2",
        "0.5 * inner(eps[-1], xi[-1])",
        "1.0 * inner(eps[-1], xi[-1])",
    ),
    Mistake(
        "the weight gradient has the wrong sign",
        "inference",
        "sPC.6",
        "-now.xi[l], input=False",
        "now.xi[l], input=False",
    ),
    Mistake(
        "the precision is missing in the weight gradient",
        "inference",
        "sPC.6",
        "-now.xi[l], input=False",
        "-now.eps[l], input=False",
    ),
    # --- sPC
    Mistake("the error has the wrong sign", "spc", "sPC.1", "eps.append(s[l] - mu)", "eps.append(mu - s[l])"),
    Mistake(
        "the precision is missing", "spc", "sPC.3", "xi.append(weigh(Pi[l], eps[l]))", "xi.append(eps[l])"
    ),
    Mistake(
        "the precision is counted twice",
        "spc",
        "sPC.3",
        "xi.append(weigh(Pi[l], eps[l]))",
        "xi.append(weigh(Pi[l], weigh(Pi[l], eps[l])))",
    ),
    Mistake("the top-down term has the wrong sign", "spc", "sPC.4", "xi[l] - top_down", "xi[l] + top_down"),
    Mistake("the top-down term is missing", "spc", "sPC.4", "xi[l] - top_down", "xi[l] - 0 * top_down"),
    Mistake(
        "the precision is missing in the bottom-up term",
        "spc",
        "sPC.4",
        "xi[l] - top_down",
        "now.eps[l] - top_down",
    ),
    Mistake(
        "the precision is missing in the top-down term",
        "spc",
        "sPC.4",
        "tape[l + 1], xi[l + 1], params",
        "tape[l + 1], now.eps[l + 1], params",
    ),
    Mistake(
        "the derivative is taken at the prediction, not at the state",
        "spc",
        "sPC.4",
        "vjp(theta[l + 1], tape[l + 1], xi",
        "vjp(theta[l + 1], f[l + 1].forward(theta[l + 1], tape[l + 1].s - now.eps[l])[1], xi",
    ),
    Mistake(
        "inference climbs the energy", "spc", "sPC.5", "(v - step_size * g for", "(v + step_size * g for"
    ),
    Mistake(
        "the energy is a batch mean during inference",
        "spc",
        "sPC.5",
        "(v - step_size * g for",
        "(v - step_size * g / len(v) for",
    ),
    Mistake(
        "the layers move one after the other, not at once",
        "spc",
        "sPC.5",
        "            s = [s[0], *(v - step_size * g for v, g in zip(s[1:], gradient[1:], strict=True))]",
        "            for l in range(len(s) - 1, 0, -1):\n"
        "                s = [*s[:l], s[l] - step_size * look(s)[1][l], *s[l + 1 :]]",
    ),
    Mistake(
        "stale errors: computed before the last state step",
        "spc",
        "sPC.6",
        "            s = [s[0], *(v - step_size * g for v, g in zip(s[1:], gradient[1:], strict=True))]  # (sPC.5)\n"
        "            now, gradient = look(s)  # the errors",
        "            now, gradient = look(s)\n"
        "            s = [s[0], *(v - step_size * g for v, g in zip(s[1:], gradient[1:], strict=True))]  # the errors",
    ),
    # --- ePC
    Mistake("the error is not added to the state", "epc", "ePC.1", "s.append(mu + e[l])", "s.append(mu)"),
    Mistake(
        "e enters the recursion of d",
        "epc",
        "ePC.3",
        "tape[l + 1], d, params=False)  # (ePC.3)",
        "tape[l + 1], d + (at.xi[l + 1] if l + 1 < L else 0), params=False)  # (ePC.3)",
    ),
    Mistake(
        "the output error is not penalised",
        "epc",
        "ePC.3",
        "d, gradient = at.xi[L]",
        "d, gradient = 0 * at.xi[L]",
    ),
    Mistake(
        "the output error is counted twice",
        "epc",
        "ePC.3",
        "d, gradient = at.xi[L]",
        "d, gradient = 2 * at.xi[L]",
    ),
    Mistake(
        "d has the wrong sign", "epc", "ePC.4", "gradient[l] = at.xi[l] - d", "gradient[l] = at.xi[l] + d"
    ),
    Mistake(
        "the precision is missing in front of e",
        "epc",
        "ePC.4",
        "gradient[l] = at.xi[l] - d",
        "gradient[l] = at.eps[l] - d",
    ),
    Mistake(
        "the weights follow the energy at fixed errors: backprop through the perturbed network",
        "epc",
        "ePC.6",
        "    return local_gradient(net, params, at)  # (ePC.6)",
        "    g = [*_error_gradient(net, params, at), 0]\n"
        "    return local_gradient(net, params, at._replace(xi=[None, *(a - b for a, b in zip(at.xi[1:], g[1:]))]))",
    ),
    # --- variants
    Mistake(
        "the sweep takes the old state of the layer above",
        "variants",
        "sPC.11",
        "xi[l] = weigh(Pi[l], now.eps[l] + step)",
        "xi[l] = weigh(Pi[l], now.eps[l])",
    ),
    Mistake("the momentum has the wrong sign", "variants", "MOM.1", "(m * a - lam * g", "(-m * a - lam * g"),
    Mistake(
        "the momentum comes on top of the whole step",
        "variants",
        "MOM.1",
        "(m * a - lam * g",
        "(m * a - (1 - m) * lam * g",
    ),
    Mistake(
        "the weights take their gradient from the new states",
        "variants",
        "sPC.13",
        "        s = _descend(s, gradient, lam)  # (sPC.13)",
        "        s = _descend(s, gradient, lam)\n"
        "        grads = local_gradient(net, params, _look(fixed, s))",
    ),
    Mistake(
        "the log-determinant is missing in the energy",
        "variants",
        "sPC.14",
        "energy = energy - 0.5 * _log_det",
        "energy = energy - 0 * _log_det",
    ),
    Mistake(
        "the normaliser is counted once, not once a sample",
        "variants",
        "sPC.14",
        "0.5 * (scatter - B * array_module",
        "0.5 * (scatter - array_module",
    ),
    Mistake(
        "the target is shrunk instead of moved towards the prediction",
        "variants",
        "sPC.15",
        "fixed.y - (1 - beta) * now.eps[-1]",
        "beta * fixed.y",
    ),
    Mistake(
        "the gradient is not divided by beta",
        "variants",
        "sPC.16",
        "_scaled(1 / beta, g.grads))  # (sPC.16)",
        "g.grads)",
    ),
    Mistake(
        "the difference of two nudges is divided by beta, not by twice beta",
        "variants",
        "sPC.17",
        "_scaled(1 / (2 * beta), difference)",
        "_scaled(1 / beta, difference)",
    ),
    Mistake(
        "the weights take the errors where the multipliers belong",
        "variants",
        "sPC.20",
        "g = _local(fixed, s, _multiplied(now, v, rho), energy, loss)",
        "g = _local(fixed, s, now, energy, loss)",
    ),
    Mistake(
        "the multipliers fall with the errors", "variants", "sPC.20", "(a + tau * e for", "(a - tau * e for"
    ),
    Mistake(
        "phi'' is dropped in the curvature", "variants", "sPC.21", "- xi * d2phi) @", "- 0 * xi * d2phi) @"
    ),
    Mistake(
        "phi'' is dropped in the curvature (pre form)",
        "variants",
        "sPC.21",
        "- d2phi * (xi @ W)",
        "- 0 * d2phi * (xi @ W)",
    ),
    Mistake(
        "all blocks learn at the last step",
        "variants",
        "ZIL.1",
        "return Gradient(grads, loss, energy, s,",
        "return Gradient(local_gradient(net, params, now), loss, energy, s,",
    ),
    Mistake(
        "the Jacobians move with the states",
        "variants",
        "FPA.1",
        "        gradient = _slope(fixed, now)  # the tape",
        "        moving = [s[0], *(a + e for a, e in zip(s[1:], eps[1:], strict=True))]\n"
        "        gradient = _slope(fixed, now._replace(tape=_look(fixed, moving).tape))  # the tape",
    ),
    Mistake("one child counts where there are two", "dag", "ePC.16", "d[i] = d[i] + down[", "d[i] = down["),
    Mistake(
        "every parent takes the first columns",
        "dag",
        "ePC.16",
        "down[:, start:end]",
        "down[:, : end - start]",
    ),
    Mistake(
        "the error is not added to the state (graph)",
        "dag",
        "ePC.16",
        "s.append(mu + e[j])",
        "s.append(mu)",
    ),
    Mistake(
        "e enters the recursion of d (graph)",
        "dag",
        "ePC.16",
        "at.tape[j], d[j], params",
        "at.tape[j], d[j] + (at.xi[j] if j < L else 0), params",
    ),
    Mistake(
        "the parents stand in another order",
        "dag",
        "ePC.16",
        "_side_by_side(s, parents[j])",
        "_side_by_side(s, sorted(parents[j]))",
    ),
    # --- recurrent cells: derivatives of one step
    Mistake(
        "phi' is taken one step early",
        "cells",
        "RNN.3",
        "a, r = tape.kept",
        "a, r = (array_module(v).concatenate([v[:1], v[:-1]]) for v in tape.kept)",
    ),
    Mistake(
        "phi' is missing in the derivative of a step",
        "cells",
        "RNN.3",
        "D = dphi(a, r) if alpha == 1 else alpha * dphi(a, r)",
        "D = array_module(r).full_like(r, alpha)",
    ),
    Mistake(
        "the leak rate is missing in front of phi'",
        "cells",
        "RNN.3",
        "D = dphi(a, r) if alpha == 1 else alpha * dphi(a, r)",
        "D = dphi(a, r)",
    ),
    Mistake(
        "the recurrent weights learn from h_t, not from h_{t-1}",
        "cells",
        "RNN.3",
        "z_h, slope = tape.before, None",
        "z_h, slope = tape.after, None",
    ),
    Mistake(
        "the recurrent weights learn from h, not from phi(h) (pre form)",
        "cells",
        "RNN.2",
        "array_module(r).full_like(r, alpha), r, dphi(tape.before, r)",
        "array_module(r).full_like(r, alpha), tape.before, dphi(tape.before, r)",
    ),
    Mistake(
        "phi' is missing between two steps (pre form)",
        "cells",
        "RNN.2",
        "array_module(r).full_like(r, alpha), r, dphi(tape.before, r)",
        "array_module(r).full_like(r, alpha), r, None",
    ),
    Mistake(
        "the leak is forgotten in J",
        "cells",
        "RNN.4",
        "(None if alpha == 1 else 1 - alpha,)",
        "(None,)",
    ),
    Mistake(
        "the immediate term stands outside of phi'",
        "cells",
        "RNN.5",
        "E[t, :, 0, 0, :, None] * z[t, :, None]",
        "z[t, :, None]",
    ),
    Mistake(
        "the reset gate is missing behind the recurrent weights",
        "cells",
        "GRU.3",
        "for last in (d_c * r, d_c))",
        "for last in (d_c, d_c))",
    ),
    Mistake(
        "z and 1 - z are swapped in the derivative of the candidate",
        "cells",
        "GRU.2",
        "d_c = (1 - z) * (1 - c * c)",
        "d_c = z * (1 - c * c)",
    ),
    Mistake(
        "the update gate is pulled to the candidate, not to the past",
        "cells",
        "GRU.2",
        "(tape.before - c) * z * (1 - z)",
        "(c - tape.before) * z * (1 - z)",
    ),
    Mistake(
        "the reset gate does not know what it lets through",
        "cells",
        "GRU.2",
        "d_c * recurrent * r * (1 - r)",
        "d_c * r * (1 - r)",
    ),
    Mistake(
        "the old state passes with 1 - z",
        "cells",
        "GRU.2",
        "Local(groups, (z[:, :, None],), None)",
        "Local(groups, (1 - z[:, :, None],), None)",
    ),
    Mistake(
        "1 - tanh^2 is missing between c and h",
        "cells",
        "LSTM.2",
        "passed = o * (1 - tanh_c * tanh_c)",
        "passed = o",
    ),
    Mistake(
        "the forget gate learns from c_t, not from c_{t-1}",
        "cells",
        "LSTM.2",
        "tape.before[..., n:] * f * (1 - f)",
        "tape.after[..., n:] * f * (1 - f)",
    ),
    Mistake(
        "the candidate's derivative is that of a gate",
        "cells",
        "LSTM.2",
        "i * (1 - g * g)",
        "i * g * (1 - g)",
    ),
    Mistake(
        "c passes on as if nothing were forgotten",
        "cells",
        "LSTM.2",
        "xp.stack([passed * f, f], axis=2)",
        "xp.stack([passed, xp.ones_like(f)], axis=2)",
    ),
    Mistake(
        "h does not follow the old c",
        "cells",
        "LSTM.2",
        "xp.stack([passed * f, f], axis=2)",
        "xp.stack([0 * f, f], axis=2)",
    ),
    Mistake(
        "the bias is forgotten in the step",
        "cells",
        "RNN.1",
        'a = xp.ascontiguousarray(u @ p["U"].T + p["b"], dtype)',
        'a = xp.ascontiguousarray(u @ p["U"].T + 0 * p["b"], dtype)',
    ),
    Mistake(
        "W is transposed in the step",
        "cells",
        "RNN.1",
        'W = xp.ascontiguousarray(p["W"].T)',
        'W = xp.ascontiguousarray(p["W"])',
    ),
    Mistake(
        "the leaky cell keeps all of the old state",
        "cells",
        "RNN.1",
        "xp.multiply(before, 1 - alpha, after)",
        "xp.multiply(before, 1, after)",
    ),
    Mistake(
        "alpha and 1 - alpha have changed places",
        "cells",
        "RNN.1",
        "xp.multiply(before, 1 - alpha, after)\n                xp.multiply(r_t, alpha, recurrent)",
        "xp.multiply(before, alpha, after)\n                xp.multiply(r_t, 1 - alpha, recurrent)",
    ),
    Mistake(
        "phi' is taken at h_t, not at h_{t-1} (pre form)",
        "cells",
        "RNN.2",
        "dphi(tape.before, r)",
        "dphi(tape.after, ACTIVATIONS[self.activation].phi(tape.after))",
    ),
    Mistake(
        "phi' is taken from h_t, as if there were no leak",
        "cells",
        "RNN.3",
        "D = dphi(a, r) if alpha == 1 else alpha * dphi(a, r)",
        "D = alpha * dphi(a, tape.after)",
    ),
    Mistake(
        "phi' is taken from h_{t-1}",
        "cells",
        "RNN.3",
        "D = dphi(a, r) if alpha == 1 else alpha * dphi(a, r)",
        "D = alpha * dphi(tape.before, tape.before)",
    ),
    Mistake(
        "phi' multiplies the columns of W in J, not the rows",
        "cells",
        "RNN.4",
        'J = E.reshape(B, n, 1) * p["W"]',
        'J = E.reshape(B, 1, n) * p["W"]',
    ),
    Mistake(
        "W is transposed inside of J",
        "cells",
        "RNN.4",
        'J = E.reshape(B, n, 1) * p["W"]',
        'J = E.reshape(B, n, 1) * p["W"].T',
    ),
    Mistake(
        "the immediate term moves every unit (the [k = i] is missing)",
        "cells",
        "RNN.5",
        "new.reshape(len(M), n * n, width)[:, :: n + 1] += (\n                    E[t, :, 0, 0, :, None] * z[t, :, None]\n                )",
        "new.reshape(len(M), n, n, width)[...] += (E[t, :, 0, 0, :, None] * z[t, :, None])[:, None]",
    ),
    Mistake(
        "z and 1 - z have changed places in the new state",
        "cells",
        "GRU.1",
        "return (1 - z) * c + z * h, (r,",
        "return z * c + (1 - z) * h, (r,",
    ),
    Mistake(
        "the reset gate stands inside of the product",
        "cells",
        "GRU.1",
        "c = array_module(h).tanh(a_u[:, 2 * n :] + r * recurrent)",
        'c = array_module(h).tanh(a_u[:, 2 * n :] + (r * h) @ p["W"][2 * n :].T)',
    ),
    Mistake(
        "the reset gate is missing in the candidate",
        "cells",
        "GRU.1",
        "c = array_module(h).tanh(a_u[:, 2 * n :] + r * recurrent)",
        "c = array_module(h).tanh(a_u[:, 2 * n :] + recurrent)",
    ),
    Mistake(
        "tanh' is missing in the slope of the candidate",
        "cells",
        "GRU.2",
        "d_c = (1 - z) * (1 - c * c)",
        "d_c = 1 - z",
    ),
    Mistake(
        "the old state does not pass on beside the weights",
        "cells",
        "GRU.2",
        "Local(groups, (z[:, :, None],), None)",
        "Local(groups, (None,), None)",
    ),
    Mistake(
        "the reset gate stands in front of the inputs, too",
        "cells",
        "GRU.3",
        "for last in (d_c * r, d_c))",
        "for last in (d_c * r, d_c * r))",
    ),
    Mistake(
        "h lacks the tanh of c",
        "cells",
        "LSTM.1",
        "xp.concatenate([o * tanh_c, c], axis=1)",
        "xp.concatenate([o * c, c], axis=1)",
    ),
    Mistake(
        "the forget gate and the input gate have changed places",
        "cells",
        "LSTM.1",
        "c = f * c + i * g",
        "c = i * c + f * g",
    ),
    Mistake(
        "the candidate enters without its gate",
        "cells",
        "LSTM.1",
        "c = f * c + i * g",
        "c = f * c + g",
    ),
    Mistake(
        "the input gate does not know what it lets in",
        "cells",
        "LSTM.2",
        "xp.stack([g * i * (1 - i),",
        "xp.stack([i * (1 - i),",
    ),
    Mistake(
        "sigmoid' is missing in the slope of the forget gate",
        "cells",
        "LSTM.2",
        "tape.before[..., n:] * f * (1 - f)",
        "tape.before[..., n:]",
    ),
    Mistake(
        "the output gate learns without tanh(c)",
        "cells",
        "LSTM.3",
        "d_h[:, :, 3] = tanh_c * o * (1 - o)",
        "d_h[:, :, 3] = o * (1 - o)",
    ),
    Mistake(
        "the output gate does not learn",
        "cells",
        "LSTM.3",
        "d_h[:, :, 3] = tanh_c * o * (1 - o)",
        "d_h[:, :, 3] = 0 * o",
    ),
    Mistake(
        "a sequence of states begins at zero, not at h_0",
        "cells",
        "RNN.3",
        "states[0] = h\n",
        "states[0] = 0 * h\n",
    ),
    Mistake(
        "h is read from c_{t-1}",
        "cells",
        "LSTM.1",
        "c = f * c + i * g\n        tanh_c = xp.tanh(c)\n",
        "tanh_c = xp.tanh(c)\n        c = f * c + i * g\n",
    ),
    Mistake(
        "the output gate is missing between c and h",
        "cells",
        "LSTM.2",
        "passed = o * (1 - tanh_c * tanh_c)",
        "passed = 1 - tanh_c * tanh_c",
    ),
    # --- backpropagation through time
    Mistake(
        "the credit travels back through W, not through its transpose",
        "cells",
        "BPTT.1",
        'back = w.reshape(*w.shape[:-2], -1) @ p["W"]',
        'back = w.reshape(*w.shape[:-2], -1) @ p["W"].T',
    ),
    Mistake(
        "no credit travels back in time",
        "cells",
        "BPTT.1",
        "v = [v_before[0] + back, *v_before[1:]]",
        "v = [0 * back] * self.parts",
    ),
    Mistake(
        "a reset does not stop the credit",
        "cells",
        "BPTT.3",
        "return xp.where(here, xp.zeros_like(v), v),",
        "return v,",
    ),
    Mistake(
        "the credit ends between two segments",
        "bptt",
        "BPTT.6",
        "back = pull(net, params, tapes, v, v_end)",
        "back = pull(net, params, tapes, v, [None] * L)",
    ),
    Mistake(
        "the bias learns from the last step only",
        "cells",
        "BPTT.2",
        'found["b"] = w_g.sum(axis=0)',
        'found["b"] = w_g[-tape.u.shape[1] :].sum(axis=0)',
    ),
    Mistake(
        "the initial state hears nothing of the resets",
        "bptt",
        "BPTT.3",
        "return [None if s is None else s + r for s, r in zip(back.start, back.reset, strict=True)]",
        "return back.start",
    ),
    Mistake(
        "the window of truncated BPTT is one step too short",
        "bptt",
        "BPTT.4",
        "min(int(steps), len(p.inputs))",
        "max(min(int(steps), len(p.inputs)) - 1, 1)",
    ),
    Mistake(
        "the window of truncated BPTT is one step too long",
        "bptt",
        "BPTT.4",
        "min(int(steps), len(p.inputs))",
        "min(int(steps) + 1, len(p.inputs))",
    ),
    Mistake(
        "the loss counts at every step of its window",
        "bptt",
        "BPTT.4",
        "v[-1] = q.reshape(T * B, -1)",
        "v[:] = q.reshape(T * B, -1)",
    ),
    Mistake(
        "steps that do not count send credit",
        "recurrent",
        "RNN.6",
        "v = xp.where(p.mask[:, :, None], v, xp.zeros_like(v))",
        "v = 1 * v",
    ),
    Mistake(
        "steps that do not count are in the loss",
        "recurrent",
        "RNN.6",
        "values = xp.where(p.mask, values, xp.zeros_like(values))",
        "values = 1 * values",
    ),
    Mistake(
        "the credit has the wrong sign",
        "recurrent",
        "RNN.6",
        "v = -net.loss.error(",
        "v = net.loss.error(",
    ),
    Mistake(
        "the last step is skipped",
        "recurrent",
        "RNN.6",
        "flat_time(p.targets)).reshape(out.shape)  # (RNN.6)",
        "flat_time(p.targets)).reshape(out.shape)\n    v[-1] = 0",
    ),
    Mistake(
        "the gradient is a mean over time, not a sum",
        "recurrent",
        "RNN.6",
        "flat_time(p.targets)).reshape(out.shape)  # (RNN.6)",
        "flat_time(p.targets)).reshape(out.shape) / T",
    ),
    Mistake(
        "the gradient is a mean over the lanes, not a sum",
        "recurrent",
        "RNN.6",
        "flat_time(p.targets)).reshape(out.shape)  # (RNN.6)",
        "flat_time(p.targets)).reshape(out.shape) / B",
    ),
    Mistake(
        "phi' is missing on the way back in time",
        "cells",
        "BPTT.1",
        'back = w.reshape(*w.shape[:-2], -1) @ p["W"]',
        'back = v[0] @ p["W"]',
    ),
    Mistake(
        "phi' on the way back in time is that of the step before",
        "cells",
        "BPTT.1",
        "E, direct = local.groups[0].E[t], [",
        "E, direct = local.groups[0].E[max(t - 1, 0)], [",
    ),
    Mistake(
        "only the loss of the last step sends credit",
        "cells",
        "BPTT.1",
        "v = [*(a + b for a, b in zip(v, arrived, strict=False)), *v[len(arrived) :]]",
        "v = v if t + 1 < len(tape.u) else [*(a + b for a, b in zip(v, arrived, strict=False)), *v[len(arrived) :]]",
    ),
    Mistake(
        "phi' is missing in front of the regressor",
        "cells",
        "BPTT.2",
        "w = sum(E[:, :, s][extra] * credits[s][..., None, :]",
        "w = sum((0 * E + 1)[:, :, s][extra] * credits[s][..., None, :]",
    ),
    Mistake(
        "the gradients of the steps overwrite each other (= for +=): the first one remains",
        "cells",
        "BPTT.2",
        "            w_g = w_g.reshape(-1, w_g.shape[-1])\n",
        "            w_g = (w_g * (array_module(w_g).arange(len(w_g)) < 1)[:, None, None]).reshape(-1, w_g.shape[-1])\n",
    ),
    Mistake(
        "the sequence is cut into pieces of k steps, and no credit crosses a cut",
        "bptt",
        "BPTT.4",
        "    return _result(net, back.grads, loss, last, arrived)\n",
        "    grads, h = None, p.start\n    for cut in (slice(t, t + k) for t in range(0, T, k)):\n        out, h, tapes, *_ = run(net, params, h, *_part(p, cut), p.start)\n        part = Prepared(None, p.targets[cut], None if p.mask is None else p.mask[cut], None, None)\n        more = pull(net, params, tapes, losses(net, out, part)[1], [None] * len(net.blocks)).grads\n        grads = more if grads is None else added(grads, more)\n    return _result(net, grads, loss, last, arrived)\n",
    ),
    Mistake(
        "the initial state is not used: every sequence begins at zero",
        "recurrent",
        "BPTT.1",
        "start[l] = h.astype(",
        "start[l] = 0 * h.astype(",
    ),
    Mistake(
        "the first step does not learn (a loop back in time that ends too early)",
        "cells",
        "BPTT.2",
        "            w_g = w_g.reshape(-1, w_g.shape[-1])\n",
        "            w_g = (w_g * (array_module(w_g).arange(len(w_g)) > 0)[:, None, None]).reshape(-1, w_g.shape[-1])\n",
    ),
    Mistake(
        "every window begins at zero, not at the state before it",
        "bptt",
        "BPTT.4",
        "entry[l] = tapes[l].before[at[0]]",
        "entry[l] = 0 * tapes[l].before[at[0]]",
    ),
    # --- real-time recurrent learning
    Mistake(
        "the recursion of the influence is dropped",
        "cells",
        "RTRL.1",
        "new = xp.matmul(J, X[:, :n], out=out)",
        "new = 0 * xp.matmul(J, X[:, :n])",
    ),
    Mistake(
        "the influence is carried by the transpose of J",
        "cells",
        "RTRL.1",
        "new = xp.matmul(J, X[:, :n], out=out)",
        "new = xp.matmul(J.transpose(0, 2, 1), X[:, :n])",
    ),
    Mistake(
        "the influence decays by 0.999",
        "cells",
        "RTRL.1",
        "new = xp.matmul(J, X[:, :n], out=out)",
        "new = 0.999 * xp.matmul(J, X[:, :n])",
    ),
    Mistake(
        "the influence is read before it is advanced",
        "rtrl",
        "RTRL.2",
        "        M.step(params, done, t)  # (RTRL.1)\n"
        "        total = M.readout([None if q_l is None else q_l[t] for q_l in q], total)",
        "        total = M.readout([None if q_l is None else q_l[t] for q_l in q], total)\n"
        "        M.step(params, done, t)",
    ),
    Mistake(
        "the online update takes the sum over the lanes, not the mean",
        "rtrl",
        "RTRL.7",
        "v / lanes[t]",
        "v",
    ),
    Mistake(
        "the online update divides by lanes that do not count",
        "rtrl",
        "RTRL.7",
        "v / lanes[t]",
        "v / len(values)",
    ),
    Mistake(
        "the traces of all rows of an embedding go into the row of the current symbol",
        "influence",
        "RTRL.3",
        "block.times_jacobian(p, local, t, below) + block.input_jacobian(p, local, t) @ V",
        "(lambda rows: (block.times_jacobian(p, local, t, below).reshape(*below.shape[:2], *rows)"
        ".sum(axis=2, keepdims=True) * (stretch.inputs[0][t][:, None] == array_module(below).arange(rows[0]))"
        "[:, None, :, None]).reshape(below.shape))"
        '(self.net.blocks[0].shapes["W"]) + block.input_jacobian(p, local, t) @ V',
    ),
    Mistake(
        "a reset leaves the influence as it is",
        "rtrl",
        "RTRL.6",
        "M.reset(p.reset[cut][t])",
        "pass",
    ),
    Mistake(
        "a reset forgets the influence of the layers below",
        "influence",
        "RTRL.6",
        "self.below[l] = _with_lanes(xp, mask, self.below[l], 0)",
        "pass",
    ),
    Mistake(
        "the next stretch of time begins without influence",
        "rtrl",
        "RTRL.6",
        "return State(carry.h, M.copy(p.start), carry.start)",
        "return State(carry.h, fresh, carry.start)",
    ),
    Mistake(
        "the influence does not cross the end of a block",
        "cells",
        "HYB.2",
        "return new if M is None else swept.start @ M + new",
        "return new",
    ),
    Mistake(
        "the influence of the layers below does not cross the end of a block",
        "influence",
        "HYB.2",
        "below = swept.start @ self.below[target]",
        "below = 0 * self.below[target]",
    ),
    Mistake(
        "a block hands its credit on to the next one",
        "rtrl",
        "HYB.1",
        "back = pull(net, params, done.tapes, v, [None] * len(net.blocks))",
        "back = pull(net, params, done.tapes, v, [None] * len(net.blocks) if grads is None else back.start)",
    ),
    Mistake(
        "what was before the block is not read",
        "rtrl",
        "HYB.1",
        "grads = _plus(net, grads, M.gradients(params, M.readout(back.start)))",
        "pass",
    ),
    Mistake(
        "the powers of zeta are one too high",
        "diagonal",
        "HYB.4",
        "through, powers = powers[0], powers[1:]",
        "through, powers = powers[0], powers[:-1]",
    ),
    Mistake(
        "the layer below moves nothing (G is missing)",
        "influence",
        "STACK.2",
        "block.times_jacobian(p, local, t, below) + block.input_jacobian(p, local, t) @ V",
        "block.times_jacobian(p, local, t, below)",
    ),
    Mistake(
        "what the layer below moved is forgotten at once",
        "influence",
        "STACK.2",
        "block.times_jacobian(p, local, t, below) + block.input_jacobian(p, local, t) @ V",
        "block.input_jacobian(p, local, t) @ V",
    ),
    Mistake(
        "no credit comes down through the layer above",
        "rtrl",
        "STACK.4",
        "v = down if v is None else v + down",
        "v = 0 * down if v is None else v",
    ),
    Mistake(
        "a diagonal layer forgets what the layer below moved",
        "diagonal",
        "STACK.5",
        "return A[:, 0, 0, :, None] * X",
        "return 0 * X",
    ),
    Mistake(
        "what the layer below moved never fades",
        "diagonal",
        "STACK.5",
        "return A[:, 0, 0, :, None] * X",
        "return 1 * X",
    ),
    Mistake(
        "the forget gate of the layer above does not see the layer below",
        "diagonal",
        "STACK.5",
        'return A_z * p["Wz"] + A_f * p["Wf"]',
        'return A_z * p["Wz"]',
    ),
    Mistake(
        "the D of an LRU moves nothing above it",
        "diagonal",
        "STACK.6",
        ' + p["D"] @ V',
        "",
    ),
    Mistake(
        "J is missing: the influence only adds up",
        "cells",
        "RTRL.1",
        "new = xp.matmul(J, X[:, :n], out=out)",
        "new = 1 * X",
    ),
    Mistake(
        "J is that of the step before",
        "cells",
        "RTRL.1",
        "new, at, n = self.times_jacobian(p, local, t, M, out), 0, self.n",
        "new, at, n = self.times_jacobian(p, local, max(t - 1, 0), M, out), 0, self.n",
    ),
    Mistake(
        "the immediate term goes through J as well",
        "cells",
        "RTRL.1",
        "                )  # (RNN.5)\n                return new\n",
        "                )\n                added = new - self.times_jacobian(p, local, t, M)\n                return self.times_jacobian(p, local, t, M + added)\n",
    ),
    Mistake(
        "the credit is that of the step before",
        "rtrl",
        "RTRL.2",
        "q_l[t] for q_l in q], total)  # (RTRL.2)",
        "q_l[max(t - 1, 0)] for q_l in q], total)  # (RTRL.2)",
    ),
    Mistake(
        "the gradients of the steps overwrite each other (= for +=): the last one remains",
        "influence",
        "RTRL.2",
        "return [_sum(a, b) for a, b in zip(total, found, strict=True)]",
        "return found",
    ),
    Mistake(
        "the layer above sees the influence of the step before (t - 1 for t)",
        "influence",
        "STACK.2",
        "block.push_own(p, own)",
        "block.push_own(p, own if self.spare[l] is None else self.spare[l])",
    ),
    Mistake(
        "the first step does not reach the influence",
        "cells",
        "RTRL.1",
        "        new, at, n = self.times_jacobian(p, local, t, M, out), 0, self.n\n",
        "        if t == 0:\n            return M\n        new, at, n = self.times_jacobian(p, local, t, M, out), 0, self.n\n",
    ),
    Mistake(
        "the last step does not reach the influence",
        "cells",
        "RTRL.1",
        "        new, at, n = self.times_jacobian(p, local, t, M, out), 0, self.n\n",
        "        if t + 1 == len(local.groups[0].E):\n            return M\n        new, at, n = self.times_jacobian(p, local, t, M, out), 0, self.n\n",
    ),
    Mistake(
        "the influence of the block's end is read, not that of its start",
        "rtrl",
        "HYB.1",
        "        grads = _plus(net, grads, M.gradients(params, M.readout(back.start)))  # (HYB.1)\n        M.advance(params, done)  # (HYB.2)\n",
        "        M.advance(params, done)\n        grads = _plus(net, grads, M.gradients(params, M.readout(back.start)))\n",
    ),
    Mistake(
        "a reset wipes out the step that follows it",
        "rtrl",
        "RTRL.6",
        "        M.step(params, done, t)  # (RTRL.1)\n",
        "        M.step(params, done, t)\n        if anew[t]:\n            M.reset(p.reset[cut][t])\n",
    ),
    # --- approximations of RTRL
    Mistake(
        "SnAp-1 is the immediate terms alone: the carry of J_ii is missing",
        "approximations",
        "SNAP.3",
        "return step.own_jacobian()",
        "return 0.0 * step.own_jacobian()",
    ),
    Mistake(
        "the carry of SnAp-1 is the leak alone",
        "approximations",
        "SNAP.3",
        "return step.own_jacobian()",
        "return step.direct()",
    ),
    Mistake(
        "the mask is transposed: the units that act on i, not those that i acts on",
        "approximations",
        "SNAP.1",
        "if reached[k, i] and k != i",
        "if reached[i, k] and k != i",
    ),
    Mistake(
        "the pattern reaches one step too far",
        "approximations",
        "SNAP.1",
        "range(self.order - 2)",
        "range(self.order - 1)",
    ),
    Mistake(
        "J is transposed within the pattern",
        "approximations",
        "SNAP.2",
        "units[:, :, None], units[:, None]]",
        "units[:, None], units[:, :, None]]",
    ),
    Mistake(
        "the trace of RFLO does not leak",
        "approximations",
        "RFLO.1",
        "return step.direct()  # (RFLO.1)",
        "return 1.0",
    ),
    Mistake(
        "the trace of RFLO remembers nothing",
        "approximations",
        "RFLO.1",
        "return step.direct()  # (RFLO.1)",
        "return 0.0",
    ),
    Mistake(
        "the credit goes through A, not through its transpose",
        "approximations",
        "KERNL.1",
        "q @ pattern[0])",
        "q @ pattern[0].T)",
    ),
    Mistake(
        "alpha is taken for what is kept",
        "approximations",
        "KERNL.1",
        "xp.where(alpha.real < 1, 1 - alpha, xp.zeros_like(alpha))",
        "alpha",
    ),
    Mistake(
        "more leak lets more noise through",
        "approximations",
        "KERNL.2",
        "k * gf - nf",
        "k * gf + nf",
    ),
    Mistake(
        "w is not divided by r0",
        "approximations",
        "UORO.2",
        "w = w / _lanes(r0, w) +",
        "w = w +",
    ),
    Mistake(
        "the new term of w is not divided by r1",
        "approximations",
        "UORO.2",
        "+ new / _lanes(r1, w)",
        "+ new",
    ),
    Mistake(
        "s takes all signs as +1",
        "approximations",
        "UORO.2",
        "_lanes(r1, s) * nu",
        "_lanes(r1, s)",
    ),
    Mistake(
        "r0 is upside down",
        "approximations",
        "UORO.3",
        "_ratio(_norm(w), _norm(s))",
        "_ratio(_norm(s), _norm(w))",
    ),
    Mistake(
        "B is not divided by p0",
        "approximations",
        "KF.2",
        "B = _lanes(c1 / p0, JB) * JB",
        "B = _lanes(c1, JB) * JB",
    ),
    Mistake(
        "all signs of KF-RTRL are +1",
        "approximations",
        "KF.2",
        "c = step.signs(2, A)",
        "c = abs(step.signs(2, A))",
    ),
    Mistake(
        "the new term of B goes without its sign",
        "approximations",
        "KF.2",
        "_lanes(c2 / p1, E)",
        "_lanes(1 / p1, E)",
    ),
    Mistake(
        "all signs of reverse KF-RTRL are +1",
        "approximations",
        "KF.5",
        "nu = step.signs(A.shape[1], A)",
        "nu = abs(step.signs(A.shape[1], A))",
    ),
    Mistake(
        "B of reverse KF-RTRL is not divided by p0",
        "approximations",
        "KF.5",
        '"B": JB / _lanes(p0, JB) +',
        '"B": JB +',
    ),
    Mistake(
        "the diagonal of J acts twice, in the trace and in the sketch",
        "approximations",
        "SK.1",
        "off[:, unit, unit] = 0",
        "pass",
    ),
    Mistake(
        "the sketch is not carried by J",
        "approximations",
        "SK.1",
        'J @ own["left"]',
        'own["left"]',
    ),
    Mistake(
        "the certificate knows only what this step has lost",
        "approximations",
        "SK.2",
        'bound = rho * own["bound"] + rest',
        "bound = rest",
    ),
    Mistake(
        "the masked influence is carried by the transpose of J",
        "approximations",
        "SNAP.2",
        "return found.reshape(*J.shape[:2], width * parts, width * parts)",
        "there = xp.repeat(pattern.there, parts, axis=1)[..., None]\n"
        "        return found.reshape(*J.shape[:2], width * parts, -1).swapaxes(-1, -2) * there",
    ),
    Mistake(
        "nothing is masked: that is exact RTRL",
        "approximations",
        "SNAP.2",
        "if reached[k, i] and k != i",
        "if k != i",
    ),
    Mistake(
        "what is kept within the pattern is not carried",
        "approximations",
        "SNAP.2",
        'trace = step.jacobian_within(step.pattern) @ own["trace"]',
        'trace = 0.0 * own["trace"]',
    ),
    Mistake(
        "the pattern is that of one step, whatever the order",
        "approximations",
        "SNAP.1",
        "range(self.order - 2)",
        "range(0)",
    ),
    Mistake(
        "D is missing in the immediate term of the traces",
        "approximations",
        "SNAP.3",
        "new = e[..., None] * z[:, None, None, None]",
        "new = (e * 0 + 1)[..., None] * z[:, None, None, None]",
    ),
    Mistake(
        "the new term of a trace is carried at once",
        "approximations",
        "SNAP.3",
        "            trace = k @ trace\n        step.add_immediate(trace)\n        return",
        "            trace = k @ trace\n        new = 0 * trace\n        step.add_immediate(new)\n        trace += new + (k * new if is_number(k) or k.shape[-1] == 1 else k @ new)\n        return",
    ),
    Mistake(
        "a trace is a running mean: the new term is weighted by what is forgotten (alpha twice)",
        "approximations",
        "RFLO.1",
        "            trace = k @ trace\n        step.add_immediate(trace)\n        return",
        "            trace = k @ trace\n        new = 0 * trace\n        step.add_immediate(new)\n        trace += new - (k * new if is_number(k) or k.shape[-1] == 1 else k @ new)\n        return",
    ),
    Mistake(
        "the trace of RFLO keeps alpha, not 1 - alpha",
        "approximations",
        "RFLO.1",
        "return step.direct()  # (RFLO.1)",
        "return 1 - step.direct()",
    ),
    Mistake(
        "RFLO keeps the path through the self weight: that is SnAp-1",
        "approximations",
        "RFLO.1",
        "return step.direct()  # (RFLO.1)",
        "return step.own_jacobian()",
    ),
    Mistake("the kernel's A is left out", "approximations", "KERNL.1", "q @ pattern[0])", "q)"),
    Mistake(
        "what is kept may be negative: the maximum with zero is missing",
        "approximations",
        "KERNL.1",
        "xp.where(alpha.real < 1, 1 - alpha, xp.zeros_like(alpha))",
        "1 - alpha",
    ),
    Mistake(
        "gf takes the new nf, not that of the step before",
        "approximations",
        "KERNL.2",
        "nf, gf = k * nf + zeta, k * gf - nf",
        "nf, gf = k * nf + zeta, k * gf - (k * nf + zeta)",
    ),
    Mistake(
        "the noise is not filtered", "approximations", "KERNL.2", "nf, gf = k * nf + zeta,", "nf, gf = zeta,"
    ),
    Mistake("gf is not carried", "approximations", "KERNL.2", "k * gf - nf", "-nf"),
    Mistake(
        "A is not transposed when the kernel's error goes to alpha",
        "approximations",
        "KERNL.2",
        "(error @ A * gf)",
        "(error @ A.T * gf)",
    ),
    Mistake("alpha learns without A", "approximations", "KERNL.2", "(error @ A * gf)", "(error * gf)"),
    Mistake(
        "what has moved is added to the kernel's error, not subtracted",
        "approximations",
        "KERNL.2",
        "nf @ A.T - moved",
        "nf @ A.T + moved",
    ),
    Mistake(
        "s is not carried by J",
        "approximations",
        "UORO.2",
        's, w = step.jacobian_times(own["s"]), own["w"]',
        's, w = own["s"], own["w"]',
    ),
    Mistake("s is not multiplied by r0", "approximations", "UORO.2", "s = _lanes(r0, s) * s +", "s = s +"),
    Mistake(
        "the signs in s are not multiplied by r1", "approximations", "UORO.2", "_lanes(r1, s) * nu", "nu"
    ),
    Mistake(
        "w is multiplied by r0, as s is",
        "approximations",
        "UORO.2",
        "w = w / _lanes(r0, w) +",
        "w = w * _lanes(r0, w) +",
    ),
    Mistake(
        "the new term of w is multiplied by r1",
        "approximations",
        "UORO.2",
        "+ new / _lanes(r1, w)",
        "+ new * _lanes(r1, w)",
    ),
    Mistake(
        "w takes all signs as +1",
        "approximations",
        "UORO.2",
        "new = step.weighted_immediate(nu)",
        "new = step.weighted_immediate(abs(nu))",
    ),
    Mistake(
        "r0 takes the norm of s, not that of J s",
        "approximations",
        "UORO.3",
        "_ratio(_norm(w), _norm(s)), _ratio(_norm(new), _norm(nu))",
        '_ratio(_norm(w), _norm(own["s"])), _ratio(_norm(new), _norm(nu))',
    ),
    Mistake(
        "r1 is upside down",
        "approximations",
        "UORO.3",
        "_ratio(_norm(new), _norm(nu))  # (UORO.3)",
        "_ratio(_norm(nu), _norm(new))",
    ),
    Mistake(
        "r1 leaves out the norm of the signs",
        "approximations",
        "UORO.3",
        "_ratio(_norm(new), _norm(nu))  # (UORO.3)",
        "_ratio(_norm(new), 1)",
    ),
    Mistake(
        "the ratios of norms have no root",
        "approximations",
        "UORO.3",
        "return ((a + TINY) / (b + TINY)) ** 0.5",
        "return (a + TINY) / (b + TINY)",
    ),
    Mistake(
        "the norms are those of the whole batch, not of a lane",
        "approximations",
        "UORO.3",
        "return (a * a).reshape(len(a), -1).sum(axis=1) ** 0.5",
        "return (a * a).sum() ** 0.5 + 0 * (a * a).reshape(len(a), -1).sum(axis=1)",
    ),
    Mistake(
        "B of KF-RTRL is not carried by J",
        "approximations",
        "KF.2",
        'A, JB, E, z = own["A"], step.jacobian_times(own["B"]),',
        'A, JB, E, z = own["A"], own["B"],',
    ),
    Mistake(
        "A is not multiplied by p0",
        "approximations",
        "KF.2",
        "A = _lanes(c1 * p0, A) * A +",
        "A = _lanes(c1, A) * A +",
    ),
    Mistake(
        "the regressor is not multiplied by p1",
        "approximations",
        "KF.2",
        "_lanes(c2 * p1, z) * z",
        "_lanes(c2, z) * z",
    ),
    Mistake(
        "the new term of B is not divided by p1",
        "approximations",
        "KF.2",
        "_lanes(c2 / p1, E)",
        "_lanes(c2, E)",
    ),
    Mistake(
        "p0 is upside down",
        "approximations",
        "KF.2",
        "_ratio(_norm(JB), _norm(A)), _ratio(_norm(E), _norm(z))",
        "_ratio(_norm(A), _norm(JB)), _ratio(_norm(E), _norm(z))",
    ),
    Mistake(
        "p1 is upside down",
        "approximations",
        "KF.2",
        "_ratio(_norm(E), _norm(z))  # (KF.2)",
        "_ratio(_norm(z), _norm(E))",
    ),
    Mistake(
        "p0 takes the norm of B, not that of J B",
        "approximations",
        "KF.2",
        "_ratio(_norm(JB), _norm(A)), _ratio(_norm(E), _norm(z))",
        '_ratio(_norm(own["B"]), _norm(A)), _ratio(_norm(E), _norm(z))',
    ),
    Mistake(
        "the signs c1 and c2 are exchanged",
        "approximations",
        "KF.2",
        "c1, c2 = c[:, 0], c[:, 1]",
        "c1, c2 = c[:, 1], c[:, 0]",
    ),
    Mistake(
        "both terms of KF-RTRL have the same sign",
        "approximations",
        "KF.2",
        "c1, c2 = c[:, 0], c[:, 1]",
        "c1, c2 = c[:, 0], c[:, 0]",
    ),
    Mistake(
        "the credit goes through B, not through its transpose",
        "approximations",
        "KF.2",
        '_by_unit(cell, _row(q, own["B"]).T @ own["A"])',
        '_by_unit(cell, _row(q, own["B"] if cell.gates > 1 else own["B"].transpose(0, 2, 1)).T @ own["A"])',
    ),
    Mistake(
        "B of reverse KF-RTRL is not carried by J",
        "approximations",
        "KF.5",
        'A, JB = own["A"], step.jacobian_times(own["B"])',
        'A, JB = own["A"], own["B"]',
    ),
    Mistake(
        "A of reverse KF-RTRL is not multiplied by p0",
        "approximations",
        "KF.5",
        "A = _lanes(p0, A) * A +",
        "A = A +",
    ),
    Mistake(
        "the signs of reverse KF-RTRL are not multiplied by p1",
        "approximations",
        "KF.5",
        "_lanes(p1, nu) * nu",
        "nu",
    ),
    Mistake(
        "the new term of B of reverse KF-RTRL is not divided by p1",
        "approximations",
        "KF.5",
        "+ new / _lanes(p1, new)",
        "+ new",
    ),
    Mistake(
        "p0 of reverse KF-RTRL is upside down",
        "approximations",
        "KF.5",
        "_ratio(_norm(JB), _norm(A)), _ratio(_norm(new), _norm(nu))",
        "_ratio(_norm(A), _norm(JB)), _ratio(_norm(new), _norm(nu))",
    ),
    Mistake(
        "p1 of reverse KF-RTRL is upside down",
        "approximations",
        "KF.5",
        "_ratio(_norm(new), _norm(nu))  # (KF.5)",
        "_ratio(_norm(nu), _norm(new))",
    ),
    Mistake(
        "what SnAp-1 leaves out does not enter the sketch",
        "approximations",
        "SK.1",
        "off[:, unit, unit] = 0",
        "off[...] = 0",
    ),
    Mistake(
        "the certificate of the step before is not multiplied by rho",
        "approximations",
        "SK.2",
        'rho * own["bound"] + rest',
        'own["bound"] + rest',
    ),
    Mistake(
        "rho is the Frobenius norm alone",
        "approximations",
        "SK.2",
        "rho = xp.minimum(_norm(J.real), (",
        "rho = xp.minimum(_norm(J.real), 1e9 + (",
    ),
    Mistake(
        "rho lacks the root of the product of two norms",
        "approximations",
        "SK.2",
        "size.sum(axis=2).max(axis=1)) ** 0.5",
        "size.sum(axis=2).max(axis=1)) ** 1.0",
    ),
    Mistake(
        "what a step has lost is counted as its square",
        "approximations",
        "SK.2",
        "(values[:, r:] ** 2).sum(axis=1) ** 0.5",
        "(values[:, r:] ** 2).sum(axis=1)",
    ),
    Mistake(
        "what a step has lost is the largest of the values that are left out",
        "approximations",
        "SK.2",
        "(values[:, r:] ** 2).sum(axis=1) ** 0.5",
        "(values[:, r : r + 1] ** 2).sum(axis=1) ** 0.5",
    ),
    Mistake(
        "a trace is mixed with those of other units: J T, not J_ii T_i",
        "approximations",
        "SNAP.3",
        "        k = self.carried(step)\n        if is_number(k)",
        "        k, J = 1.0, step.jacobian()\n        trace = (J @ trace.reshape(*trace.shape[:2], -1)).reshape(trace.shape)\n        if is_number(k)",
    ),
    Mistake(
        "D is there twice in the immediate term of the traces",
        "approximations",
        "SNAP.3",
        "new = e[..., None] * z[:, None, None, None]",
        "new = (e * e)[..., None] * z[:, None, None, None]",
    ),
    Mistake(
        "s is carried by the transpose of J",
        "approximations",
        "UORO.2",
        's, w = step.jacobian_times(own["s"]), own["w"]',
        's, w = step.jacobian_times(own["s"]), own["w"]\n        if step.cell.parts == 1:\n            s = _row(own["s"], step.jacobian())',
    ),
    Mistake(
        "D is missing in the new term of w",
        "approximations",
        "UORO.2",
        "(nu * group.E[self.t]).sum(axis=1)",
        "(nu * (0 * group.E[self.t] + 1)).sum(axis=1)",
    ),
    Mistake(
        "D is missing in the new term of B",
        "approximations",
        "KF.2",
        "step.E, step.local.groups[0].z[step.t]",
        "0 * step.E + 1, step.local.groups[0].z[step.t]",
    ),
    Mistake(
        "D is missing in the new term of B of reverse KF-RTRL",
        "approximations",
        "KF.5",
        "(nu * group.E[self.t]).sum(axis=2)",
        "(nu * (0 * group.E[self.t] + 1)).sum(axis=2)",
    ),
    Mistake(
        "the sketch is carried by the transpose of J",
        "approximations",
        "SK.1",
        'J, T, right = step.jacobian(), own["trace"][:, :, 0], own["right"]',
        'J, T, right = step.jacobian().transpose(0, 2, 1), own["trace"][:, :, 0], own["right"]',
    ),
    Mistake(
        "rho is the spectral norm, for which it is a bound",
        "approximations",
        "SK.2",
        'rho * own["bound"] + rest',
        'xp.linalg.svd(J.real, compute_uv=False)[:, 0] * own["bound"] + rest',
    ),
    Mistake(
        "the certificate leaves out what this step has lost",
        "approximations",
        "SK.2",
        'rho * own["bound"] + rest',
        'rho * own["bound"]',
    ),
    # --- temporal predictive coding, tPC-RTRL, filtering
    Mistake(
        "phi' goes down through the transposed weights, and the error is multiplied on afterwards",
        "blocks",
        "tPC.4",
        "down = self._through_phi(tape, back)  # (BP.2)",
        'down = down_through(p["W"], self._through_phi(tape, 1 + 0 * v)) * v',
    ),
    Mistake(
        "the errors are those of the state before the last step",
        "timestep",
        "tPC.7",
        "return Inferred(run.s[1], now, loss, start, run.energy, run.residual)",
        "stale = spc.relax(net, theta, s, y, precisions, spc._errors(net, theta, s, y, precisions, first), first, self.steps - 1, self.step_size, None, 0)[1]\n        return Inferred(run.s[1], now._replace(xi=stale.xi), loss, start, run.energy, run.residual)",
    ),
    Mistake(
        "beta weighs the errors of the readout too",
        "timestep",
        "tPC.2",
        "*(_over(v, self.beta) for v in given[1:-1])",
        "_over(given[1], self.beta), *given[2:-1]",
    ),
    Mistake(
        "the errors of the states are not divided by beta",
        "timestep",
        "tPC.2",
        "*(_over(v, self.beta) for v in given[1:-1])",
        "*given[1:-1]",
    ),
    Mistake(
        "inference knows nothing of the precision of the state",
        "timestep",
        "tPC.4",
        "precisions = self.Pi if Pi is None",
        "precisions = [None, 1 / self.beta, *self.Pi[2:]] if Pi is None",
    ),
    Mistake(
        "inference is one step short",
        "timestep",
        "tPC.4",
        "net, theta, s, y, precisions, now, first, self.steps, self.step_size",
        "net, theta, s, y, precisions, now, first, self.steps - 1, self.step_size",
    ),
    Mistake(
        "the step of inference forgets beta",
        "timestep",
        "tPC.4",
        "float(step_size) * float(beta)",
        "float(step_size)",
    ),
    Mistake(
        "inference starts at the carried state where the prediction is asked for",
        "timestep",
        "tPC.5",
        'if self.start == "previous" and previous',
        'if self.start == "prediction" and previous',
    ),
    Mistake(
        "a state that starts at the carried one is compared with it",
        "timestep",
        "tPC.5",
        "now = spc._errors(net, theta, s, y, precisions, first)\n        if self",
        "mu = s[1]\n            first = net.blocks[0].forward(theta[0], mu)\n            s = [mu, *s[1:]]\n            now = spc._errors(net, theta, s, y, precisions, first)\n        if self",
    ),
    Mistake(
        "a state that is not observed moves",
        "timestep",
        "tPC.8",
        "net.loss = self.loss if weight is None else _weighted(self.loss, weight)\n        mu = self.real(mu)",
        "net.loss = self.loss\n        mu = self.real(mu)",
    ),
    Mistake(
        "of masked channels only the loss is masked, not the error",
        "timestep",
        "tPC.8",
        "error=lambda yhat, y: weight * loss.error",
        "error=lambda yhat, y: loss.error",
    ),
    Mistake(
        "a masked step still damps",
        "timestep",
        "tPC.8",
        "curvature=lambda yhat, v: weight * loss.curvature",
        "curvature=lambda yhat, v: loss.curvature",
    ),
    Mistake(
        "the shortcut through the outputs takes the error of the first step at every step",
        "timestep",
        "tPC.11",
        "loss.error(yhat + w @ self.gram if step else yhat, y)",
        "loss.error(yhat, y)",
    ),
    Mistake(
        "the shortcut through the outputs forgets that the error decays",
        "timestep",
        "tPC.11",
        "(1 - lam * k) * w + lam * xi",
        "w + lam * xi",
    ),
    Mistake(
        "the shortcut through the outputs moves states that are not observed",
        "timestep",
        "tPC.11",
        "loss = self.loss if weight is None else _weighted(self.loss, weight[t])",
        "loss = self.loss",
    ),
    Mistake(
        "the credit of the state has the sign of its error",
        "timestep",
        "TPR.3",
        "q = self.as_state(-now.xi[1])",
        "q = self.as_state(now.xi[1])",
    ),
    Mistake(
        "the credit is not divided by beta",
        "timestep",
        "TPR.3",
        "q = self.as_state(-now.xi[1])",
        "q = self.as_state(-self.beta * now.xi[1])",
    ),
    Mistake(
        "the credit lacks the precision",
        "timestep",
        "TPR.3",
        "q = self.as_state(-now.xi[1])",
        "q = self.as_state(-now.eps[1] / self.beta)",
    ),
    Mistake(
        "the credit of an LRU's inferred state is delta, the conjugate is missing",
        "timestep",
        "TPR.9",
        "return q.conj() if self.complex else q",
        "return q",
    ),
    Mistake(
        "the readout learns at the prediction, not at the inferred state",
        "timestep",
        "TPR.3",
        "return Inferred(run.s[1], now, loss, start, run.energy, run.residual)",
        "at = spc._feedforward(net, theta, mu, y, precisions)[1]\n        return Inferred(run.s[1], at._replace(xi=[None, now.xi[1], *at.xi[2:]]), loss, start, run.energy, run.residual)",
    ),
    Mistake(
        "the readout's gradient is that of F, not of F/beta",
        "timestep",
        "TPR.3",
        "local_gradient(self.net, self.params, now)[1:]  # (TPR.3)",
        "[{k: self.beta * v for k, v in g.items()} for g in local_gradient(self.net, self.params, now)[1:]]",
    ),
    Mistake(
        "the D of an LRU sends no credit down",
        "timestep",
        "TPR.9",
        '-(now.xi[2] @ self.params[1]["D"])',
        '0 * (now.xi[2] @ self.params[1]["D"])',
    ),
    Mistake(
        "the carries are swapped",
        "trajectory",
        "TPR.4",
        'follow = _follow if carry == "state" else _free',
        'follow = _free if carry == "state" else _follow',
    ),
    Mistake(
        "a reset leaves the inferred state as it is",
        "trajectory",
        "TPR.4",
        "state = xp.where(reset[t][:, None], start, state)",
        "pass",
    ),
    Mistake(
        "the prediction is carried on from the inferred state",
        "trajectory",
        "TPR.4",
        "            values.append(value)\n    return xp.stack(mus)",
        "            values.append(value)\n        state = mu\n    return xp.stack(mus)",
    ),
    Mistake(
        "J and Mbar are those of the free run, not of the carried state",
        "trajectory",
        "TPR.2",
        "        after, tape = cell.scan(p, state, x[t : t + 1])  # (tPC.1)\n",
        "        after, tape = cell.scan(p, state, x[t : t + 1])  # (tPC.1)\n        tape = cell.scan(p, mus[-1] if mus else state, x[t : t + 1])[1]\n",
    ),
    Mistake(
        "J and Mbar are taken at the new prediction, not at the state before it",
        "trajectory",
        "TPR.2",
        "        after, tape = cell.scan(p, state, x[t : t + 1])  # (tPC.1)\n",
        "        after, tape = cell.scan(p, state, x[t : t + 1])  # (tPC.1)\n        tape = cell.scan(p, after[0], x[t : t + 1])[1]\n",
    ),
    Mistake(
        "tPC learns as if the carried state had a history",
        "tpc",
        "tPC.7",
        "    if influence is None:\n        return None\n    if",
        '    influence = influence or "exact"\n    if',
    ),
    Mistake(
        "the influence is left out of the gradient of a block of steps",
        "tpc",
        "TPR.10",
        "for l, found in enumerate(M.gradients(params, M.readout(start))):",
        "for l, found in enumerate([]):",
    ),
    Mistake(
        "the influence does not go on with time",
        "tpc",
        "TPR.10",
        "    M.advance(params, stretch)  # (HYB.2)\n",
        "    pass\n",
    ),
    Mistake(
        "a reset leaves the influence on the inferred state as it is",
        "tpc",
        "TPR.5",
        "            M.reset(reset[t])  # (RTRL.6)\n",
        "            pass\n",
    ),
    Mistake(
        "what is below the cell learns through this step alone",
        "tpc",
        "TPR.8",
        "below *= factor[:, :, None]",
        "below *= 0",
    ),
    Mistake(
        "the damping is forgotten: S is M",
        "tpc",
        "TPR.5",
        "            M.damp(path.looks[t].now)",
        "            pass",
    ),
    Mistake(
        "the damping is transposed",
        "tpc",
        "TPR.5",
        "right[:, :N] = xp.swapaxes(weigh_rows(step.Pi[1], xp.swapaxes(M, 1, 2)), 1, 2)",
        "right[:, :N] = H[:, :N, :N] @ xp.swapaxes(weigh_rows(step.Pi[1], xp.swapaxes(xp.linalg.solve(H[:, :N, :N], M), 1, 2)), 1, 2)",
    ),
    Mistake(
        "the precision is missing behind the inverse of H",
        "tpc",
        "TPR.5",
        "right[:, :N] = xp.swapaxes(weigh_rows(step.Pi[1], xp.swapaxes(M, 1, 2)), 1, 2)",
        "right[:, :N] = M / step.beta",
    ),
    Mistake(
        "H is that of the state alone",
        "tpc",
        "TPR.6",
        "xp.linalg.solve(H, right)[:, :N]",
        "xp.linalg.solve(H[:, :N, :N], right[:, :N])",
    ),
    Mistake(
        "the readout does not move the carried state",
        "tpc",
        "TPR.7",
        "right[:, :, M.shape[2] - self.R.shape[2] :] -= mixed",
        "pass",
    ),
    Mistake(
        "the readout moves the carried state the wrong way",
        "tpc",
        "TPR.7",
        "right[:, :, M.shape[2] - self.R.shape[2] :] -= mixed",
        "right[:, :, M.shape[2] - self.R.shape[2] :] += mixed",
    ),
    Mistake(
        "what the readout moved is not carried on",
        "tpc",
        "TPR.7",
        "self.R = cell.times_jacobian(params[self.c], local, t, self.R)",
        "self.R = 0 * self.R",
    ),
    Mistake(
        "a reset leaves the influence of the readout as it is",
        "tpc",
        "TPR.7",
        "self.R = xp.where(mask[:, None, None], xp.zeros_like(self.R), self.R)",
        "pass",
    ),
    Mistake(
        "the readout learns from its own step alone",
        "tpc",
        "TPR.7",
        "            found.readout(M)",
        "            pass",
    ),
    Mistake(
        "the diagonals of Pi and H are swapped",
        "tpc",
        "TPR.5",
        "factor = Pi / diagonal",
        "factor = diagonal / Pi",
    ),
    Mistake(
        "the diagonal of Pi is the sum of its rows",
        "tpc",
        "TPR.5",
        "Pi = xp.diagonal(weigh_rows(step.Pi[1], xp.eye(N, dtype=H.dtype)[None])[0])",
        "Pi = weigh_rows(step.Pi[1], xp.ones((1, 1, N), H.dtype))[0, 0]",
    ),
    Mistake("phi'' is dropped in H", "timestep", "TPR.6", "PJ @ bent.J - bent.curvature", "PJ @ bent.J"),
    Mistake(
        "the states of the readout are not coupled to the state",
        "timestep",
        "TPR.6",
        "H[:, above, here] -= xp.swapaxes(PJ, 1, 2)",
        "pass",
    ),
    Mistake(
        "phi'' is dropped in the mixed derivative",
        "timestep",
        "TPR.7",
        "-PJ if self.slope is None else -PJ * self.slope[:, None] + self.own",
        "-PJ if self.slope is None else -PJ * self.slope[:, None]",
    ),
    Mistake(
        "the presynaptic activity does not move in the mixed derivative",
        "timestep",
        "TPR.7",
        "if d_z is not None:",
        "if False:",
    ),
    Mistake(
        "the credit of fixed predictions stops below the last block",
        "timestep",
        "TPR.10",
        "xi[l] = self.net.blocks[l].vjp(theta[l], now.tape[l + 1], xi[l + 1], params=False)[0]",
        "xi[l] = self.net.blocks[l].vjp(theta[l], now.tape[l + 1], xi[l + 1] * (l == len(xi) - 2), params=False)[0]",
    ),
    Mistake(
        "the precision multiplies the credit of fixed predictions, where its inverse belongs",
        "timestep",
        "TPR.10",
        "mu + _solved(Pi[1], xi[1])",
        "mu + weigh_rows(Pi[1], xi[1][:, None])[:, 0]",
    ),
    Mistake(
        "with fixed predictions the tapes are those of the inferred state",
        "trajectory",
        "TPR.10",
        "    return after, step.as_state(look.s).reshape(after.shape), tape,",
        "    tape = cell.scan(p, step.as_state(look.s).reshape(after.shape)[0], x)[1]\n    return after, step.as_state(look.s).reshape(after.shape), tape,",
    ),
    Mistake(
        "the gain knows no noise of the observations",
        "timestep",
        "KAL.1",
        "for v in given[1:-1]), given[-1]]",
        "for v in given[1:-1]), 1e8 * given[-1]]",
    ),
    Mistake(
        "the noise of the observations is taken for one",
        "timestep",
        "KAL.1",
        "for v in given[1:-1]), given[-1]]",
        "for v in given[1:-1]), None]",
    ),
    Mistake(
        "a state that is not observed stays where inference starts",
        "timestep",
        "tPC.5",
        "begin = array_module(mu).where((weight != 0).any(axis=1)[:, None], begin, mu)",
        "pass",
    ),
    Mistake(
        "the covariance does not see the observations",
        "filtering",
        "KAL.4",
        "H, _ = self.step.second_derivatives(now, [None, Pi, *self.step.Pi[2:]], mixed=False)",
        "H = Pi",
    ),
    Mistake(
        "the prior covariance is carried on, not the posterior",
        "filtering",
        "KAL.4",
        "self.covariance = array_module(Pi).linalg.inv(H)[:, :N, :N] / self.step.beta",
        "self.covariance = array_module(Pi).linalg.inv(Pi) / self.step.beta",
    ),
    Mistake(
        "the covariance is carried by the transpose of the Jacobian",
        "filtering",
        "KAL.4",
        "A @ Sig @ xp.swapaxes(A, 1, 2) + self.Q",
        "xp.swapaxes(A, 1, 2) @ Sig @ A + self.Q",
    ),
    Mistake(
        "the noise of a step is left out of the covariance",
        "filtering",
        "KAL.4",
        "xp.linalg.inv(A @ Sig @ xp.swapaxes(A, 1, 2) + self.Q)",
        "xp.linalg.inv(A @ Sig @ xp.swapaxes(A, 1, 2) + 1e-9 * self.Q)",
    ),
    Mistake(
        "the noise of a step is taken for its precision",
        "filtering",
        "KAL.4",
        "xp.linalg.inv(Pi) / step.beta",
        "Pi * step.beta",
    ),
    Mistake(
        "a reset leaves the covariance as it is",
        "filtering",
        "KAL.4",
        "Sig = xp.where(reset[:, None, None], xp.zeros_like(Sig), Sig)",
        "pass",
    ),
    Mistake(
        "the certificate forgets what was there before",
        "tpc",
        "TPR.13",
        "delta = grown + xp.sqrt(",
        "delta = 0 * grown + xp.sqrt(",
    ),
    Mistake(
        "the certificate forgets what each step adds",
        "tpc",
        "TPR.13",
        "delta = grown + xp.sqrt((left * left)",
        "delta = grown + 0 * xp.sqrt((left * left)",
    ),
    Mistake(
        "the damping is dropped from the memory of the certificate",
        "tpc",
        "TPR.13",
        "xp.linalg.svd(D @ J, compute_uv",
        "xp.linalg.svd(J, compute_uv",
    ),
    Mistake(
        "the certificate multiplies the new bound, not the one before",
        "tpc",
        "TPR.13",
        "bounds.append(xp.sqrt(inner(back, back)) * delta)",
        "bounds.append(xp.sqrt(inner(path.q[0], path.q[0])) * delta)",
    ),
    Mistake(
        "beta is forgotten: the loss counts whole",
        "timestep",
        "tPC.4",
        "for v in given[1:-1]), given[-1]]",
        "for v in given[1:-1]), _over(given[-1], self.beta)]",
    ),
    Mistake(
        "the precisions of the states are forgotten",
        "timestep",
        "tPC.2",
        "*(_over(v, self.beta) for v in given[1:-1])",
        "*(_over(None, self.beta) for v in given[1:-1])",
    ),
    Mistake(
        "the precisions of the states are inverted",
        "timestep",
        "tPC.2",
        "*(_over(v, self.beta) for v in given[1:-1])",
        '*(_over(v if v is None else array_module(v).linalg.inv(v) if getattr(v, "ndim", 0) > 1 else 1 / v, self.beta) for v in given[1:-1])',
    ),
    Mistake(
        "inference starts at the prediction where the carried state is asked for",
        "timestep",
        "tPC.5",
        'if self.start == "previous" and previous',
        "if False and previous",
    ),
    Mistake(
        "the credit is q at the inferred state, not the error that inference has left",
        "timestep",
        "TPR.3",
        "q = self.as_state(-now.xi[1])",
        "q = self.as_state(-self.net.blocks[1].vjp(self.params[1], now.tape[2], now.xi[2], params=False)[0])",
    ),
    Mistake(
        "the inferred state is carried where the prediction is asked for",
        "trajectory",
        "TPR.4",
        'follow = _follow if carry == "state" else _free',
        "follow = _follow",
    ),
    Mistake(
        "a reset sets the state to zero, not to its start",
        "trajectory",
        "TPR.4",
        "net.blocks[c], params[c], h[c], x, y, w, reset, p.start[c], step",
        "net.blocks[c], params[c], h[c], x, y, w, reset, 0 * p.start[c], step",
    ),
    Mistake(
        "the recurrent weights learn from the inferred state of their own step",
        "trajectory",
        "TPR.2",
        "((tapes, tape), (mus, mu)",
        "((tapes, tape._replace(before=state[None])), (mus, mu)",
    ),
    Mistake(
        "the gradient is read out of the damped influence",
        "tpc",
        "TPR.5",
        "        found.total = M.readout([None if v is None else v[t] for v in q], found.total)  # (TPR.3)\n"
        "        if isinstance(M, Damped):\n"
        "            M.damp(path.looks[t].now)  # (TPR.5)\n",
        "        if isinstance(M, Damped):\n"
        "            M.damp(path.looks[t].now)\n"
        "        found.total = M.readout([None if v is None else v[t] for v in q], found.total)\n",
    ),
    Mistake(
        "the curvature of the loss is not weighed by beta",
        "timestep",
        "TPR.5",
        "PJ @ bent.J - bent.curvature",
        "(PJ @ bent.J - bent.curvature) / (self.beta if l == L else 1.0)",
    ),
    Mistake(
        "the curvature of the readout has the wrong sign in H",
        "timestep",
        "TPR.6",
        "PJ @ bent.J - bent.curvature",
        "bent.curvature - PJ @ bent.J",
    ),
    Mistake(
        "the covariance of the innovation is R, without C Q C'",
        "timestep",
        "KAL.1",
        "H, _ = self.second_derivatives(now, Pi, mixed=False)",
        "H = weigh_rows(Pi[1], xp.eye(ends[-1], dtype=loss.dtype)[None])",
    ),
    Mistake(
        "the noise of the observations is taken for its precision",
        "timestep",
        "KAL.1",
        "for v in given[1:-1]), given[-1]]",
        'for v in given[1:-1]), array_module(given[-1]).linalg.inv(given[-1]) if getattr(given[-1], "ndim", 0) > 1 else 1 / given[-1]]',
    ),
    Mistake(
        "the precision of the past is left out: the gain is that of a fixed Q",
        "filtering",
        "KAL.4",
        "A @ Sig @ xp.swapaxes(A, 1, 2) + self.Q",
        "0 * A + self.Q",
    ),
    Mistake(
        "the covariance is carried by A on both sides, not by A and its transpose",
        "filtering",
        "KAL.4",
        "A @ Sig @ xp.swapaxes(A, 1, 2) + self.Q",
        "A @ Sig @ A + self.Q",
    ),
    Mistake(
        "the covariance does not pass the dynamics",
        "filtering",
        "KAL.4",
        "A @ Sig @ xp.swapaxes(A, 1, 2) + self.Q",
        "Sig + self.Q",
    ),
    Mistake(
        "the certificate adds what the damping leaves, not what it takes away",
        "tpc",
        "TPR.13",
        "[A - D @ A for A in columns]",
        "[D @ A for A in columns]",
    ),
    # --- credit that stays with the unit: spiking cells, e-prop, synthetic gradients
    Mistake(
        "a potential does not leak",
        "spiking",
        "EPROP.1",
        "v = float(self.kappa) * h[:, n:] +",
        "v = h[:, n:] +",
    ),
    Mistake(
        "a LIF fires as soon as its potential is positive",
        "spiking",
        "EPROP.1",
        "        x = v - float(self.threshold)\n        return",
        "        x = v\n        return",
    ),
    Mistake(
        "the surrogate is taken at v, not at v minus the threshold",
        "spiking",
        "EPROP.1",
        "        psi = self._surrogate(x)\n        moved",
        "        psi = self._surrogate(x + float(self.threshold))\n        moved",
    ),
    Mistake(
        "the slope is missing in front of the surrogate",
        "spiking",
        "EPROP.1",
        "return k * r * (1 - r)",
        "return r * (1 - r)",
    ),
    Mistake(
        "the trace of a potential does not decay",
        "spiking",
        "EPROP.1",
        "(None, kappa * moved)",
        "(None, moved)",
    ),
    Mistake(
        "e-prop keeps the path through the self weight",
        "eprop",
        "EPROP.1",
        "return step.direct()",
        "return step.own_jacobian()",
    ),
    Mistake(
        "the term of bt is dropped from the traces",
        "spiking",
        "EPROP.2",
        "xp.stack([-float(self.adaptation) * psi, zero, one]",
        "xp.stack([zero, zero, one]",
    ),
    Mistake(
        "a spike lowers the threshold",
        "spiking",
        "EPROP.2",
        "- float(self.adaptation) * ad",
        "+ float(self.adaptation) * ad",
    ),
    Mistake(
        "a spike has decayed when it reaches its own adaptation",
        "spiking",
        "EPROP.2",
        "direct = (by_ad,",
        "direct = (rho * by_ad,",
    ),
    Mistake(
        "the adaptation is forgotten from step to step",
        "spiking",
        "EPROP.2",
        "kappa * by_v, rho * by_ad)",
        "kappa * by_v, 0 * by_ad)",
    ),
    Mistake(
        "random feedback is drawn, and backpropagation used",
        "eprop",
        "EPROP.3",
        "q[l] = _padded(self.net.blocks[l], self.v @ self.feedback[l].T)",
        "pass",
    ),
    Mistake(
        "random feedback has the sign of the error, not of the credit",
        "eprop",
        "EPROP.3",
        "self.v @ self.feedback[l].T",
        "-self.v @ self.feedback[l].T",
    ),
    Mistake(
        "the synthetic gradient does not see the target",
        "dni",
        "DNI.1",
        "[*parts, y, xp",
        "[*parts, 0 * y, xp",
    ),
    Mistake(
        "the synthetic gradient has no bias",
        "dni",
        "DNI.1",
        "xp.ones_like(y[:, :1])",
        "xp.zeros_like(y[:, :1])",
    ),
    Mistake(
        "the target of a synthetic gradient goes through J, not through its transpose",
        "dni",
        "DNI.2",
        "back = cell.sweep(p, tape, None, sg).start",
        'back = array_module(q).einsum("bij,bj->bi", cell.state_jacobian(p, tape), sg)',
    ),
    Mistake(
        "the target of a synthetic gradient leaves out the credit of its own step",
        "dni",
        "DNI.2",
        "return q + array_module(q).where",
        "return array_module(q).where",
    ),
    Mistake(
        "the target of a synthetic gradient is said by A, not by its frozen copy",
        "dni",
        "DNI.2",
        'synthetic(own["frozen"], seen), self.begins)',
        'synthetic(own["A"], seen), self.begins)',
    ),
    Mistake(
        "a reset sends synthetic credit into the past",
        "dni",
        "DNI.2",
        "where(begins[:, None], 0 * back, back)",
        "where(begins[:, None], back, back)",
    ),
    Mistake(
        "A learns from the next regressor",
        "dni",
        "DNI.2",
        '(off.T @ own["seen"])',
        "(off.T @ seen)",
    ),
    Mistake(
        "the immediate credit meets Mbar, not the synthetic one",
        "dni",
        "DNI.3",
        "cell.sweep(p, tape, None, synthetic(A, seen))",
        "cell.sweep(p, tape, None, q)",
    ),
    Mistake(
        "a LIF fires without regard to its threshold, which the surrogate knows",
        "spiking",
        "EPROP.1",
        "[self._fire(x), v], axis=1)",
        "[self._fire(v), v], axis=1)",
    ),
    Mistake(
        "the surrogate lacks the factor 1 - sigma",
        "spiking",
        "EPROP.1",
        "return k * r * (1 - r)",
        "return k * r",
    ),
    Mistake(
        "a potential is reset after a spike, beside the self weight",
        "spiking",
        "EPROP.1",
        "v = float(self.kappa) * h[:, n:] +",
        "v = float(self.kappa) * h[:, n:] - float(self.threshold) * h[:, :n] +",
    ),
    Mistake(
        "the regressor of a LIF is not filtered: its traces remember nothing",
        "spiking",
        "EPROP.1",
        "(None, kappa * moved)",
        "(None, 0 * moved)",
    ),
    Mistake(
        "the traces of a LIF take the spikes of this step, not of the step before",
        "spiking",
        "EPROP.1",
        "moved[:, :, :, None], (tape.before[..., : self.n], tape.u)",
        "moved[:, :, :, None], (tape.after[..., : self.n], tape.u)",
    ),
    Mistake(
        "the traces of an ALIF take the spikes of this step, not of the step before",
        "spiking",
        "EPROP.2",
        "by_v[:, :, :, None], (tape.before[..., : self.n], tape.u)",
        "by_v[:, :, :, None], (tape.after[..., : self.n], tape.u)",
    ),
    Mistake(
        "the surrogate of an ALIF does not see the adaptation",
        "spiking",
        "EPROP.2",
        "        psi = self._surrogate(x)\n        one, zero",
        "        psi = self._surrogate(x + float(self.adaptation) * tape.after[..., 2 * self.n :])\n        one, zero",
    ),
    Mistake(
        "the adaptation does not decay",
        "spiking",
        "EPROP.2",
        "ad = float(self.rho) * ad + spike",
        "ad = ad + spike",
    ),
    Mistake(
        "the adaptation does not raise the threshold",
        "spiking",
        "EPROP.2",
        "- float(self.adaptation) * ad",
        "- 0.0 * ad",
    ),
    Mistake(
        "the trace of the adaptation does not decay",
        "spiking",
        "EPROP.2",
        "kappa * by_v, rho * by_ad)",
        "kappa * by_v, by_ad)",
    ),
    Mistake(
        "the trace of an ALIF's potential does not decay",
        "spiking",
        "EPROP.2",
        "(by_ad, kappa * by_v,",
        "(by_ad, by_v,",
    ),
    Mistake(
        "an ALIF's potential does not leak", "spiking", "EPROP.2", "v = float(self.kappa) * v +", "v = v +"
    ),
    Mistake(
        "the term of bt has the wrong sign in the traces",
        "spiking",
        "EPROP.2",
        "xp.stack([-float(self.adaptation) * psi, zero, one]",
        "xp.stack([float(self.adaptation) * psi, zero, one]",
    ),
    Mistake(
        "h and y are exchanged in the regressor of a synthetic gradient",
        "dni",
        "DNI.1",
        "[*parts, y, xp",
        "[y, *parts, xp",
    ),
    Mistake(
        "the bias stands first in the regressor of a synthetic gradient",
        "dni",
        "DNI.1",
        "[*parts, y, xp.ones_like(y[:, :1])]",
        "[xp.ones_like(y[:, :1]), *parts, y]",
    ),
    Mistake(
        "the target of a synthetic gradient leaves out the future",
        "dni",
        "DNI.2",
        "0 * back, back)",
        "0 * back, 0 * back)",
    ),
    Mistake(
        "the target of a synthetic gradient is said of the step before",
        "dni",
        "DNI.2",
        'synthetic(own["frozen"], seen), self.begins)',
        'synthetic(own["frozen"], own["seen"]), self.begins)',
    ),
    Mistake(
        "A learns from the sum over the lanes, not from the mean",
        "dni",
        "DNI.2",
        "float(self.method.learning_rate) / len(q) *",
        "float(self.method.learning_rate) *",
    ),
    Mistake("A goes away from its target", "dni", "DNI.2", 'A = own["A"] - float(', 'A = own["A"] + float('),
    Mistake(
        "A learns from the error of its frozen copy",
        "dni",
        "DNI.2",
        'off = synthetic(own["A"], own["seen"]) - wish',
        'off = synthetic(own["frozen"], own["seen"]) - wish',
    ),
    Mistake(
        "a factor 2 in the step of A",
        "dni",
        "DNI.2",
        "float(self.method.learning_rate) / len(q) *",
        "2 * float(self.method.learning_rate) / len(q) *",
    ),
    Mistake(
        "the surrogate of a LIF is that of the step before",
        "spiking",
        "EPROP.1",
        "        psi = self._surrogate(x)\n        moved",
        "        psi = self._surrogate(tape.before[..., self.n :] - float(self.threshold))\n        moved",
    ),
    Mistake(
        "the credit of its own step is subtracted from the target of a synthetic gradient",
        "dni",
        "DNI.2",
        "return q + array_module(q).where",
        "return -q + array_module(q).where",
    ),
    # --- diagonal cells
    Mistake(
        "the credit of the LRU is delta, the conjugate is missing",
        "diagonal",
        "LRU.5",
        'complexes(v @ interleaved(p["C_re"], p["C_im"], axis=1))',
        'complexes(v @ interleaved(p["C_re"], -p["C_im"], axis=1))',
    ),
    Mistake(
        "the trace of B is driven by the logarithm of gamma",
        "diagonal",
        "LRU.6",
        '"B_re": [("B", gam)], "B_im": [("B", 1j * gam)]',
        '"B_re": [("B", xp.log(gam))], "B_im": [("B", 1j * xp.log(gam))]',
    ),
    Mistake(
        "the trace of zeta takes h_t, not h_{t-1}",
        "diagonal",
        "LRU.6",
        '"zeta": (tape.before[:, :, None], False)',
        '"zeta": (tape.after[:, :, None], False)',
    ),
    Mistake(
        "i is missing in front of the phase",
        "diagonal",
        "LRU.7",
        '1j * xp.exp(p["th"]) * zeta',
        'xp.exp(p["th"]) * zeta',
    ),
    Mistake(
        "exp(theta) is missing in front of the phase",
        "diagonal",
        "LRU.7",
        '1j * xp.exp(p["th"]) * zeta',
        "1j * zeta",
    ),
    Mistake(
        "gamma is missing in the gradient of its logarithm",
        "diagonal",
        "LRU.7",
        'terms["lg"] = [("gam", gam)]',
        'terms["lg"] = [("gam", None)]',
    ),
    Mistake(
        "the imaginary part of B learns with the wrong sign",
        "diagonal",
        "LRU.8",
        '("B", 1j * gam)',
        '("B", -1j * gam)',
    ),
    Mistake(
        "gamma is missing on the way down to the input",
        "diagonal",
        "LRU.8",
        "gam * swept.credit[1]",
        "swept.credit[1]",
    ),
    Mistake(
        "nu does not know that gamma is tied to it",
        "diagonal",
        "LRU.9",
        'terms["nu"].append(("gam", rate * (zeta * zeta.conj()).real / gam))',
        "pass",
    ),
    Mistake(
        "k is the forget gate alone", "diagonal", "ELSTM.2", 'k = f + A_z * p["wz"] + A_f * p["wf"]', "k = f"
    ),
    Mistake(
        "the forget gate is pulled the wrong way",
        "diagonal",
        "ELSTM.2",
        "(c - z) * f * (1 - f)",
        "(z - c) * f * (1 - f)",
    ),
    Mistake(
        "1 - f is missing in A_z",
        "diagonal",
        "ELSTM.2",
        "A_z, A_f = (1 - f) * (1 - z * z),",
        "A_z, A_f = (1 - z * z),",
    ),
    Mistake(
        "the traces take c_t, not c_{t-1}",
        "diagonal",
        "ELSTM.3",
        "(z, f), c = tape.kept, tape.before",
        "(z, f), c = tape.kept, tape.after",
    ),
    Mistake(
        "the peephole learns as if it were a bias",
        "diagonal",
        "ELSTM.3",
        'f"w{g}": (A * c[:, :, None], False)',
        'f"w{g}": (A, False)',
    ),
    Mistake(
        "the sine has the wrong sign in the Jacobian",
        "diagonal",
        "RTU.2",
        "xp.stack([xp.stack([g, -q]), xp.stack([q, g])])",
        "xp.stack([xp.stack([g, q]), xp.stack([-q, g])])",
    ),
    Mistake(
        "exp(theta) is missing in the derivative of the rotation",
        "diagonal",
        "RTU.3",
        "th = -q * omega * h + g * omega * turned",
        "th = -q * h + g * turned",
    ),
    Mistake(
        "nu does not reach gamma",
        "diagonal",
        "RTU.3",
        "- rate * q * turned + rate * r * r / gam * x",
        "- rate * q * turned",
    ),
    Mistake(
        "phi' is missing in the trace of nu",
        "diagonal",
        "RTU.4",
        '"nu": (slope * nu, False)',
        '"nu": (nu, False)',
    ),
    Mistake(
        "the second weights drive the first half of the pair",
        "diagonal",
        "RTU.4",
        "xp.stack([zero, slope[:, :, 1] * gam], axis=2)",
        "xp.stack([slope[:, :, 1] * gam, zero], axis=2)",
    ),
    Mistake(
        "the decay is exp(-nu), not exp(-exp(nu))",
        "diagonal",
        "LRU.1",
        'xp.exp(-xp.exp(p["nu"]) + 1j',
        'xp.exp(-p["nu"] + 1j',
    ),
    Mistake(
        "the phase is theta, not exp(theta)",
        "diagonal",
        "LRU.1",
        'zeta = xp.exp(-xp.exp(p["nu"]) + 1j * xp.exp(p["th"]))',
        'zeta = xp.exp(-xp.exp(p["nu"]) + 1j * p["th"])',
    ),
    Mistake(
        "gamma is its own logarithm",
        "diagonal",
        "LRU.1",
        'else xp.exp(p["lg"])',
        'else p["lg"]',
    ),
    Mistake(
        "gamma is missing in front of the input",
        "diagonal",
        "LRU.2",
        "xp.multiply(gam, Bu, out=states[1:])",
        "xp.multiply(1, Bu, out=states[1:])",
    ),
    Mistake(
        "Re(C h) is written C_re Re(h) + C_im Im(h)",
        "diagonal",
        "LRU.2",
        'interleaved(p["C_re"], -p["C_im"], axis=1).T',
        'interleaved(p["C_re"], p["C_im"], axis=1).T',
    ),
    Mistake(
        "the output lacks D u",
        "diagonal",
        "LRU.2",
        ' + u @ p["D"].T  # (LRU.2)',
        ' + 0 * (u @ p["D"].T)',
    ),
    Mistake(
        "the trace of gamma is driven by gamma B u",
        "diagonal",
        "LRU.6",
        '"gam": (Bu[:, :, None], False)',
        '"gam": ((self.eigenvalues(p)[1] * Bu)[:, :, None], False)',
    ),
    Mistake(
        "the traces are carried by the conjugate of zeta",
        "diagonal",
        "LRU.6",
        "zeta = local.A[0, 0, 0, 0]",
        "zeta = local.A[0, 0, 0, 0].conj()",
    ),
    Mistake(
        "the traces of the LRU are not carried on",
        "diagonal",
        "LRU.6",
        'trace *= zeta[:, None] if name == "B" else zeta',
        "trace *= 0",
    ),
    Mistake(
        "exp(nu) is missing in front of the decay",
        "diagonal",
        "LRU.7",
        '("zeta", -rate * zeta)',
        '("zeta", -zeta)',
    ),
    Mistake(
        "zeta is missing in the derivative by nu",
        "diagonal",
        "LRU.7",
        '("zeta", -rate * zeta)',
        '("zeta", -rate)',
    ),
    Mistake(
        "D is missing on the way down to the input",
        "diagonal",
        "LRU.8",
        ', v @ p["D"]  # (LRU.5)',
        ', 0 * (v @ p["D"])',
    ),
    Mistake(
        "f and 1 - f have changed places",
        "diagonal",
        "ELSTM.1",
        "c = f * c + (1 - f) * z  #",
        "c = (1 - f) * c + f * z  #",
    ),
    Mistake(
        "tanh' is missing in A_z",
        "diagonal",
        "ELSTM.2",
        "A_z, A_f = (1 - f) * (1 - z * z),",
        "A_z, A_f = (1 - f),",
    ),
    Mistake(
        "the traces of a diagonal cell are not carried on",
        "diagonal",
        "ELSTM.3",
        "trace *= A_c[:, 0]",
        "trace *= 0 * A_c[:, 0]",
    ),
    Mistake(
        "sine and cosine have changed places",
        "diagonal",
        "RTU.1",
        "return r * xp.cos(omega), r * xp.sin(omega),",
        "return r * xp.sin(omega), r * xp.cos(omega),",
    ),
    Mistake(
        "the angle is theta, not exp(theta)",
        "diagonal",
        "RTU.1",
        'r, omega = xp.exp(-xp.exp(p["nu"])), xp.exp(p["th"])',
        'r, omega = xp.exp(-xp.exp(p["nu"])), p["th"]',
    ),
    Mistake(
        "gamma lacks the square root",
        "diagonal",
        "RTU.1",
        "xp.sqrt(1 - r * r), r, omega",
        "1 - r * r, r, omega",
    ),
    Mistake(
        "the sine has the same sign in both halves of the pair",
        "diagonal",
        "RTU.2",
        "[g * h1 - q * h2, g * h2 + q * h1]",
        "[g * h1 + q * h2, g * h2 + q * h1]",
    ),
    Mistake(
        "phi' is missing in the Jacobian of the pair",
        "diagonal",
        "RTU.2",
        "A = slope[:, :, :, None] * xp.stack",
        "A = (0 * slope + 1)[:, :, :, None] * xp.stack",
    ),
    Mistake(
        "each trace of a pair follows itself alone",
        "diagonal",
        "RTU.4",
        "new[name] = (A_c * trace[:, None]).sum(axis=2)",
        "itself = array_module(u).eye(self.parts).reshape(self.parts, self.parts, *[1] * (A_c.ndim - 3))\n                new[name] = (A_c * itself * trace[:, None]).sum(axis=2)",
    ),
    Mistake(
        "|zeta| stands where |zeta|^2 belongs",
        "diagonal",
        "LRU.9",
        "rate * (zeta * zeta.conj()).real / gam",
        "rate * abs(zeta) / gam",
    ),
    Mistake(
        "1/gamma is missing in its derivative",
        "diagonal",
        "LRU.9",
        "rate * (zeta * zeta.conj()).real / gam",
        "rate * (zeta * zeta.conj()).real",
    ),
    Mistake(
        "k forgets the way through the forget gate",
        "diagonal",
        "ELSTM.2",
        'k = f + A_z * p["wz"] + A_f * p["wf"]',
        'k = f + A_z * p["wz"]',
    ),
    Mistake(
        "sigmoid' of the forget gate lacks 1 - f",
        "diagonal",
        "ELSTM.2",
        "(c - z) * f * (1 - f)",
        "(c - z) * f",
    ),
    Mistake(
        "the second half of the pair sees the new first half",
        "diagonal",
        "RTU.2",
        "            a = driven[t] + xp.concatenate([g * h1 - q * h2, g * h2 + q * h1], axis=1)\n",
        "            first = driven[t][:, :n] + g * h1 - q * h2\n            a = xp.concatenate([first, driven[t][:, n:] + g * h2 + q * phi(first)], axis=1)\n",
    ),
    Mistake(
        "the second trace of a pair follows the new first one",
        "diagonal",
        "RTU.4",
        "                new[name] = (A_c * trace[:, None]).sum(axis=2)\n",
        "                new[name] = (A_c * trace[:, None]).sum(axis=2)\n                E, on_input = local.immediate.get(name, (0 * trace[None], False))\n                added = _at(E, t)[..., None] * u[:, None, None] if on_input else _at(E, t)\n                new[name][:, 1] += A_c[:, 1, 0] * (new[name][:, 0] + added[:, 0] - trace[:, 0])\n",
    ),
    # --- optimisers and the loop
    Mistake("Adam lacks the bias correction of m", "optim", "ADAM.3", "1 / (1 - b1**t)", "1.0"),
    Mistake("Adam lacks the bias correction of v", "optim", "ADAM.3", "1 / (1 - b2**t)", "1.0"),
    Mistake(
        "Adam adds eps under the root",
        "optim",
        "ADAM.4",
        "((second * v) ** 0.5 + eps)",
        "(second * v + eps) ** 0.5",
    ),
    Mistake(
        "the velocity is a running mean, not a sum",
        "optim",
        "SGD.2",
        "lambda v, g: mu * v + g,",
        "lambda v, g: mu * v + (1 - mu) * g,",
    ),
    Mistake(
        "Nesterov's step looks ahead with the old gradient: plain momentum",
        "optim",
        "SGD.3",
        "p - eta * (g + mu * v)",
        "p - eta * v",
    ),
    Mistake(
        "Nesterov's step forgets that the velocity decays",
        "optim",
        "SGD.3",
        "p - eta * (g + mu * v)",
        "p - eta * (g + v)",
    ),
    Mistake(
        "RMSprop takes the mean of g, not of its square",
        "optim",
        "RMS.1",
        "alpha * v + (1 - alpha) * g * g",
        "alpha * v + (1 - alpha) * abs(g)",
    ),
    Mistake(
        "RMSprop adds eps under the root",
        "optim",
        "RMS.2",
        "eta * g / (v**0.5 + eps)",
        "eta * g / (v + eps) ** 0.5",
    ),
    Mistake(
        "the coupled decay is halved, as if the square had no derivative",
        "optim",
        "DECAY.1",
        "g + wd * p[name]",
        "g + 0.5 * wd * p[name]",
    ),
    Mistake(
        "AdamW couples the decay",
        "optim",
        "DECAY.2",
        "params = _shrunk(params, eta * wd)",
        "grads = _coupled(grads, params, wd)",
    ),
    Mistake(
        "the decoupled decay forgets the learning rate",
        "optim",
        "DECAY.2",
        "_shrunk(params, eta * wd)",
        "_shrunk(params, wd)",
    ),
    Mistake(
        "every block is clipped by a norm of its own",
        "optim",
        "CLIP.1",
        "_map(lambda g: shorten * g, grads)",
        "[_map(lambda g: c / max(c, sum((h * h).sum() for h in q.values()) ** 0.5) * g, [q])[0] for q in grads]",
    ),
    Mistake(
        "short gradients are lengthened to the norm",
        "optim",
        "CLIP.1",
        "c / array_module(length).maximum(length, c)",
        "c / length",
    ),
    Mistake(
        "the warm-up begins with a rate of zero",
        "schedules",
        "WARM.1",
        "min((t + 1) / w, 1.0)",
        "min(t / w, 1.0)",
    ),
    Mistake("the cosine lacks its half", "schedules", "COS.1", "0.5 * (peak - final)", "(peak - final)"),
    Mistake(
        "the cosine counts the warm-up twice",
        "schedules",
        "COS.1",
        "min((t - w) / (N - w), 1.0)",
        "min((t - w) / N, 1.0)",
    ),
    Mistake("the rate falls in every update", "schedules", "STEP.1", "(t - w) // k", "(t - w) / k"),
    Mistake(
        "the step with momentum takes the old velocity",
        "optim",
        "SGD.2",
        "_map(lambda p, v: p - eta * v, params, v)",
        "_map(lambda p, v: p - eta * v, params, state.v)",
    ),
    Mistake(
        "the velocity forgets nothing", "optim", "SGD.2", "lambda v, g: mu * v + g,", "lambda v, g: v + g,"
    ),
    Mistake(
        "the gradient is subtracted from the velocity",
        "optim",
        "SGD.2",
        "lambda v, g: mu * v + g,",
        "lambda v, g: mu * v - g,",
    ),
    Mistake(
        "the learning rate stands inside of the velocity",
        "optim",
        "SGD.2",
        "            v = _map(lambda v, g: mu * v + g, v, grads)  # (SGD.2)\n            if self.nesterov:",
        "            v = _map(lambda v, g: mu * v + eta * g, v, grads)\n            if not self.nesterov:\n                new = _map(lambda p, v: p - v, params, v)\n            elif self.nesterov:",
    ),
    Mistake(
        "Nesterov's step counts the gradient once only, inside of the velocity",
        "optim",
        "SGD.3",
        "p - eta * (g + mu * v)",
        "p - eta * mu * v",
    ),
    Mistake(
        "RMSprop's two weights are exchanged",
        "optim",
        "RMS.1",
        "alpha * v + (1 - alpha) * g * g",
        "(1 - alpha) * v + alpha * g * g",
    ),
    Mistake(
        "RMSprop sums up the squares: the factor 1 - alpha is missing",
        "optim",
        "RMS.1",
        "alpha * v + (1 - alpha) * g * g",
        "alpha * v + g * g",
    ),
    Mistake(
        "RMSprop divides by the mean square, not by its root",
        "optim",
        "RMS.2",
        "eta * g / (v**0.5 + eps)",
        "eta * g / (v + eps)",
    ),
    Mistake(
        "RMSprop divides by the mean of the update before",
        "optim",
        "RMS.2",
        "(v**0.5 + eps), params, grads, v)",
        "(v**0.5 + eps), params, grads, state.v)",
    ),
    Mistake(
        "RMSprop's step goes uphill",
        "optim",
        "RMS.2",
        "p - eta * g / (v**0.5 + eps)",
        "p + eta * g / (v**0.5 + eps)",
    ),
    Mistake(
        "Adam's two weights of m are exchanged",
        "optim",
        "ADAM.1",
        "b1 * m + (1 - b1) * g",
        "(1 - b1) * m + b1 * g",
    ),
    Mistake(
        "m sums up the gradients: the factor 1 - b1 is missing",
        "optim",
        "ADAM.1",
        "b1 * m + (1 - b1) * g",
        "b1 * m + g",
    ),
    Mistake(
        "Adam's two weights of v are exchanged",
        "optim",
        "ADAM.2",
        "b2 * v + (1 - b2) * g * g",
        "(1 - b2) * v + b2 * g * g",
    ),
    Mistake(
        "v sums up the squares: the factor 1 - b2 is missing",
        "optim",
        "ADAM.2",
        "b2 * v + (1 - b2) * g * g",
        "b2 * v + g * g",
    ),
    Mistake(
        "Adam takes the mean of |g|, not of its square",
        "optim",
        "ADAM.2",
        "b2 * v + (1 - b2) * g * g",
        "b2 * v + (1 - b2) * abs(g)",
    ),
    Mistake(
        "v takes the square of m, not of g",
        "optim",
        "ADAM.2",
        "_map(lambda v, g: b2 * v + (1 - b2) * g * g, state.v, grads)",
        "_map(lambda v, g: b2 * v + (1 - b2) * g * g, state.v, m)",
    ),
    Mistake(
        "the bias correction multiplies, it does not divide",
        "optim",
        "ADAM.3",
        "first, second = 1 / (1 - b1**t), 1 / (1 - b2**t)",
        "first, second = 1 - b1**t, 1 - b2**t",
    ),
    Mistake(
        "the bias correction has no power of t",
        "optim",
        "ADAM.3",
        "first, second = 1 / (1 - b1**t), 1 / (1 - b2**t)",
        "first, second = 1 / (1 - b1), 1 / (1 - b2)",
    ),
    Mistake(
        "the corrected means are kept for the next update",
        "optim",
        "ADAM.3",
        "return new, AdamState(m, v, t)",
        "return new, AdamState(_map(lambda m: first * m, m), _map(lambda v: second * v, v), t)",
    ),
    Mistake(
        "Adam divides by v, not by its root",
        "optim",
        "ADAM.4",
        "((second * v) ** 0.5 + eps)",
        "(second * v + eps)",
    ),
    Mistake(
        "Adam's step takes g, not its mean",
        "optim",
        "ADAM.4",
        "p - eta * (first * m) / ((second * v) ** 0.5 + eps), params, m, v",
        "p - eta * m / ((second * v) ** 0.5 + eps), params, grads, v",
    ),
    Mistake("Adam's step goes uphill", "optim", "ADAM.4", "p - eta * (first * m)", "p + eta * (first * m)"),
    Mistake(
        "the coupled decay has the wrong sign", "optim", "DECAY.1", "g + wd * p[name]", "g - wd * p[name]"
    ),
    Mistake("the coupled decay is doubled", "optim", "DECAY.1", "g + wd * p[name]", "g + 2 * wd * p[name]"),
    Mistake(
        "the coupled decay leaves out the biases",
        "optim",
        "DECAY.1",
        "g + wd * p[name] if _decays(name)",
        'g + wd * p[name] if _decays(name) and name != "b"',
    ),
    Mistake(
        "the coupled decay subtracts the sign of a parameter (L1)",
        "optim",
        "DECAY.1",
        "g + wd * p[name]",
        "g + wd * array_module(g).sign(p[name])",
    ),
    Mistake(
        "the decoupled decay comes after the step",
        "optim",
        "DECAY.2",
        "        params = _shrunk(params, eta * wd)  # (DECAY.2)\n        return Adam(self.learning_rate, self.b1, self.b2, self.eps).step(params, grads, state)",
        "        params, state = Adam(self.learning_rate, self.b1, self.b2, self.eps).step(params, grads, state)\n        return _shrunk(params, eta * wd), state",
    ),
    Mistake(
        "the decoupled decay is left out",
        "optim",
        "DECAY.2",
        "_shrunk(params, eta * wd)",
        "_shrunk(params, 0 * wd)",
    ),
    Mistake(
        "the decoupled decay has the wrong sign",
        "optim",
        "DECAY.2",
        "_shrunk(params, eta * wd)",
        "_shrunk(params, -eta * wd)",
    ),
    Mistake(
        "every array is clipped by a norm of its own",
        "optim",
        "CLIP.1",
        "_map(lambda g: shorten * g, grads)",
        "_map(lambda g: c / max(c, (g * g).sum() ** 0.5) * g, grads)",
    ),
    Mistake(
        "every entry is clipped by itself",
        "optim",
        "CLIP.1",
        "_map(lambda g: shorten * g, grads)",
        "_map(lambda g: array_module(g).clip(g, -c, c), grads)",
    ),
    Mistake(
        "the norm that clips lacks its root",
        "optim",
        "CLIP.1",
        "for q in grads for g in q.values()) ** 0.5",
        "for q in grads for g in q.values())",
    ),
    Mistake(
        "the norm that clips leaves out the biases",
        "optim",
        "CLIP.1",
        "for q in grads for g in q.values()) ** 0.5",
        'for q in grads for name, g in q.items() if name != "b") ** 0.5',
    ),
    Mistake(
        "a gradient that is too long is shortened to 1, not to the norm",
        "optim",
        "CLIP.1",
        "c / array_module(length).maximum(length, c)",
        "array_module(length).where(length > c, 1 / length, 1.0)",
    ),
    Mistake(
        "the warm-up goes on rising beyond the peak",
        "schedules",
        "WARM.1",
        "min((t + 1) / w, 1.0)",
        "(t + 1) / w",
    ),
    Mistake(
        "the warm-up is one update too long",
        "schedules",
        "WARM.1",
        "min((t + 1) / w, 1.0)",
        "min((t + 1) / (w + 1), 1.0)",
    ),
    Mistake(
        "the cosine rises again after the last step",
        "schedules",
        "COS.1",
        "min((t - w) / (N - w), 1.0)",
        "(t - w) / (N - w)",
    ),
    Mistake(
        "the cosine does not wait for the warm-up",
        "schedules",
        "COS.1",
        "min((t - w) / (N - w), 1.0)",
        "min(t / N, 1.0)",
    ),
    Mistake(
        "the cosine falls from the peak plus the final rate",
        "schedules",
        "COS.1",
        "0.5 * (peak - final)",
        "0.5 * peak",
    ),
    Mistake(
        "the cosine runs a whole period",
        "schedules",
        "COS.1",
        "math.cos(math.pi * done)",
        "math.cos(2 * math.pi * done)",
    ),
    Mistake(
        "the cosine has the wrong sign: the rate rises",
        "schedules",
        "COS.1",
        "(1 + math.cos(math.pi * done))",
        "(1 - math.cos(math.pi * done))",
    ),
    Mistake(
        "the rate falls along a line, not along a cosine",
        "schedules",
        "COS.1",
        "(1 + math.cos(math.pi * done))",
        "(2 - 2 * done)",
    ),
    Mistake(
        "the steps are counted from the first update, not from the end of the warm-up",
        "schedules",
        "STEP.1",
        "(t - w) // k",
        "t // k",
    ),
    Mistake("the rate falls one update early", "schedules", "STEP.1", "(t - w) // k", "(t - w + 1) // k"),
    Mistake(
        "the rate is multiplied by the number of steps, not by a power",
        "schedules",
        "STEP.1",
        "return start * f ** ((t - w) // k)",
        "return start * f * ((t - w) // k)",
    ),
    Mistake("the step goes uphill", "optim", "SGD.1", "p - eta * g,", "p + eta * g,"),
    Mistake(
        "the gradient is not divided by the batch size", "train", "SGD.1", "value / weight for", "value for"
    ),
]
MISTAKES = {mistake.name: mistake for mistake in _TABLE}
_MODULES = (
    *("backprop", "spc", "epc", "schedules", "optim", "train", "blocks", "convolution", "normalisation"),
    *(
        "residual",
        "registry",
        "network",
        "architectures",
        "functions",
        "inference",
        "fast",
        "variants",
        "dag",
    ),
    *("cells", "diagonal", "recurrent", "bptt", "approximations", "influence", "rtrl", "timestep"),
    *("trajectory", "filtering", "tpc", "spiking", "eprop", "dni"),
)


def load(name=None):
    """The engine, a module like ``minipc``, with the mistake of this name in it; None gives a clean copy.

    Works on source text. Raises a KeyError for an unknown name and a LookupError if the line that the
    mistake replaces is not there exactly once.
    """
    return _load(MISTAKES[name] if name is not None else None)


@functools.cache
def _load(mistake):
    return _engine([] if mistake is None else [mistake])


def _engine(mistakes):
    """A new copy of the engine with these mistakes in its source."""
    package = types.ModuleType("_minipc_mutant")
    package.__path__ = [str(PACKAGE)]
    before = set(sys.modules)
    sys.modules[package.__name__] = package
    try:
        for module in dict.fromkeys(mistake.module for mistake in mistakes):
            mutant = types.ModuleType(f"{package.__name__}.{module}")
            mutant.__package__ = package.__name__
            sys.modules[mutant.__name__] = mutant
            setattr(package, module, mutant)
            here = [mistake for mistake in mistakes if mistake.module == module]
            source = functools.reduce(_replaced, here, _source(module))
            title = "; ".join(mistake.name for mistake in here)
            exec(compile(source, f"<{title}>", "exec"), mutant.__dict__)
        for module in _MODULES:
            if not hasattr(package, module):
                setattr(package, module, importlib.import_module(f"{package.__name__}.{module}"))
    finally:
        for name in set(sys.modules) - before:
            if name.startswith(package.__name__):
                del sys.modules[name]
    package.fast.applies = lambda *_: False  # a mistake is one in the readable form
    package.Network, package.Dag = package.network.Network, package.dag.Dag
    package.RecurrentNetwork = package.recurrent.RecurrentNetwork
    for name, block in (package.registry.BLOCKS | package.registry.CELLS).items():
        setattr(package, name, block)
    return package


def _source(module):
    return (PACKAGE / f"{module}.py").read_text(encoding="utf-8")


def _replaced(source, mistake):
    """The source with this mistake in it."""
    if source.count(mistake.old) != 1:
        raise LookupError(
            f"{mistake.name!r}: {mistake.old!r} must occur exactly once in {mistake.module}.py, "
            f"found {source.count(mistake.old)} times"
        )
    return source.replace(mistake.old, mistake.new)


# ---------------------------------------------------------------------- many mistakes, one after the other


class Place(NamedTuple):
    """Where a mistake is: the statement at the top of its module, and the function that runs it."""

    module: str
    first: int  # lines of the statement, counted from one
    last: int
    function: str  # qualified name, "Dense.vjp"


class Bench:
    """A copy of the engine in which any mistakes are switched on for a while: to try hundreds in a second.

    :func:`load` builds a whole engine, in 0.15 s; here only the code of one function is exchanged, in a
    millisecond. The engine is the bench's own: two benches do not meet, one bench is for one thread.

    Examples
    --------
    >>> bench, one = Bench(), __import__("numpy").ones((1, 1))
    >>> with bench.wrong("tanh' is written 1 - mu") as engine:
    ...     float(engine.functions.dtanh(one, 0.5 * one)[0, 0])
    0.5
    >>> float(bench.engine.functions.dtanh(one, 0.5 * one)[0, 0])
    0.75
    """

    def __init__(self):
        self.engine = _engine([])
        self._codes = {}  # what was compiled: names -> [(function, code)]

    @contextlib.contextmanager
    def wrong(self, *names):
        """The engine with these mistakes in it, until the ``with`` ends.

        Raises a LookupError where two of them replace the same text, or where one is not inside of a function.
        """
        swaps = self._codes.get(names) or self._codes.setdefault(names, self._compiled(names))
        clean = [(function, function.__code__) for function, _ in swaps]
        try:
            for function, code in swaps:
                function.__code__ = code
            yield self.engine
        finally:
            for function, code in clean:
                function.__code__ = code

    def _compiled(self, names):
        """The functions that these mistakes change, each with its wrong code."""
        mistakes = [MISTAKES[name] for name in names]
        at = [place(mistake) for mistake in mistakes]
        if None in at:
            raise LookupError(f"{names[at.index(None)]!r} is not inside of a function")
        swaps = []
        for whole in dict.fromkeys(p._replace(function="") for p in at):
            here = [(m, p) for m, p in zip(mistakes, at, strict=True) if p._replace(function="") == whole]
            lines = _source(whole.module).splitlines(keepends=True)[whole.first - 1 : whole.last]
            source = functools.reduce(_replaced, [m for m, _ in here], "".join(lines))
            codes = _codes_in(compile(source, f"<{'; '.join(m.name for m, _ in here)}>", "exec"))
            for function in dict.fromkeys(p.function for _, p in here):
                found = _function(getattr(self.engine, whole.module), function)
                swaps.append((found, codes[function]))
        return swaps

    def reached(self, run):
        """The names of the mistakes that ``run(engine)`` could meet: those in a function that it calls."""
        called = set()

        def note(frame, event, _):
            if event == "call":
                module = frame.f_globals.get("__name__", "").rpartition(".")
                if module[0] == "_minipc_mutant":
                    called.add((module[2], frame.f_code.co_qualname.split(".<locals>")[0]))

        before = sys.getprofile()
        sys.setprofile(note)
        try:
            run(self.engine)
        finally:
            sys.setprofile(before)
        at = {name: place(mistake) for name, mistake in MISTAKES.items()}
        return [name for name, p in at.items() if p and (p.module, p.function) in called]


@functools.cache
def place(mistake):
    """The :class:`Place` of a mistake; None if it is not inside of a function."""
    source = _source(mistake.module)
    _replaced(source, mistake)
    start = source.index(mistake.old)
    start += len(mistake.old) - len(mistake.old.lstrip())
    line = source.count("\n", 0, start) + 1
    for top, first in _statements(mistake.module):
        if first <= line <= top.end_lineno:
            names, node = [], top
            while isinstance(node, ast.ClassDef):
                names.append(node.name)
                inside = [n for n in node.body if n.lineno <= line <= n.end_lineno]
                node = inside[0] if inside else None
            if isinstance(node, ast.FunctionDef) and node.body[0].lineno <= line:
                return Place(mistake.module, first, top.end_lineno, ".".join([*names, node.name]))
    return None


@functools.cache
def _statements(module):
    """The classes and functions of a module, each with its first line, decorators included."""
    tops = ast.parse(_source(module)).body
    kinds = ast.ClassDef | ast.FunctionDef
    return [
        (top, min([top.lineno, *(d.lineno for d in top.decorator_list)]))
        for top in tops
        if isinstance(top, kinds)
    ]


def _codes_in(code):
    """All code inside of a compiled module, by qualified name."""
    found = {}
    for inner in code.co_consts:
        if isinstance(inner, types.CodeType):
            found |= {inner.co_qualname: inner} | _codes_in(inner)
    return found


def _function(module, name):
    """The function of this qualified name, below whatever wraps it."""
    owner, _, last = name.rpartition(".")
    for part in owner.split(".") if owner else []:
        module = getattr(module, part)
    found = module.__dict__[last]
    found = getattr(found, "fget", None) or getattr(found, "func", found)
    return inspect.unwrap(getattr(found, "__func__", found))
