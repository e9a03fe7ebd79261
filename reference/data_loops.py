"""Made tasks, recomputed from their inputs with every index spelled out: one number at a time.

========  ======================================================================  ===================
id        equation                                                                function
========  ======================================================================  ===================
(LOR.1)   the three derivatives of Lorenz's system                                lorenz_derivative
(LOR.2)   one Runge-Kutta step after another                                      lorenz_trajectory
(TRK.1)   z[i] = sum_j A[i,j] z_prev[j], without noise                            linear_step
(TRK.3)   P = sum_k A^k Q (A^k)^T, term by term                                   stationary_series
(ADD.1)   y[b] = sum_t mark[t,b] u[t,b] at the last step                          adding_targets
(PAR.1)   y[t,b] = x[t-d,b] xor x[t-d-1,b]                                        parity_targets
(COPY.1)  y[t,b] = x[t-D-d,b] on the last D steps                                 copy_targets
========  ======================================================================  ===================

Targets are dicts {(t, b): value} that hold the steps that count, and no others.
"""


def lorenz_derivative(x):
    """(dx1/dt, dx2/dt, dx3/dt) at x = (x1, x2, x3), (LOR.1)."""
    x1, x2, x3 = x
    return 10 * (x2 - x1), x1 * (28 - x3) - x2, x1 * x2 - (8 / 3) * x3


def lorenz_trajectory(x, h, steps):
    """[x(0), x(h), ..., x(steps h)], each a list of three floats, (LOR.2)."""
    path = [[float(xi) for xi in x]]
    for _ in range(steps):
        now = path[-1]
        k1 = lorenz_derivative(now)
        k2 = lorenz_derivative([now[i] + h * k1[i] / 2 for i in range(3)])
        k3 = lorenz_derivative([now[i] + h * k2[i] / 2 for i in range(3)])
        k4 = lorenz_derivative([now[i] + h * k3[i] for i in range(3)])
        path.append([now[i] + h * (k1[i] + 2 * k2[i] + 2 * k3[i] + k4[i]) / 6 for i in range(3)])
    return path


def linear_step(A, z):
    """A z, a list of len(A) floats, (TRK.1) without noise; with C for A it is (TRK.2)."""
    return [sum(A[i][j] * z[j] for j in range(len(z))) for i in range(len(A))]


def stationary_series(A, Q, terms):
    """The first terms of sum_k A^k Q (A^k)^T, (n, n) as lists, (TRK.3)."""
    n = len(A)
    total, term = [[0.0] * n for _ in range(n)], [[float(q) for q in row] for row in Q]
    for _ in range(terms):
        for i in range(n):
            for j in range(n):
                total[i][j] += term[i][j]
        term = [
            [sum(A[i][p] * term[p][q] * A[j][q] for p in range(n) for q in range(n)) for j in range(n)]
            for i in range(n)
        ]
    return total


def adding_targets(inputs):
    """{(T - 1, b): sum of the marked numbers} from inputs (T, B, 2), (ADD.1)."""
    T, B, _ = inputs.shape
    return {(T - 1, b): sum(inputs[t, b, 0] for t in range(T) if inputs[t, b, 1] == 1) for b in range(B)}


def parity_targets(bits, delay):
    """{(t, b): 1 if exactly one of the two bits is 1} from bits (T, B), (PAR.1)."""
    T, B = bits.shape
    return {
        (t, b): int((bits[t - delay, b] == 1) != (bits[t - delay - 1, b] == 1))
        for t in range(T)
        for b in range(B)
        if t - delay - 1 >= 0
    }


def copy_targets(inputs, digits, delay):
    """{(t, b): the digit shown digits + delay steps before} from inputs (T, B), (COPY.1)."""
    T, B = inputs.shape
    return {(t, b): int(inputs[t - digits - delay, b]) for t in range(T - digits, T) for b in range(B)}
