"""Alembic's revisions, oldest first. A new one is a file in `versions/` and its number here.

Expand, then contract: a release adds tables and columns, and only a later one takes away what is no longer
read. So two releases serve one database while nodes are upgraded one after another, and an upgrade that
goes badly can be left with the data where it is. `SERVES_FROM` is the oldest schema whose code may go on with
a database of `HEAD`; whoever takes something away raises it to the first revision that can do without.
`tests/contract/test_migrations.py` compares the two schemas and fails where that was forgotten.
"""

REVISIONS = tuple(f"{number:04}" for number in range(1, 23))
HEAD = REVISIONS[-1]
SERVES_FROM = "0015"
