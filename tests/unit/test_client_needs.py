"""What a model needs: modules named by its pickle, packages they come from, and a person's own code files."""

from __future__ import annotations

import importlib
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline

from modelyard.client.code import collect, files_in, imports
from modelyard.client.needs import find_needs
from modelyard.client.packages import NEVER, Installed, read_pins, requirements_text
from modelyard.client.pickles import named_modules, pickle_model
from modelyard.records.errors import InvalidError
from modelyard.workers.environments import own_fits
from modelyard.workers.environments import read_pins as pins_as_the_yard_reads_them


def write(folder: Path, **files: str) -> None:
    """Files by name without `.py`; `_in_` in it stands for a folder's end."""
    for name, text in files.items():
        path = folder / (name.replace("_in_", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def tops(modules: frozenset[str]) -> set[str]:
    return {module.partition(".")[0] for module in modules}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_modules_are_read_from_pickles_of_every_protocol(protocol: int) -> None:
    model = make_pipeline(LinearRegression().fit([[1.0], [2.0]], [1, 2]))
    named = named_modules(pickle.dumps([model, Path(), threading.Thread], protocol=protocol))
    assert {"sklearn.pipeline", "sklearn.linear_model._base", "threading"} <= named
    of_python = {"pathlib", "threading", "copyreg", "builtins", "copy_reg", "__builtin__", "_codecs"}
    assert tops(named) <= {"sklearn", "numpy"} | of_python


def test_reading_a_pickle_runs_nothing(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
            return os.mkdir, (str(tmp_path / "canary"),)

    assert named_modules(pickle.dumps(Evil())) == {"posix"}
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"\x80\x05X", b"(((", pickle.dumps(1)[:-1]])
def test_what_is_no_pickle_says_so(data: bytes) -> None:
    with pytest.raises(InvalidError, match="no pickle"):
        named_modules(data)


def test_a_model_of_packages_alone_is_pickled_by_name() -> None:
    pickled = pickle_model(LinearRegression().fit([[1.0], [2.0]], [1, 2]))
    assert tops(pickled.modules) == {"sklearn", "numpy"}
    assert pickle.loads(pickled.data).predict([[3.0]])[0] == pytest.approx(3.0)


def test_functions_of_a_session_are_pickled_with_what_they_import() -> None:
    import numpy as np  # noqa: PLC0415  # a global of the function, as in a notebook

    def inner() -> Any:
        import polars.selectors  # noqa: PLC0415

        return polars.selectors

    pickled = pickle_model(lambda rows: (np.zeros(len(rows)), inner))
    assert {"numpy", "polars.selectors", "cloudpickle"} <= pickled.modules
    assert "__main__" not in pickled.modules
    assert list(pickle.loads(pickled.data)([1, 2])[0]) == [0, 0]


def test_classes_of_a_script_open_in_another_process(tmp_path: Path) -> None:
    """What is defined in `__main__` must not be looked for in the `__main__` of the worker."""
    script = (
        "from modelyard.client.pickles import pickle_model\n"
        "class Twice:\n    def predict(self, rows):\n        return [2 * r for r in rows]\n"
        f"open({str(tmp_path / 'm.pkl')!r}, 'wb').write(pickle_model(Twice()).data)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
    opener = f"import pickle; print(pickle.load(open({str(tmp_path / 'm.pkl')!r}, 'rb')).predict([4]))"
    done = subprocess.run([sys.executable, "-c", opener], check=True, capture_output=True, text=True)
    assert done.stdout == "[8]\n"


@pytest.mark.parametrize("make", [threading.Lock, lambda: (i for i in range(3)), lambda: sys.stdout])
def test_what_lives_in_this_process_alone_is_refused(make: Callable[[], Any]) -> None:
    class Holder:
        held = None

        def __call__(self) -> Any:
            return self.held

    holder = Holder()
    holder.held = make()
    with pytest.raises(InvalidError, match="a Holder, cannot be pickled") as caught:
        pickle_model(holder)
    assert "lives in this process alone" in caught.value.hint


def test_pins_are_exact_complete_and_fit_this_environment() -> None:
    pins = Installed().pins({"sklearn.pipeline", "numpy"})
    assert pins["scikit-learn"] == metadata.version("scikit-learn")
    assert {"scipy", "joblib", "threadpoolctl", "numpy"} <= set(pins)
    assert not set(pins) & (NEVER | {"pandas", "pytest"})
    assert list(pins) == sorted(pins)
    assert own_fits(".".join(map(str, sys.version_info[:3])), pins)


@pytest.mark.torch
def test_local_parts_of_versions_are_left_out() -> None:
    pins = Installed().pins({"torch.nn"})
    assert pins["torch"] == metadata.version("torch").partition("+")[0]
    assert "setuptools" not in pins


def test_what_packages_do_not_say_they_need() -> None:
    assert "scikit-learn" in Installed().pins({"xgboost.sklearn"})
    assert "scikit-learn" not in Installed().pins({"xgboost.core"})


def test_extras_that_are_asked_for_and_markers(monkeypatch: pytest.MonkeyPatch) -> None:
    """`litestar[jinja]` requires jinja2, litestar alone does not."""

    class Distribution:
        version = "1.0"

        def __init__(self, *requires: str) -> None:
            self.requires = requires

    known = {
        "app": Distribution("web[pages] (>=2)", "gone; sys_platform == 'win32'", "tests; extra == 'dev'"),
        "web": Distribution('jinja2>=3 ; extra == "pages"', "speed ; extra == 'fast'"),
        "jinja2": Distribution(),
        "speed": Distribution(),
        "tests": Distribution(),
    }

    def find(name: str) -> Distribution:
        if name not in known:
            raise metadata.PackageNotFoundError(name)
        return known[name]

    monkeypatch.setattr(metadata, "distribution", find)
    monkeypatch.setattr(Installed, "providers", lambda _self, module: {module})
    assert Installed().pins({"app"}) == {"app": "1.0", "jinja2": "1.0", "web": "1.0"}


def test_own_modules_are_found_with_what_they_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    write(
        tmp_path,
        yt_score="import json, yt_parts.prices\nfrom yt_help import half\ndef predict(rows): return rows\n"
        "if __name__ == '__main__':\n    import pytest\n",
        yt_help="from __future__ import annotations\nfrom typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import pytest\ndef half(): \n    import polars\n",
        yt_parts_in_prices="from . import tax\nimport sklearn.tree\n",
        yt_parts_in_tax="",
        yt_parts_in___init__="",
        yt_parts_in_broken="this is not Python",
        yt_other="",
    )
    model = importlib.import_module("yt_score").predict
    needs = find_needs(pickle_model(model).modules)
    assert set(needs.files) == {
        "yt_score.py", "yt_help.py", "yt_parts/__init__.py", "yt_parts/prices.py", "yt_parts/tax.py",
        "yt_parts/broken.py",
    }  # fmt: skip
    assert {"scikit-learn", "polars", "numpy"} <= set(needs.pins)
    assert "pytest" not in needs.pins


def test_code_named_by_a_person(tmp_path: Path) -> None:
    write(
        tmp_path,
        loose_in_a="import sklearn",
        loose_in_sub_in_b="",
        package_in___init__="",
        package_in_c="import a",
    )
    (tmp_path / "loose/__pycache__").mkdir()
    (tmp_path / "loose/__pycache__/a.pyc").write_bytes(b"")
    (tmp_path / "loose/.hidden").write_text("")
    (tmp_path / "words.txt").write_text("late")
    needs = find_needs(
        [], [tmp_path / "loose", tmp_path / "package", str(tmp_path / "words.txt")], {"Some_Thing": "1.0"}
    )
    assert set(needs.files) == {"a.py", "sub/b.py", "package/__init__.py", "package/c.py", "words.txt"}
    assert needs.pins["some-thing"] == "1.0"
    assert "scikit-learn" in needs.pins
    assert [p.name for p in files_in(tmp_path / "loose")] == ["a.py", "b.py"]


def test_code_that_is_not_there_or_has_a_name_of_the_bundles(tmp_path: Path) -> None:
    with pytest.raises(InvalidError, match="no file or folder"):
        collect([tmp_path / "nothing"])
    (tmp_path / "example.csv").write_text("a\n1\n")
    with pytest.raises(InvalidError, match=r"'example\.csv', a name that the bundle itself needs"):
        collect([tmp_path / "example.csv"])


def test_imports_of_a_file(tmp_path: Path) -> None:
    write(
        tmp_path,
        m="import a.b, c as d\nfrom e.f import g\nfrom . import h\n"
        "try:\n    import i\nexcept ImportError: pass\n",
    )
    assert imports(tmp_path / "m.py") == {"a", "c", "e", "i"}


def test_pins_as_a_person_gives_them() -> None:
    lines = ["# comment", "", "Scikit_Learn == 1.9.1  # the model", "torch==2.13.0+cpu"]
    assert read_pins(lines) == {"scikit-learn": "1.9.1", "torch": "2.13.0"}
    assert read_pins({"numpy": "2.4.6"}) == {"numpy": "2.4.6"}
    assert pins_as_the_yard_reads_them(requirements_text(read_pins(lines))) == read_pins(lines)


@pytest.mark.parametrize(
    "line",
    [
        "numpy",
        "numpy>=2",
        "numpy==2.*",
        "--index-url http://x",
        "-r other",
        "git+https://x",
        "a==1\nb",
        "a @ x",
    ],
)
def test_lines_that_are_no_pins(line: str) -> None:
    with pytest.raises(InvalidError, match="not an exact package version"):
        read_pins([line])
