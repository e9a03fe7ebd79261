r"""Check hand-written derivatives of any function: gradient, Jacobian, J^T v, J u, H u, against a numerical oracle.

You hand in the function and your own derivative, both as plain functions of arrays, numbers, or lists, tuples and dicts
of them; nothing else has to be told. The oracle is complex step (CHK.2) if it can be trusted with this function, which is
found out, else extrapolated differences (CHK.3), (CHK.4); it estimates its own accuracy, and the verdict knows it.

=========  =============================================================================================================
(CHK.7)    adjoint identity :math:`\langle v, J u \rangle = \langle J^T v, u \rangle`
(CHK.8)    Hessian times vector :math:`H u = \frac{d}{dt} \nabla f(x + t u)`, entry :math:`\langle w, H u \rangle = \partial_s \partial_t f(x + s w + t u)`
=========  =============================================================================================================

Conventions: the derivative is taken by the argument number ``wrt`` (0, the first, unless another is named), and has its
structure; ``wrt=(0, 2)`` asks for a tuple of two. A gradient is what one subtracts: with complex parameters
:math:`g = \partial F/\partial \mathrm{Re} + i \, \partial F/\partial \mathrm{Im}`, (LRU.4), which PyTorch returns, too; JAX
and autograd return its conjugate. Inner products are real, :math:`\langle a, b \rangle = \mathrm{Re} \sum \bar a b`. Tangents
and cotangents come last: ``jvp_f(*args, u)``, ``vjp_f(*args, v)``, ``hv_f(*args, u)``.
"""

import numpy as np

from .lines import Answer, Function, gaussian, name_of, number, real_bytes
from .oracle import EPS
from .probes import Curvatures, Entries, Projections, Slopes, along, oracle_name
from .trees import argument_names, flatten, host, match
from .verdicts import (
    NOT_FINITE,
    SHAPE,
    UNKNOWN,
    DerivativeCheck,
    Evidence,
    judge,
    relations,
    shape_reason,
    without_numbers,
)

ENTRIES = 2000  # more are not looked at one by one


def gradient(f, grad_f, *args, wrt=0, seed=0, full=None) -> DerivativeCheck:
    """Check ``grad_f(*args)``, the gradient of the number ``f(*args)``.

    Parameters
    ----------
    f : (*args) -> number               real; a loss per sample has to be summed
    grad_f : (*args) -> tree            your gradient, with the structure of ``args[wrt]``
    *args :                             arrays (NumPy, CuPy), numbers, or trees of them where ``wrt`` points; else anything
    wrt : int or tuple of ints          by which arguments; of a tuple, ``grad_f`` returns a tuple
    seed : int                          of the random directions
    full : bool or None                 True: every entry. False: random projections and some entries, Eq. (CHK.6). None:
                                        every entry as far as there are no more than 2,000 of them, smallest parameters first

    Returns
    -------
    DerivativeCheck
        ``print`` shows a table; ``.correct``, ``.rows``, ``.problems``, ``.to_dict()``.

    Raises
    ------
    TypeError, ValueError       f returns no single real number; ``wrt`` points to data (integers, text) or to nothing.
                                What ``f`` and ``grad_f`` raise themselves goes through.

    Notes
    -----
    Cost: one call of ``f`` an entry by complex step, about eleven by differences, and some fifty for each parameter.
    float32 parameters are given to ``f`` in float64 if it takes them; the bar is that of the lowest precision that took part.
    Derivation: reference/equations.md#chk3 and below. Checked in tests/oracles/test_derivatives.py.

    Examples
    --------
    >>> def loss(W, x, y):
    ...     return 0.5 * ((x @ W.T - y) ** 2).sum()
    >>> def mine(W, x, y):
    ...     return (y - x @ W.T).T @ x
    >>> rng = np.random.default_rng(0)
    >>> W, x, y = (rng.standard_normal(n) for n in ((2, 3), (4, 3), (4, 2)))
    >>> check = gradient(loss, mine, W, x, y)
    >>> check.correct, check.rows[0].notes
    (False, ('the sign is wrong',))
    """
    rng = _own_generator(seed)
    with np.errstate(all="ignore"):
        function = Function(f, args, wrt, number, np.real)
        answer = Answer(grad_f, args)
        given = answer.tree(answer(), function)
        rows = _by_entry(function, given, full, Slopes(function, rng), rng)
    return _report("gradient", f, grad_f, function, answer, rows)


