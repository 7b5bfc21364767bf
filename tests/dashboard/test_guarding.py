"""Requests of foreign pages, and what is no request, are refused in a sentence; the dashboard's own are answered."""

import json

import pytest

from workbench.dashboard.app import make_app
from workbench.dashboard.bench import Bench
from workbench.dashboard.guarding import LARGEST

HERE = {"Host": "127.0.0.1:8050"}
CALL = "/_dash-update-component"


@pytest.fixture
def client(library, tiny_sd1):
    return make_app(Bench(library, lambda: tiny_sd1)).server.test_client()


def shown(client, **headers):
    """The callback that shows the first page."""
    told = {
        "output": "..page.children...menu.children..",
        "outputs": [{"id": "page", "property": "children"}, {"id": "menu", "property": "children"}],
        "inputs": [{"id": "address", "property": "pathname", "value": "/"},
                   {"id": "address", "property": "search", "value": ""}],
        "changedPropIds": ["address.pathname"],
    }  # fmt: skip
    return client.post(CALL, json=told, headers={**HERE, **headers})


def test_its_own_pages_are_answered(client):
    assert client.get("/", headers=HERE).status_code == 200
    own = {"Origin": "http://127.0.0.1:8050", "Sec-Fetch-Site": "same-origin"}
    answer = shown(client, **own)
    assert answer.status_code == 200 and "page" in answer.get_json()["response"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Origin": "https://evil.example"},
        {"Origin": "http://127.0.0.1:9999"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_others_are_refused(client, headers):
    for answer in (client.get("/", headers={**HERE, **headers}), shown(client, **headers)):
        assert answer.status_code == 403 and "answers pages of its own" in answer.text


def test_no_page_may_frame_it(client):
    headers = client.get("/", headers=HERE).headers
    assert headers["X-Frame-Options"] == "DENY" and "frame-ancestors 'none'" in headers["Content-Security-Policy"]


@pytest.mark.parametrize(
    ("body", "kind", "code"),
    [
        ("{", "application/json", 400),
        ("a=1", "application/x-www-form-urlencoded", 400),
        (json.dumps("x" * (LARGEST + 1)), "application/json", 413),
        (json.dumps({"output": 3}), "application/json", 500),
    ],
)
def test_what_is_no_request_of_a_page_is_refused_in_a_sentence(client, body, kind, code):
    answer = client.post(CALL, data=body, content_type=kind, headers=HERE)
    assert answer.status_code == code and answer.text.endswith(".") and "Traceback" not in answer.text


@pytest.mark.parametrize("name", [3, ["a"], {"a": 1}, "../../x", "", None, "a" * 81])
def test_a_name_that_is_none_is_refused(name):
    from saes.errors import WorkbenchError
    from workbench.dashboard.saving import _checked

    with pytest.raises(WorkbenchError, match=r"name"):
        _checked(name)
