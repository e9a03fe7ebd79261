"""The stand-in device as a fixture."""

from backend.fakecupy import fake_device

__all__ = ["fake_device"]
