"""Rows of JSON: what fits a signature is taken, anything else is refused with its row and column."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.rows import BOOL, FLOAT64, INT64, STRING, rows_of, signatures, values_of

from modelyard.records.errors import InvalidError, MalformedError, TooLargeError, YardError
from modelyard.records.signatures import Column, Signature
from modelyard.serving import inputs
from modelyard.serving.inputs import InputPlan, Inputs
from modelyard.workers.wire import block_of, to_values

ALL = Signature(
    (
        Column("x", FLOAT64),
        Column("n", INT64),
        Column("b", BOOL),
        Column("s", STRING),
        Column("level", STRING, levels=("AA", "UA")),
    )
)
GOOD = {"x": 1.5, "n": 3, "b": True, "s": "é", "level": "AA"}
ANY = InputPlan(Signature(tuple(Column(c.name, c.type, missing=True) for c in ALL.inputs)), max_rows=10)
PLAN = InputPlan(ALL, max_rows=10)
DEEP = 100_000


def read(*records: Any, plan: InputPlan = PLAN) -> Inputs:
    return plan.from_json(json.dumps(records).encode())


def one(**values: Any) -> Inputs:
    return read({**GOOD, **values})


def test_rows_come_in_the_order_of_the_signature() -> None:
    backwards = dict(reversed(GOOD.items()))
    assert read(GOOD, backwards).rows == [(1.5, 3, True, "é", "AA")] * 2
    assert read(GOOD).keys is None


def test_records_may_be_wrapped() -> None:
    wrapped = PLAN.from_json(json.dumps({"records": [GOOD], "more": 1}).encode())
    assert wrapped.rows == read(GOOD).rows


def test_no_rows_are_no_rows() -> None:
    for body in (b"[]", b'{"records": []}'):
        nothing = PLAN.from_json(body)
        assert nothing.count == 0
        assert [len(c.data) for c in PLAN.columns_of([nothing])] == [0] * 5


def test_other_columns_become_keys() -> None:
    inputs = read({**GOOD, "flight": "AA1", "deep": {"a": [1, None]}}, GOOD)
    assert [key and json.loads(key) for key in inputs.keys or ()] == [
        {"flight": "AA1", "deep": {"a": [1, None]}},
        None,
    ]
    assert inputs.rows == read(GOOD, GOOD).rows


@pytest.mark.parametrize(
    ("values", "taken"),
    [
        ({"x": 2}, 2.0),
        ({"x": 2**60 + 1}, float(2**60)),
        ({"n": 3.0}, 3),
        ({"n": -0.0}, 0),
        ({"n": 2**63 - 1}, 2**63 - 1),
        ({"n": -(2**63)}, -(2**63)),
        ({"n": 1e18}, 10**18),
        ({"s": ""}, ""),
        ({"s": "😀\n"}, "😀\n"),
    ],
)
def test_values_that_fit(values: dict[str, Any], taken: Any) -> None:
    (name,) = values
    row = (one(**values).rows or [()])[0]
    value = row[[c.name for c in ALL.inputs].index(name)]
    assert (value, type(value)) == (taken, type(taken))


@pytest.mark.parametrize(
    "values",
    [
        {"x": "1"},
        {"x": True},
        {"x": [1]},
        {"x": 10**400},
        {"n": 1.5},
        {"n": "1"},
        {"n": False},
        {"n": 2**63},
        {"n": -(2**63) - 1},
        {"n": 9.3e18},
        {"n": 10**400},
        {"b": 1},
        {"b": "true"},
        {"s": 1},
        {"s": "a\0b"},
        {"s": {}},
        {"level": "ZZ"},
        {"level": ""},
        {"x": None},
        {"n": None},
        {"level": None},
    ],
    ids=str,
)
@pytest.mark.parametrize("extra", [{}, {"key": 1}], ids=["", "with a key"])
def test_values_that_do_not_fit_are_named(values: dict[str, Any], extra: dict[str, Any]) -> None:
    (name,) = values
    with pytest.raises(InvalidError) as caught:
        read(GOOD, {**GOOD, **values, **extra})
    assert caught.value.fields == {"column": name, "row": 1}
    assert "Row 1" in caught.value.message
    assert f"'{name}'" in caught.value.message
    assert len(str(caught.value)) < 500


def test_a_missing_column_is_named_and_told_from_a_missing_value() -> None:
    without = {k: v for k, v in GOOD.items() if k != "n"}
    with pytest.raises(InvalidError, match=r"'n' .* is not there"):
        read(without)
    with pytest.raises(InvalidError, match=r"'n' .* is missing a value"):
        one(n=None)


def test_a_misspelt_column_is_told_with_the_one_that_is_meant() -> None:
    plan = InputPlan(Signature((Column("distance", FLOAT64),)), 10)
    with pytest.raises(InvalidError) as caught:
        plan.from_json(b'[{"flight": "A1", "distence": 4.0}]')
    assert caught.value.hint.startswith("Is it 'distence'?")
    for others in (b'"flight": 1', b'"' + 200 * b"x" + b'": 1', b'"a;b": 1, "c;d": 2'):
        with pytest.raises(InvalidError) as caught:
            plan.from_json(b"[{" + others + b"}]")
        assert caught.value.hint.startswith("Send a value")
    with pytest.raises(InvalidError) as caught:
        plan.from_json(b'[{"distance": null, "distence": 4.0}]')
    assert caught.value.hint.startswith("Send a value"), "it is there, and has none"


def test_missing_where_allowed() -> None:
    assert read({}, {"x": None, "s": None}, plan=ANY).rows == [(None,) * 5] * 2


def test_levels_are_told_but_not_all_of_very_many() -> None:
    many = Column("l", STRING, levels=tuple(f"level{i}" for i in range(1000)))
    with pytest.raises(InvalidError) as caught:
        read({"l": "x"}, plan=InputPlan(Signature((many,)), 1))
    assert "level0, level1" in caught.value.hint
    assert len(caught.value.hint) < 200


def test_no_levels_let_nothing_in() -> None:
    plan = InputPlan(Signature((Column("l", STRING, missing=True, levels=()),)), 1)
    assert read({"l": None}, plan=plan).rows == [(None,)]
    with pytest.raises(InvalidError):
        read({"l": "x"}, plan=plan)


@pytest.mark.parametrize("extra", [b"", b',"key":1'], ids=["", "with a key"])
def test_of_a_doubled_key_the_last_counts(extra: bytes) -> None:
    plan = InputPlan(Signature((Column("x", FLOAT64),)), 1)
    assert plan.from_json(b'[{"x":1,"x":2' + extra + b"}]").rows == [(2.0,)]


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "a\tb", "\x7f", "é", "a b", "f0", "__dict__", "a.b"])
def test_names_of_any_kind(name: str) -> None:
    plan = InputPlan(Signature((Column(name, FLOAT64), Column("other", STRING))), 5)
    assert read({name: 1, "other": "o"}, plan=plan).rows == [(1.0, "o")]
    with pytest.raises(InvalidError) as caught:
        read({name: "no", "other": "o"}, plan=plan)
    assert caught.value.fields == {"column": name, "row": 0}
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[{]",
        b"x,n\n1,2\n",
        b'[{"x": NaN}]',
        b'[{"x": Infinity}]',
        b'[{"x": -Infinity}]',
        b'[{"x": 1e999}]',
        b'[{"key": 1e999}]',
        b'[{"x": ' + b"9" * 5000 + b"}]",
        b'[{"key": ' + b"9" * 5000 + b"}]",
        b'[{"s": "\xff"}]',
        b'[{"\xff": 1}]',
        b'[{"s": "\\ud800"}]',
        b'[{"key": "\\udc00\\ud800"}]',
        b'\xef\xbb\xbf[{"x": 1}]',
        '[{"x": 1}]'.encode("utf-16"),
        b"[" * DEEP,
        b"[" * DEEP + b"]" * DEEP,
        b'[{"x": ' + b"[" * DEEP + b"]" * DEEP + b"}]",
        b'[{"key": ' + b'{"a":' * DEEP + b"1" + b"}" * DEEP + b"}]",
        b'{"records": [{"key": ' + b"[" * DEEP + b"]" * DEEP + b"}]}",
    ],
    ids=lambda b: ascii(b[:24]),
)
def test_what_is_not_json_cannot_be_read(body: bytes) -> None:
    """HARDENING 25, 26."""
    with pytest.raises(MalformedError):
        ANY.from_json(body)


@pytest.mark.parametrize("body", [b"null", b"1", b'"a"', b"{}", b'{"records": {}}', b'{"x": 1}'])
def test_json_that_holds_no_rows(body: bytes) -> None:
    with pytest.raises(InvalidError, match="neither an array"):
        ANY.from_json(body)


@pytest.mark.parametrize("row", ["null", "1", "[1]", '"x"'])
def test_a_row_that_is_no_record(row: str) -> None:
    with pytest.raises(InvalidError, match="Row 1 is not an object") as caught:
        ANY.from_json(f"[{{}}, {row}]".encode())
    assert caught.value.fields == {"row": 1}


def test_depth_that_can_be_read_but_not_written_is_refused_as_well() -> None:
    """Around Python's recursion limit reading and writing give up at slightly different depths."""
    for depth in range(950, 1050):
        body = b'[{"key":' + b"[" * depth + b"]" * depth + b"}]"
        try:
            keys = ANY.from_json(body).keys
        except MalformedError:
            continue
        assert keys == ['{"key":' + "[" * depth + "]" * depth + "}"]


