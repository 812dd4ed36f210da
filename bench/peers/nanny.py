"""NannyML, which estimates performance as well: installed apart, run by its own Python on Parquet files."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from textwrap import dedent

from bench.machine import TOOLS
from bench.peers.install import once, packages

VERSION = "0.13.1"

_PROGRAM = dedent("""
    import json, sys
    import nannyml as nml
    import pandas as pd

    folder = sys.argv[1]
    with open(f"{folder}/task.json") as file:
        told = json.load(file)
    reference, later = (pd.read_parquet(f"{folder}/{name}.parquet") for name in ("reference", "later"))
    known = dict(y_true="actual", y_pred="said", chunk_period="M", timestamp_column_name="at")
    known |= dict(metrics=told["metrics"], problem_type=told["task"])
    if told["task"] == "regression":
        known.pop("problem_type")
        made = nml.DLE(feature_column_names=told["features"], **known)
    else:
        made = nml.CBPE(y_pred_proba=told["chances"], **known)
    found = made.fit(reference).estimate(later).filter(period="analysis").to_df()
    print(json.dumps({metric: found[(metric, "value")].tolist() for metric in told["metrics"]}))
""")


def nannyml() -> Path:
    """The folder of NannyML's own environment.

    Raises:
        PeerMissingError: it cannot be installed.
    """
    folder = TOOLS / "nannyml"
    # It needs statsmodels and does not say so; with pandas 3 its direct loss estimation fails.
    wanted = [f"nannyml=={VERSION}", "pandas<3", "pyarrow", "statsmodels"]
    return once(folder, f"NannyML {VERSION}", lambda: packages(folder, wanted), wanted)


def estimates(folder: Path, task: Path) -> dict[str, list[float]]:
    """NannyML's estimates by metric, a month each.

    Args:
        folder: of its environment.
        task: a folder with `reference.parquet`, `later.parquet` and `task.json`.
    """
    done = subprocess.run(
        [folder / "bin/python", "-c", _PROGRAM, task],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"NML_DISABLE_USAGE_LOGGING": "1", "PYTHONPATH": ""},  # nothing leaves the machine
    )
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    found: dict[str, list[float]] = json.loads(done.stdout.splitlines()[-1])
    return found
