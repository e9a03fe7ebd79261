"""Index loops: the hand-derived gradients and the inference loops with every index spelled out.

Arrays only store numbers here; each sum over b, l, i or j of the equations is a visible Python sum or loop.

=======  ======================================================================  ===========================
id       equation, entry by entry                                                function
=======  ======================================================================  ===========================
(BP.1)   a[b,i] = sum_j W[i,j] s[b,j] + b[i],  mu[b,i] = phi(a[b,i])             predict, post
         mu[b,i] = sum_j W[i,j] phi(s[b,j]) + b[i]                               predict, pre
(BP.2)   J[b,i,j] = phi'(a[b,i]) W[i,j]                                          transpose_jacobian, post
         J[b,i,j] = W[i,j] phi'(s[b,j])                                          transpose_jacobian, pre
(BP.3)   xi_L[b,i] = sum_j Pi_L[i,j] (y[b,j] - yhat[b,j])                        output_error, mse
         xi_L[b,i] = y[b,i] - softmax(yhat[b])[i]                                output_error, cross_entropy
         xi_L[b,i] = y[b,i] - sigmoid(yhat[b,i])                                 output_error, binary_...
(BP.4)   delta_L = -xi_L,  delta_l[b,j] = sum_i J_{l+1}[b,i,j] delta_{l+1}[b,i]  backprop_gradient
(BP.5)   dLoss/dW[i,j] = sum_b delta[b,i] phi'(a[b,i]) s[b,j]                    backprop_gradient, post
(BP.6)   dLoss/dW[i,j] = sum_b delta[b,i] phi(s[b,j])                            backprop_gradient, pre
(sPC.1)  eps_l[b,i] = s_l[b,i] - mu_l[b,i]                                       weighted_errors
(sPC.3)  xi_l[b,i] = sum_j Pi_l[i,j] eps_l[b,j]  (l < L)                         weighted_errors
(sPC.4)  dE/ds_l[b,j] = xi_l[b,j] - sum_i J_{l+1}[b,i,j] xi_{l+1}[b,i]           spc_activity_gradient
(sPC.5)  s_l <- s_l - step_size dE/ds_l, all layers from the same old s          spc_infer
(sPC.6)  dE/dW[i,j] = -sum_b xi[b,i] phi'(a[b,i]) s[b,j]                         spc_weight_gradient, post
(sPC.7)  dE/dW[i,j] = -sum_b xi[b,i] phi(s[b,j])                                 spc_weight_gradient, pre
(ePC.1)  s_l[b,i] = mu_l[b,i] + e_l[b,i]                                         states_from_errors
(ePC.3)  d_L = xi_L,  d_l[b,j] = sum_i J_{l+1}[b,i,j] d_{l+1}[b,i]               epc_error_gradient
(ePC.4)  dE/de_l[b,i] = sum_j Pi_l[i,j] e_l[b,j] - d_l[b,i]                      epc_error_gradient
(ePC.5)  e_l <- e_l - step_size dE/de_l, all layers from the same old e          epc_infer
=======  ======================================================================  ===========================
(CONV.1)  a[b,o,y,x] = sum_{c,i,j} W[o,c,i,j] s[b,c,ty+i-p,tx+j-p] + b[o]        convolution
(CONV.2)  ds[b,c,h,w] = the sum of W[o,c,i,j] v[b,o,y,x] over ty+i-p = h, ...    convolution_sums
(CONV.3)  dW[o,c,i,j] = sum_{b,y,x} v[b,o,y,x] s[b,c,ty+i-p,tx+j-p]              convolution_sums
(POOL.1)  mu[b,c,y,x] = max_{i,j} s[b,c,ty+i,tx+j]; (POOL.2): the first one      max_pool
(POOL.3)  mu[b,c,y,x] = sum_{i,j} s[b,c,ty+i,tx+j] / k^2; (POOL.4)               mean_pool
(EMB.2)   dW[k,i] = sum over b with s[b] = k of v[b,i]                           embedding_sums
(LN.1)    mu[b,i] = gamma[i] (s[b,i] - m[b]) / sqrt(var[b] + eps) + beta[i]      layer_norm
(BN.1)    the same with m[c], var[c] over samples and pixels                     batch_norm

The optimiser steps are gradient descent with and without momentum (SGD.1)-(SGD.3), RMSprop (RMS.1), (RMS.2) and Adam
(Kingma & Ba 2015); beside them weight decay (DECAY.1), (DECAY.2), clipping (CLIP.1) and schedules, one rate at a time.

Conventions. Batch first, (B, n); W is (n_out, n_in); eps = state - prediction; gradients are to be
descended; parameter gradients are sums over the batch, structured as ``params``. Inside a function every
list is indexed by the layer l = 1..L; entry 0 is None where nothing exists.

layers     list of (activation name, form), one a block, counted from zero; form "post" or "pre"
params     list of {"W", "b"}, one a block, counted from zero; shifted once by ``by_layer``
s          [x, s_1, ..., s_{L-1}], the states
e          [None, e_1, ..., e_{L-1}], the error variables
loss       "mse", "cross_entropy" (logits; y are labels (B,) or rows that sum to one, (B, n_L)) or
           "binary_cross_entropy" (logits; y between 0 and 1)
precision  None or the precisions of layers 1 to L: each None (one), a scalar, (n_l,) or symmetric (n_l, n_l)
Pi         the last of them, the output precision; None for the cross-entropy
"""

