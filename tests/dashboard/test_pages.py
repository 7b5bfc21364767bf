"""What the pages say, and how the live application and the copy show it."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from dash import dcc, html

from saes.errors import WorkbenchError
from saes.names import FeatureName
from workbench.dashboard.app import make_app, searched
from workbench.dashboard.bench import Bench
from workbench.dashboard.export import export
from workbench.dashboard.links import feature_link, read_address
from workbench.dashboard.markup import markup
from workbench.dashboard.pages import page
from workbench.dashboard.parts import percent
from workbench.dashboard.server import server_of


def shown(library, link):
    """The page of a link as HTML; links to what has no page of its own stay."""
    return markup(page(library, read_address(*link.partition("?")[::2])), lambda href: href)


def test_the_list_shows_a_page_of_features_and_says_how_many_there_are(library):
    text = shown(library, "/")
    assert "All 192 features of 2 autoencoders" in text and text.count('class="tile"') == 24
    assert "page 1 of 8" in text
    assert shown(library, "/?page=8").count('class="tile"') == 24
    assert shown(library, "/?sae=pixels&q=7").count('class="tile"') == 1
    assert "None of the 192 features" in shown(library, "/?q=zebra")


def test_a_card_shows_tokens_on_colours_and_links_to_its_kin(library):
    cache = library.cache("words")
    feature = int(cache.features["largest"].argmax())
    text = shown(library, feature_link("words", feature))
    assert f"Feature {feature}" in text and "background:rgb(143,29,29)" in text  # the largest is the darkest
    for related in cache.related(feature, "alike"):
        assert f'href="{feature_link("words", related.feature)}"' in text
    assert "/bench?sae=words" in text and "share of tokens it fires on" in text


def test_a_feature_of_pictures_shows_heat_maps_and_when_it_fires(library):
    feature = int(library.cache("pixels").features["largest"].argmax())
    text = shown(library, feature_link("pixels", feature))
    assert text.count("data:image/webp") == 26 and "where it fires:" in text and "from noise to picture" in text


@pytest.mark.parametrize("sae", ["words", "pixels"])
def test_a_card_shows_prompts_from_strong_to_weak_by_their_quantile(library, sae):
    cache = library.cache(sae)
    feature = int(cache.features["fires_on"].argmax())
    spread, scores = cache.spread(feature), np.sort(cache.top(feature).scores)[::-1]
    assert len(spread.prompts) == 5 and (np.diff(spread.quantiles) < 0).all()
    assert spread.scores[0] <= scores[0] and spread.scores[-1] < scores[-1]  # the weakest is weaker than all of the top
    text = shown(library, feature_link(sae, feature))
    assert "From strong to weak" in text and f"Of the {cache.fires_on(feature)} prompts" in text
    for share in spread.quantiles:
        assert percent(share) in text
    few = int(cache.features["fires_on"].where(cache.features["fires_on"] > 0).idxmin())
    if cache.fires_on(few) <= cache.about["n_top"]:
        assert "From strong to weak" not in shown(library, feature_link(sae, few))


def test_names_are_shown_with_how_well_they_hold(library):
    names = {"words": {3: FeatureName("red things", "red", 0.9, 0.8)}}
    named = replace(library, names=names)
    text = shown(named, feature_link("words", 3))
    assert "red things" in text and "precision 90 %, recall 80 %" in text
    assert "red things" in shown(named, "/?q=things") and "red things" not in shown(library, "/?q=things")


def test_a_concept_lists_its_features_and_leads_to_the_bench(library):
    text = shown(library, "/concept/fox")
    best = library.cache("words").concepts.query("concept == 'fox'")["feature"].tolist()
    assert f"<b>{best[0]}</b>" in text and "also vixen" in text
    assert "features=" + "%2C".join(map(str, best[:5])) in text
    assert "/concept/fox" in shown(library, "/concepts")


@pytest.mark.parametrize("link", ["/sae/wrds/feature/1", "/sae/words/feature/96", "/concept/fx", "/nowhere"])
def test_what_is_not_there_is_said_on_the_page(library, link):
    text = shown(library, link)
    assert "Not here" in text and ("Did you mean" in text or "0 to 95" in text or "no such page" in text)


def test_the_search_field_changes_the_address_and_only_if_it_says_something_new():
    assert searched("fox", "/", "?sae=words&page=3") == ("/", "?q=fox&sae=words")
    assert searched("fox", "/concepts", "") == ("/", "?q=fox")
    assert searched("fox", "/", "?q=fox&page=2")[0] is searched("", "/bench", "")[0]  # both no update
    assert searched("", "/", "?q=fox") == ("/", "")


def test_text_is_escaped_and_styles_and_flags_are_attributes():
    part = html.Div(
        [html.P("a < b & c", title='"x"'), None, 3, html.Button("ok", disabled=True)], style={"fontSize": "2px"}
    )
    assert markup(part, str) == (
        '<div style="font-size:2px"><p title="&quot;x&quot;">a &lt; b &amp; c</p>3<button disabled>ok</button></div>'
    )
    assert markup(dcc.Link("x", href="/bench"), lambda href: None) == ""


class Links(HTMLParser):
    """All that a page refers to."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        self.found += [value for name, value in attrs if name in ("href", "src") and not value.startswith("data:")]


@pytest.mark.slow
def test_the_copy_is_whole_and_refers_to_nothing_outside(library, tmp_path):
    folder = export(library, tmp_path / "copy")
    files = sorted(folder.rglob("*.html"))
    assert len(files) == 2 + len(library.concepts) + 192
    for file in files:
        links = Links()
        links.feed(file.read_text())
        for link in links.found:
            assert (file.parent / link).resolve().is_file(), (file, link)
            assert not Path(link).is_absolute() and "//" not in link
    entries = json.loads((folder / "index.js").read_text().removeprefix("window.FEATURES = ").strip().rstrip(";"))
    assert len(entries) == 192 and all((folder / entry[0]).is_file() for entry in entries)
    with pytest.raises(WorkbenchError, match="exists already"):
        export(library, tmp_path / "copy")


def test_the_application_serves_this_machine_only_and_loads_nothing_from_elsewhere(library, tiny_sd1):
    client = make_app(Bench(library, lambda: tiny_sd1)).server.test_client()
    text = client.get("/concept/fox", headers={"Host": "127.0.0.1:8050"}).text
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', text)
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 403


def test_a_port_that_is_taken_is_said_and_without_one_a_free_one_is_found(library, tiny_sd1):
    app = make_app(Bench(library, lambda: tiny_sd1))
    first = server_of(app)
    second = server_of(app)
    try:
        assert first.server_address[0] == "127.0.0.1" and first.port != second.port
        for port in (first.port, 70000):
            with pytest.raises(WorkbenchError, match="cannot be used"):
                server_of(app, port)
    finally:
        first.server_close()
        second.server_close()
