"""The dashboard by clicks and keys in headless Chromium, on a tiny pipeline."""

import shutil
import threading

import pytest
from PIL import Image

from tests.dashboard.conftest import SITES
from workbench.dashboard import filling
from workbench.dashboard.app import make_app
from workbench.dashboard.bench import Bench
from workbench.dashboard.export import export
from workbench.dashboard.opening import open_library
from workbench.dashboard.server import server_of
from workbench.edits import load_edit
from workbench.edits.interventions import ablation
from workbench.studies.reading import read_study

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")]

FOX, CAT, CRASH = "a photo of a fox", "a red cat", "a dog by a bear"


@pytest.fixture(scope="module")
def address(library, tiny_sd1):
    """A running dashboard whose model breaks down at the prompt CRASH."""
    generate = tiny_sd1.generate

    def breaking(prompts, seeds, **settings):
        if CRASH in prompts:
            raise RuntimeError("the accelerator fell off")
        return generate(prompts, seeds, **settings)

    patch = pytest.MonkeyPatch()
    patch.setattr(tiny_sd1, "generate", breaking)
    server = server_of(make_app(Bench(library, lambda: tiny_sd1)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.port}"
    server.shutdown()
    thread.join()
    server.server_close()
    patch.undo()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as play:
        chromium = play.chromium.launch(executable_path=CHROMIUM, headless=True, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser, address):
    """`visit("/concepts")` → that page, in a browser of its own. No page may ask another machine for anything."""
    contexts, asked, faults = [], [], []

    def visit(link):
        contexts.append(browser.new_context())
        page = contexts[-1].new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: faults.append(error))
        page.set_default_timeout(60_000)
        page.goto(link if "://" in link else address + link)
        page.wait_for_selector("main h1")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert faults == [] and [url for url in asked if not url.startswith((address, "data:", "blob:", "file:"))] == []


def generate(page, prompt, seeds="0"):
    page.fill("#prompts", prompt)
    page.fill("#seeds", seeds)
    page.click("#generate")


def pictures(page):
    page.wait_for_selector("#pictures img")
    return page.locator("#pictures").inner_text()


def test_search_move_open_and_go_back_by_keys_alone(visit):
    page = visit("/?sae=pixels")
    page.keyboard.press("/")
    page.keyboard.type("7")
    page.wait_for_function("document.querySelectorAll('.tile').length === 1")
    page.keyboard.press("Control+A")
    page.keyboard.type("fox")
    page.wait_for_function("document.querySelector('h1').textContent.includes('fox')")
    assert "q=fox" in page.url and "sae=pixels" in page.url
    page.keyboard.press("Escape")  # leaves the field, not the page
    for key in ("j", "j", "k", "ArrowDown"):
        page.keyboard.press(key)
    second = page.locator(".tile").nth(1)
    assert second.evaluate("tile => tile === document.activeElement")
    assert second.evaluate("tile => getComputedStyle(tile).outlineStyle") == "solid"  # the focus can be seen
    number = second.locator("b").inner_text()
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/sae/pixels/feature/{number}")
    page.wait_for_selector(f"h1:has-text('Feature {number}')")
    page.keyboard.press("Escape")
    page.wait_for_url("**q=fox**")
    page.wait_for_selector(".tile")
    assert page.input_value("#search") == "fox"


def test_a_card_opens_by_a_click_and_leads_to_its_kin(visit):
    page = visit("/?sae=pixels&sort=density")
    page.click(".tile >> nth=0")
    page.wait_for_selector(".pictures img")
    assert page.locator(".pictures").first.locator("img").count() == 16
    page.wait_for_selector(".js-plotly-plot")
    page.click(".related a >> nth=0")
    page.wait_for_url("**/sae/pixels/feature/**")


def test_deep_links_open_what_they_name_and_wrong_ones_say_so(visit):
    assert "Feature 12" in visit("/sae/words/feature/12").inner_text("h1")
    assert "fox" in visit("/concept/fox").inner_text("h1")
    assert "Did you mean 'pixels'" in visit("/sae/pixel/feature/1").inner_text("#problem")
    assert "no feature 999" in visit("/sae/words/feature/999").inner_text("#problem")


def test_features_are_ablated_seen_and_saved(visit, library):
    page = visit("/concept/fox")
    page.click("text=on the bench >> nth=1")  # of the second autoencoder
    page.wait_for_selector("#generate")
    generate(page, f"{FOX}\n{CAT}", "0-1")
    said = pictures(page)
    assert page.locator("#pictures img").count() == 12 and "moved by" in said and "other features" in said
    page.fill("#name", "by-click")
    page.click("#save-edit")
    page.wait_for_selector("#saved:has-text('by-click')")
    edit = load_edit(library.run.dir / "dashboard" / "edits" / "by-click")
    assert edit.settings["action"] == "scale" and edit.settings["sae"] == library.cache("pixels").source.given
    page.click("#save-study")
    page.wait_for_selector("#saved:has-text('study needs 2')")
    generate(page, "look, a fox\na blue fox", "0")
    page.wait_for_selector("#pictures :text('a blue fox') >> nth=0")
    page.click("#save-study")
    page.wait_for_selector("#saved:has-text('workbench study run')")
    study = read_study(library.run.dir / "dashboard" / "studies" / "by-click.yaml")
    assert study.concept == "fox" and set(study.subject.features.listed) == set(edit.tensors["features"].tolist())


