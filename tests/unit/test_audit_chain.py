"""The audit's chain, pure: whatever is done to it afterwards shows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from modelyard.catalog.audit import escaped, to_csv
from modelyard.records.audit import BEGINNING, Chain, Entry, Fault, Mark, chained

_AT = datetime(2026, 1, 2, tzinfo=UTC)
_TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
_FIELDS = Entry.__struct_fields__[1:]


def chain(subjects: list[str]) -> list[Entry]:
    """Entries about these subjects, as they are written."""
    entries: list[Entry] = []
    for number, subject in enumerate(subjects, 1):
        at = _AT + timedelta(seconds=number)
        entry = Entry(number, at, "anna", "thing.change", subject, None, '{"x":1}', "::1", "r", "token 1")
        entries.append(chained(entry, entries[-1].hash if entries else BEGINNING))
    return entries


def faults(entries: list[Entry], head: Mark, *marks: Mark) -> tuple[Fault, ...]:
    """What a verification of these rows finds."""
    follower = Chain(marks=marks)
    for entry in sorted(entries, key=lambda e: e.number):  # as the database gives them
        follower.feed(entry)
    return follower.faults(head)


def end(entries: list[Entry]) -> Mark:
    """What is noted of the end."""
    return Mark(entries[-1].number, entries[-1].hash) if entries else Mark(0, BEGINNING)


@given(st.lists(_TEXTS, max_size=8), st.data())
def test_what_was_written_is_without_fault(subjects: list[str], data: st.DataObject) -> None:
    entries = chain(subjects)
    marked = entries[: data.draw(st.integers(0, len(entries)))]
    assert faults(entries, end(entries), end(marked)) == ()


@given(st.lists(_TEXTS, min_size=1, max_size=8), st.data())
def test_any_edit_shows(subjects: list[str], data: st.DataObject) -> None:
    entries = chain(subjects)
    at = data.draw(st.integers(0, len(entries) - 1))
    name = data.draw(st.sampled_from(_FIELDS))
    old = getattr(entries[at], name)
    new = data.draw(_TEXTS) if name != "at" else old + timedelta(microseconds=1)
    changed = [*entries]
    changed[at] = msgspec.structs.replace(entries[at], **{name: new})
    assert bool(faults(changed, end(entries))) == (new != old)


@given(st.lists(_TEXTS, min_size=1, max_size=8), st.data())
def test_any_deletion_shows_also_when_the_rest_is_renumbered(
    subjects: list[str], data: st.DataObject
) -> None:
    entries = chain(subjects)
    at = data.draw(st.integers(0, len(entries) - 1))
    left = entries[:at] + entries[at + 1 :]
    assert faults(left, end(entries))
    closed = [msgspec.structs.replace(entry, number=number) for number, entry in enumerate(left, 1)]
    assert faults(closed, end(entries))
    if at < len(entries) - 1:  # else the end was cut, and only a note of it elsewhere can tell
        assert faults(closed, end(closed))
        assert faults(left, end(left))


@given(st.permutations(["a", "b", "c", "d", "e"]))
def test_any_reordering_shows(subjects: list[str]) -> None:
    entries = chain(["a", "b", "c", "d", "e"])
    of = {entry.subject: entry for entry in entries}
    moved = [msgspec.structs.replace(of[s], number=n) for n, s in enumerate(subjects, 1)]
    assert bool(faults(moved, end(entries))) == (moved != entries)


@given(st.lists(_TEXTS, min_size=1, max_size=8), st.data())
def test_a_cut_end_or_a_chain_written_anew_shows_by_a_checkpoint_alone(
    subjects: list[str], data: st.DataObject
) -> None:
    entries = chain(subjects)
    kept = entries[: data.draw(st.integers(0, len(entries) - 1))]
    assert faults(kept, end(kept)) == (), "the database alone cannot tell"
    (cut,) = faults(kept, end(kept), end(entries))
    assert "the end is cut" in cut.words
    at = data.draw(st.integers(0, len(entries) - 1))
    anew = chain([*subjects[:at], subjects[at] + "!", *subjects[at + 1 :]])
    assert faults(anew, end(anew)) == ()
    assert faults(anew, end(anew), end(entries))


@given(st.lists(_TEXTS, min_size=2, max_size=8), st.data())
def test_an_entry_put_in_shows(subjects: list[str], data: st.DataObject) -> None:
    entries = chain(subjects)
    at = data.draw(st.integers(0, len(entries)))
    extra = chain(["extra"])[0]
    put_in = [*entries[:at], extra, *entries[at:]]
    renumbered = [msgspec.structs.replace(entry, number=n) for n, entry in enumerate(put_in, 1)]
    assert faults(renumbered, end(entries))
    assert faults([*entries, msgspec.structs.replace(extra, number=max(1, at))], end(entries))


def test_a_fault_is_told_where_it_is_and_once() -> None:
    entries = chain(["a", "b", "c", "d"])
    entries[1] = msgspec.structs.replace(entries[1], by="eve")
    assert faults(entries, end(entries)) == (Fault(2, "is not what was written, or not where"),)
    gone = faults([entries[0], entries[3]], end(entries))
    assert gone == (Fault(2, "missing: 2 to 3"),)


@given(st.text())
def test_54_no_cell_of_an_export_is_a_formula(text: str) -> None:
    assert not escaped(text).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert escaped(text).removeprefix("'") == text.removeprefix("'")


def test_54_an_exported_entry_is_escaped() -> None:
    evil = msgspec.structs.replace(chain(["x"])[0], by="=cmd|' /C calc'!A0", subject="@sum(1)")
    header, line = to_csv([evil])
    assert header.startswith("number,at,by,action,subject")
    assert ",'=cmd|' /C calc'!A0," in line
    assert ",'@sum(1)," in line
