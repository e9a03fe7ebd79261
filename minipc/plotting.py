"""Pictures, for a lecture slide: labelled with the symbols, readable from the last row, colour-blind-safe.

The only room that imports matplotlib, and only when a function is called. Every function returns a
``matplotlib.figure.Figure``; ``save`` writes it.
"""

import itertools
import textwrap

import numpy as np

from .files import replacing

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7")  # Okabe & Ito: safe for colour-blind eyes
AUDIT_COLOURS = {  # Okabe & Ito, and grey, in the order in which minipc.check.audit takes the causes
    "stale weights": "#56B4E9",
    "inference not converged": "#E69F00",
    "undamped influence": "#CC79A7",
    "finite beta": "#0072B2",
    "influence approximation": "#009E73",
    "layer-locality": "#F0E442",
    "truncation in time": "#D55E00",
    "other": "#4D4D4D",
}
STYLE = {
    "font.size": 15,
    "axes.titlesize": 16,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
}


def need_matplotlib():
    """Raise an ImportError that says what to install; nothing if matplotlib is there."""
    try:
        import matplotlib.figure
    except ImportError as error:
        raise ImportError('pictures need matplotlib: pip install "minipc[tour]"') from error
    return matplotlib.figure


def _figure(**options):
    """A new figure in the house style; no pyplot, so no window and no global state."""
    return need_matplotlib().Figure(layout="constrained", **options)


def save(figure, path):
    """Write a figure as PNG, all or nothing."""
    with replacing(path) as file:
        figure.savefig(file, format="png", dpi=120)


def _styled(draw):
    """Run a drawing function under the house style."""

    def styled(*args, **options):
        need_matplotlib()
        from matplotlib import rc_context

        with rc_context(STYLE):
            return draw(*args, **options)

    styled.__doc__, styled.__name__ = draw.__doc__, draw.__name__
    return styled


@_styled
def accuracy_curves(runs, title):
    """Test accuracy against epoch, one line a rule, and the seconds of an epoch.

    ``runs`` maps a label to ``{"accuracy": (seeds, epochs), "seconds": (seeds, epochs)}``. Lines are means
    over the seeds, bands reach from the worst to the best seed.
    """
    figure = _figure(figsize=(13, 5.6))
    left, right = figure.subplots(1, 2, width_ratios=(2, 1))
    marks = ("o", "s", "^", "D", "v")
    for (label, run), colour, mark in zip(runs.items(), COLOURS, marks, strict=False):
        accuracy = 100 * np.array(run["accuracy"])
        epochs = np.arange(1, accuracy.shape[1] + 1)
        left.plot(
            epochs, accuracy.mean(axis=0), color=colour, marker=mark, markevery=3, lw=2.5, ms=8, label=label
        )
        left.fill_between(epochs, accuracy.min(axis=0), accuracy.max(axis=0), color=colour, alpha=0.15, lw=0)
    left.set(xlabel="epoch", ylabel="test accuracy (%)", title=title, xticks=epochs[4::5])
    left.grid(alpha=0.3)
    left.legend(loc="lower right")
    seconds = [float(np.mean(run["seconds"])) for run in runs.values()]
    bars = right.barh(list(runs), seconds, color=COLOURS[: len(runs)], height=0.6)
    right.bar_label(bars, [f" {s:.3f}" for s in seconds])
    right.set(xlabel="seconds per epoch", xlim=(0, 1.25 * max(seconds)), xticks=[], title="what it costs")
    right.invert_yaxis()
    return figure


@_styled
def memory_curves(runs, chance, title):
    """Test accuracy against epoch of rules that remember and of rules that do not, and the level of chance.

    ``runs`` maps a label to ``{"accuracy": (seeds, epochs), "past": bool}``, at most five, ``past`` if the rule gives credit
    to the past; ``chance`` lies in 0..1. Lines are means over the seeds, bands reach from the worst to the best seed. Curves
    may lie on each other: the first three are each drawn narrower than the one before, the second dashed, so that the
    first is seen on both sides of it and in its gaps.
    """
    figure = _figure(figsize=(13, 5.6))
    axes = figure.subplots()
    styles = (  # colour, line, width, mark, size
        (COLOURS[1], "-", 11, "o", 17),
        (COLOURS[2], "--", 5, "s", 10),
        (COLOURS[0], "-", 1.5, "D", 5),
        (COLOURS[3], "-", 4, "v", 10),
        (COLOURS[4], "-", 4, "^", 10),
    )
    for (label, run), (colour, line, width, mark, size) in zip(runs.items(), styles, strict=False):
        accuracy = 100 * np.array(run["accuracy"])
        epochs = np.arange(1, accuracy.shape[1] + 1)
        face = "white" if line == "--" else colour
        axes.plot(
            epochs, accuracy.mean(axis=0), line, color=colour, lw=width, marker=mark, ms=size, mfc=face, mew=2, label=label
        )  # fmt: skip
        axes.fill_between(epochs, accuracy.min(axis=0), accuracy.max(axis=0), color=colour, alpha=0.15, lw=0)
    curves = {
        past: 100
        * np.concatenate([np.array(run["accuracy"]) for run in runs.values() if run["past"] is past])
        for past in (True, False)
    }
    right = {"x": epochs[-1], "ha": "right", "style": "italic"}
    axes.text(y=curves[True][:, -1].min() - 8, s="credit reaches the past", va="top", **right)
    axes.text(y=curves[False].max() + 4, s="credit for the same step only", va="bottom", **right)
    axes.axhline(100 * chance, color="0.35", ls=":", lw=2.5, label=f"chance, {100 * chance:.1f} %")
    axes.set(xlabel="epoch", ylabel="test accuracy (%)", title=title, xticks=epochs[1::2], ylim=(0, 104))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center")
    return figure


