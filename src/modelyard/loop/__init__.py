"""The circle of a refit: watch, trigger, train, gate, rollout. It meets serving through the database."""