import math

import numpy as np

# Activations of one number: value, then derivative


def identity(a):
    """a."""
    return a


def d_identity(a):
    """1."""
    return 1.0


def tanh(a):
    """tanh a."""
    return math.tanh(a)


def d_tanh(a):
    """1 - tanh^2 a."""
    return 1.0 - math.tanh(a) ** 2


def sigmoid(a):
    """1 / (1 + exp(-a)), written so that exp cannot overflow."""
    return 1.0 / (1.0 + math.exp(-a)) if a >= 0 else math.exp(a) / (1.0 + math.exp(a))


def d_sigmoid(a):
    """sigmoid(a) sigmoid(-a)."""
    return sigmoid(a) * sigmoid(-a)


def relu(a):
    """a where positive, else 0."""
    return a if a > 0 else 0.0


def d_relu(a):
    """1 where positive, else 0."""
    return 1.0 if a > 0 else 0.0


def leaky_relu(a):
    """a where positive, else 0.01 a."""
    return a if a > 0 else 0.01 * a


def d_leaky_relu(a):
    """1 where positive, else 0.01."""
    return 1.0 if a > 0 else 0.01


def gelu(a):
    """1/2 a (1 + tanh u) with u = sqrt(2/pi) (a + 0.044715 a^3)."""
    u = math.sqrt(2.0 / math.pi) * (a + 0.044715 * a**3)
    return 0.5 * a * (1.0 + math.tanh(u))


def d_gelu(a):
    """1/2 (1 + tanh u) + 1/2 a (1 - tanh^2 u) u' with u' = sqrt(2/pi) (1 + 3 * 0.044715 a^2)."""
    u = math.sqrt(2.0 / math.pi) * (a + 0.044715 * a**3)
    du = math.sqrt(2.0 / math.pi) * (1.0 + 3.0 * 0.044715 * a**2)
    return 0.5 * (1.0 + math.tanh(u)) + 0.5 * a * (1.0 - math.tanh(u) ** 2) * du


def softplus(a):
    """log(1 + exp(a)), written so that exp cannot overflow."""
    return max(a, 0.0) + math.log1p(math.exp(-abs(a)))


def d_softplus(a):
    """sigmoid(a)."""
    return sigmoid(a)


ACTIVATIONS = {
    "identity": (identity, d_identity),
    "tanh": (tanh, d_tanh),
    "sigmoid": (sigmoid, d_sigmoid),
    "relu": (relu, d_relu),
    "leaky_relu": (leaky_relu, d_leaky_relu),
    "gelu": (gelu, d_gelu),
    "softplus": (softplus, d_softplus),
}


# Small helpers


def by_layer(items):
    """[None, first, ..., last]: a list that counts from zero, indexed by the layer l = 1..L instead."""
    return [None, *items]