@_styled
def history(runs, title=""):
    """Curves of training: a panel for the loss, one for the energy, one for each metric; a colour a run.

    ``runs`` maps a label to the history that ``fit`` gave, or is one such history. The loss of the training samples is
    a line, that of the validation set a dashed one; where every value is positive the axis of a loss is logarithmic.
    """
    if not isinstance(runs, dict) or not runs:
        raise TypeError(f"runs must be a history, or a dict label -> history, got {runs!r}")
    runs = runs if isinstance(next(iter(runs.values())), dict) else {"": runs}
    for label, run in runs.items():
        if not isinstance(run, dict) or "loss" not in run:
            raise ValueError(f"the history of {label!r} must have the entry loss, as minipc.fit gives it")
    names = dict.fromkeys(name for run in runs.values() for name in run)
    extra = [name for name in names if name not in ("loss", "validation_loss", "seconds")]
    figure = _figure(figsize=(6.5 * (1 + len(extra)), 5.2))
    for axes, name in zip(
        figure.subplots(1, 1 + len(extra), squeeze=False)[0], ["loss", *extra], strict=True
    ):
        drawn = []
        for (label, run), colour in zip(runs.items(), itertools.cycle(COLOURS)):
            for part, style in ((name, "-o"), (f"validation_{name}", "--s")):
                if part in run:
                    values = np.asarray(run[part], float)
                    text = f"{label}, validation" if part != name else label
                    axes.plot(
                        np.arange(1, len(values) + 1), values, style, color=colour, lw=2.5, ms=5, label=text
                    )
                    drawn.append(values)
        if name in ("loss", "energy") and min(v.min() for v in drawn) > 0:
            axes.set_yscale("log")
        axes.set(xlabel="epoch", ylabel=name.replace("_", " "))
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if len(drawn) > 1:
            axes.legend()
    figure.suptitle(title, fontsize=17)
    return figure