def vjp(f, vjp_f, *args, wrt=0, seed=0, full=None) -> DerivativeCheck:
    """Check ``vjp_f(*args, v)``, the product J^T v with the Jacobian J of the array ``f(*args)``.

    ``v`` has shape and dtype of ``f(*args)`` and comes last. The product is compared with the gradient of <v, f> for one
    random ``v``, entry by entry as in :func:`gradient`; a last row is the adjoint identity (CHK.7) for three more pairs, so
    that a product that is not linear in ``v`` is seen. Parameters, result, errors and cost as in :func:`gradient`.

    Examples
    --------
    >>> x = np.array([0.3, -0.5, 1.1])
    >>> print(vjp(np.tanh, lambda x, v: (1 - np.tanh(x) ** 2) * v, x).rows[0].verdict)
    agrees
    """
    rng = _own_generator(seed)
    with np.errstate(all="ignore"):
        function = Function(f, args, wrt, host)
        answer = Answer(vjp_f, args)
        v, cotangent = function.cotangent(rng)
        weighed = function.reading(lambda y: (v.conj() * y).sum())
        given = answer.tree(answer(cotangent), function)
        rows = _by_entry(weighed, given, full, Slopes(weighed, rng), rng)
        if _comparable(rows, answer, function):
            rows.append(_adjoint(function, answer, rng))
    return _report("J^T v", f, vjp_f, function, answer, rows)


def jvp(f, jvp_f, *args, wrt=0, seed=0) -> DerivativeCheck:
    """Check ``jvp_f(*args, u)``, the product J u with the Jacobian J of the array ``f(*args)``: the derivative along u.

    The tangent ``u`` has the structure of ``args[wrt]`` (a tuple of such for a tuple) and comes last. A row a parameter, in
    which the tangents of the others are zero, and one in which none is; two random tangents each. Parameters, result and
    errors as in :func:`gradient`.

    Examples
    --------
    >>> x = np.array([0.3, -0.5, 1.1])
    >>> print(jvp(np.tanh, lambda x, u: np.tanh(x) * u, x).correct)
    False
    """
    rng = _own_generator(seed)
    with np.errstate(all="ignore"):
        function = Function(f, args, wrt, host)
        answer = Answer(jvp_f, args)
        names = [*function.leaves]
        cases = {f"u in {name} alone": [name] for name in names} if len(names) > 1 else {}
        cases = {**cases, "J u": names} if function.usable else {}
        rows = [_along(function, answer, case, moved, rng) for case, moved in cases.items()]
    return _report("J u", f, jvp_f, function, answer, rows)


def jacobian(f, jac_f, *args, wrt=0, seed=0, full=None) -> DerivativeCheck:
    """Check ``jac_f(*args)``, the Jacobian of the array ``f(*args)``: per parameter of shape ``f(*args).shape + its own``.

    The structure is that of ``args[wrt]``. Parameters must be real (of complex ones the Jacobian is a convention: check
    :func:`jvp` and :func:`vjp`). Everything else as in :func:`gradient`; an entry means one entry of the parameter, with
    all outputs at once.

    Examples
    --------
    >>> A = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    >>> print(jacobian(lambda x: A @ x, lambda x: A, np.array([0.3, -0.5])).correct)
    True
    """
    rng = _own_generator(seed)
    with np.errstate(all="ignore"):
        function = Function(f, args, wrt, host)
        for name, x in function.leaves.items():
            if x.dtype.kind == "c":
                raise TypeError(f"{name} is complex: check jvp and vjp instead of the Jacobian")
        answer = Answer(jac_f, args)
        given = answer.tree(answer(), function)
        rows = _by_entry(function, given, full, Slopes(function, rng), rng, function.shape)
    return _report("Jacobian", f, jac_f, function, answer, rows)


