"""`yard.toml` with each kind of mistake, and what of a folder is sent."""

from __future__ import annotations

import io
import subprocess
import tarfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelyard.client.projects import commit_of, pack_project, project_files
from modelyard.records.errors import InvalidError, NotFoundError, TooLargeError
from modelyard.records.projects import Train, read_project
from modelyard.records.tables import line_of

GOOD = """\
model = "operations/arrival-delay"
language = "r"

[train]
run = "Rscript train.R"
data = { flights = "operations/flights" }
target = "arr_delay"
time = "2h"
memory = "2 GB"

[parameters]
trees = 40

[retrain]
schedule = "0 3 * * 1"

[promote]
metric = "mae"
rollout = ["shadow 30m"]
"""


def test_a_whole_project_is_read() -> None:
    project = read_project(GOOD)
    assert (project.model, project.language) == ("operations/arrival-delay", "r")
    assert (project.train.command, project.train.seconds) == (["Rscript", "train.R"], 7200)
    assert (project.train.memory_bytes, project.train.disk_bytes) == (2 * 10**9, 4 * 10**9)
    assert project.retrain is not None
    assert project.promote is not None
    assert read_project(GOOD.split("[retrain]", maxsplit=1)[0]).promote is None


@pytest.mark.parametrize(
    ("old", "new", "line", "key", "words"),
    [
        ('model = "operations/arrival-delay"', "", 1, "model", "There is no model"),
        ("operations/arrival-delay", "Delay", 1, "model", "must be a name"),
        ("operations/arrival-delay", "operations/arrival-delay/3", 1, "model", "must be a name"),
        ('language = "r"', "", 1, "language", "There is no language"),
        ('"r"', '"cobol"', 2, "language", "one of python, r, julia"),
        ('"r"', "3", 2, "language", "one of python, r, julia"),
        ("language", "langauge", 2, "langauge", "not known"),
        ("[train]", "[trian]", 4, "trian", "not known"),
        ("run =", "rum =", 5, "train.rum", "not known"),
        ('run = "Rscript train.R"', "", 4, "train.run", "has no run"),
        ("Rscript train.R", " ", 5, "train.run", "it is empty"),
        ("Rscript train.R", "Rscript 'train.R", 5, "train.run", "No closing quotation"),
        ('"Rscript train.R"', "17", 5, "train.run", "Expected `str`"),
        ('{ flights = "operations/flights" }', '"operations/flights"', 6, "train.data", "Expected"),
        ('flights = "operations', 'flights = "Flights', 6, "train.data.flights", "must be a dataset"),
        ('flights = "operations/flights"', 'flights = "a/b@c"', 6, "train.data.flights", "must be a dataset"),
        ("{ flights", '{ "../x"', 6, "train.data.../x", "the name of a file"),
        ('"2h"', '"soon"', 8, "train.time", "a number and s, m, h or d"),
        ('"2h"', '"31d"', 8, "train.time", "30 days at most"),
        ('"2 GB"', '"2 KB"', 9, "train.memory", "64 MB at least"),
        ('"2 GB"', "2", 9, "train.memory", "Expected `str`"),
        ('time = "2h"', 'hosts = ["files.example.org"]', 8, "train.hosts", "a name and a port"),
        ('time = "2h"', 'hosts = ["10.1.2.3:443"]', 8, "train.hosts", "no address"),
        ('time = "2h"', 'hosts = "files.example.org:443"', 8, "train.hosts", "Expected `array`"),
        ("trees = 40", "trees = [40]", 12, "parameters.trees", "a finite number"),
        ("trees = 40", "trees = nan", 12, "parameters.trees", "a finite number"),
        ("trees = 40", "'a b' = 1", 12, "parameters.a b", "a name of letters"),
        ("[parameters]\ntrees = 40", "parameters = 3", 11, "train.parameters", "not known"),
        ('"0 3 * * 1"', '"0 0 31 2 *"', 15, "retrain.schedule", "never fires"),
        ('schedule = "0 3 * * 1"', "new_rows = 0", 15, "retrain.new_rows", "a whole number"),
        ('"mae"', '"bias"', 18, "promote.metric", "one of"),
        ('"shadow 30m"', '"shadow soon"', 19, "promote.rollout", "shadow 30m"),
        ("[promote]", "[promote", 17, "", "no TOML"),
        ("trees = 40", "trees = 40\ntrees = 41", 13, "", "no TOML"),
        ("trees = 40", "trees = " + "[" * 3000, 1, "", "nested too deeply"),
    ],
)
def test_each_mistake_is_named_by_line_and_key(old: str, new: str, line: int, key: str, words: str) -> None:
    assert old in GOOD
    with pytest.raises(InvalidError) as caught:
        read_project(GOOD.replace(old, new, 1))
    assert words in str(caught.value)
    assert (caught.value.fields["line"], caught.value.fields["key"]) == (line, key)
    assert caught.value.fields["file"] == "yard.toml"


