"""Model cards are kept with the versions, on each kind of database and through the API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal

from modelyard.catalog.cards import MAX_CARD
from modelyard.catalog.people import People
from modelyard.catalog.registry import Registry
from modelyard.records.errors import InvalidError, NotFoundError, TooLargeError
from modelyard.records.people import Role
from tests.contract.api_house import MODEL, House

CARD = f"/api/v1/models/{MODEL}/card"


@pytest.fixture
def house(registry: Registry, people: People, tmp_path: Path) -> Iterator[House]:
    with start_blocking_portal() as portal, House(portal, registry, people, tmp_path) as house:
        yield house


def test_a_card_holds_from_its_version_on_and_earlier_ones_stay(house: House) -> None:
    cards = house.registry.cards
    assert (cards.card(MODEL).text, cards.card(MODEL).changed_by) == ("", "")
    first = cards.write(MODEL, "# One\r\n", by="anna")
    assert (first.version, first.text, first.changed_by) == (1, "# One", "anna")
    house.publish(MODEL, b"two")
    assert cards.card(MODEL, 2) == first
    assert cards.write(MODEL, "# One", by="ben") == first, "version 1 is still in use"
    cards.write(MODEL, "# Two", 2, by="ben")
    cards.write(MODEL, "# One, corrected", 1, by="ben")
    assert [cards.card(MODEL, n).text for n in (1, 2)] == ["# One, corrected", "# Two"]
    house.registry.set_alias(MODEL, "champion", 2, by="ben")
    assert cards.card(MODEL).text == "# Two"


def test_the_same_text_again_changes_nothing(house: House) -> None:
    first = house.registry.cards.write(MODEL, "what it is for", by="anna")
    assert house.registry.cards.write(MODEL, "what it is for\n", by="ben") == first


def test_what_cannot_be_kept_is_refused(house: House) -> None:
    write = house.registry.cards.write
    with pytest.raises(TooLargeError):
        write(MODEL, "x" * (MAX_CARD + 1), by="anna")
    with pytest.raises(InvalidError):
        write(MODEL, "half \ud800", by="anna")
    with pytest.raises(NotFoundError):
        write(MODEL, "none", 7, by="anna")
    with pytest.raises(NotFoundError):
        write("finance/none", "none", by="anna")
    assert house.registry.cards.card(MODEL).text == ""


def test_the_api_reads_and_writes_cards(house: House) -> None:
    kept = house.ask("PUT", CARD, Role.BUILDER, json={"text": "# Fuel", "version": 1})
    assert kept.status_code == 200
    assert kept.json()["changed_by"] == "builder-finance"
    assert house.ask("GET", CARD, Role.VIEWER).json() == kept.json()
    assert house.ask("GET", CARD + "?version=1", Role.VIEWER).json()["text"] == "# Fuel"
    assert house.ask("PUT", CARD, Role.CALLER, json={"text": "no"}).status_code == 403
    assert house.ask("PUT", CARD, Role.BUILDER, json={"text": 7}).status_code == 422