def hessian_vector(f, hv_f, *args, grad_f=None, wrt=0, seed=0, full=None) -> DerivativeCheck:
    """Check ``hv_f(*args, u)``, the product H u with the Hessian H of the number ``f(*args)``, Eq. (CHK.8).

    ``u`` has the structure of ``args[wrt]`` and comes last; it is random. With ``grad_f`` (a gradient that is right: check
    it first) H u is the derivative of it along ``u``, cheap and accurate; else second derivatives of ``f`` are taken, a
    complex step in a difference where possible. A last row asks whether the answer is symmetric, <w, H u> = <u, H w>.
    Parameters, result and errors as in :func:`gradient`.

    Examples
    --------
    >>> x = np.array([0.3, -0.5, 1.1])
    >>> print(hessian_vector(lambda x: (x**3).sum(), lambda x, u: 6 * x * u, x).correct)
    True
    """
    rng = _own_generator(seed)
    with np.errstate(all="ignore"):
        function = Function(f, args, wrt, number, np.real)
        answer = Answer(hv_f, args)
        u, tangent = function.as_arguments({n: gaussian(rng, x) for n, x in function.leaves.items()})
        given = answer.tree(answer(tangent), function)
        if grad_f is None:
            rows = _by_entry(function, given, full, Curvatures(function, u, rng), rng)
        else:
            rows = _of_a_gradient(grad_f, args, wrt, function, given, u, rng)
        if _comparable(rows, answer, function):
            rows.append(_symmetry(function, answer, u, rng))
    return _report("H u", f, hv_f, function, answer, rows)


def _own_generator(seed):
    """Other numbers than those that somebody has drawn with the same seed: directions must not resemble the parameters."""
    return np.random.default_rng([seed, ENTRIES])


def _report(what, f, given, function, answer, rows):
    """Title, rows and what is wrong with the functions as such."""
    title = f"{what} of {name_of(f)} by {name_of(given)}"
    return DerivativeCheck(title, tuple(rows), tuple(function.problems + answer.problems))


def _comparable(rows, answer, function):
    """Are there answers of the right shapes, of which an identity may be asked?"""
    return (
        function.usable
        and not answer.problems
        and all(row.verdict not in (SHAPE, NOT_FINITE) for row in rows)
    )


def _by_entry(function, given, full, slopes, rng, out=()):
    """A row for each parameter: entry by entry, or by projections where there are too many."""
    evidence, every = {}, _one_by_one(function.leaves, full)
    if not function.usable:
        return []
    for name, answer in _with_numbers(given, function).items():
        probe = (Entries if name in every else Projections)(function, name, slopes, rng, out)
        evidence[name] = (probe, answer, *probe.look(answer))
    return [_row(function, name, evidence) for name in evidence]


def _with_numbers(given, function):
    """The parameters that have entries at all."""
    return {name: g for name, g in given.items() if function.leaves[name].size}


