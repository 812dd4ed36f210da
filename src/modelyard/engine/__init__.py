"""The engine: the one process of a node that keeps workers, checks new versions and builds the routes."""
