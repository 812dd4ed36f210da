"""Installs what `make demo` and `make test` need on a machine with only Python, git and make.

Standard library alone: this runs before anything is installed. The work is in `python.py` (uv, the packages,
PyTorch), then in `languages.py` (R, PostgreSQL and other packages of Debian) and `julia.py`.
"""