@pytest.mark.parametrize("extra", [{}, {"key": 1}], ids=["", "with a key"])
def test_too_many_rows(extra: dict[str, Any]) -> None:
    assert read(*[{**GOOD, **extra}] * 10).count == 10
    with pytest.raises(TooLargeError, match="11 rows; the limit is 10"):
        read(*[{**GOOD, **extra}] * 11)


def test_requests_are_joined_in_their_order() -> None:
    parts = [read({**GOOD, "n": n}, {**GOOD, "n": -n}) for n in (1, 2, 3)]
    joined = dict(zip("xnbsl", values_of(PLAN.columns_of(parts)), strict=True))
    assert joined["n"] == [1, -1, 2, -2, 3, -3]
    assert joined["s"] == ["é"] * 6


@given(data=st.data(), signature=signatures())
def test_the_quick_way_and_the_slow_way_agree(data: st.DataObject, signature: Signature) -> None:
    """Rows with an extra column are read by another path; the values must be the same."""
    rows = data.draw(rows_of(signature.inputs))
    plan = InputPlan(signature, 10)
    records = [dict(zip([c.name for c in signature.inputs], row, strict=True)) for row in rows]
    quick = read(*records, plan=plan)
    slow = read(*[{**record, "another key": 1} for record in records], plan=plan)
    assert quick.keys is None
    assert values_of(plan.columns_of([quick])) == values_of(plan.columns_of([slow]))
    for each in (quick, slow):  # and so do the ways for many rows, and what is sent
        extra = {"another key": 1} if each is slow else {}
        table = plan.table_from_json(json.dumps([{**record, **extra} for record in records]).encode())
        assert (table.count, table.rows, table.keys) == (each.count, None, each.keys)
        assert values_of(table.columns or ()) == values_of(plan.columns_of([each]))
        assert plan.block_of([each]) == block_of(plan.columns_of([each]))
        assert plan.block_of([table]) == plan.block_of([each])
    assert quick.rows == rows


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["x", "n", "b", "s", "level", "k"]), inner)
    ),
    max_leaves=12,
)