def precision_by_layer(layers, precision):
    """[None, Pi_1, ..., Pi_L], each None where it is one."""
    if precision is None:
        return by_layer([None] * len(layers))
    if len(precision) != len(layers):
        raise ValueError(f"precision must have {len(layers)} entries, one a layer; got {len(precision)}")
    return by_layer(precision)


def precision_entry(Pi, i, j):
    """The entry Pi[i, j] of a precision None, scalar, (n,) or (n, n)."""
    if Pi is None:
        return 1.0 if i == j else 0.0
    if np.ndim(Pi) == 0:
        return float(Pi) if i == j else 0.0
    if np.ndim(Pi) == 1:
        return float(Pi[i]) if i == j else 0.0
    return float(Pi[i][j])


def target_entry(y, b, i):
    """The entry y[b, i] of rows (B, n), or of the one-hot rows of labels (B,)."""
    if np.ndim(y) == 1:
        return 1.0 if int(y[b]) == i else 0.0
    return float(y[b][i])


def weigh(Pi, v):
    """Pi v (B, n): sum_j Pi[i, j] v[b, j]."""
    B, n = v.shape
    out = np.zeros((B, n))
    for b in range(B):
        for i in range(n):
            out[b, i] = sum(precision_entry(Pi, i, j) * v[b, j] for j in range(n))
    return out


def multiply(c, v):
    """c v (B, n): c v[b, i]."""
    B, n = v.shape
    out = np.zeros((B, n))
    for b in range(B):
        for i in range(n):
            out[b, i] = c * v[b, i]
    return out


def plus(u, v):
    """u + v (B, n): u[b, i] + v[b, i]."""
    B, n = u.shape
    out = np.zeros((B, n))
    for b in range(B):
        for i in range(n):
            out[b, i] = u[b, i] + v[b, i]
    return out


def minus(u, v):
    """u - v (B, n): u[b, i] - v[b, i]."""
    return plus(u, multiply(-1.0, v))


# One block: prediction, J^T v, and the sums for its weights


def preactivation(p, s):
    """a[b, i], (B, n_out), of a block in post form, from s (B, n_in), (BP.1)."""
    W, bias = p["W"], p["b"]
    n_out, n_in = W.shape
    a = np.zeros((len(s), n_out))
    for b in range(len(s)):
        for i in range(n_out):
            a[b, i] = sum(W[i, j] * s[b, j] for j in range(n_in)) + bias[i]  # (BP.1)
    return a


def predict(layer, p, s):
    """mu[b, i], (B, n_out), from s (B, n_in), (BP.1)."""
    name, form = layer
    phi, _ = ACTIVATIONS[name]
    W, bias = p["W"], p["b"]
    n_out, n_in = W.shape
    mu = np.zeros((len(s), n_out))
    if form == "post":
        a = preactivation(p, s)
        for b in range(len(s)):
            for i in range(n_out):
                mu[b, i] = phi(a[b, i])  # (BP.1) post form
    elif form == "pre":
        for b in range(len(s)):
            for i in range(n_out):
                mu[b, i] = sum(W[i, j] * phi(s[b, j]) for j in range(n_in)) + bias[i]  # (BP.1) pre form
    else:
        raise ValueError(f'form must be "post" or "pre"; got {form!r}')
    return mu


def transpose_jacobian(layer, p, s, v):
    """J^T v, (B, n_in), from s (B, n_in) and v (B, n_out): sum_i J[b, i, j] v[b, i], (BP.2)."""
    name, form = layer
    _, dphi = ACTIVATIONS[name]
    W = p["W"]
    n_out, n_in = W.shape
    out = np.zeros((len(s), n_in))
    a = preactivation(p, s)
    for b in range(len(s)):
        for j in range(n_in):
            for i in range(n_out):
                # forward: mu = phi(W s + b), so phi' belongs to i, inside the sum; pre form: to j
                slope = dphi(a[b, i]) if form == "post" else dphi(s[b, j])
                out[b, j] += slope * W[i, j] * v[b, i]  # (BP.2)
    return out


