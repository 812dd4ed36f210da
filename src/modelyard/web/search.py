"""The search beside models: datasets and people, as far as one may know of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec import Struct
from msgspec.structs import replace

from modelyard.api.services import Services
from modelyard.records.datasets import Dataset
from modelyard.records.people import Grant, Need, Principal

MOST = 20


class Person(Struct, frozen=True):
    """Somebody found: the name, what they are, and where a page tells more."""

    name: str
    words: str
    address: str


class Found(Struct, frozen=True):
    """What a search found beside models; `more` says that there was still more."""

    datasets: Sequence[Dataset] = ()
    people: Sequence[Person] = ()
    more: bool = False


def search(services: Services, grant: Grant, text: str) -> Found:
    """Datasets and people in whose names all the words are; nothing for an empty search. Blocking.

    Of people one finds the members of departments whose members one may see.
    """
    words = text.lower().split()
    if not words:
        return Found()
    datasets = services.datasets.datasets(grant.seen, grant.shared_datasets)
    fitting = [d for d in datasets if has(words, d.dataset)]
    known = [p for p in _known(services, grant) if has(words, p.name)]
    people = [_person(p, grant) for p in known[:MOST]]
    return Found(fitting[:MOST], people, max(len(fitting), len(known)) > MOST)


def has(words: Iterable[str], *texts: str) -> bool:
    """Whether each word is in one of the texts.

    >>> has(["fuel", "python"], "finance/Fuel-cost", "Python")
    True
    """
    whole = " ".join(texts).lower()
    return all(word in whole for word in words)


def _known(services: Services, grant: Grant) -> list[Principal]:
    if grant.allows(Need.OVERSEE):
        return services.people.principals()
    found: dict[str, Principal] = {}
    for place in grant.places(Need.REVIEW):
        for person in services.people.members(place):
            known = found.get(person.name)
            own = person.departments | (known.departments if known else {})
            found[person.name] = replace(person, departments=own)
    return [found[name] for name in sorted(found)]


def _person(person: Principal, grant: Grant) -> Person:
    held = [*([f"{person.role}"] if person.role else [])]
    held += [f"{role} in {place}" for place, role in sorted(person.departments.items())]
    places = [place for place in sorted(person.departments) if grant.allows(Need.REVIEW, place)]
    address = f"/people/{places[0]}" if places else "/users"
    return Person(person.name, ", ".join([person.kind, *held]), address)
