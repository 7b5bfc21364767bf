"""The server: on this machine only, on a port that is free."""

import logging

import dash
from werkzeug.serving import BaseWSGIServer, make_server

from saes.errors import WorkbenchError

HOST, PORT = "127.0.0.1", 8050


def server_of(app: dash.Dash, port: int | None = None) -> BaseWSGIServer:
    """A server that is bound and waits for `serve_forever`; `server.port` is its port.

    Without a port, 8050 or, if that is taken, any free one. Raises `WorkbenchError` if the port cannot be had.
    """
    logging.getLogger("werkzeug").setLevel(logging.ERROR)  # it says every request
    if port is None:
        return _bound(app, PORT) or _bound(app, 0) or _refuse(0)
    return _bound(app, port) or _refuse(port)


def _bound(app: dash.Dash, port: int) -> BaseWSGIServer | None:
    try:
        return make_server(HOST, port, app.server, threaded=True)
    except (OSError, SystemExit, OverflowError):  # werkzeug exits where a port is taken
        return None


def _refuse(port: int) -> BaseWSGIServer:
    raise WorkbenchError(
        f"Port {port} of this machine cannot be used: something else may listen there.",
        "Leave --port out to take a free one, or choose another between 1024 and 65535.",
    )
