"""Who may do what: roles, the matrix (deny by default), grants on single things, tokens and principals."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Self

from msgspec import Struct
from msgspec.structs import replace

from modelyard.records.audit import YARD
from modelyard.records.errors import InvalidError
from modelyard.records.references import shown


class Role(StrEnum):
    """A role is held in one department, or, for the last two, in the whole yard."""

    __hash__ = str.__hash__  # as for all text; that of enumerations takes ten times as long

    VIEWER = "viewer"
    CALLER = "caller"
    BUILDER = "builder"
    OWNER = "owner"
    AUDITOR = "auditor"
    ADMINISTRATOR = "administrator"


YARD_ROLES = frozenset({Role.AUDITOR, Role.ADMINISTRATOR})


class Need(StrEnum):
    """What a route asks of the person before it. Each route declares exactly one."""

    __hash__ = str.__hash__

    NOTHING = "nothing"  # health, and nothing else
    SIGNED_IN = "signed-in"  # any valid token, the route filters by what they may see
    SEE = "see"  # models, versions, histories
    PREDICT = "predict"
    READ_DATA = "read-data"  # recorded predictions, datasets, a model's files
    PUBLISH = "publish"
    PROMOTE = "promote"  # move aliases, roll back
    REVIEW = "review"  # who holds what in the department, and who did what
    MANAGE = "manage"  # members, tokens and grants of the department
    OVERSEE = "oversee"  # the same as REVIEW of the whole yard, and what runs there
    ADMINISTER = "administer"  # the yard itself


# The one matrix. What is not here is refused.
MATRIX: dict[Role, frozenset[Need]] = {
    Role.VIEWER: frozenset({Need.SEE}),
    Role.CALLER: frozenset({Need.SEE, Need.PREDICT}),
    Role.BUILDER: frozenset({Need.SEE, Need.PREDICT, Need.READ_DATA, Need.PUBLISH}),
    Role.OWNER: frozenset(
        {Need.SEE, Need.PREDICT, Need.READ_DATA, Need.PUBLISH, Need.PROMOTE, Need.REVIEW, Need.MANAGE}
    ),
    Role.AUDITOR: frozenset({Need.SEE, Need.REVIEW, Need.OVERSEE}),
    Role.ADMINISTRATOR: frozenset(Need),
}
# What a grant on one model or dataset may give, each with what goes along. Changing is never among it.
RIGHTS: dict[Need, frozenset[Need]] = {
    Need.SEE: frozenset({Need.SEE}),
    Need.PREDICT: frozenset({Need.SEE, Need.PREDICT}),
    Need.READ_DATA: frozenset({Need.SEE, Need.READ_DATA}),
}
# Seconds for which tokens and sessions are believed while the database cannot confirm them.
CALLERS_GRACE, OTHERS_GRACE = 1_800.0, 60.0
LONGEST_GRACE = 7 * 86_400.0
NOWHERE = ""  # the department of somebody who holds no role: there is none of that name
_OPEN = frozenset({Need.NOTHING, Need.SIGNED_IN})
_DATASET = "dataset:"
_LADDER = (Role.VIEWER, Role.CALLER, Role.BUILDER, Role.OWNER)
_PERSON = re.compile(r"[a-z0-9][a-z0-9._@+-]{0,199}", re.ASCII)


class Kind(StrEnum):
    """What a single grant is on."""

    MODEL = "model"
    DATASET = "dataset"


def thing_of(kind: Kind, name: str) -> str:
    """What is granted, in one word: `department/name` of a model, `dataset:department/name`.

    >>> thing_of(Kind.DATASET, "finance/fuel")
    'dataset:finance/fuel'
    """
    return name if kind is Kind.MODEL else _DATASET + name


class Reach(Struct, frozen=True):
    """What may be done with one thing, until when (seconds since 1970, or None)."""

    needs: frozenset[Need]
    until: float | None = None


class Grant(Struct, frozen=True):
    """What a token or a session carries.

    Attributes:
        principal: the person's or service's name, as it stands in histories.
        role: held in `department`, or (None) in the whole yard.
        expires: seconds since 1970, or None.
        others: roles in further departments, by department.
        shares: what single grants give, by thing (see `thing_of`).
        bound: until when a token made with this may live, in seconds since 1970, or None.
        rows_per_second: how many may be predicted with it, on each front; None: as many as there is room for.
    """

    principal: str
    role: Role
    department: str | None = None
    token_id: int = 0
    expires: float | None = None
    others: dict[str, Role] = {}
    shares: dict[str, tuple[Reach, ...]] = {}
    bound: float | None = None
    rows_per_second: float | None = None

    def allows(self, need: Need, department: str | None = None, thing: str = "") -> bool:
        """Whether this grant is enough for `need` in `department` (None: the yard itself).

        Args:
            thing: the model or dataset that it is about, where it is about one (see `thing_of`).

        >>> Grant("anna", Role.CALLER, "finance").allows(Need.PREDICT, "finance")
        True
        >>> Grant("anna", Role.CALLER, "finance").allows(Need.PREDICT, "operations")
        False
        """
        if need in MATRIX[self.role] and (self.department is None or self.department == department):
            return True
        if need in _OPEN:
            return True
        if department in self.others and need in MATRIX[self.others[department]]:
            return True
        return bool(thing) and thing in self.shares and self._reaches(need, thing)

    def _reaches(self, need: Need, thing: str) -> bool:
        now = time.time()
        for reach in self.shares[thing]:
            if need in reach.needs and (reach.until is None or reach.until > now):
                return True
        return False

    def sees(self, department: str) -> bool:
        """Whether the department's existence, and all it has, may be known to this person.

        A model or dataset of another department may be seen all the same: ask `allows` with the thing.
        """
        return self.allows(Need.SEE, department)

    def sees_model(self, model: str) -> bool:
        """Whether `department/name` may be known to this person."""
        return self.allows(Need.SEE, model.partition("/")[0], model)

    def allows_dataset(self, need: Need, dataset: str) -> bool:
        """Whether this grant is enough for `need` on the dataset `department/name`."""
        return self.allows(need, dataset.partition("/")[0], thing_of(Kind.DATASET, dataset))

    @property
    def seen(self) -> frozenset[str] | None:
        """The departments of which all may be seen; None for all departments."""
        if self.department is None:
            return None
        return frozenset({self.department, *self.others} - {NOWHERE})

    @property
    def shared_models(self) -> frozenset[str]:
        """Models of other departments that may be seen."""
        return frozenset(t for t in self.shares if not t.startswith(_DATASET) and self.sees_model(t))

    @property
    def shared_datasets(self) -> frozenset[str]:
        """Datasets (`department/name`) of other departments that may be seen."""
        names = (t.removeprefix(_DATASET) for t in self.shares if t.startswith(_DATASET))
        return frozenset(name for name in names if self.allows_dataset(Need.SEE, name))

    def places(self, need: Need) -> list[str]:
        """The departments this person holds a role in that is enough, by name; none for roles of the yard."""
        held = self.others | ({self.department: self.role} if self.department else {})
        return sorted(d for d, role in held.items() if need in MATRIX[role])

    @property
    def words(self) -> str:
        """Who holds what, for a person.

        >>> Grant("anna", Role.CALLER, "finance", others={"operations": Role.OWNER}).words
        'caller in finance, owner in operations'
        """
        if self.department == NOWHERE:
            return "no role"
        first = f"{self.role} in {self.department}" if self.department else f"{self.role}"
        return ", ".join([first, *(f"{role} in {place}" for place, role in sorted(self.others.items()))])


class Share(Struct, frozen=True):
    """A grant on one model or dataset, as it is listed.

    Attributes:
        name: `department/name` of what is granted.
        right: what is granted; seeing it goes along.
        to_department: whose members have it, each as far as their own role there goes; or
        to_principal: the person or service that has it.
    """

    id: int
    kind: Kind
    name: str
    right: Need
    to_department: str | None
    to_principal: str | None
    created_at: datetime
    created_by: str
    expires_at: datetime | None = None
    revoked_at: datetime | None = None

    @property
    def department(self) -> str:
        """Whose it is."""
        return self.name.partition("/")[0]

    @property
    def thing(self) -> str:
        """What it is on; see `thing_of`."""
        return thing_of(self.kind, self.name)

    def holds(self, now: datetime) -> bool:
        """Whether it is neither revoked nor over."""
        return self.revoked_at is None and (self.expires_at is None or self.expires_at > now)


class Held(Struct, frozen=True):
    """What a principal holds.

    Attributes:
        yard: the role in the whole yard, or None.
        departments: the role in each department.
    """

    yard: Role | None = None
    departments: dict[str, Role] = {}

    def plus(self, department: str | None, role: Role) -> Self:
        """With a further role; of two in one place the higher counts."""
        if department is None:
            return replace(self, yard=role if self.yard is not Role.ADMINISTRATOR else self.yard)
        highest = max(self.departments.get(department, Role.VIEWER), role, key=_LADDER.index)
        return replace(self, departments=self.departments | {department: highest})

    def covers(self, role: Role, department: str | None) -> bool:
        """Whether somebody who holds this may act in that role there."""
        return self.capped(role, department) is role

    def capped(self, role: Role, department: str | None) -> Role | None:
        """What is left of a role for somebody who holds this; None: nothing.

        >>> Held(departments={"finance": Role.CALLER}).capped(Role.OWNER, "finance").value
        'caller'
        """
        if department is None:
            return Role.AUDITOR if self.yard and Role.AUDITOR in (self.yard, role) else self.yard
        held = self.departments.get(department, Role.VIEWER if self.yard is Role.AUDITOR else None)
        if self.yard is Role.ADMINISTRATOR:
            return role
        return None if held is None else min(held, role, key=_LADDER.index)

    def grant(self, principal: str) -> Grant:
        """All of it, as a session carries it."""
        rest = dict(sorted(self.departments.items()))
        if self.yard is not None:
            return Grant(principal, self.yard, others=rest)
        if not rest:
            return Grant(principal, Role.VIEWER, NOWHERE)
        first = next(iter(rest))
        return Grant(principal, rest.pop(first), first, others=rest)


def with_shares(grant: Grant, shares: Iterable[Share]) -> Grant:
    """A grant with what single grants give to its principal and to its departments.

    Somebody has what was given to their department as far as their own role there goes; and a token never
    more than its own role goes.
    """
    roles = dict(grant.others)
    if grant.department:
        roles[grant.department] = grant.role
    found: dict[str, tuple[Reach, ...]] = {}
    for share in shares:
        if share.to_department is not None:
            role = roles.get(share.to_department)
            needs = RIGHTS[share.right] & MATRIX[role] if role is not None else frozenset[Need]()
        elif share.to_principal == grant.principal:
            needs = RIGHTS[share.right] if not grant.token_id else RIGHTS[share.right] & MATRIX[grant.role]
        else:
            continue
        if needs:
            until = None if share.expires_at is None else share.expires_at.timestamp()
            found[share.thing] = (*found.get(share.thing, ()), Reach(needs, until))
    return replace(grant, shares=found) if found else grant


def check_person(name: str) -> str:
    """The name itself if a person may be called so: small letters, digits and `.`, `_`, `@`, `+`, `-`.

    Raises:
        InvalidError: it is none. One spelling alone, so that nobody can pass for another.
    """
    if _PERSON.fullmatch(name):
        return check_not_the_yard(name)
    raise InvalidError(
        f"{shown(name)} cannot be a person's name here.",
        "Use 1 to 200 small letters, digits and . _ @ + -, as in maria or maria@example.com.",
        field="name",
    )


def check_not_the_yard(name: str) -> str:
    """The name itself, unless it is that under which the yard acts by itself.

    Raises:
        InvalidError: it is: histories and the audit would say of a person that the yard did it.
    """
    if name.casefold() != YARD:
        return name
    hint = "Take another name."
    raise InvalidError(f"{shown(name)} is what the yard calls itself in its histories.", hint, field="name")


def matrix_rows() -> Mapping[Need, tuple[bool, ...]]:
    """The matrix as a table: each need with whether the roles, in their order, have it."""
    return {need: tuple(need in MATRIX[role] for role in Role) for need in Need if need not in _OPEN}


class PrincipalKind(StrEnum):
    """A person signs in; a service has tokens alone."""

    PERSON = "person"
    SERVICE = "service"


class Principal(Struct, frozen=True):
    """A person or a service, as it is listed.

    Attributes:
        role: in the whole yard, or None.
        departments: the role in each department.
        has_password: whether it can sign in with one.
    """

    name: str
    kind: PrincipalKind
    role: Role | None
    departments: dict[str, Role]
    created_at: datetime
    created_by: str
    disabled_at: datetime | None = None
    has_password: bool = False

    def seen_in(self, department: str) -> Self:
        """As that department sees it: of roles elsewhere nothing is told."""
        own = {d: role for d, role in self.departments.items() if d == department}
        return replace(self, role=None, departments=own)


class NewLink(Struct, frozen=True):
    """A link just made, by which a person sets a password: the only time its code is shown.

    Attributes:
        path: the address after the yard's own.
        is_reset: whether they have a password now, which it replaces.
    """

    code: str
    path: str
    principal: str
    is_reset: bool
    expires_at: datetime


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
    used_at: datetime | None = None
    rows_per_second: float | None = None


class NewToken(Struct, frozen=True):
    """A token just made: the only time its secret is shown."""

    secret: str
    token: Token
