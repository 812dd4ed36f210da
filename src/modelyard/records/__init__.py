"""Frozen records and the pure rules about them: no I/O, nothing else of the house."""