def parameter_sums(layer, p, s, v):
    """{"W": (n_out, n_in), "b": (n_out,)}: sum_b sum_i' v[b, i'] dmu[b, i'] / d(W[i, j] or b[i])."""
    name, form = layer
    phi, dphi = ACTIVATIONS[name]
    n_out, n_in = p["W"].shape
    dW, db = np.zeros((n_out, n_in)), np.zeros(n_out)
    a = preactivation(p, s)
    for i in range(n_out):
        for b in range(len(s)):
            # forward: only mu[b, i] contains row i of W, so the sum over i' has one term
            slope = dphi(a[b, i]) if form == "post" else 1.0
            db[i] += v[b, i] * slope  # (BP.5), (BP.6)
            for j in range(n_in):
                source = s[b, j] if form == "post" else phi(s[b, j])
                dW[i, j] += v[b, i] * slope * source  # (BP.5), (BP.6)
    return {"W": dW, "b": db}


def output_error(loss, yhat, y, Pi=None):
    """xi_L = -dLoss/dyhat, (B, n_L), (BP.3)."""
    B, n = yhat.shape
    xi = np.zeros((B, n))
    if loss == "mse":
        for b in range(B):
            for i in range(n):
                xi[b, i] = sum(precision_entry(Pi, i, j) * (y[b, j] - yhat[b, j]) for j in range(n))  # (BP.3)
    elif loss == "cross_entropy":
        if Pi is not None:
            raise ValueError("the cross-entropy has no output precision: Pi_L must be None")
        for b in range(B):
            largest = max(yhat[b, i] for i in range(n))  # taken out of numerator and denominator: no overflow
            total = sum(math.exp(yhat[b, i] - largest) for i in range(n))
            for i in range(n):
                xi[b, i] = target_entry(y, b, i) - math.exp(yhat[b, i] - largest) / total  # (BP.3)
    elif loss == "binary_cross_entropy":
        if Pi is not None:
            raise ValueError("the binary cross-entropy has no output precision: Pi_L must be None")
        for b in range(B):
            for i in range(n):
                xi[b, i] = y[b, i] - sigmoid(yhat[b, i])  # (BP.3), (LOSS.4)
    else:
        raise ValueError(f'loss must be "mse", "cross_entropy" or "binary_cross_entropy"; got {loss!r}')
    return xi


# Blocks on images (B, C, H, W), without activation; normalisation; rows by index


def image_size(n, kernel_size, stride, padding=0):
    """Number of windows: floor((n + 2 p - k) / t) + 1."""
    return (n + 2 * padding - kernel_size) // stride + 1


def convolution(W, bias, s, stride, padding):
    """a (B, C_out, Ho, Wo) from W (C_out, C, k, k), bias (C_out,), s (B, C, H, W), (CONV.1)."""
    (B, C, H, width), (C_out, _, k, _) = s.shape, W.shape
    a = np.zeros((B, C_out, image_size(H, k, stride, padding), image_size(width, k, stride, padding)))
    for b, o, y, x in np.ndindex(a.shape):
        a[b, o, y, x] = bias[o]
        for c, i, j in np.ndindex(C, k, k):
            h, w = stride * y + i - padding, stride * x + j - padding
            if 0 <= h < H and 0 <= w < width:  # beyond the border s is zero
                a[b, o, y, x] += W[o, c, i, j] * s[b, c, h, w]  # (CONV.1)
    return a


def convolution_sums(W, s, v, stride, padding):
    """(ds (B, C, H, W), dW (C_out, C, k, k), db (C_out,)) of v (B, C_out, Ho, Wo), (CONV.2), (CONV.3)."""
    (_, C, H, width), (C_out, _, k, _) = s.shape, W.shape
    ds, dW, db = np.zeros(s.shape), np.zeros(W.shape), np.zeros(C_out)
    for b, o, y, x in np.ndindex(v.shape):
        db[o] += v[b, o, y, x]  # (CONV.3)
        for c, i, j in np.ndindex(C, k, k):
            h, w = stride * y + i - padding, stride * x + j - padding
            if 0 <= h < H and 0 <= w < width:
                ds[b, c, h, w] += W[o, c, i, j] * v[b, o, y, x]  # (CONV.2)
                dW[o, c, i, j] += s[b, c, h, w] * v[b, o, y, x]  # (CONV.3)
    return ds, dW, db


