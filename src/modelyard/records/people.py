"""Who may do what: roles, the matrix (deny by default), tokens and principals."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class Role(StrEnum):
    """A role is held in one department, or, for the last two, in the whole yard."""

    VIEWER = "viewer"
    CALLER = "caller"
    BUILDER = "builder"
    OWNER = "owner"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"


YARD_ROLES = frozenset({Role.AUDITOR, Role.ADMINISTRATOR})


class Need(StrEnum):
    """What a route asks of the person before it. Each route declares exactly one."""

    NOTHING = "nothing"  # health, and nothing else
    SIGNED_IN = "signed-in"  # any valid token, the route filters by what they may see
    SEE = "see"  # models, versions, histories
    PREDICT = "predict"
    READ_DATA = "read-data"  # recorded predictions, datasets, a model's files
    PUBLISH = "publish"
    PROMOTE = "promote"  # move aliases, roll back
    MANAGE = "manage"  # tokens and grants of the department
    ADMINISTER = "administer"  # the yard itself


MATRIX: dict[Role, frozenset[Need]] = {
    Role.VIEWER: frozenset({Need.SEE}),
    Role.CALLER: frozenset({Need.SEE, Need.PREDICT}),
    Role.BUILDER: frozenset({Need.SEE, Need.PREDICT, Need.READ_DATA, Need.PUBLISH}),
    Role.OWNER: frozenset({Need.SEE, Need.PREDICT, Need.READ_DATA, Need.PUBLISH, Need.PROMOTE, Need.MANAGE}),
    Role.AUDITOR: frozenset({Need.SEE}),
    Role.ADMINISTRATOR: frozenset(Need),
}


class Grant(Struct, frozen=True):
    """What a token carries: a role, in one department or (None) in the whole yard.

    Attributes:
        principal: the person's or service's name, as it stands in histories.
        expires: seconds since 1970, or None.
    """

    principal: str
    role: Role
    department: str | None = None
    token_id: int = 0
    expires: float | None = None

    def allows(self, need: Need, department: str | None = None) -> bool:
        """Whether this grant is enough for `need` in `department` (None: the yard itself).

        >>> Grant("anna", Role.CALLER, "finance").allows(Need.PREDICT, "finance")
        True
        >>> Grant("anna", Role.CALLER, "finance").allows(Need.PREDICT, "operations")
        False
        """
        if need in (Need.NOTHING, Need.SIGNED_IN):
            return True
        if self.department is not None and self.department != department:
            return False
        return need in MATRIX[self.role]

    def sees(self, department: str) -> bool:
        """Whether the department's existence may be known to this person."""
        return self.allows(Need.SEE, department)


class Token(Struct, frozen=True):
    """A token as it is listed: never the secret, of which only a sha256 is stored."""

    id: int
    name: str
    principal: str
    role: Role
    department: str | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


class NewToken(Struct, frozen=True):
    """A token just made: the only time its secret is shown."""

    secret: str
    token: Token
