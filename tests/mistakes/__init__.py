"""The suite can fail: every named mistake is caught."""
