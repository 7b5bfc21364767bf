"""Who may talk to the dashboard: pages of its own, on this machine. Everything else is refused in a sentence.

Any web page that is open in the same browser can send requests to 127.0.0.1. It cannot hide where it comes from: the
browser names it in `Origin` and `Sec-Fetch-Site`.
"""

import logging
from urllib.parse import urlsplit

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException

HOSTS = ("127.0.0.1", "localhost")
LARGEST = 2**23  # bytes of a request
OWN = (None, "same-origin", "none")  # what `Sec-Fetch-Site` says of the dashboard's own pages and of typed addresses
SAID = {
    400: "This is no request of a dashboard page. Reload the page.",
    403: "The dashboard answers pages of its own on this machine alone. Open it at http://127.0.0.1.",
    404: "There is no such page. Begin at the first one.",
    413: f"A request has at most {LARGEST} bytes. Give fewer prompts, or a smaller picture.",
    415: "This is no request of a dashboard page. Reload the page.",
}
FAULT = "The dashboard could not answer this. Reload the page; the console of `workbench dashboard` says more."

log = logging.getLogger(__name__)


def guard(server: Flask) -> None:
    """Puts the checks in front of every request of a server, and sentences in the place of error pages.

    Args:
        server: Flask's, of the application.
    """
    server.config["MAX_CONTENT_LENGTH"] = LARGEST

    @server.before_request
    def check() -> Response | None:
        if not _is_own():
            return _refused(403)
        if request.method == "POST" and request.get_json(silent=True) is None:
            return _refused(413 if (request.content_length or 0) > LARGEST else 400)
        return None

    @server.after_request
    def unframed(response: Response) -> Response:
        response.headers["X-Frame-Options"] = "DENY"  # no page may lay itself over the dashboard
        response.headers["Content-Security-Policy"] = "frame-ancestors 'none'"
        return response

    @server.errorhandler(Exception)
    def said(error: Exception) -> Response:
        if isinstance(error, HTTPException):
            return _refused(error.code or 500)
        log.exception("A request to %s failed.", request.path)
        return _refused(500)


def _is_own() -> bool:
    origin = request.headers.get("Origin")
    if _name(request.host) not in HOSTS or request.headers.get("Sec-Fetch-Site") not in OWN:
        return False
    return origin is None or urlsplit(origin).netloc == request.host


def _name(host: str) -> str:
    return host.rsplit(":", 1)[0]


def _refused(code: int) -> Response:
    return Response(SAID.get(code, FAULT), status=code, mimetype="text/plain")
