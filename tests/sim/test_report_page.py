"""The page is one well-formed file that fetches nothing, shows the numbers and trusts no name."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from bitkiln.sim._flow import flow
from bitkiln.sim.design import Design
from bitkiln.sim.report import Report
from bitkiln.sim.report_page import render_html

VOID = {"meta", "br", "hr", "img", "input", "link"}
HOSTILE = "<script>alert(1)</script>\"onload=x' {{ 7*7 }} http://a.b/"


class Page(HTMLParser):
    """Checks that elements nest and collects what matters."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


def test_page_is_well_formed_and_refers_to_nothing(full: Report) -> None:
    text = render_html(full)
    page = Page(text)
    assert page.tags.count("html") == page.tags.count("body") == page.tags.count("script") == 1
    for reference in ("http:", "https:", "src=", "url(", "@import", "<link"):
        assert reference not in text
    ids = {value for _, name, value in page.attributes if name == "id"}
    links = [value for _, name, value in page.attributes if name == "href"]
    assert [link for link in links if link.removeprefix("#") not in ids] == []
    rows = len(full.design.layers) + 2 if full.design else 0
    assert page.tags.count("svg") == 11 + 2 * (1 + rows) + 1  # charts, both timelines with a row a unit, the graph
    layers = [value for tag, name, value in page.attributes if (tag, name) == ("table", "id")]
    assert layers == ["stalls", "layers", "tensors", "counts", "prices"]


def test_page_shows_the_numbers(full: Report, design: Design) -> None:
    page = Page(render_html(full)).text
    for shown in (
        "98.0 %",
        "float 98.8 %, 400 test images",
        f"{design.latency_cycles:,}",
        "predicted; the RTL takes exactly as many",
        f"12 MHz / {design.interval_cycles:,} cycles; the serial link carries 95/s",
        "Most used: DSP",
        "2,112 of 5,280",
        "940 B",
        "45 nm, 0.9 V",
        "bitkiln run project.toml\nbitkiln report",
        "yosys 0.70",
        "size of its .kiln file, with indices, fillers",
        "98.00 %",
        "2,000 / 2,112, -5.3 %",
        "0123456789abcdef" * 4,
        "waits for room in the next queue",
        "the whole network",
    ):
        assert shown in page
    assert "not run" not in page
    for price in (*design.technology.add, design.technology.dram):
        assert price.source in page


def test_bars_have_the_sizes_of_the_numbers(full: Report, design: Design) -> None:
    page = Page(render_html(full))
    widths = [value for tag, name, value in page.attributes if (tag, name) == ("rect", "width")]
    assert all(0 < float(width.rstrip("%")) <= 100.0005 for width in widths)
    # The first chart: a pale track as long as the interval, and the busy part of it.
    shares = [max(0.4, 100 * layer.utilisation) for layer in design.layers]
    expected = [width for share in shares for width in ("100.000%", f"{share:.3f}%")]
    assert widths[: len(expected)] == expected


def test_bare_page_says_not_run(bare: Report) -> None:
    page = Page(render_html(bare))
    assert page.tags.count("svg") == 0
    assert page.text.count("not run") == 10 + 11 + 5  # cards, charts, and the five sections below
    assert "None" not in page.text


PARTS = ("storage", "accuracy", "design", "verification", "board", "build", "link_images_per_second", "timeline")


@pytest.mark.parametrize("missing", [set(names) for names in itertools.combinations(PARTS, len(PARTS) - 2)])
def test_no_missing_part_breaks_the_report(full: Report, missing: set[str]) -> None:
    report = Report(
        full.model,
        storage=None if "storage" in missing else full.storage,
        accuracy=None if "accuracy" in missing else full.accuracy,
        design=None if "design" in missing else full.design,
        verification=None if "verification" in missing else full.verification,
        board=None if "board" in missing else full.board,
        build=None if "build" in missing else full.build,
        link_images_per_second=None if "link_images_per_second" in missing else full.link_images_per_second,
        timeline=None if "timeline" in missing else full.timeline,
    )
    page = Page(render_html(report))
    assert "not run" in page.text
    assert json.loads(report.to_json()).keys() == json.loads(full.to_json()).keys()


def states(report: Report) -> dict[str, str]:
    """Class of each card by its label."""
    text = render_html(report)
    return {label: css for css, label in re.findall(r'<div class="card (\w+)"><h2>([^<]*)</h2>', text)}


def test_cards_tell_good_from_bad(full: Report, design: Design) -> None:
    assert full.verification is not None
    assert full.build is not None
    good = states(full)
    assert (good["RTL mismatches"], good["Latency, cycles"], good["Fastest clock"]) == ("good", "good", "good")
    wrong = replace(full.verification, mismatches=3, rtl_interval=design.interval_cycles + 1)
    bad = replace(full, verification=wrong, build=replace(full.build, fmax_mhz=11.9))
    found = states(bad)
    assert (found["RTL mismatches"], found["Latency, cycles"], found["Fastest clock"]) == ("bad", "bad", "bad")
    assert f"interval {design.interval_cycles + 1:,}" in render_html(bad)
    one_image = replace(full, verification=replace(full.verification, rtl_interval=None))
    assert states(one_image)["Latency, cycles"] == "good"


def test_hostile_names_are_text(full: Report, design: Design) -> None:
    layers = (replace(design.layers[0], name=HOSTILE, place=HOSTILE, op=HOSTILE), *design.layers[1:])
    links = tuple(
        replace(
            link,
            source=HOSTILE if link.source == design.layers[0].name else link.source,
            target=HOSTILE if link.target == design.layers[0].name else link.target,
        )
        for link in design.links
    )
    hostile = replace(
        full,
        model=replace(full.model, name=HOSTILE),
        design=replace(design, layers=layers, links=links),
        commands=(HOSTILE,),
        tools=(HOSTILE,),
    )
    text = render_html(hostile)
    page = Page(text)
    assert page.tags.count("script") == 1
    assert "<script>alert" not in text
    assert page.text.count(HOSTILE) >= 5
    assert {name for _, name, _ in page.attributes if name.startswith("on")} == set()
    assert json.loads(hostile.to_json())["model"]["name"] == HOSTILE


def test_streams_that_skip_stages_get_lanes_of_their_own(design: Design) -> None:
    layers = tuple(replace(design.layers[0], name=name) for name in "abcd")
    ends = ((None, "a"), ("a", "b"), ("a", "c"), ("b", "d"), ("c", "d"), ("d", None))
    links = tuple(
        replace(design.links[0], name=f"s{n}", source=source, target=target) for n, (source, target) in enumerate(ends)
    )
    picture = flow(replace(design, layers=layers, links=links), "")
    assert [box.title for box in picture.boxes] == ["input", "a", "b", "c", "d", "output"]
    bends = [bend for wire in picture.wires for bend in re.findall(r"H(\d+)Q", wire.path)]
    assert len(bends) == len(set(bends)) == 2  # a to c and b to d overlap
    assert [label.text.partition(" → ")[2] for label in picture.labels] == ["", "", "c", "d", "", ""]
    tops = [box.top for box in picture.boxes]
    assert tops == sorted(tops)
    assert picture.height == tops[-1] + picture.boxes[-1].height
