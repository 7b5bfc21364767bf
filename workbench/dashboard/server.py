"""The server: on this machine only, on a port that is free."""

import logging
import socket

import dash
from werkzeug.serving import BaseWSGIServer, make_server

from saes.errors import WorkbenchError

HOST, PORT, PORTS = "127.0.0.1", 8050, range(1, 65536)


def server_of(app: dash.Dash, port: int | None = None) -> BaseWSGIServer:
    """A server that is bound and waits for `serve_forever`; `server.port` is its port.

    Args:
        app: The application.
        port: 1 to 65535; without one, 8050 or, if that is taken, any free one.

    Returns:
        The server, on this machine alone.

    Raises:
        WorkbenchError: The port cannot be had.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it says every request
    taken = _bound(PORT) or _bound(0) if port is None else _bound(port) if port in PORTS else None
    if taken is None:
        raise WorkbenchError(
            f"Port {port or PORT} of this machine cannot be used: something else may listen there.",
            "Leave --port out to take a free one, or choose another between 1024 and 65535.",
        )
    with taken:  # the server keeps a duplicate
        taken.listen(128)
        return make_server(HOST, taken.getsockname()[1], app.server, threaded=True, fd=taken.fileno())


def _bound(port: int) -> socket.socket | None:
    """A socket on this port of this machine; None if it cannot be had."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((HOST, port))
    except OSError:
        made.close()
        return None
    return made