def max_pool(s, v, kernel_size, stride):
    """(mu (B, C, Ho, Wo), ds (B, C, H, W) of v); of several equal pixels the first counts, (POOL.1), (POOL.2)."""
    mu, ds = np.zeros(v.shape), np.zeros(s.shape)
    for b, c, y, x in np.ndindex(v.shape):
        winner = None
        for i, j in np.ndindex(kernel_size, kernel_size):
            h, w = stride * y + i, stride * x + j
            if winner is None or s[b, c, h, w] > s[b, c, winner[0], winner[1]]:
                winner = h, w
        mu[b, c, y, x] = s[b, c, winner[0], winner[1]]  # (POOL.1)
        ds[b, c, winner[0], winner[1]] += v[b, c, y, x]  # (POOL.2)
    return mu, ds


def mean_pool(s, v, kernel_size, stride):
    """(mu (B, C, Ho, Wo), ds (B, C, H, W) of v), (POOL.3), (POOL.4)."""
    mu, ds = np.zeros(v.shape), np.zeros(s.shape)
    for b, c, y, x in np.ndindex(v.shape):
        for i, j in np.ndindex(kernel_size, kernel_size):
            h, w = stride * y + i, stride * x + j
            mu[b, c, y, x] += s[b, c, h, w] / kernel_size**2  # (POOL.3)
            ds[b, c, h, w] += v[b, c, y, x] / kernel_size**2  # (POOL.4)
    return mu, ds


def embedding_sums(s, v, vocabulary):
    """dW (vocabulary, n) of v (B, n) for indices s (B,), (EMB.2)."""
    dW = np.zeros((vocabulary, v.shape[1]))
    for b, i in np.ndindex(v.shape):
        dW[s[b], i] += v[b, i]  # (EMB.2)
    return dW


def layer_norm(gamma, beta, s, eps):
    """mu (B, n), (LN.1)."""
    B, n = s.shape
    mu = np.zeros((B, n))
    for b in range(B):
        mean = sum(s[b, i] for i in range(n)) / n
        var = sum((s[b, i] - mean) ** 2 for i in range(n)) / n
        for i in range(n):
            mu[b, i] = gamma[i] * (s[b, i] - mean) / math.sqrt(var + eps) + beta[i]  # (LN.1)
    return mu


def batch_norm(gamma, beta, s, eps):
    """mu (B, C, H, W), (BN.1)."""
    B, C, H, width = s.shape
    mu = np.zeros(s.shape)
    for c in range(C):
        pixels = [(b, h, w) for b in range(B) for h in range(H) for w in range(width)]
        mean = sum(s[b, c, h, w] for b, h, w in pixels) / len(pixels)
        var = sum((s[b, c, h, w] - mean) ** 2 for b, h, w in pixels) / len(pixels)
        for b, h, w in pixels:
            mu[b, c, h, w] = gamma[c] * (s[b, c, h, w] - mean) / math.sqrt(var + eps) + beta[c]  # (BN.1)
    return mu


# Backprop


def backprop_gradient(layers, params, x, y, loss, Pi=None):
    """Structure of params: derivative of the loss summed over the batch, (BP.4), (BP.5), (BP.6)."""
    layer, p, L = by_layer(layers), by_layer(params), len(layers)
    s = [x]
    for l in range(1, L + 1):
        s.append(predict(layer[l], p[l], s[l - 1]))  # (BP.1); s[L] is yhat
    delta = [None] * (L + 1)
    delta[L] = multiply(-1.0, output_error(loss, s[L], y, Pi))  # delta_L = -xi_L, (BP.4)
    for l in range(L - 1, 0, -1):
        delta[l] = transpose_jacobian(layer[l + 1], p[l + 1], s[l], delta[l + 1])  # (BP.4)
    return [parameter_sums(layer[l], p[l], s[l - 1], delta[l]) for l in range(1, L + 1)]  # (BP.5), (BP.6)


# State-based predictive coding


