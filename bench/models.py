"""The models that are measured and their bundles, on real data that ships with scikit-learn and R."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from lightgbm import LGBMClassifier
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import modelyard

Matrix = np.ndarray[Any, np.dtype[np.float64]]

COLUMNS = tuple(f"x{i}" for i in range(30))
R_ROW = {"wt": 2.62, "hp": 110.0, "disp": 160.0, "qsec": 16.46}
JULIA_ROW = {"x": 2.0}

R_FITS = {
    "lm": "lm(mpg ~ wt + hp + disp + qsec, mtcars)",
    "ranger": "ranger::ranger(mpg ~ wt + hp + disp + qsec, mtcars, num.trees = 500, num.threads = 1)",
}
_SAVE_R = """
folder <- commandArgs(TRUE)[1]
saveRDS(fit, file.path(folder, "model.rds"))
rows <- head(mtcars[c("wt", "hp", "disp", "qsec")])
write.csv(rows, file.path(folder, "example.csv"), row.names = FALSE, quote = FALSE)
"""
_LINE = """
struct Line
    slope::Float64
end
predict(line::Line, columns) = line.slope .* columns.x
"""


def training_data() -> tuple[Matrix, Any]:
    """569 rows of 30 measurements, and whether the tumour was benign (Wisconsin breast cancer data)."""
    rows, labels = load_breast_cancer(return_X_y=True)
    return rows, labels


def many_rows(count: int) -> Matrix:
    """Rows like those, each a little different."""
    rows, _ = training_data()
    random = np.random.default_rng(7)
    chosen = rows[random.integers(0, len(rows), count)]
    return np.ascontiguousarray(chosen * random.normal(1.0, 0.01, chosen.shape))


def logistic(strength: float = 1.0) -> Any:  # noqa: ANN401  # scikit-learn has no types
    """A pipeline that scales 30 columns and asks a logistic regression."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength)).fit(*training_data())


def forest(trees: int = 100) -> Any:  # noqa: ANN401  # scikit-learn has no types
    """A random forest on the same columns."""
    return RandomForestClassifier(n_estimators=trees, random_state=7).fit(*training_data())


def boosting() -> Any:  # noqa: ANN401  # LightGBM has no types
    """LightGBM with 500 trees on the same columns."""
    return LGBMClassifier(n_estimators=500, verbose=-1, n_jobs=1).fit(*training_data())


def linear() -> Any:  # noqa: ANN401  # scikit-learn has no types
    """A linear regression on the first four columns."""
    rows, labels = training_data()
    return LinearRegression().fit(rows[:, :4], labels)


def python_bundle(model: object, folder: Path, columns: int = len(COLUMNS)) -> bytes:
    """The bundle of a model of the first columns of `training_data`, as `modelyard.save` makes it."""
    modelyard.save(model, folder, example=training_data()[0][:20, :columns])
    return tar(folder)


def r_bundle(folder: Path, family: str = "lm") -> bytes:
    """The bundle of one of `R_FITS`, of four columns (mtcars); its `model.rds` is in the folder."""
    folder.mkdir(parents=True)
    code = f"fit <- {R_FITS[family]}\n{_SAVE_R}"
    subprocess.run(["Rscript", "--vanilla", "-e", code, str(folder)], check=True, capture_output=True)
    options = "" if family == "lm" else f'[options]\npackages = "{family}"\n'
    _describe(folder, "r", "4.2.2", "model.rds", tuple(R_ROW), options)
    return tar(folder)


def julia_bundle(folder: Path, program: str) -> bytes:
    """The bundle of a struct with one number."""
    folder.mkdir(parents=True)
    (folder / "model.jl").write_text(_LINE)
    (folder / "example.csv").write_text("x\n1.5\n2.0\n")
    code = 'cd(ARGS[1]); using Serialization; include("model.jl"); serialize("model.jls", Line(3.0))'
    code = code.replace('include("model.jl")', 'include(joinpath(pwd(), "model.jl"))')
    subprocess.run([program, "--startup-file=no", "-e", code, str(folder)], check=True, capture_output=True)
    _describe(folder, "julia", "1.5.3", "model.jls", tuple(JULIA_ROW), '[options]\nsource = "model.jl"\n')
    return tar(folder)


def _describe(
    folder: Path, language: str, version: str, entry: str, columns: tuple[str, ...], options: str = ""
) -> None:
    text = (
        f'format = 1\nlanguage = "{language}"\nlanguage_version = "{version}"\nentry = "{entry}"\n{options}'
    )
    for name in columns:
        text += f'[[signature.inputs]]\nname = "{name}"\ntype = "float64"\n'
    (folder / "yardbundle.toml").write_text(text)


def tar(folder: Path) -> bytes:
    """A folder's files as they are sent."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            archive.add(path, str(path.relative_to(folder)))
    return out.getvalue()
