"""Roofline of a dataflow design: what its layers reach, against its multipliers and the link to the host."""

from __future__ import annotations

from ._charts import Chart, Key, no_chart
from ._format import number_text, rate_text, short_count
from ._roofline import Roof, RooflinePoint, roofline_chart
from .design import Design, Link

_KEYS = (
    Key("memory", "left of the ridge: the link is the limit, if the data cross it"),
    Key("compute", "right of it: the multipliers are"),
)
NETWORK = "the whole network"


def dataflow_roofline(design: Design | None, link_images_per_second: float | None, empty: str) -> Chart:
    """Lay out the layers with products, and the whole network; `link_images_per_second` is what the link carries.

    Without a board there is no link: then it is as wide as the design's own first and last stream.
    """
    products = sum((layer.pe or 0) * (layer.simd or 0) for layer in design.layers) if design else 0
    if design is None or not products:
        note = "What the multipliers reach, and what the link to the host allows."
        return no_chart("Roofline", note, "nothing is multiplied" if design else empty)
    image_bytes = sum(map(_bytes, design.border))
    rate = design.images_per_second
    bandwidth = image_bytes * (link_images_per_second or design.clock_hz / max(link.beats for link in design.border))
    roof = Roof(products * design.clock_hz, bandwidth, "MACs for each byte that goes in or out", "no bytes", _KEYS)
    what = "the serial link" if link_images_per_second else "the first and the last stream"
    note = (
        f"Each dot is a layer at {rate_text(rate)} images, its area its share of the products; its bytes are its "
        f"feature maps. Roof: {short_count(roof.peak)}MAC/s of all multipliers, {short_count(bandwidth)}B/s of {what}; "
        f"they meet at {number_text(roof.ridge)} MAC/byte."
    )
    points = [_layer_point(design, index) for index, layer in enumerate(design.layers) if layer.macs]
    macs = sum(layer.macs for layer in design.layers)
    whole = RooflinePoint(NETWORK, macs / image_bytes, macs * rate, 1.0, f"{number_text(image_bytes)} bytes an image")
    points.sort(key=lambda point: -point.share)
    return roofline_chart(note, [whole, *points], roof)


def _layer_point(design: Design, index: int) -> RooflinePoint:
    layer = design.layers[index]
    moved = sum(_bytes(link) for link in design.links if layer.name in (link.source, link.target))
    share = layer.macs / sum(other.macs for other in design.layers)
    title = f"busy {100 * layer.utilisation:.1f} % of the time"
    return RooflinePoint(layer.name, layer.macs / moved, layer.macs * design.images_per_second, share, title)


def _bytes(link: Link) -> float:
    return link.beats * link.beat_bits / 8
