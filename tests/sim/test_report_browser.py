"""The report in a real browser, as a reader uses it: charts are drawn, headings sort, marks tell their numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bitkiln.sim.design import Design
from bitkiln.sim.report import Report
from bitkiln.sim.report_page import render_html
from tests.sim.browser import open_browser, visit

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PHONES = (320, 360, 400)
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from open_browser()


@pytest.fixture(scope="module")
def file(full: Report, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("report") / "report.html"
    file.write_text(render_html(full), "utf-8")
    return file


def test_charts_are_drawn(browser: Browser, file: Path) -> None:
    with visit(browser, file) as found:
        drawn = found.page.evaluate(
            """() => [...document.querySelectorAll(".chart svg")].map((svg) => {
                const marks = [...svg.querySelectorAll("rect, circle")];
                return [marks.length, marks.filter((mark) => mark.getBoundingClientRect().width > 0).length];
            })"""
        )
        assert len(drawn) == 11
        assert all(0 < every == seen for every, seen in drawn)
        paths = found.page.locator(".timeline path")
        assert paths.count() > 10
        assert found.page.evaluate(
            """() => [...document.querySelectorAll(".timeline path")].every((path) => {
                const style = getComputedStyle(path), box = path.getBoundingClientRect();
                return style.fill !== "rgb(0, 0, 0)" && box.width > 0 && box.height > 0;
            })"""
        )


def test_headings_sort(browser: Browser, file: Path, design: Design) -> None:
    with visit(browser, file) as found:
        heading, cells = found.page.locator("#layers th button"), "#layers tbody tr > td:nth-child({})"
        busy = sorted(layer.busy_cycles for layer in design.layers)
        heading.nth(10).click()
        assert found.text(cells.format(11)) == [f"{cycles:,}" for cycles in reversed(busy)]
        heading.nth(10).click()
        assert found.text(cells.format(11)) == [f"{cycles:,}" for cycles in busy]
        heading.nth(0).focus()
        found.page.keyboard.press("Enter")
        assert found.text(cells.format(1)) == sorted(layer.name for layer in design.layers)
        sorted_by = found.page.evaluate("[...document.querySelectorAll('#layers th')].map((head) => head.ariaSort)")
        assert sorted_by == ["ascending", *[None] * 13]


def test_marks_tell_their_numbers_to_the_mouse(browser: Browser, file: Path, design: Design) -> None:
    with visit(browser, file) as found:
        tip = found.page.locator("#tip")
        assert not tip.is_visible()
        found.page.locator(".chart rect.busy").first.hover()
        assert tip.is_visible()
        layer = design.layers[0]
        assert tip.inner_text().startswith(f"{layer.name}: busy {layer.busy_cycles:,} of {design.interval_cycles:,}")
        assert found.page.locator("svg title").count() == 0  # the browser shows nothing beside
        found.page.locator("h1").hover()
        assert not tip.is_visible()


def test_marks_tell_their_numbers_to_the_keyboard(browser: Browser, file: Path, design: Design) -> None:
    with visit(browser, file) as found:
        tip, press = found.page.locator("#tip"), found.page.keyboard.press
        found.page.locator("nav a").last.focus()
        press("Tab")  # the first chart
        assert tip.inner_text().startswith(f"{design.layers[0].name}: ")
        press("End")
        assert tip.inner_text().startswith(f"{design.layers[-1].name}: busy")
        press("ArrowLeft")
        press("ArrowLeft")
        assert tip.inner_text().startswith(f"{design.layers[-2].name}: busy")
        press("Escape")
        assert not tip.is_visible()
        press("Tab")  # the second chart
        assert tip.inner_text().startswith("import: 98.75 %")


def test_timeline_tells_who_is_waited_for(browser: Browser, file: Path, full: Report) -> None:
    assert full.timeline is not None
    assert full.timeline.steady is not None
    with visit(browser, file) as found:
        rows = found.page.locator(".timeline").first.locator("g[data-spans]")
        assert rows.count() == len(full.timeline.steady.rows)
        rows.nth(0).focus()
        found.page.keyboard.press("Home")
        assert found.page.locator("#tip").inner_text().startswith("the input, cycles 0 to ")
        said = []
        last = rows.count() - 1
        rows.nth(last).focus()
        for _ in full.timeline.steady.rows[last].spans:
            said.append(found.page.locator("#tip").inner_text())
            found.page.keyboard.press("ArrowRight")
        assert any(text.endswith(": busy") for text in said)
        [(wait, _)] = full.timeline.steady.rows[last].waits
        assert any(text.endswith(f": waits for {wait.of}") for text in said)
        box = rows.nth(last).locator("rect").bounding_box()
        assert box is not None
        found.page.mouse.move(box["x"] + box["width"] - 2, box["y"] + 3)
        assert f"to {full.timeline.steady.cycles - 1:,}: " in found.page.locator("#tip").inner_text()


def test_light_and_dark(browser: Browser, file: Path) -> None:
    paper = "getComputedStyle(document.body).backgroundColor"
    with visit(browser, file) as light, visit(browser, file, scheme="dark") as dark:
        before = light.page.evaluate(paper), dark.page.evaluate(paper)
        assert before[0] != before[1]
        for found in (light, dark):
            found.page.locator("#theme").click()
        assert (dark.page.evaluate(paper), light.page.evaluate(paper)) == before
        light.page.reload()
        assert light.page.evaluate(paper) == before[1]  # it is remembered
        light.requests.pop()


@pytest.mark.parametrize("width", PHONES)
def test_nothing_is_wider_than_a_phone(width: int, browser: Browser, file: Path) -> None:
    with visit(browser, file, width) as found:
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert found.page.evaluate(wide) == 0
        found.page.locator(".chart rect.busy").first.tap()
        box = found.page.locator("#tip").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= width
        # Words of a row do not lie on each other.
        assert found.page.evaluate(
            """() => [...document.querySelectorAll(".chart text.name")].every((name) => {
                const value = name.nextElementSibling;
                return !value || name.getBoundingClientRect().right <= value.getBoundingClientRect().left;
            })"""
        )


def test_page_of_nothing(browser: Browser, bare: Report, tmp_path: Path) -> None:
    file = tmp_path / "bare.html"
    file.write_text(render_html(replace(bare, tools=())), "utf-8")
    with visit(browser, file, 320) as found:
        assert found.page.locator(".empty").count() > 20