def weighted_errors(layers, params, s, y, loss, precision=None):
    """[None, xi_1, ..., xi_L], each (B, n_l), at the states s = [x, s_1, ..., s_{L-1}], (sPC.1), (sPC.3)."""
    layer, p, Pi, L = by_layer(layers), by_layer(params), precision_by_layer(layers, precision), len(layers)
    xi = [None] * (L + 1)
    for l in range(1, L):
        eps_l = minus(s[l], predict(layer[l], p[l], s[l - 1]))  # eps_l = s_l - mu_l, (sPC.1)
        xi[l] = weigh(Pi[l], eps_l)  # (sPC.3)
    xi[L] = output_error(loss, predict(layer[L], p[L], s[L - 1]), y, Pi[L])  # (sPC.3)
    return xi


def spc_activity_gradient(layers, params, s, y, loss, precision=None):
    """[None, dE/ds_1, ..., dE/ds_{L-1}], each (B, n_l), (sPC.4)."""
    layer, p, L = by_layer(layers), by_layer(params), len(layers)
    xi = weighted_errors(layers, params, s, y, loss, precision)
    dE_ds = [None] * L
    for l in range(1, L):
        from_above = transpose_jacobian(layer[l + 1], p[l + 1], s[l], xi[l + 1])
        dE_ds[l] = minus(xi[l], from_above)  # (sPC.4)
    return dE_ds


def spc_weight_gradient(layers, params, s, y, loss, precision=None):
    """Structure of params: derivative of the summed energy at fixed states, (sPC.6), (sPC.7)."""
    layer, p, L = by_layer(layers), by_layer(params), len(layers)
    xi = weighted_errors(layers, params, s, y, loss, precision)
    gradient = []
    for l in range(1, L + 1):
        minus_xi_l = multiply(-1.0, xi[l])
        gradient.append(parameter_sums(layer[l], p[l], s[l - 1], minus_xi_l))  # (sPC.6), (sPC.7)
    return gradient


def spc_infer(layers, params, s, y, loss, precision, inference_steps, step_size):
    """[x, s_1, ..., s_{L-1}] after inference_steps steps from s, each (B, n_l), (sPC.5)."""
    s = list(s)
    for _ in range(inference_steps):
        dE_ds = spc_activity_gradient(layers, params, s, y, loss, precision)  # all layers from the same old s
        for l in range(1, len(layers)):
            s[l] = minus(s[l], multiply(step_size, dE_ds[l]))  # (sPC.5)
    return s


# Error-based predictive coding


def states_from_errors(layers, params, e, x):
    """[x, s_1, ..., s_{L-1}], each (B, n_l), from e = [None, e_1, ..., e_{L-1}], (ePC.1)."""
    layer, p, L = by_layer(layers), by_layer(params), len(layers)
    s = [x]
    for l in range(1, L):
        s.append(plus(predict(layer[l], p[l], s[l - 1]), e[l]))  # s_l = mu_l + e_l, (ePC.1)
    return s


def epc_error_gradient(layers, params, e, x, y, loss, precision=None):
    """[None, dE/de_1, ..., dE/de_{L-1}], each (B, n_l), (ePC.3), (ePC.4)."""
    layer, p, Pi, L = by_layer(layers), by_layer(params), precision_by_layer(layers, precision), len(layers)
    s = states_from_errors(layers, params, e, x)  # (ePC.1)
    d = [None] * (L + 1)
    d[L] = output_error(loss, predict(layer[L], p[L], s[L - 1]), y, Pi[L])  # (ePC.3)
    for l in range(L - 1, 0, -1):
        d[l] = transpose_jacobian(layer[l + 1], p[l + 1], s[l], d[l + 1])  # no e in the recursion, (ePC.3)
    dE_de = [None] * L
    for l in range(1, L):
        dE_de[l] = minus(weigh(Pi[l], e[l]), d[l])  # (ePC.4)
    return dE_de


def epc_infer(layers, params, e, x, y, loss, precision, inference_steps, step_size):
    """[None, e_1, ..., e_{L-1}] after inference_steps steps from e, each (B, n_l), (ePC.5)."""
    e = list(e)
    for _ in range(inference_steps):
        dE_de = epc_error_gradient(layers, params, e, x, y, loss, precision)  # all layers from the same old e
        for l in range(1, len(layers)):
            e[l] = minus(e[l], multiply(step_size, dE_de[l]))  # (ePC.5)
    return e


# Optimisers, entry by entry


