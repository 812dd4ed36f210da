"""Runs the migrations in the caller's transaction; apart, because Alembic is slow to load."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection


def run(connection: Connection, revision: str = "head") -> None:
    """Migrate to a revision, the newest by default; the caller holds the lock and commits."""
    config = Config()
    folder = str(Path(__file__).parent).replace("%", "%%")  # '%' begins a variable there
    config.set_main_option("script_location", folder)
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