@given(st.text(max_size=400))
def test_no_text_is_more_than_a_mistake(text: str) -> None:
    for whole in (text, GOOD + text, GOOD.replace("40", text)):
        with suppress(InvalidError):
            read_project(whole)


@given(st.text(max_size=60))
def test_any_command_is_split_or_refused(run: str) -> None:
    with suppress(InvalidError):
        assert Train(run).command


def test_a_key_is_found_in_tables_dotted_and_quoted() -> None:
    text = "a = 1\n[b]\n'c' = 2\n[b.d]\ne = 3\n[[f]]\ng = 4"
    assert [line_of(text, key) for key in ("a", "b.c", "b.d.e", "f.g", "b.none", "none")] == [
        1,
        3,
        5,
        7,
        2,
        None,
    ]


# What is sent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "project"
    made.mkdir()
    (made / "yard.toml").write_text(GOOD)
    (made / "train.R").write_text("1")
    return made


def sent(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in project_files(folder)}


def git(folder: Path, *words: str) -> None:
    options = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    subprocess.run(["git", "-C", str(folder), *options, *words], check=True, stdout=subprocess.DEVNULL)


def test_what_git_ignores_is_not_sent_and_what_it_lists_again_is(folder: Path) -> None:
    for name in (
        "a.csv",
        "keep.csv",
        "sub/b.csv",
        "sub/c.txt",
        "out/x",
        "deep/out/y",
        "data/z",
        "sub/data/w",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    (folder / ".gitignore").write_text("# big\n*.csv\n!keep.csv\nout/\n/data\n")
    (folder / "sub/.gitignore").write_text("!b.csv\nc.txt\n")
    assert sent(folder) == {
        *(".gitignore", "yard.toml", "train.R", "keep.csv"),
        *("sub/.gitignore", "sub/b.csv", "sub/data/w"),
    }
    git(folder, "init", "-q")
    listed = subprocess.run(
        ["git", "-C", str(folder), "ls-files", "-co", "--exclude-standard"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert sent(folder) == set(listed.stdout.split()), "as git itself decides"


def test_the_ignore_files_of_the_repository_above_count(folder: Path) -> None:
    (folder.parent / ".gitignore").write_text("*.log\nproject/cache\n")
    (folder / "a.log").write_text("x")
    (folder / "cache").mkdir()
    (folder / "cache/b").write_text("x")
    assert "a.log" in sent(folder), "outside a repository nothing above counts"
    git(folder.parent, "init", "-q")
    assert sent(folder) == {"yard.toml", "train.R"}


def test_tools_results_and_secrets_stay(folder: Path) -> None:
    for name in (
        ".env",
        "id_rsa",
        "yard-output/model.rds",
        "__pycache__/a.pyc",
        ".venv/bin/python",
        "b/.netrc",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    assert sent(folder) == {"yard.toml", "train.R"}


def test_a_link_within_is_followed_and_one_that_leads_out_is_refused(folder: Path, tmp_path: Path) -> None:
    (folder / "again.R").symlink_to("train.R")
    assert "again.R" in sent(folder)
    (tmp_path / "outside").write_text("secret")
    (folder / "out.R").symlink_to(tmp_path / "outside")
    with pytest.raises(InvalidError, match="leads out of the project"):
        sent(folder)


def test_the_commit_is_told_and_whether_there_are_changes(folder: Path) -> None:
    assert commit_of(folder) == ""
    git(folder, "init", "-q")
    assert commit_of(folder) == "", "no commit yet"
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "one")
    clean = commit_of(folder)
    assert clean.startswith("git ")
    assert len(clean) == 44
    (folder / "train.R").write_text("2")
    assert commit_of(folder) == clean + " (with changes)"


def test_a_project_is_packed_and_one_that_is_none_is_not(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = io.BytesIO()
    packed = pack_project(folder, out)
    assert (packed.files, packed.code, packed.project.language) == (2, "", "r")
    out.seek(0)
    with tarfile.open(fileobj=out) as tar:
        assert tar.getnames() == ["train.R", "yard.toml"]
    with pytest.raises(NotFoundError, match=r"no yard\.toml"):
        pack_project(tmp_path, io.BytesIO())
    monkeypatch.setattr("modelyard.client.projects.LARGEST", 100)
    with pytest.raises(TooLargeError, match=r"largest file is yard\.toml"):
        pack_project(folder, io.BytesIO())