def sgd_step(w, g, learning_rate):
    """New w, any shape: w - learning_rate g."""
    w_new = np.zeros(w.shape)
    for k in np.ndindex(w.shape):
        w_new[k] = w[k] - learning_rate * g[k]
    return w_new


def adam_step(w, g, m, v, t, learning_rate, b1, b2, eps):
    """New (w, m, v), any shape; t = 1 at the first step, eps outside the square root (Kingma & Ba 2015)."""
    w_new, m_new, v_new = np.zeros(w.shape), np.zeros(w.shape), np.zeros(w.shape)
    for k in np.ndindex(w.shape):
        m_new[k] = b1 * m[k] + (1.0 - b1) * g[k]
        v_new[k] = b2 * v[k] + (1.0 - b2) * g[k] ** 2
        m_hat = m_new[k] / (1.0 - b1**t)  # the start at zero is divided out
        v_hat = v_new[k] / (1.0 - b2**t)
        w_new[k] = w[k] - learning_rate * m_hat / (math.sqrt(v_hat) + eps)
    return w_new, m_new, v_new


def momentum_step(w, g, v, learning_rate, momentum, nesterov=False):
    """New (w, v), any shape; the learning rate is outside the velocity. Nesterov goes one more velocity ahead."""
    w_new, v_new = np.zeros(w.shape), np.zeros(w.shape)
    for k in np.ndindex(w.shape):
        v_new[k] = momentum * v[k] + g[k]
        ahead = g[k] + momentum * v_new[k] if nesterov else v_new[k]
        w_new[k] = w[k] - learning_rate * ahead
    return w_new, v_new


def rmsprop_step(w, g, v, learning_rate, decay, eps):
    """New (w, v), any shape; no correction of the start, eps outside the square root."""
    w_new, v_new = np.zeros(w.shape), np.zeros(w.shape)
    for k in np.ndindex(w.shape):
        v_new[k] = decay * v[k] + (1.0 - decay) * g[k] ** 2
        w_new[k] = w[k] - learning_rate * g[k] / (math.sqrt(v_new[k]) + eps)
    return w_new, v_new


def coupled_decay(w, g, weight_decay):
    """The gradient g with that of weight_decay w^2 / 2 added."""
    g_new = np.zeros(w.shape)
    for k in np.ndindex(w.shape):
        g_new[k] = g[k] + weight_decay * w[k]
    return g_new


def decoupled_decay(w, learning_rate, weight_decay):
    """w less its share learning_rate weight_decay."""
    w_new = np.zeros(w.shape)
    for k in np.ndindex(w.shape):
        w_new[k] = w[k] - learning_rate * weight_decay * w[k]
    return w_new


def clip(gradients, norm):
    """The arrays, all shortened by one factor if the vector of all their entries is longer than ``norm``."""
    length = math.sqrt(math.fsum(float(g[k]) ** 2 for g in gradients for k in np.ndindex(g.shape)))
    shortened = []
    for g in gradients:
        shortened.append(np.zeros(g.shape))
        for k in np.ndindex(g.shape):
            shortened[-1][k] = g[k] * norm / length if length > norm else g[k]
    return shortened


# Schedules: the learning rate after t updates


def warm_up_rate(t, peak, warm_up):
    """Equal steps up to the peak, which the last of ``warm_up`` updates has."""
    rate = 0.0
    for _ in range(min(t + 1, warm_up)):
        rate += peak / warm_up
    return rate


def cosine_rate(t, peak, steps, warm_up, final):
    """By the half angle: (1 + cos z)/2 = cos(z/2)^2."""
    if t < warm_up:
        return warm_up_rate(t, peak, warm_up)
    if t >= steps:
        return final
    share = math.cos(0.5 * math.pi * (t - warm_up) / (steps - warm_up)) ** 2
    return share * peak + (1.0 - share) * final


def step_decay_rate(t, start, factor, every, warm_up):
    """One update after the other; the rate falls after each ``every`` of them."""
    if t < warm_up:
        return warm_up_rate(t, start, warm_up)
    rate = start
    for done in range(1, t - warm_up + 1):
        if done % every == 0:
            rate *= factor
    return rate
