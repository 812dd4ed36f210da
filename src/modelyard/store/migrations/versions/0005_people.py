"""People: kinds, roles by department, grants on single things, passwords, links, identities, sessions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

COUNTED = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
# Each principal of a database from before holds, by hand, the highest role of its tokens in each place.
_LADDER = ("viewer", "caller", "builder", "owner", "auditor", "administrator")


def upgrade() -> None:
    """Make the tables of people, and give principals the roles that their tokens have."""
    op.add_column("principals", sa.Column("kind", sa.Text(), nullable=False, server_default="service"))
    op.add_column("principals", sa.Column("disabled_at", sa.BigInteger()))
    op.add_column("tokens", sa.Column("used_at", sa.BigInteger()))
    _held()
    _coming_in()
    _browsers()
    op.execute("UPDATE principals SET kind = 'person' WHERE name = 'administrator'")
    _fill()


def _held() -> None:
    op.create_table(
        "memberships",
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("department", sa.Text(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("principal", "department", "source", name="pk_memberships"),
        sa.ForeignKeyConstraint(["principal"], ["principals.name"], name="fk_memberships_principal"),
    )
    op.create_table(
        "shares",
        sa.Column("id", COUNTED, nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("department", sa.Text(), nullable=False),
        sa.Column("need", sa.Text(), nullable=False),
        sa.Column("to_department", sa.Text()),
        sa.Column("to_principal", sa.Text()),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger()),
        sa.Column("revoked_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_shares"),
        sa.ForeignKeyConstraint(["department"], ["departments.name"], name="fk_shares_department"),
        sa.ForeignKeyConstraint(["to_department"], ["departments.name"], name="fk_shares_to_department"),
        sa.ForeignKeyConstraint(["to_principal"], ["principals.name"], name="fk_shares_to_principal"),
    )
    op.create_index("ix_shares_department", "shares", ["department"])


def _coming_in() -> None:
    op.create_table(
        "passwords",
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("principal", name="pk_passwords"),
        sa.ForeignKeyConstraint(["principal"], ["principals.name"], name="fk_passwords_principal"),
    )
    op.create_table(
        "links",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("used_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("digest", name="pk_links"),
        sa.ForeignKeyConstraint(["principal"], ["principals.name"], name="fk_links_principal"),
    )
    op.create_table(
        "identities",
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("issuer", "subject", name="pk_identities"),
        sa.ForeignKeyConstraint(["principal"], ["principals.name"], name="fk_identities_principal"),
    )


def _browsers() -> None:
    op.create_table(
        "sessions",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("token", sa.Integer()),
        sa.Column("how", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_sessions"),
        sa.ForeignKeyConstraint(["principal"], ["principals.name"], name="fk_sessions_principal"),
        sa.ForeignKeyConstraint(["token"], ["tokens.id"], name="fk_sessions_token"),
    )
    op.create_index("ix_sessions_principal", "sessions", ["principal"])
    op.create_table(
        "browsers",
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("principal", sa.Text(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_browsers"),
        sa.ForeignKeyConstraint(["principal"], ["principals.name"], name="fk_browsers_principal"),
    )
    op.create_table(
        "attempts",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("level", sa.Float(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("key", name="pk_attempts"),
    )


def _fill() -> None:
    state = sa.table("state", sa.column("key", sa.Text()), sa.column("value", sa.BigInteger()))
    op.bulk_insert(state, [{"key": "people", "value": 0}])
    tokens = sa.table(
        "tokens", *(sa.column(n) for n in ("principal", "role", "department", "created_at", "created_by"))
    )
    highest: dict[tuple[str, str], tuple[str, int, str]] = {}
    for row in op.get_bind().execute(sa.select(tokens).where(sa.text("revoked_at IS NULL"))):
        key = (row.principal, row.department or "")
        if key not in highest or _LADDER.index(row.role) > _LADDER.index(highest[key][0]):
            highest[key] = (row.role, row.created_at, row.created_by)
    columns = ("principal", "department", "source", "role", "created_at", "created_by")
    memberships = sa.table("memberships", *(sa.column(n) for n in columns))
    rows = [dict(zip(columns, (*key, "hand", *held), strict=True)) for key, held in highest.items()]
    if rows:
        op.bulk_insert(memberships, rows)
