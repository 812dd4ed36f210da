"""Who vouches for what a version is."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class What(StrEnum):
    """What of a version is signed: its bundle as published, or the portable form that the yard made of it."""

    BUNDLE = "bundle"
    FORM = "form"


class Signed(Struct, frozen=True):
    """A signature over what a version is.

    Attributes:
        digest: of the files it is over.
        key: the id of the yard's key that signed.
        signature: Ed25519, in hex.
        holds: whether it is this yard's, and over what is there now; `words` says why not.
    """

    what: What
    digest: str
    key: str
    signature: str
    at: datetime
    holds: bool = True
    words: str = ""


class Label(Struct, frozen=True, order=True):
    """Something that a pickle of a bundle calls when it is loaded: a label, never a wall.

    Attributes:
        file: of the bundle.
        calls: what, as `sklearn.linear_model._base.LinearRegression`.
        level: `known` to be harmless, `unknown`, or `dangerous`: it can run anything.
    """

    file: str
    calls: str
    level: str


class Key(Struct, frozen=True):
    """A key that the yard signs with, or once did: its id, and the public half in hex."""

    id: str
    public: str
    signs: bool
