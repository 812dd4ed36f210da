"""Alembic's revisions, oldest first. A new one is a file in `versions/` and its number here."""

REVISIONS = ("0001", "0002", "0003", "0004")
HEAD = REVISIONS[-1]
