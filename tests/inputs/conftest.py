"""Two fixtures: the stand-in device, and a network that refuses to compute."""

import pytest
from backend.fakecupy import fake_device

import minipc as pc
from minipc.registry import CELLS

__all__ = ["fake_device", "no_work"]


@pytest.fixture
def no_work(monkeypatch):
    """Any forward pass is an error: a refusal must come before it."""

    def forward(*_):
        raise AssertionError("work started before the input was checked")

    monkeypatch.setattr(pc.Dense, "forward", forward)
    for cell in CELLS.values():
        monkeypatch.setattr(cell, "scan", forward)
