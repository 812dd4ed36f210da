"""Pickles a model, and says which modules a pickle names, without opening it."""

from __future__ import annotations

import dis
import io
import pickle
import pickletools
import types
from collections.abc import Iterator

from msgspec import Struct

from modelyard.records.errors import InvalidError

PROTOCOL = 5
_STRINGS = {
    "SHORT_BINUNICODE",
    "BINUNICODE",
    "BINUNICODE8",
    "UNICODE",
    "SHORT_BINSTRING",
    "BINSTRING",
    "STRING",
}
_GETS = {"BINGET", "LONG_BINGET", "GET"}
_PUTS = {"BINPUT", "LONG_BINPUT", "PUT"}


class Pickled(Struct, frozen=True):
    """A model as bytes.

    Attributes:
        modules: full names of the modules it needs when it is opened.
    """

    data: bytes
    modules: frozenset[str]


def pickle_model(model: object) -> Pickled:
    """A model as a pickle: what is defined in `__main__`, or inside a function, by value; all else by name.

    Raises:
        InvalidError: it cannot be pickled.
    """
    try:
        data = pickle.dumps(model, protocol=PROTOCOL)
        modules = named_modules(data)
    except Exception:  # noqa: BLE001  # whatever pickle says of it: cloudpickle may know better
        modules = frozenset({"__main__"})
    if "__main__" not in modules:
        return Pickled(data, modules)
    return _by_value(model)


def _by_value(model: object) -> Pickled:
    import cloudpickle  # noqa: PLC0415  # slow to import, and most models do without

    imported: set[str] = set()

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # it has no types
        def persistent_id(self, obj: object) -> None:
            """Called for each object on its way; takes none out, but looks into functions for imports."""
            if isinstance(obj, types.CodeType):
                imported.update(_imports(obj))

    buffer = io.BytesIO()
    try:
        Pickler(buffer, protocol=PROTOCOL).dump(model)
    except Exception as error:
        raise InvalidError(
            f"The model, a {type(model).__name__}, cannot be pickled: {type(error).__name__}: {error}.",
            "It holds something that lives in this process alone (an open file or connection, a lock, a "
            "thread, a generator). Take that out, or publish your code files with entry='module:function'.",
        ) from error
    data = buffer.getvalue()
    return Pickled(data, named_modules(data) | imported | {"cloudpickle"})


def _imports(code: types.CodeType) -> Iterator[str]:
    """Modules that a function imports when it runs; its inner functions are objects of their own."""
    for instruction in dis.get_instructions(code):
        if instruction.opname == "IMPORT_NAME" and isinstance(instruction.argval, str) and instruction.argval:
            yield instruction.argval


def named_modules(data: bytes) -> frozenset[str]:
    """The modules a pickle names, by reading its instructions; nothing is run.

    Raises:
        InvalidError: it is no pickle.

    >>> sorted(named_modules(pickle.dumps(pickle.Pickler)))
    ['_pickle']
    """
    try:
        return frozenset(_named(data))
    except Exception as error:  # pickletools raises many kinds on a broken one
        raise InvalidError(
            f"The file is no pickle: {error}.", "Give the file that pickle.dump wrote."
        ) from error


def _named(data: bytes) -> Iterator[str]:
    """Follows strings and names through the memo, as far as names and cloudpickle's imports need it."""
    memo: dict[int, object] = {}
    strings: list[str] = []
    last: object = None
    after_import = False
    for operation, argument, _ in pickletools.genops(data):
        name = operation.name
        if name == "MEMOIZE":
            memo[len(memo)] = last
            continue
        if name in _PUTS:
            memo[int(argument)] = last  # type: ignore[arg-type]
            continue
        if name in _STRINGS:
            last = argument
        elif name in _GETS:
            last = memo.get(int(argument))  # type: ignore[arg-type]
        elif name == "GLOBAL":
            module, _, attribute = str(argument).partition(" ")
            yield module
            last = (module, attribute)
        elif name == "STACK_GLOBAL":
            yield strings[-2]
            last = (strings[-2], strings[-1])
        else:
            last = None
        if isinstance(last, str):
            if after_import:
                yield last
            strings = [*strings[-1:], last]
        after_import = isinstance(last, tuple) and last[1] == "subimport"