@_styled
def error_maps(maps, title):
    """Size of the error of every layer after every inference step; exactly zero is hatched.

    ``maps`` maps a panel's title to an array (steps, layers) of mean energies of the layers 1..L-1.
    """
    figure = _figure(figsize=(13, 8))
    panels = figure.subplots(2, (len(maps) + 1) // 2, squeeze=False)
    logs = {name: np.log10(np.where(v > 0, v, np.nan)) for name, v in maps.items()}
    finite = np.concatenate([v[np.isfinite(v)] for v in logs.values()])
    low, high = max(finite.min(), -30), finite.max()
    for axes, (name, value) in zip(panels.ravel(), logs.items(), strict=False):
        steps, layers = value.shape
        axes.set_facecolor("white")
        axes.fill_between(
            [-0.5, steps - 0.5], 0.5, layers + 0.5, facecolor="none", edgecolor="0.75", hatch="//", lw=0
        )
        image = axes.imshow(
            value.T, origin="lower", aspect="auto", vmin=low, vmax=high, cmap="viridis",
            extent=(-0.5, steps - 0.5, 0.5, layers + 0.5), interpolation="nearest", zorder=2,
        )  # fmt: skip
        axes.set(title=name, xlabel="inference step $k$", ylabel="layer $l$", yticks=[1, 5, 10, 15, layers])
    bar = figure.colorbar(image, ax=panels, shrink=0.8)
    bar.set_label(r"$\log_{10}\ \frac{1}{2}|\varepsilon_l|^2$, mean over the batch")
    figure.suptitle(title + "   (hatched: exactly zero)", fontsize=17)
    return figure


@_styled
def proof_table(rows, title):
    """Worst error of every claim, its tolerance, and what the negative control gave, on one logarithmic axis."""
    figure = _figure(figsize=(14, 2 + 0.36 * len(rows)))
    axes = figure.subplots()
    floor, top = 1e-17, 10.0
    labels = [f"{textwrap.fill(row['claim'], 66)}   {row['id']}" for row in rows]
    for i, row in enumerate(rows):
        tolerance = max(row["tolerance"], floor)
        axes.plot([floor, tolerance], [i, i], color="0.88", lw=11, solid_capstyle="butt", zorder=1)
        colour = COLOURS[1] if row["holds"] else COLOURS[2]
        axes.plot(np.clip(row["worst"], floor, top), i, "o", color=colour, ms=11, zorder=3)
        axes.plot(np.clip(row["control"], floor, top), i, "x", color=COLOURS[2], ms=11, mew=3, zorder=3)
    axes.set_xscale("log")
    axes.axvline(1e-3, color=COLOURS[2], ls=":", lw=2)
    axes.set_yticks(range(len(rows)), labels, fontsize=11)
    axes.set_xticks([1e-16, 1e-12, 1e-8, 1e-4, 1])
    axes.minorticks_off()
    axes.set(xlim=(floor / 3, 3 * top), ylim=(len(rows), -1))
    axes.set_xlabel("relative error\n(0 is drawn at $10^{-17}$, more than 10 at 10)")
    axes.set_title(title, loc="right")
    handles = [
        axes.plot([], [], "o", color=COLOURS[1], ms=11, label="worst error")[0],
        axes.plot([], [], color="0.88", lw=11, label="allowed")[0],
        axes.plot(
            [], [], "x", color=COLOURS[2], ms=11, mew=3, label="negative control (must be right of the dots)"
        )[0],
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=3)
    return figure


@_styled
def convergence(result, title="", samples=None):
    """Residuals of inference against those that the spectrum predicts, and the spectrum in the bracket of the step.

    ``result`` is what ``minipc.check.convergence`` gave; ``samples`` are at most four numbers of samples, by default the
    first ones. Left: observed residuals are broad lines, predicted ones thin and dashed on top of them. Right: the factor
    a step of every mode, on the curve ``|1 - lambda mu|``; the area of a dot grows with the share of the start in it.
    """
    samples = list(range(len(result.step_size)))[:4] if samples is None else list(samples)
    if not samples or len(samples) > 4:
        raise ValueError(f"samples must be one to four numbers of samples, got {samples}")
    figure = _figure(figsize=(14, 6.2))
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    for b, colour in zip(samples, COLOURS[1:], strict=False):
        _residuals(left, result, b, colour)
    left.plot([], [], color="0.5", lw=6, alpha=0.5, label="observed")
    left.plot([], [], "--", color="0.2", lw=2, label="predicted")
    left.axhline(result.tolerance, color="0.35", ls=":", lw=2, label="tolerance")
    left.set(xlabel="inference step $k$", yscale="log", title="norm of the gradient")
    left.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=7)
    x = [_factors(right, result, b, colour) for b, colour in zip(samples, COLOURS[1:], strict=False)]
    low, high = min(v.min() for v in x), max(3, *(1.3 * v.max() for v in x))
    low = low / 1.3 if low > 0 else 1e-3
    grid = np.geomspace(low, high, 1000)
    right.plot(grid, abs(1 - grid), color="0.5", lw=1.5, zorder=1)
    right.axvspan(2, high, color=COLOURS[2], alpha=0.15, lw=0)
    right.axhline(1, color="0.35", ls=":", lw=2)
    ticks = [v for e in range(-6, 7) for v in (10.0**e, 2 * 10.0**e, 5 * 10.0**e) if low <= v <= high]
    ticks = [v for v in ticks if v in (1, 2) or len(ticks) < 10 or f"{v:e}".startswith("1")]
    right.set(xscale="log", xlim=(low, high), ylim=(0, max(1.2, *(1.1 * abs(1 - v).max() for v in x))))
    right.set_xticks(ticks, [f"{v:g}" for v in ticks])
    right.minorticks_off()
    right.set(xlabel=r"$\lambda\,\mu_i$", title=r"factor a step of every mode, $|1-\lambda\mu_i|$")
    place = {"x": (2 * high) ** 0.5, "y": 0.05, "transform": right.get_xaxis_transform()}
    right.text(s="step too long", rotation=90, ha="center", **place)
    right.annotate("slowest: ringed", (0.02, 0.03), xycoords="axes fraction")
    figure.suptitle(title)
    return figure


def _residuals(axes, result, b, colour):
    """Observed and predicted residuals of a sample, without what is rounding and what has left the picture."""
    seen, predicted = result.residuals[:, b], result.predicted[:, b]
    clear = np.logical_and.accumulate(np.isfinite(seen) & (seen > result.rounding[b]))
    axes.plot(np.where(clear, seen, np.nan), color=colour, lw=6, alpha=0.5, label=f"sample {b}")
    clear &= (predicted > result.rounding[b]) & (predicted < 100 * seen[clear].max(initial=0))
    if result.adaptive:  # near rounding the steps cannot be told from the path
        clear &= np.logical_and.accumulate(seen > 100 * result.rounding[b])
    axes.plot(np.where(clear, predicted, np.nan), "--", color=colour, lw=2)


