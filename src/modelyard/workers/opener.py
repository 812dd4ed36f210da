"""Opens the one way out of a job's walls: a program that is run within them, before the job's command.

A job with named hosts has no network either. This listens on the job's own loopback and hands that listening
socket to the proxy at standard input (`proxy.py`): what connects to it is answered outside. Nothing of the
proxy is within, and no path leads to it but this socket.

It imports nothing of the house, of which there is nothing within.
"""

from __future__ import annotations

import os
import socket
import sys

PORT = 3128  # of the job's own loopback, which is nobody else's
_NOT_FOUND = 127  # as shells do


def main() -> None:
    """Hand the listening socket to whoever is at standard input, and become the command."""
    words = sys.argv[1:]
    with socket.socket(fileno=os.dup(0)) as channel, socket.create_server(("127.0.0.1", PORT)) as listener:
        socket.send_fds(channel, [b"."], [listener.fileno()])
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    try:
        os.execvp(words[0], words)  # noqa: S606  # no shell is wanted
    except OSError as error:
        sys.stderr.write(f"{words[0]}: {error.strerror}\n")
        sys.exit(_NOT_FOUND)


if __name__ == "__main__":
    main()
