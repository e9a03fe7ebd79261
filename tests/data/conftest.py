"""A server, an empty cache, and no waiting between tries."""

import pytest

from data.server import serving
from minipc.data import transfer


@pytest.fixture
def server():
    """A web server that does what ``server.plan`` says."""
    with serving() as running:
        yield running


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The empty cache folder of the package; MINIPC_DATA is not set, a server that is silent is soon given up."""
    monkeypatch.delenv("MINIPC_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(transfer, "PAUSE", 0)
    monkeypatch.setattr(transfer, "TIMEOUT", 5)
    return tmp_path / "home" / "minipc"
