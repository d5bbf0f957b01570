"""The page of a sensitivity scan: well-formed, self-contained, the same for the same table."""

from __future__ import annotations

from html.parser import HTMLParser

from bitkiln.passes.sensitivity import LayerSensitivity, Point, Sensitivity
from bitkiln.sim.sensitivity_page import render_sensitivity

TABLE = Sensitivity(
    200,
    198,
    (
        LayerSensitivity("conv1", 500, 288_000, (Point(0.1, 90), Point(0.5, 196)), (Point(2, 120), Point(8, 198))),
        LayerSensitivity("fc1", 400_000, 400_000, (Point(0.1, 195), Point(0.5, 198)), (Point(2, 190), Point(8, 198))),
    ),
)


class Page(HTMLParser):
    """Counts tags and collects text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text.append(data.strip())


def test_a_curve_a_layer_and_kind() -> None:
    text = render_sensitivity("lenet5", TABLE, {"conv1": 0.5, "fc1": 0.1}, "chosen so", "[[passes]]")
    page = Page(text)
    assert page.tags.count("svg") == 4
    assert page.tags.count("circle") == 8
    for shown in ("fc1, bits", "95.0 %", "97.5 %", "10 %", "400,000 weights, pruned alone; chosen: 10 %", "[[passes]]"):
        assert shown in page.text
    for reference in ("http:", "https:", "src=", "href=", "url(", "@import"):
        assert reference not in text
    assert text == render_sensitivity("lenet5", TABLE, {"conv1": 0.5, "fc1": 0.1}, "chosen so", "[[passes]]")


def test_names_are_escaped_and_a_choice_may_be_missing() -> None:
    page = Page(render_sensitivity("<b>", TABLE, {}, "", ""))
    assert "<b>" in page.text
    assert "Chosen densities" not in page.text


def test_a_flat_curve_and_a_single_point() -> None:
    layer = LayerSensitivity("fc", 10, 10, (Point(0.5, 200),), ())
    page = Page(render_sensitivity("net", Sensitivity(200, 200, (layer,)), {}, "", ""))
    assert page.tags.count("circle") == 1
