"""`yard demo`: three departments, three languages, real data, on a real yard."""

from modelyard.demo.story import Stage, run

__all__ = ["Stage", "run"]
