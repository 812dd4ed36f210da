"""The Python SDK: HTTP only. `import modelyard as yard` gives these names."""

from __future__ import annotations

from modelyard.client.bundle import save
from modelyard.client.folders import log, parameter
from modelyard.client.verbs import CheckError, Yard

# The verbs at module level are those of one Yard that looks for its address at each use.
_default = Yard()
alias = _default.alias
answer = _default.answer
datasets = _default.datasets
history = _default.history
models = _default.models
outcomes = _default.outcomes
predict = _default.predict
promote = _default.promote
publish = _default.publish
publish_path = _default.publish_path
pull_data = _default.pull_data
push_data = _default.push_data
rollback = _default.rollback
show = _default.show
show_data = _default.show_data
versions = _default.versions
whoami = _default.whoami

__all__ = [
    "CheckError",
    "Yard",
    "alias",
    "answer",
    "datasets",
    "history",
    "log",
    "models",
    "outcomes",
    "parameter",
    "predict",
    "promote",
    "publish",
    "publish_path",
    "pull_data",
    "push_data",
    "rollback",
    "save",
    "show",
    "show_data",
    "versions",
    "whoami",
]
