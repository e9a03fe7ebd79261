"""The audit on the stand-in device: its parts are those of the host, and lie there."""

import numpy as np
import pytest
from helpers.checks import assert_same
from oracles.test_audit import IN_SPACE, OTHER, assert_part, sample, sequence

import minipc as pc
from backend.fakecupy import to_device
from minipc import check

pytestmark = [
    pytest.mark.usefixtures("fake_device"),
    pytest.mark.filterwarnings("ignore::minipc.InferenceWarning"),
]


@pytest.mark.parametrize("rule", ["spc", "centred", "incremental", "fixed_prediction"])
def test_arrays_in_space_may_live_on_a_device(rule):
    """The parts come to the host; they are the same."""
    data, p = sample(13, precision="full")
    options = IN_SPACE[rule][0]
    here = check.audit(data[0], rule, *data[1:], **options, precision=p.precision)
    there = check.audit(
        data[0], rule, *to_device(list(data[1:])), **to_device(options | {"precision": p.precision})
    )
    assert all(type(v) is np.ndarray for part in there.parts.values() for v in part.values())
    assert_same(there.given, here.given, 1e-12)
    for cause, part in here.parts.items():
        if cause != OTHER:
            assert_part(there.parts[cause], part, 1e-9)


@pytest.mark.parametrize(
    ("rule", "options"),
    [("tbptt", {"steps": 2}), ("rtrl", {"influence": "snap-1"}), ("tpc_rtrl", {"beta": 0.5}), (pc.rtrl.online, {"optimizer": pc.SGD(0.1)})],
    ids=str,
)  # fmt: skip
def test_sequences_may_live_on_a_device(rule, options):
    """With masks and initial states; and what is not given is drawn in the place of the parameters."""
    data, more, _ = sequence(28, ("rnn", "rnn", "dense"))
    here = check.audit(data[0], rule, *data[1:], **more, **options)
    there = check.audit(data[0], rule, *to_device(list(data[1:])), **to_device(more), **options)
    for cause, part in here.parts.items():
        if cause != OTHER:
            assert_part(there.parts[cause], part, 1e-9)
    drawn = check.audit(data[0], rule, to_device(data[1]), seed=3, **options)
    assert_same(drawn.given, check.audit(data[0], rule, data[1], seed=3, **options).given, 1e-12)
