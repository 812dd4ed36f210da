"""Models, their immutable versions, aliases and the bundle's description."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct, field

from modelyard.records.signatures import Signature

BUNDLE_FILE = "yardbundle.toml"
EXAMPLE_FILE = "example.csv"
EXPECTED_FILE = "expected.csv"


class File(Struct, frozen=True, order=True):
    """One file of a bundle: its path inside, size in bytes and sha256 in hex."""

    path: str
    size: int
    digest: str


class Bundle(Struct, frozen=True, forbid_unknown_fields=True):
    """`yardbundle.toml`: what a version says of itself.

    Attributes:
        format: 1.
        language: the runtime that serves it: python, r, julia or another folder of `runtimes/`.
        entry: the model's file inside the bundle, or `module:function` for Python code.
        signature: inputs, and outputs where the publisher knew them (else the check fills them in).
        language_version: of the session that made it, as "3.11.7" or "4.2.2".
        options: words for the runtime alone, as `{"input": "pandas"}`.
        packages: exact versions, name to version.
        metrics: what the publisher measured, as `{"mae": 12.1}`.
        lineage: where it comes from: `{"code": "git commit", "job": "17", "dataset:…": "3"}`.
        description: a sentence about the version.
    """

    format: int
    language: str
    entry: str
    signature: Signature
    language_version: str = ""
    options: dict[str, str] = field(default_factory=dict)
    packages: dict[str, str] = field(default_factory=dict)
    metrics: dict[str, float] = field(default_factory=dict)
    lineage: dict[str, str] = field(default_factory=dict)
    description: str = ""


class VersionState(StrEnum):
    """Where a version stands: only a checked one can be pointed to by an alias and answer requests."""

    UNCHECKED = "unchecked"
    CHECKING = "checking"
    CHECKED = "checked"
    FAILED = "failed"


class Version(Struct, frozen=True):
    """One immutable version of a model.

    Attributes:
        model: `department/name`.
        version: 1, 2, 3 …
        digest: sha256 over the sorted manifest (path, size, digest of each file).
        bundle: what it says of itself; `bundle.signature` is complete once checked.
        state: see `VersionState`; `reason` and `log` say why a check failed, `progress` what it does now.
        size: bytes of all files.
        form: `native` or `portable`, the form that answers, and `form_reason` why.
        native_from: beside a portable form, requests of so many rows and more go to native workers; 0: none.
        aliases: the aliases that point here now.
    """

    model: str
    version: int
    digest: str
    bundle: Bundle
    state: VersionState
    size: int
    created_at: datetime
    created_by: str
    reason: str = ""
    progress: str = ""
    log: str = ""
    form: str = "native"
    form_reason: str = ""
    native_from: int = 0
    aliases: tuple[str, ...] = ()

    @property
    def id(self) -> str:
        """`department.name.version`, unique in the yard and fit for a file name or a metric label."""
        return f"{self.model.replace('/', '.')}.{self.version}"

    @property
    def name(self) -> str:
        """`department/name/version`, as people refer to it."""
        return f"{self.model}/{self.version}"


class Model(Struct, frozen=True):
    """A model: a name in a department, with versions.

    Attributes:
        champion: the version that answers requests to the model, or None.
        latest: the newest version.
    """

    model: str
    created_at: datetime
    created_by: str
    language: str
    latest: int
    champion: int | None
    aliases: dict[str, int]
    description: str = ""


class AliasChange(Struct, frozen=True):
    """One entry of an alias's history: what it pointed to, what it points to, who, when and why."""

    model: str
    alias: str
    before: int | None
    after: int | None
    at: datetime
    by: str
    why: str = ""


class Card(Struct, frozen=True):
    """A model card: what a model is for, in Markdown, as it holds from one version on.

    Attributes:
        version: the first version it is of; it holds for later ones until another is written.
        text: Markdown; empty where none was ever written (and `changed_by` is empty, too).
    """

    model: str
    version: int
    text: str
    changed_at: datetime
    changed_by: str
