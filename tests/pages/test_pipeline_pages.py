"""The pages of pipelines, in a browser: the drawing, versions, and the editor, which loses nothing that was typed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, expect

from pages.fleet_rows import MINE
from pages.support import Site

Visit = Callable[..., Page]
Axe = Callable[[Page], None]
Shots = Callable[[Page, str], object]
TEXT = MINE.format(name="mine", text="It is sunny today.")


@pytest.fixture(autouse=True)
def empty(site: Site) -> Iterator[None]:
    yield
    site.fill("pages.fleet_rows:clear")


def write(page: Page, text: str) -> None:
    """Types it in place of what is there, as one event, and waits until it is checked."""
    with page.expect_response("**/pipelines/check/**"):
        page.get_by_label("The pipeline's file, in YAML").fill(text)


# ---- the list and one pipeline -------------------------------------------------------------------------------


def test_a_new_project_has_the_built_in_one(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    page = visit("/pipelines/")
    expect(page.locator(".pipelines > li")).to_have_count(2)
    local = page.locator(".pipelines > li", has=page.get_by_role("heading", name="local", exact=True))
    expect(local.get_by_text("can't run now")).to_be_visible()
    expect(local.get_by_role("link", name="Edit")).to_have_count(0)
    expect(local.get_by_role("link", name="Try local")).to_have_attribute("href", "/talk/?pipeline=local")
    axe(page)
    shots(page, "pipelines-empty")


def test_each_pipeline_is_drawn_and_says_whether_it_can_run(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    site.fill("pages.fleet_rows:pipelines")
    site.fill("pages.fleet_rows:agents", 2)
    page = visit("/pipelines/")
    mine = page.locator(".pipelines > li", has=page.get_by_role("heading", name="mine"))
    expect(mine.get_by_text("can run now")).to_be_visible()
    expect(mine).to_contain_text("voice-to-voice 0.88 s (median of 12 turns)")
    expect(mine.locator(".flow .box")).to_have_count(7)
    whole = page.locator(".pipelines > li", has=page.get_by_role("heading", name="whole"))
    expect(whole.locator(".arrow").nth(1)).to_have_text("gives speech, frames")
    far = page.locator(".pipelines > li", has=page.get_by_role("heading", name="far"))
    expect(far.get_by_text("can't run now")).to_be_visible()
    expect(far.get_by_text("no live agent").first).to_be_visible()
    axe(page)
    shots(page, "pipelines-full")


def test_one_pipeline_with_its_versions_and_what_differs(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    site.fill("pages.fleet_rows:pipelines")
    site.fill("pages.fleet_rows:agents", 2)
    page = visit("/pipelines/mine/")
    stage = page.locator(".flow .box", has_text="Language model")
    expect(stage.get_by_role("link", name="box-00")).to_be_visible()
    expect(page.locator("pre#text")).to_contain_text("# A comment that stays.")
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="2 current"))
    expect(row).to_contain_text("owner")
    expect(page.locator("#from")).to_have_value("1")
    expect(page.locator("#to")).to_have_value("2")
    page.get_by_role("button", name="Compare").press("Enter")
    expect(page.locator(".difference .removed")).to_have_text("9−removed    text: It is sunny today.")
    expect(page.locator(".difference .added")).to_have_text("9+added    text: It rains. Take an umbrella.")
    axe(page)
    shots(page, "pipeline")


def test_one_that_can_not_run_says_what_to_start(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    site.fill("pages.fleet_rows:pipelines")
    page = visit("/pipelines/far/")
    expect(page.locator(".notice.warning")).to_contain_text("openomni agent --offer stt:openai")
    expect(page.locator(".flow")).to_contain_text("no live agent offers it")
    axe(page)
    shots(page, "pipeline-failing")


def test_an_unknown_name_is_told_the_nearest(visit: Visit, axe: Axe) -> None:
    page = visit("/pipelines/locl/", status=404)
    expect(page.locator(".empty")).to_contain_text("did you mean 'local'?")
    axe(page)


# ---- the editor ----------------------------------------------------------------------------------------------


def test_a_mistake_is_marked_at_its_line_and_said_while_one_types(
    site: Site, visit: Visit, axe: Axe, shots: Shots
) -> None:
    site.fill("pages.fleet_rows:store", "mine")
    page = visit("/pipelines/mine/edit/")
    says = page.get_by_role("status").and_(page.locator("#says"))
    expect(says).to_contain_text("The file is right, but it can't run now")
    write(page, TEXT.replace("  - tts: simulated", "  - tts: simulatd"))
    problem = page.get_by_role("list", name="What is to be mended").get_by_role("listitem")
    expect(problem).to_contain_text("unknown component 'simulatd'; did you mean 'simulated'?")
    expect(page.locator(".gutter .wrong")).to_have_text("11")
    expect(says).to_contain_text("1 thing to mend: line 11")
    expect(page.get_by_label("The pipeline's file, in YAML")).to_have_attribute("aria-invalid", "true")
    axe(page)
    shots(page, "editor-mistake")
    problem.get_by_role("link", name="Line 11").press("Enter")
    assert page.evaluate("getSelection().toString()") == "  - tts: simulatd"
    write(page, TEXT)
    expect(problem).to_have_count(0)
    expect(page.locator(".gutter .wrong")).to_have_count(0)
    expect(says).to_contain_text("The content is that of version 1.")


def test_what_is_saved_is_a_version_when_its_content_is_new(site: Site, visit: Visit) -> None:
    site.fill("pages.fleet_rows:store", "mine")
    page = visit("/pipelines/mine/edit/")
    page.get_by_label("The pipeline's file, in YAML").fill(TEXT.replace("sunny", "cloudy"))
    page.keyboard.press("Control+s")
    expect(page.locator(".notice.success")).to_have_text("Saved as version 2.")
    expect(page).to_have_url(f"{site.url}/pipelines/mine/")
    page.get_by_role("link", name="Edit").click()
    # Nothing is offered that was saved.
    expect(page.locator("[data-draft]")).to_be_hidden()
    page.get_by_label("The pipeline's file, in YAML").fill("# Only a comment more.\n" + TEXT.replace("sunny", "cloudy"))
    page.get_by_role("button", name="Save").press("Enter")
    expect(page.locator(".notice.success")).to_contain_text("Same content as version 2, so there is no new version")
    expect(page.locator("pre#text")).to_contain_text("# Only a comment more.")
    assert site.fill("pages.fleet_rows:count_versions", "mine") == 2


@pytest.mark.long
def test_a_refused_save_shows_what_was_typed(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    site.fill("pages.fleet_rows:store", "mine")
    page = visit("/pipelines/mine/edit/")
    wrong = TEXT.replace("    text: It is", "    txt: It is") + "# <b>mine</b>\n"
    page.get_by_label("The pipeline's file, in YAML").fill(wrong)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_contain_text("Not saved.")
    expect(page.get_by_label("The pipeline's file, in YAML")).to_have_value(wrong)
    expect(page.locator("[data-problems]")).to_contain_text("unknown parameter 'txt'; did you mean 'text'?")
    assert site.fill("pages.fleet_rows:count_versions", "mine") == 1
    axe(page)
    shots(page, "editor-refused")
    page.get_by_role("button", name="Save although it can't run").click()
    expect(page.locator(".notice.success")).to_have_text("Saved as version 2.")


@pytest.mark.long
def test_what_somebody_else_saved_meanwhile_is_shown_first(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    site.fill("pages.fleet_rows:store", "mine")
    page = visit("/pipelines/mine/edit/")
    site.fill("pages.fleet_rows:store", "mine", "Theirs.")
    mine = TEXT.replace("It is sunny today.", "Mine.")
    page.get_by_label("The pipeline's file, in YAML").fill(mine)
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".notice.warning")).to_contain_text("stored by somebody else meanwhile")
    expect(page.locator(".notice .removed")).to_contain_text("text: Theirs.")
    expect(page.locator(".notice .added")).to_contain_text("text: Mine.")
    expect(page.get_by_label("The pipeline's file, in YAML")).to_have_value(mine)
    assert "Theirs." in site.fill("pages.fleet_rows:text_of", "mine")
    axe(page)
    shots(page, "editor-conflict")
    page.get_by_role("button", name="Save over version 2").click()
    expect(page.locator(".notice.success")).to_have_text("Saved as version 3.")
    assert site.fill("pages.fleet_rows:text_of", "mine") == mine


@pytest.mark.long
def test_the_built_in_one_is_duplicated(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    page = visit("/pipelines/local/edit/")
    expect(page.locator(".notice.info")).to_contain_text("here is a copy to change")
    text = page.get_by_label("The pipeline's file, in YAML").input_value()
    assert text.startswith("name: local-copy\n")
    assert "# Answers in five sixths of the time on most CPUs." in text
    axe(page)
    shots(page, "editor-new")
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".notice.success")).to_have_text("Saved as version 1.")
    page = visit("/pipelines/new/?from=local")
    assert page.get_by_label("The pipeline's file, in YAML").input_value().startswith("name: local-copy2\n")
    page.get_by_label("The pipeline's file, in YAML").fill(text)
    page.get_by_role("button", name="Save").click()
    expect(page.locator("[data-problems]")).to_contain_text("Line 1: there is a pipeline 'local-copy' already")


def test_the_editor_by_keyboard(visit: Visit) -> None:
    page = visit("/pipelines/new/")
    editor = page.get_by_label("The pipeline's file, in YAML")
    editor.fill("stages:")
    page.keyboard.press("End")
    page.keyboard.press("Enter")
    page.keyboard.type("- stt: simulated")
    page.keyboard.press("Enter")
    page.keyboard.type("delay_s: 1")
    assert editor.input_value() == "stages:\n  - stt: simulated\n    delay_s: 1"
    page.keyboard.press("Tab")
    assert editor.input_value().endswith("delay_s: 1  ")
    page.keyboard.press("Control+a")
    page.keyboard.press("Tab")
    assert editor.input_value().startswith("  stages:\n    - stt")
    page.keyboard.press("Shift+Tab")
    assert editor.input_value() == "stages:\n  - stt: simulated\n    delay_s: 1  "
    page.keyboard.press("Control+z")
    assert editor.input_value().startswith("  stages:")
    expect(editor).to_be_focused()
    page.keyboard.press("Escape")
    page.keyboard.press("Tab")
    expect(editor).not_to_be_focused()


def test_what_was_typed_outlives_a_lapsed_sign_in(site: Site, visit: Visit) -> None:
    site.fill("pages.fleet_rows:store", "mine")
    page = visit("/pipelines/mine/edit/")
    page.get_by_label("The pipeline's file, in YAML").fill(TEXT.replace("sunny", "windy"))
    page.context.clear_cookies()
    page.get_by_role("button", name="Save").click()
    page.wait_for_load_state()
    assert "/edit/" not in page.url.partition("?")[0] or not page.locator("[data-editor]").count()
    page.context.add_cookies(site.cookies)  # type: ignore[arg-type]
    page.goto("/pipelines/mine/edit/")
    page.get_by_role("button", name="Show what I typed").click()
    assert "windy" in page.get_by_label("The pipeline's file, in YAML").input_value()
    page.get_by_role("button", name="Save").click()
    expect(page.locator(".notice.success")).to_have_text("Saved as version 2.")


def test_components_are_looked_up_beside_it(site: Site, visit: Visit) -> None:
    site.fill("pages.fleet_rows:agents", 1)
    page = visit("/pipelines/new/")
    page.get_by_label("Filter").fill("repetition_penalty")
    entry = page.locator("[data-entry]:visible")
    expect(entry).to_have_count(1)
    entry.locator("summary").press("Enter")
    expect(entry).to_contain_text("number ≥ 1, ≤ 2, by default 1.0")
    page.get_by_label("Filter").fill("no such thing")
    expect(page.get_by_text("Nothing of that name.")).to_be_visible()
