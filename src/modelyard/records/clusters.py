"""Clusters: where workers are placed, a Ray cluster for each circle of departments that trust each other."""

from __future__ import annotations

import re
import tomllib
from typing import NoReturn

from msgspec import Struct

from modelyard.records.errors import InvalidError, UnavailableError
from modelyard.records.references import check_name, shown
from modelyard.records.tables import line_of, read_table

_ADDRESS = re.compile(r"(?:[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:.]{2,45}\]):[0-9]{1,5}", re.ASCII)


class Cluster(Struct, frozen=True, forbid_unknown_fields=True):
    """`[clusters.NAME]`: a Ray cluster, and whose workers are placed there.

    Attributes:
        address: of its head, as `10.0.0.4:6379`.
        token_file: the file with its token; without it nobody gets in.
        departments: whose models run there; empty: those of all departments that no other cluster names.

    Raises:
        InvalidError: a value that means nothing; `key` names it.
    """

    address: str
    token_file: str
    departments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _ADDRESS.fullmatch(self.address):
            _refuse("address", self.address, "a host and its port, as 10.0.0.4:6379")
        if not self.token_file.startswith("/"):
            _refuse("token_file", self.token_file, "a whole path, as /etc/yard/ray.token")
        for department in self.departments:
            check_name(department, "department")


class Clusters(Struct, frozen=True):
    """All clusters of a yard, by name."""

    by_name: dict[str, Cluster]

    def of(self, department: str) -> str:
        """The name of the cluster that a department's workers are placed on.

        Raises:
            UnavailableError: there is none for it.
        """
        everybodys = ""
        for name, cluster in self.by_name.items():
            if department in cluster.departments:
                return name
            if not cluster.departments:
                everybodys = name
        if everybodys:
            return everybodys
        raise UnavailableError(
            f"The department {department} has no cluster to run its models on.",
            "The operator names it in the departments of one, or adds a cluster without any, in ray.toml.",
        )


def parse_clusters(text: str, file: str) -> Clusters:
    """What a `ray.toml` says.

    Args:
        file: what it is called in messages.

    Raises:
        InvalidError: what is wrong, with `file`, `line` and `key`.
    """
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidError(f"{file} is no TOML: {error}.", "Correct that line.", file=file) from None
    try:
        return _clusters(tables)
    except InvalidError as error:
        key = str(error.fields.get("key", ""))
        line = line_of(text, key) or 1
        raise InvalidError(
            f"{file}, line {line}: {error.message}", error.hint, file=file, line=line, key=key
        ) from None


def _clusters(tables: dict[str, object]) -> Clusters:
    found = tables.get("clusters")
    if set(tables) != {"clusters"} or not isinstance(found, dict) or not found:
        raise InvalidError(
            "It has no [clusters.NAME], or something else.",
            "Write [clusters.main] with address and token_file, and nothing beside.",
            key="clusters",
        )
    by_name: dict[str, Cluster] = {}
    owners: dict[str, str] = {}
    for name, table in found.items():
        check_name(name, "cluster")
        if not isinstance(table, dict):
            _refuse(name, str(table), "a table", "clusters")
        cluster = _cluster(table, name)
        for department in cluster.departments or ("",):
            other = owners.setdefault(department, name)
            if other != name:
                whose = f"The department {department} is" if department else "All other departments are"
                raise InvalidError(
                    f"{whose} on two clusters, {other} and {name}.",
                    "Name it in one." if department else "Give all but one their departments.",
                    key=f"clusters.{name}",
                )
        by_name[name] = cluster
    return Clusters(by_name)


def _cluster(table: dict[str, object], name: str) -> Cluster:
    try:
        return read_table(table, Cluster, f"clusters.{name}")
    except InvalidError as error:  # a record does not know what its table is called
        key = str(error.fields.get("key", "")).rpartition(".")[2]
        raise InvalidError(error.message, error.hint, key=f"clusters.{name}.{key}") from None


def _refuse(key: str, text: str, due: str, table: str = "cluster") -> NoReturn:
    raise InvalidError(f"{key} is {shown(text)}.", f"It must be {due}.", key=f"{table}.{key}")
