"""Alembic's revisions, oldest first. A new one is a file in `versions/` and its number here."""

REVISIONS = tuple(f"{number:04}" for number in range(1, 23))
HEAD = REVISIONS[-1]