def _factors(axes, result, b, colour):
    """The excited modes of a sample as dots, the slowest one with a ring; their places."""
    there = result.excited[b]
    x, share = result.step_size[b] * result.eigenvalues[b][there], result.shares[b][there]
    factor = abs(1 - x)
    axes.scatter(x, factor, s=20 + 300 * share / (share.max() or 1), color=colour, alpha=0.6, lw=0)
    axes.plot(x[factor.argmax()], factor.max(), "o", mfc="none", mec=colour, mew=2.5, ms=22)
    return x


@_styled
def audit(found):
    """Where a rule's gradient parts from the exact one: of every parameter its relative error, as the sum of its parts.

    ``found`` is what :func:`minipc.check.audit` returns. Left: a bar for each cause, as long as the part is along the
    difference, (CHK.15): those to the right of zero add to it, those to the left take away, and the dot, the relative error, is
    their sum. Right: the whole size of each part, of all parameters together.
    """
    causes = [cause for cause in AUDIT_COLOURS if cause in found.parts]
    errors = np.array([found.relative_error, *(row.relative_error for row in found.comparison.rows)])
    finite = np.isfinite(errors)
    figure = _figure(figsize=(13, 3.2 + 0.42 * len(errors)))
    if causes:
        left, right = figure.subplots(1, 2, width_ratios=(2.2, 1))
        _audit_sizes(right, found, causes)
    else:
        left = figure.subplots()
    reach = _audit_bars(left, found, causes, np.where(finite, errors, 0))
    left.plot(
        errors, range(len(errors)), "o", color="white", mec="black", mew=2, ms=9, label="relative error"
    )
    for row in np.flatnonzero(~finite):
        left.text(0, row, r"  $\infty$", va="center")
    low, high = (0, 1) if found.only_rounding or reach == (0, 0) else reach  # nothing to see
    left.set_xlim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    left.axvline(0, color="black", lw=1)
    left.axhline(0.5, color="0.6", lw=1, ls=":")
    left.set_yticks(range(len(errors)), ["all", *map(_symbol, found.exact)])
    left.set(xlabel=r"part along the difference, over $|g^\star|$", ylim=(len(errors) - 0.4, -0.6))
    left.grid(axis="x", alpha=0.3)
    also = ", equal to rounding" if found.only_rounding else "" if causes else ", cause unknown"
    error = f"relative error {found.relative_error:.2g}"
    figure.suptitle(f"{found.rule} against {found.against}: {error}{also}", fontsize=17)
    figure.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3, fontsize=13)
    return figure


def _audit_bars(axes, found, causes, errors):
    """Bars of every parameter, one behind the other to both sides of zero; how far they reach."""
    rows, names = np.arange(len(errors)), [None, *found.exact]
    ends = np.zeros((2, len(names)))  # to the left, to the right
    if not causes:
        axes.barh(rows, errors, color="0.8", height=0.65, label="unknown")
    for cause in causes:
        width = np.array([found.part(cause, n).share * e for n, e in zip(names, errors, strict=True)])
        side = (width > 0).astype(int)
        options = {"color": AUDIT_COLOURS[cause], "ec": "white", "lw": 0.8, "label": cause}
        axes.barh(rows, width, left=ends[side, rows], height=0.65, **options)
        ends[side, rows] += width
    return min(ends.min(), 0), max(ends.max(), errors.max())


def _audit_sizes(axes, found, causes):
    """The whole size of each part, all parameters together, and its share."""
    sizes = [found.part(cause).size for cause in causes]
    bars = axes.barh(causes, sizes, height=0.65, color=[AUDIT_COLOURS[cause] for cause in causes])
    shares = [round(100 * found.part(cause).share) for cause in causes]  # integers have no -0
    if not found.only_rounding:
        axes.bar_label(bars, [f" {share} %" for share in shares], fontsize=13)
    axes.set_yticks(range(len(causes)), [textwrap.fill(cause, 14) for cause in causes], fontsize=13)
    far = 1 if found.only_rounding else 1.25 * max(sizes)
    axes.set(xlabel=r"size $|p| / |g^\star|$", title="parts: all, with share", xlim=(0, far))
    axes.locator_params(axis="x", nbins=4)
    axes.invert_yaxis()


def _symbol(name):
    """``b_V[2]`` as a formula."""
    letter, _, rest = name.partition("[")
    below = "".join(part.rstrip("]") + "," for part in rest.split("[")).rstrip(",")
    base, _, index = letter.partition("_")
    return rf"${base}_{{{','.join(filter(None, (index, below)))}}}$" if below else f"${base}$"