def _row(function, name, evidence):
    """The verdict on one parameter, with the reasons that the others' derivatives give."""
    probe, g, found, d = evidence[name]
    if found is None:
        reason = shape_reason(g, d) if d is not None else f"the shape is {g.shape}, expected {probe.shape}"
        return without_numbers(name, SHAPE, reason)
    entries = probe.shape == d.shape and isinstance(probe, Entries)
    if (~np.isfinite(g) & (np.isfinite(d) if entries else True)).any():
        bad = np.argwhere(~np.isfinite(g))
        where = f"first {g[tuple(bad[0])]} at {bad[0].tolist()}"
        return without_numbers(name, NOT_FINITE, f"{len(bad)} of {g.size} entries are not finite, {where}")
    if not np.isfinite(d).all() or not np.isfinite(found.error):
        return without_numbers(
            name,
            UNKNOWN,
            "there is no finite derivative here, or the function does not exist on one side",
            found.oracle,
        )
    bytes_ = min(function.bytes, real_bytes(g.dtype))

    def explain(tolerance):
        x, others = function.leaves[name], {}
        if probe.shape == x.shape and isinstance(probe, Entries):
            others = {
                k: e[3]
                for k, e in evidence.items()
                if k != name and e[3] is not None and e[3].shape == d.shape
            }
        x = x if probe.shape == x.shape else None
        sizes = _sizes(function)
        return relations(g, d, probe.project, tolerance, sizes=sizes, x=x, others=others)

    return judge(name, found, bytes_, _zero(function, name, evidence, bytes_), explain)


def _zero(function, name, evidence, bytes_):
    """A norm that a derivative may have by rounding alone where the right one is zero, by what those of the others are.

    A complex step sees much smaller ones as they are; what rounds in it, in its own precision, rounds in the answer in the
    precision of that. Without others f itself is the measure, but not for differences: a constant in f would hide everything.
    """
    probe, _, found, _ = evidence[name]
    others = [
        function.scales[k] * float(np.linalg.norm(e[3]))
        for k, e in evidence.items()
        if k != name and e[3] is not None and np.isfinite(e[3]).all()
    ]
    size = max(others, default=0.0)
    rounding = 64 * EPS[bytes_] * (size or function.size) * probe.x.size**0.5 / probe.scale
    if found.oracle == oracle_name(True):
        return min(rounding, 1e3 * found.error * EPS[bytes_] / function.eps)
    return rounding if size else 0.0


def _along(function, answer, case, names, rng):
    """A row of :func:`jvp`: tangents that are zero but in some parameters."""
    slopes, given, expected, errors, jumps = Slopes(function, rng), [], [], [], []
    unit, oracle_ = max(function.scales[name] for name in names), set()
    for _ in range(2):
        u = {n: gaussian(rng, x) if n in names else np.zeros_like(x) for n, x in function.leaves.items()}
        exact, tree = function.as_arguments(u)
        g = host(answer(tree), "J u")
        if g.shape != function.shape:
            return without_numbers(
                case, SHAPE, f"the shape is {g.shape}, expected that of f, {function.shape}"
            )
        found, how = along(slopes, {n: exact[n] * unit for n in names}, unit)
        oracle_.add(how)
        given.append(g.ravel())
        for part, into in zip(found, (expected, errors, jumps), strict=True):
            into.append(function.assembled(part))
    g, d, jump = np.array(given), np.array(expected), abs(np.array(jumps))
    if not np.isfinite(g).all():
        return without_numbers(case, NOT_FINITE, "the answer is not finite")
    found = Evidence(
        g, d, float(np.linalg.norm(errors)), jump, " and ".join(sorted(oracle_)), "2 random tangents"
    )

    def explain(tolerance):
        return relations(g, d, np.asarray, tolerance, sizes=_sizes(function))

    row = judge(case, found, min(function.bytes, real_bytes(g.dtype)), 0.0, explain)
    at = np.unravel_index(row.worst[1], function.shape) if function.shape else ()
    return row._replace(worst=tuple(int(i) for i in at))


def _adjoint(function, answer, rng):
    """<v, J u> = <J^T v, u> for three random pairs, Eq. (CHK.7)."""
    slopes, unit = Slopes(function, rng), max(function.scales.values())
    given, expected, errors = [], [], []
    for _ in range(3):
        v, cotangent = function.cotangent(rng)
        u = {name: gaussian(rng, x) for name, x in function.leaves.items()}
        product = answer.tree(answer(cotangent), function)
        found, _ = along(slopes, {name: w * unit for name, w in u.items()}, unit)
        given.append(_inner(product, u))
        expected.append((v.conj() * function.assembled(found.value)).sum().real)  # (CHK.7)
        errors.append(np.linalg.norm(v) * np.linalg.norm(found.error))
    return _identity("<J^T v, u>", given, expected, errors, "<v, J u>", "3 random pairs", function)


