"""The page of simulations: well-formed, complete, the same for the same numbers, and legible in a browser."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from bitkiln.sim._charts import Fall, fall_chart
from bitkiln.sim._roofline import roofline
from bitkiln.sim._simulation_charts import layer_charts, side_by_side, waterfall_chart
from bitkiln.sim.accelerator import find_accelerator
from bitkiln.sim.simulate import Overlap, Simulation, simulate
from bitkiln.sim.simulation_page import render_simulations
from bitkiln.sim.technologies import find_technology
from bitkiln.sim.topology import parse_topology
from bitkiln.sim.waterfall import Step, waterfall
from tests.sim.browser import open_browser, visit
from tests.sim.test_report_page import HOSTILE, Page

if TYPE_CHECKING:
    from playwright.sync_api import Browser

LAYERS = """Layer, M, N, K, Weight density, Activation density
fc1, 1, 512, 1024, 0.1, 0.4
fc2, 1, 256, 512, 0.2, 0.5
fc3, 1, 10, 256, 0.3, 0.3
"""


def run(accelerator: str, technology: str = "45nm-eie", batch: int = 1) -> Simulation:
    chip = find_accelerator(accelerator)
    return simulate(parse_topology(LAYERS, "net.csv", batch), chip, find_technology(technology))


@pytest.fixture(scope="module")
def several() -> list[Simulation]:
    return [run("systolic-32"), run("zero-skip"), run("eie"), run("xnor-array")]


def test_page_is_well_formed_and_fetches_nothing(several: list[Simulation]) -> None:
    text = render_simulations(several, ["bitkiln simulate net.csv -a eie"])
    page = Page(text)
    assert page.tags.count("script") == page.tags.count("body") == 1
    for reference in ("http:", "https:", "src=", "href=", "url(", "@import", "<link"):
        assert reference not in text
    ids = [value for _, name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids)) == 5 + 3  # theme, tip, reproduce
    assert text == render_simulations(several, ["bitkiln simulate net.csv -a eie"])


def test_one_simulation_has_cards_and_several_a_comparison(several: list[Simulation]) -> None:
    one, more = render_simulations(several[:1]), render_simulations(several)
    assert "Time of a batch" in one
    assert "Side by side" not in one
    assert "Side by side" in more
    assert "Time of a batch" not in more
    assert more.count("What compression saves") == 2  # its heading and its label, for EIE alone
    assert "What compression saves" not in one


def test_prices_come_with_sources_and_those_without_say_so(several: list[Simulation]) -> None:
    text = render_simulations(several)
    assert "Horowitz, Computing&#39;s Energy Problem, ISSCC 2014: integer add, 8 bit" in text
    assert text.count('class="source unsourced"') == 3 * len({found.technology.name for found in several})


def test_networks_are_told_apart_by_name(several: list[Simulation]) -> None:
    after = replace(several[2], workload=replace(several[2].workload, name="net after"))
    text = render_simulations([several[2], after])
    assert '<h2 class="section">net</h2>' in text
    assert '<h2 class="section">net after</h2>' in text
    text = render_simulations([several[0], several[2]])
    assert '<h2 class="section">systolic-32</h2>' in text
    assert '<h2 class="section">eie</h2>' in text
    text = render_simulations([several[0], after])
    assert '<h2 class="section">net after on eie</h2>' in text


def test_names_are_escaped(several: list[Simulation]) -> None:
    found = several[2]
    layer = replace(found.runs[0].layer, name=HOSTILE)
    hostile = replace(
        found,
        workload=replace(found.workload, name=HOSTILE),
        runs=(replace(found.runs[0], layer=layer, mapping=HOSTILE), *found.runs[1:]),
    )
    text = render_simulations([hostile], [HOSTILE])
    page = Page(text)
    assert page.tags.count("script") == 1
    assert "<script>alert" not in text
    assert {name for _, name, _ in page.attributes if name.startswith("on")} == set()
    assert page.text.count(HOSTILE) >= 4


def test_bars_add_up_to_what_they_show(several: list[Simulation]) -> None:
    for found in several:
        cycles = layer_charts(found)[0]
        longest = max(run.cycles for run in found.runs)
        widths: dict[int, float] = {}
        for mark in cycles.marks:
            widths[mark.y] = max(widths.get(mark.y, 0.0), float(mark.x[:-1]) + float(mark.width[:-1]))
        for run_, reach in zip(found.runs, widths.values(), strict=True):
            assert reach == pytest.approx(100 * run_.cycles / longest, abs=0.5)


def test_relative_energies_have_a_chart_of_their_own() -> None:
    mixed = [run("eyeriss-like"), run("eyeriss-like", "eyeriss-relative")]
    titles = [chart.title for chart in side_by_side(mixed, ["pJ", "MAC"])]
    assert titles == ["Time", "Energy", "Energy", "DRAM traffic"]
    text = render_simulations(mixed)
    assert " MAC</text>" in text
    assert "µJ</text>" in text


def test_every_colour_of_the_time_chart_has_its_key(several: list[Simulation]) -> None:
    overlapping = replace(several[0], overlap=Overlap(compute_cycles=10, cycles=25, peak_macs=1))
    chart = side_by_side([overlapping, several[2]], ["a", "b"])[0]
    assert {mark.colour for mark in chart.marks} == {key.colour for key in chart.keys}
    assert "starved" in {key.colour for key in chart.keys}


def test_no_layer_is_above_the_roof(several: list[Simulation]) -> None:
    """A dot is nowhere higher than the roof at its place, drawn from the same two numbers."""
    for found in several:
        peak = max(run_.peak_macs for run_ in found.runs) * found.accelerator.clock_hz
        for run_ in found.runs:
            rate = run_.performed_macs * found.accelerator.clock_hz / run_.cycles
            assert rate <= peak
        chart = roofline(found)
        roof = [line for line in chart.lines if line.css == "roof"]
        assert len(roof) == 2
        assert roof[1].y1 == roof[1].y2
        assert all(dot.y >= roof[1].y1 for dot in chart.dots)
        assert len(chart.dots) == sum(run_.performed_macs > 0 for run_ in found.runs)


def test_equal_ratios_fall_equally_far() -> None:
    chart = fall_chart("t", "n", [Fall("a", "", 1000, 100, "x", ""), Fall("b", "", 100, 10, "x", "")])
    first, second = (mark for mark in chart.marks if mark.colour == "x")
    assert float(first.width[:-1]) == pytest.approx(float(second.width[:-1]), abs=0.01)
    assert float(second.x[:-1]) + float(second.width[:-1]) == pytest.approx(float(first.x[:-1]), abs=0.01)


def test_waterfall_shows_each_factor() -> None:
    layers = parse_topology(LAYERS, "net.csv").layers
    steps = waterfall(layers, find_accelerator("eie"), find_technology("45nm-eie"))
    chart = waterfall_chart(steps, find_technology("45nm-eie"))
    values = [text.text for text in chart.texts if text.css == "value"]
    assert values[1].endswith(", 128x less")
    assert values[3].endswith(", 8x less")
    assert values[5].endswith(" more")
    assert math.prod(step.factor for step in steps) == pytest.approx(steps[0].energy / steps[-1].energy)


def test_waterfall_of_nothing_to_do_is_drawn() -> None:
    """All activations zero: no product is left, and nothing is divided by it."""
    step = [Step("a", "", 8.0, 1.0), Step("b", "", 4.0, 2.0), Step("c", "", 0.0, 1.0)]
    chart = waterfall_chart(step, find_technology("45nm-eie"))
    assert [text.text for text in chart.texts if text.css == "value"][-1] == "0 pJ"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    yield from open_browser()


@pytest.mark.slow
@pytest.mark.parametrize("width", [1280, 360])
def test_browser_draws_every_mark_in_colour(
    several: list[Simulation], browser: Browser, tmp_path: Path, width: int
) -> None:
    file = tmp_path / "page.html"
    file.write_text(render_simulations(several), "utf-8")
    with visit(browser, file, width) as found:
        charts = found.page.evaluate(
            """() => [...document.querySelectorAll(".chart svg")].map((svg) => {
                const marks = [...svg.querySelectorAll("rect, circle")];
                const drawn = marks.filter((mark) => mark.getBoundingClientRect().width > 0);
                const colours = drawn.map((mark) => getComputedStyle(mark).fill);
                return [drawn.length, marks.length, colours.includes("rgb(0, 0, 0)")];
            })"""
        )
        assert len(charts) == 3 + 1 + 5 * len(several)
        assert all(0 < drawn == total and not black for drawn, total, black in charts)
        bare = "(keys) => keys.filter((key) => getComputedStyle(key).backgroundColor === 'rgba(0, 0, 0, 0)').length"
        assert found.page.locator(".keys i").evaluate_all(bare) == 0
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert found.page.evaluate(wide) == 0
        found.page.locator("#summary th button").nth(1).click()
        slowest = sorted(several, key=lambda simulation: -simulation.seconds)
        names = [simulation.accelerator.name for simulation in slowest]
        assert found.text("#summary tbody tr td:first-child") == names
