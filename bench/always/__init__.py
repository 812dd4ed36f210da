"""Always on: what fails while databases, nodes and processes do. See `python -m bench.always --help`."""