def _symmetry(function, answer, u, rng):
    """<w, H u> = <u, H w> for three random w: of the answer alone."""
    given, expected = [], []
    first = answer.tree(answer(function.as_arguments(u)[1]), function)
    for _ in range(3):
        w, tree = function.as_arguments({name: gaussian(rng, x) for name, x in function.leaves.items()})
        given.append(_inner(first, w))
        expected.append(_inner(answer.tree(answer(tree), function), u))
    errors = [EPS[function.bytes] * abs(x) for x in expected]
    return _identity("<w, H u>", given, expected, errors, "<u, H w>", "3 random w", function)


def _identity(name, given, expected, errors, oracle_, probes, function):
    """A row about numbers that must be equal."""
    g, d = np.array(given), np.array(expected)
    if not np.isfinite(g).all() or not np.isfinite(d).all():
        return without_numbers(name, NOT_FINITE, "a product is not finite", oracle_)
    found = Evidence(g, d, float(np.linalg.norm(errors)), np.zeros(g.shape), oracle_, probes)
    return judge(name, found, function.bytes, 0.0, lambda tolerance: (f"it must be {oracle_}",))


def _inner(tree, u):
    """Re of the sum of conj(a) b over all parameters."""
    return sum(float((np.conj(tree[name]) * u[name]).sum().real) for name in u)


def _of_a_gradient(grad_f, args, wrt, function, given, u, rng):
    """H u as the derivative of a gradient along u, Eq. (CHK.8): one direction for all entries."""

    def read(answer):
        trees = zip(
            answer if isinstance(wrt, tuple) else [answer], function.trees, function.names, strict=True
        )
        leaves = {k: v for a, tree, name in trees for k, v in match(a, tree, name).items()}
        return np.concatenate([host(leaves[name], name).ravel() for name in function.leaves])

    whole = Function(grad_f, args, wrt, read)
    function.problems += whole.problems
    unit = max(whole.scales.values())
    found, how = along(Slopes(whole, rng), {name: v * unit for name, v in u.items()}, unit)  # (CHK.8)
    parts, evidence, at = [whole.assembled(part) for part in found], {}, 0
    for name, x in function.leaves.items():
        d, error, jump = (part[at : at + x.size].reshape(x.shape) for part in parts)
        d, at = (d if x.dtype.kind == "c" else d.real), at + x.size
        if name in _with_numbers(given, function):
            g = given[name]
            seen = Evidence(g, d, float(np.linalg.norm(error)), abs(jump), how, f"all {x.size} entries")
            evidence[name] = (Entries(function, name), g, seen if g.shape == x.shape else None, d)
    return [_row(function, name, evidence) for name in evidence]


def _one_by_one(leaves, full):
    """The names of the parameters whose entries are all looked at: the smallest first, as far as ENTRIES reaches."""
    if full is not None:
        return {name for name in leaves if full}
    total, names = 0, set()
    for name in sorted(leaves, key=lambda name: leaves[name].size):
        total += leaves[name].size
        names |= {name} if total <= ENTRIES else set()
    return names


def _sizes(function):
    """Lengths that a factor may come from, and where they occur: in the data first."""
    found, names = {}, argument_names(function.f, len(function.args))
    order = sorted(range(len(names)), key=lambda i: i in function.where)
    for i in order:
        for path, leaf in flatten(function.args[i], names[i]).items():
            for axis, n in enumerate(getattr(leaf, "shape", ())):
                if n > 1:
                    found.setdefault(int(n), f"axis {axis} of {path}")
    return found
