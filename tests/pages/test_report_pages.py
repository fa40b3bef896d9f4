"""The page of the latency report, in a browser: full, narrowed, with nothing, asked wrongly."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page, expect

from pages.support import Site

Visit = Callable[..., Page]
Axe = Callable[[Page], None]
Shots = Callable[[Page, str], object]


def test_the_latency_report(site: Site, visit: Visit, axe: Axe, shots: Shots) -> None:
    page = visit("/reports/latency/")
    expect(page.get_by_role("heading", name="0 turns")).to_be_visible()
    expect(page.get_by_role("link", name="Reports")).to_have_attribute("aria-current", "page")
    shots(page, "latency-report-empty")

    total = site.fill("pages.report_rows:turns")
    page = visit("/reports/latency/")
    expect(page.get_by_role("heading", name=f"{total - 2} turns")).to_be_visible()
    expect(page.get_by_text("Left out: 2 bench")).to_be_visible()
    counts = [int(each) for each in page.locator(".legend b").all_inner_texts()]
    assert sum(counts) == total - 2
    assert len(counts) == 8, "there is one of every outcome"
    expect(page.locator(".spread-chart li")).to_have_count(2 + 1 + 9)
    axe(page)
    shots(page, "latency-report-full")

    page.get_by_label("Pipeline").select_option("local")
    page.get_by_role("checkbox", name="interrupted").check()
    page.get_by_role("button", name="Show", exact=True).press("Enter")
    page.wait_for_url("**pipeline=local**")
    expect(page.get_by_role("heading", name="249 turns")).to_be_visible()
    row = page.get_by_role("row").filter(has=page.get_by_role("rowheader", name="voice_to_voice_s"))
    # Of 250 one each is failed, cancelled, not over, unanswered, cold, and a benchmark's.
    expect(row.locator("td").first).to_have_text("244")
    expect(page.locator(".command code")).to_contain_text("--pipeline local --late-after 3 --include interrupted")

    page = visit("/reports/latency/?experiment=nobody's", status=404)
    expect(page.get_by_role("alert")).to_contain_text("there is no experiment")
    shots(page, "latency-report-failing")
    site.fill("pages.report_rows:clear")
