"""`yard demo`: three departments, three languages, real data, on a real yard."""

from modelyard.demo.story import Stage, run
from modelyard.demo.year import run_year

__all__ = ["Stage", "run", "run_year"]