def test_a_second_change_a_window_and_a_wrong_number(visit):
    page = visit("/bench?sae=pixels&features=3")
    page.click("#another")
    page.wait_for_selector("fieldset >> nth=1")
    second = page.locator("fieldset").nth(1)
    second.locator("input[type=text]").fill("1000")
    page.click("#generate")
    page.wait_for_selector(".problem:has-text('has no feature 1000')")
    second.locator("input[type=text]").fill("5-7")
    second.locator("text=add").click()
    second.locator("input[type=number]").nth(0).fill("2")
    generate(page, FOX)
    assert "add 2 for 5, 6, 7" in pictures(page)
    second.locator(".remove").click()
    page.wait_for_function("document.querySelectorAll('fieldset').length === 1")


def test_two_browsers_at_once_see_each_their_own_pictures(visit):
    one, other = visit("/bench?sae=pixels&features=3"), visit("/bench?sae=words&features=1")
    generate(one, FOX, "0-5")
    generate(other, CAT, "3")
    shown = [pictures(page) for page in (one, other)]
    assert FOX in shown[0] and CAT not in shown[0] and "seed 5" in shown[0]
    assert CAT in shown[1] and FOX not in shown[1] and "seed 3" in shown[1]


def test_a_generation_that_crashes_leaves_the_server_up(visit):
    page = visit("/bench?sae=pixels&features=3")
    generate(page, CRASH)
    page.wait_for_selector(".problem:has-text('the accelerator fell off')")
    assert "Feature 3" in visit("/sae/pixels/feature/3").inner_text("h1")
    generate(page, FOX)
    assert FOX in pictures(page)


def test_the_copy_opens_from_disk_with_its_search_and_links(visit, library, tmp_path):
    page = visit(f"file://{export(library, tmp_path / 'copy')}/index.html")
    page.fill("#search", "#12")
    page.wait_for_function("document.querySelectorAll('#results a').length === 2")
    page.click("#results a >> nth=0")
    page.wait_for_selector("h1:has-text('Feature 12')")
    page.click("text=next")
    page.wait_for_selector("h1:has-text('Feature 13')")
    page.wait_for_selector(".js-plotly-plot")


def test_a_prompt_is_typed_and_its_features_lead_to_their_cards(visit):
    page = visit("/words")
    page.fill("#words-prompt", FOX)
    page.click("#fire")
    page.wait_for_selector(".heat th:has-text('fox')")
    page.click(".heat a >> nth=0")
    page.wait_for_url("**/sae/words/feature/**")
    page.wait_for_selector("h1:has-text('Feature')")


def test_a_picture_is_given_and_shown_under_its_features(visit, library, tmp_path):
    path = tmp_path / "given.png"
    Image.fromarray(library.cache("pixels").picture(0)).resize((90, 60)).save(path)
    page = visit("/picture")
    page.click("#see")
    page.wait_for_selector(".problem:has-text('There is no picture')")
    page.set_input_files("#picture-file input", path)
    page.wait_for_selector("#picture-name:has-text('given.png')")
    page.click("#see")
    page.wait_for_selector(".maps img")
    assert page.locator(".given img").count() == 2 and page.locator(".maps img").count() > 1


def test_two_edits_are_chosen_and_stand_side_by_side(visit, library, tiny_sd1):
    path = library.run.dir / "dashboard" / "edits" / "other"
    ablation(tiny_sd1, library.cache("words").source.folder, [5, 6]).save(path)
    page = visit("/edits")
    page.fill("#edits-prompts", f"{FOX}\n{CAT}")
    page.fill("#edits-seeds", "3")
    page.click("#compare")
    said = pictures(page)
    assert page.locator("#pictures img").count() == 6 and said.count("moved by") == 2 and "seed 3" in said


def test_features_arrive_on_the_open_page_by_themselves_and_as_many_as_are_chosen(
    root, tiny_sd1, browser, tmp_path, monkeypatch
):
    monkeypatch.setattr(filling, "PATIENCE", 0.0)
    shutil.copytree(root / "run", tmp_path / "run", ignore=shutil.ignore_patterns("dashboard"))
    bench = Bench(open_library(tmp_path / "run", [str(root / name) for name in SITES]), lambda: tiny_sd1)
    server = server_of(make_app(bench))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    page = browser.new_page()
    page.set_default_timeout(60_000)
    try:
        page.goto(f"http://127.0.0.1:{server.port}/")
        page.wait_for_selector("h1#coming")
        bench.fill()
        page.wait_for_selector(".tile")
        assert page.inner_text("#found").endswith("1 autoencoder")
        page.wait_for_selector("#arriving:has-text('How many?')")
        page.click("#arriving button >> nth=0")
        page.wait_for_selector("#found:has-text('2 autoencoders')")
    finally:
        page.close()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("link", ["/", "/words", "/picture", "/edits", "/bench", "/concepts", "/sae/pixels/feature/3"])
def test_no_page_is_wider_than_a_narrow_window(visit, link):
    page = visit(link)
    page.set_viewport_size({"width": 400, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 400