@given(
    data=st.binary()
    | JSON.map(lambda v: json.dumps([v]).encode())
    | st.lists(JSON).map(lambda v: repr(v).encode())
)
def test_whatever_comes_only_errors_of_ours_leave(data: bytes) -> None:
    for plan in (PLAN, ANY):
        try:
            plan.columns_of([plan.from_json(data)])
        except YardError as error:
            assert error.message  # noqa: PT017 - most inputs are refused, some are not


_PIECES = st.sampled_from(
    ['{"x": 1, "y": 2.5}', '{"y": -1e3, "x": 0}', ' {"x": 1,"y":2} ', '{"x": 1}', '{"x": 1, "y": null}',
     '{"x": 1, "y": 2, "k": "}, {"}', '{"x": 1, "y": 2, "k": [{"a": 1}, {"b": 2}]}',
     '{"x": 1, "y": 2, "}, {": 3}',
     '{"x": "}, {", "y": 2}', "{}", "[{}, {}]", "7", '{"x": 1, "y": 2, "x": 3}']
)  # fmt: skip


@given(pieces=st.lists(_PIECES, max_size=8), between=st.sampled_from([",", ", ", " ,\n ", "", ",,", "\f,"]))
def test_records_decoded_in_parts_are_those_decoded_at_once(pieces: list[str], between: str) -> None:
    """Wherever it is cut: within strings, nested arrays, and where it is no JSON at all."""
    plan = InputPlan(Signature((Column("x", FLOAT64), Column("y", FLOAT64))), 6)
    body = ("[" + between.join(pieces) + "]").encode()

    def outcome(part: int) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(inputs, "_PART", part)
            try:
                found = plan.table_from_json(body)
            except YardError as error:
                return f"{error.code}: {error.message}"
        return repr((found.count, [to_values(c) for c in found.columns or ()], found.keys))

    assert outcome(1) == outcome(10**6)
