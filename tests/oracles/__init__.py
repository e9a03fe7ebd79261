"""Every hand-derived gradient against an oracle that shares no code with it."""
