"""The tables, one file a noun. A change comes with a migration; a test compares the two on both databases.

Natural keys throughout: a model is `department/name`, a version its model and number.
"""

from __future__ import annotations

from modelyard.store.schema.alerts import alerts, alerts_sent, channels
from modelyard.store.schema.audit import audit, audit_head
from modelyard.store.schema.backups import backup_runs
from modelyard.store.schema.base import Moment, metadata
from modelyard.store.schema.capacity import capacities
from modelyard.store.schema.cards import cards
from modelyard.store.schema.datasets import (
    clearances,
    data_connections,
    dataset_versions,
    datasets,
    version_datasets,
)
from modelyard.store.schema.duties import duties
from modelyard.store.schema.hosts import approved_hosts
from modelyard.store.schema.jobs import job_logs, job_metrics, jobs, project_files, projects
from modelyard.store.schema.ledger import (
    ledger_budgets,
    ledger_counts,
    ledger_jobs,
    ledger_measured,
    ledger_nodes,
    ledger_rates,
    ledger_storage,
    ledger_worths,
)
from modelyard.store.schema.models import (
    alias_history,
    aliases,
    models,
    version_files,
    version_forms,
    versions,
)
from modelyard.store.schema.nodes import nodes
from modelyard.store.schema.people import (
    attempts,
    browsers,
    departments,
    identities,
    links,
    memberships,
    passwords,
    principals,
    sessions,
    shares,
    tokens,
)
from modelyard.store.schema.provenance import version_signatures
from modelyard.store.schema.refits import outlooks, refit_requests
from modelyard.store.schema.rollouts import policies, rollout_steps, rollouts
from modelyard.store.schema.state import state
from modelyard.store.schema.verdicts import verdicts
from modelyard.store.schema.watch import (
    findings,
    keeping,
    labelled,
    labels,
    own_metrics,
    performance,
    profiles,
    segments,
    spool_offsets,
    summaries,
    waiting,
)

__all__ = [
    "Moment",
    "alerts",
    "alerts_sent",
    "alias_history",
    "aliases",
    "approved_hosts",
    "attempts",
    "audit",
    "audit_head",
    "backup_runs",
    "browsers",
    "capacities",
    "cards",
    "channels",
    "clearances",
    "data_connections",
    "dataset_versions",
    "datasets",
    "departments",
    "duties",
    "findings",
    "identities",
    "job_logs",
    "job_metrics",
    "jobs",
    "keeping",
    "labelled",
    "labels",
    "ledger_budgets",
    "ledger_counts",
    "ledger_jobs",
    "ledger_measured",
    "ledger_nodes",
    "ledger_rates",
    "ledger_storage",
    "ledger_worths",
    "links",
    "memberships",
    "metadata",
    "models",
    "nodes",
    "outlooks",
    "own_metrics",
    "passwords",
    "performance",
    "policies",
    "principals",
    "profiles",
    "project_files",
    "projects",
    "refit_requests",
    "rollout_steps",
    "rollouts",
    "segments",
    "sessions",
    "shares",
    "spool_offsets",
    "state",
    "summaries",
    "tokens",
    "verdicts",
    "version_datasets",
    "version_files",
    "version_forms",
    "version_signatures",
    "versions",
    "waiting",
]
