"""An independent SVG renderer, and SVG files that cover many features."""

from __future__ import annotations

import io

import numpy as np
import resvg_py
from PIL import Image

SAME = 1 / 255
"""Largest mean absolute difference of images that count as the same."""


def render(text: str, size: int = 256) -> np.ndarray:
    """A file drawn by resvg, at most `size` pixels wide and high: premultiplied RGBA (height, width, 4) in [0, 1]."""
    png = bytes(resvg_py.svg_to_bytes(svg_string=text, width=size, height=size, dpi=96, languages=["en"]))
    pixels = np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"), dtype=np.float64) / 255
    pixels[..., :3] *= pixels[..., 3:]
    return pixels


def difference(one: str, other: str) -> float:
    """The mean absolute difference of two files as drawn by resvg."""
    return float(np.abs(render(one) - render(other)).mean())


def svg(body: str, attributes: str = 'viewBox="0 0 100 100"') -> str:
    """An SVG file with this content."""
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return f"<svg {names} {attributes}>{body}</svg>"


DOCUMENTS = {
    "round dots": svg('<path d="M30 30h0M60 60zM80 20M20 80" stroke="red" stroke-width="20" stroke-linecap="round"/>'),
    "square dots": svg('<path d="M30 30L30 30M60 60z" stroke="red" stroke-width="20" stroke-linecap="square"/>'),
    "arcs": svg(
        '<path d="M10 30a20 10 30 1 1 20 20a5 5 0 0012 3A90,20-15,0,1,80,80" fill="none" stroke="#000" '
        'stroke-width="3"/>'
    ),
    "smooth curves": svg('<path d="M10 80C40 10 65 10 95 80S150 150 90 20T20 10Q52.5 10 95 80T18 80" fill="#8f8"/>'),
    "skewed stroke": svg(
        '<g transform="translate(20 10)scale(1 .4)rotate(20)">'
        '<rect x="10" y="10" width="50" height="70" stroke="blue" stroke-width="9" fill="gold" '
        'stroke-linejoin="round"/>'
        "</g>"
    ),
    "skewed dashes": svg(
        '<circle cx="40" cy="50" r="30" transform="skewX(20)" stroke="blue" stroke-width="5" fill="none" '
        'stroke-dasharray="10 4 2" stroke-dashoffset="3" stroke-linecap="round"/>'
    ),
    "dots": svg(
        '<path d="M10 30H90" stroke="red" stroke-width="8" stroke-linecap="round" stroke-dasharray="0 12"/>'
        '<path d="M10 60H90V90H10Z" fill="none" stroke="blue" stroke-width="8" stroke-linecap="square" '
        'stroke-dasharray="0 13"/>'
    ),
    "dashes around a corner": svg(
        '<rect x="10" y="10" width="77" height="66" stroke="blue" stroke-width="8" fill="none" '
        'stroke-dasharray="30 13"/>'
    ),
    "translucent groups": svg(
        '<g opacity=".5"><rect width="50" height="50" fill="red"/>'
        '<circle cx="50" cy="50" r="30" fill="blue" stroke="lime" stroke-width="10" opacity=".7"/></g>'
    ),
    "linear gradients": svg(
        '<defs><linearGradient id="a"><stop offset=".2" stop-color="red"/>'
        '<stop offset=".8" stop-color="blue" stop-opacity=".3"/></linearGradient>'
        '<linearGradient id="b" xlink:href="#a" gradientTransform="rotate(30)" spreadMethod="reflect" x2=".4"/>'
        '</defs><rect x="5" y="5" width="90" height="40" fill="url(#b)"/>'
        '<ellipse cx="50" cy="75" rx="40" ry="20" fill="url(#a)" stroke="url(#b)" stroke-width="6"/>'
    ),
    "skewed linear gradient": svg(
        '<linearGradient id="a" gradientUnits="userSpaceOnUse" x1="10" y1="10" x2="60%" y2="50" '
        'gradientTransform="skewX(30)">'
        '<stop stop-color="red"/><stop offset="1" stop-color="#00f8"/></linearGradient>'
        '<g transform="rotate(10 50 50) scale(1 .7)">'
        '<rect x="5" y="5" width="90" height="90" fill="url(#a)"/></g>'
    ),
    "radial gradients": svg(
        '<radialGradient id="a" cx=".4" cy=".6" r=".3" fx=".3" fy=".5" spreadMethod="repeat">'
        '<stop stop-color="red"/><stop offset="1" stop-color="#00f8"/></radialGradient>'
        '<rect x="5" y="5" width="90" height="50" fill="url(#a)"/><g transform="skewX(-20)">'
        '<rect x="45" y="60" width="30" height="30" fill="url(#a)" stroke="url(#a)" stroke-width="4"/>'
        "</g>"
    ),
    "focus outside": svg(
        '<radialGradient id="a" fx="1.2"><stop stop-color="red"/><stop offset="1" stop-color="#00f"/>'
        '</radialGradient><rect x="5" y="5" width="90" height="50" fill="url(#a)"/>'
    ),
    "focus on the edge": svg(
        '<radialGradient id="a" fx="1" fy=".5"><stop stop-color="red"/>'
        '<stop offset="1" stop-color="#00f"/></radialGradient>'
        '<rect x="5" y="5" width="90" height="50" fill="url(#a)"/>'
    ),
    "gradients under a skew": svg(
        '<radialGradient id="a" gradientTransform="rotate(20) scale(1 .5)"><stop stop-color="red"/>'
        '<stop offset="1" stop-color="#00f"/></radialGradient><linearGradient id="b">'
        '<stop stop-color="lime"/><stop offset="1"/></linearGradient>'
        '<rect x="5" y="15" width="50" height="50" transform="skewY(12) scale(1.5 1)" fill="url(#a)" '
        'stroke="url(#b)" stroke-width="9"/>'
    ),
    "use": svg(
        '<symbol id="s" viewBox="0 0 10 10"><circle cx="5" cy="5" r="4"/></symbol>'
        '<use href="#s" x="10" y="10" width="30" height="60" fill="red"/><g id="q" fill="blue">'
        '<rect x="50" y="50" width="20" height="20"/></g>'
        '<use xlink:href="#q" x="15" y="-30" opacity=".5"/>'
    ),
    "nested svg": svg(
        '<svg x="10" y="20" width="50%" height="30" viewBox="0 0 10 10" preserveAspectRatio="xMaxYMin meet">'
        '<rect width="10" height="10" fill="teal"/></svg>'
        '<svg x="10" y="60" width="50" height="30" viewBox="0 0 10 10" preserveAspectRatio="none">'
        '<circle cx="5" cy="5" r="4" stroke="red" fill="none"/></svg>'
    ),
    "style sheet": svg(
        "<style>"
        "/*x*/ .a{fill:red;stroke:#000} rect{fill:blue} #k{fill:lime!important} path.a,circle{fill:orange}"
        '</style><rect class="a" width="30" height="30"/><rect x="40" width="30" height="30"/>'
        '<rect id="k" style="fill:pink" x="70" width="20" height="30"/>'
        '<circle cx="20" cy="70" r="10" fill="red"/><path class="a" d="M50 50h20v20z"/>'
    ),
    "units": svg(
        '<rect x="1mm" y="0.1in" width="20pt" height="2em" stroke="red" stroke-width="1pc" fill="hsl(120,50%,40%)"/>'
        '<line x1="60" y1="10%" x2="90%" y2="90" stroke="rgb(10%,20%,90%)" stroke-width="5%"/>'
    ),
    "round rectangles": svg(
        '<rect x="5" y="5" width="60" height="40" rx="50" ry="10"/>'
        '<rect x="5" y="55" width="60" height="40" ry="12"/>'
        '<rect x="75" y="5" width="20" height="20" rx="10"/>'
    ),
    "even-odd": svg(
        '<path fill-rule="evenodd" d="M50 5L80 95L5 40H95L20 95z" fill="purple" fill-opacity=".5" stroke="#000" '
        'stroke-width="4" stroke-miterlimit="2"/>'
    ),
    "no viewBox": svg(
        '<rect width="20" height="10"/>',
        'width="40" height="20"',
    ),
    "other proportions": svg(
        '<rect width="20" height="10" fill="red"/>',
        'width="400" height="400" viewBox="-5 -5 40 20"',
    ),
    "switch": svg(
        '<switch><g systemLanguage="de"><rect width="50" height="50"/></g><g>'
        '<circle cx="50" cy="50" r="20"/></g></switch>'
    ),
    "polyline": svg('<polyline points="10,10 50,50 90 10 10 10" fill="none" stroke="#123" stroke-width="10"/>'),
    "currentColor": svg(
        '<g color="red"><rect width="50" height="50" fill="currentColor"/><linearGradient id="a">'
        '<stop stop-color="currentColor"/><stop offset="1" stop-color="blue"/></linearGradient></g>'
        '<rect x="50" width="50" height="50" fill="url(#a)" color="lime"/>'
    ),
    "inherited": svg(
        '<g opacity=".5" fill="red" stroke="blue" stroke-width="4">'
        '<rect width="50" height="50" opacity="inherit" stroke="none"/>'
        '<rect x="50" y="50" width="40" height="40" stroke="inherit"/></g>'
    ),
    "closed and gone on": svg(
        '<path d="M20 20 L80 20 Z l0 50 l40 0z m5 5 l5 0 l0 5z" fill="none" stroke="red" stroke-width="3"/>'
    ),
    "arcs that do not fit": svg(
        '<path d="M20 20 A 1 1 0 0 0 80 60 A 0 5 0 0 1 20 80 A 60 60 0 1 1 20 80" fill="none" stroke="red" '
        'stroke-width="3"/>'
    ),
    "strokes below fills": svg(
        '<rect x="20" y="20" width="50" height="50" fill="gold" stroke="red" stroke-width="20" paint-order="stroke"/>'
        '<circle cx="70" cy="70" r="20" fill="lime" stroke="blue" stroke-width="10" stroke-dasharray="5" opacity=".5" '
        'style="paint-order: markers stroke"/>'
    ),
    "transform origins": svg(
        '<g transform="rotate(20)" transform-origin="center"><rect x="30" y="30" width="40" height="30"/></g>'
        '<radialGradient id="a" gradientTransform="scale(.5 2)" transform-origin=".5 .5"><stop stop-color="lime"/>'
        '<stop offset="1"/></radialGradient><rect x="5" y="5" width="30" height="20" fill="url(#a)"/>'
    ),
    "fitted in another way": svg(
        '<rect x="5" y="5" width="90" height="60" fill="teal"/><circle cx="90" cy="90" r="30"/>',
        'viewBox="0 0 100 100" width="200" height="100" preserveAspectRatio="xMaxYMin slice"',
    ),
    "combined selectors": svg(
        "<style>svg > g.a rect.b{fill:red} g rect{fill:blue} g [x='50']{fill:lime}</style>"
        '<g class="a"><rect class="c b" width="50" height="50"/><rect x="50" width="50" height="50"/></g>'
        '<g><rect x="20" class="b" y="50" width="50" height="50"/></g>'
    ),
    "clips": svg(
        '<clipPath id="a"><circle cx="40" cy="40" r="30"/>'
        '<path clip-rule="evenodd" d="M50 50h45v45h-45zM60 60v25h25v-25z"/></clipPath>'
        '<g clip-path="url(#a)" opacity=".7"><rect width="60" height="100" fill="red"/>'
        '<rect x="45" width="60" height="100" fill="blue" stroke="lime" stroke-width="8"/></g>'
    ),
    "clips of clips": svg(
        '<clipPath id="a" clipPathUnits="objectBoundingBox"><circle cx=".5" cy=".5" r=".5"/></clipPath>'
        '<clipPath id="d"><circle cx="50" cy="50" r="25"/></clipPath>'
        '<clipPath id="b" clip-path="url(#a)"><path d="M0 0h70v70z"/></clipPath>'
        '<clipPath id="c"><rect width="70" height="70" clip-path="url(#d)"/>'
        '<rect x="60" y="60" width="30" height="30"/></clipPath>'
        '<g transform="rotate(10)"><rect x="10" y="10" width="80" height="60" clip-path="url(#b)"/></g>'
        '<g clip-path="url(#c)"><rect y="40" width="100" height="60" fill="red" clip-path="url(#a)"/></g>'
    ),
    "white masks": svg(
        '<mask id="a" maskUnits="userSpaceOnUse" x="10" y="20" width="70" height="70"><g fill="#fff">'
        '<circle cx="40" cy="40" r="35"/><path fill-rule="evenodd" d="M50 50h45v45h-45zM60 60v25h25v-25z"/></g></mask>'
        '<g mask="url(#a)" opacity=".7"><rect width="60" height="100" fill="red"/>'
        '<rect x="45" width="60" height="100" fill="blue" stroke="lime" stroke-width="8"/></g>'
    ),
    "markers": svg(
        '<marker id="a" viewBox="0 0 10 10" refX="5" refY="5" markerWidth="4" markerHeight="3" orient="auto">'
        '<path d="M0 0L10 5L0 10z" fill="red"/></marker><marker id="b" markerUnits="userSpaceOnUse" markerWidth="9" '
        'markerHeight="9" refX="3" orient="30"><circle cx="4" cy="4" r="6" fill="context-stroke"/></marker>'
        '<g fill="none" stroke="blue" stroke-width="3"><path d="M10 10H50V40z" marker-start="url(#b)" '
        'marker-mid="url(#a)"/><path d="M60 10q30 0 30 30H60" '
        'marker-start="url(#b)" marker-mid="url(#a)" marker-end="url(#a)"/>'
        '<polyline points="10,60 30,90 50,60" style="marker:url(#a)"/>'
        '<polygon points="60,70 90,70 75,95" marker-mid="url(#b)" paint-order="markers"/></g>'
    ),
    "clipped viewports": svg(
        '<symbol id="s" viewBox="0 0 10 10"><circle cx="8" cy="8" r="7" fill="red"/></symbol>'
        '<use href="#s" x="10" y="10" width="30" height="40"/>'
        '<svg x="50" y="30" width="40" height="40"><rect x="10" y="10" width="40" height="40" stroke="blue"/></svg>'
    ),
    "gradients of no length": svg(
        '<linearGradient id="a" x1=".5" x2=".5"><stop stop-color="red"/>'
        '<stop offset="1" stop-color="blue"/></linearGradient><radialGradient id="b" r="0">'
        '<stop stop-color="red"/><stop offset="1" stop-color="lime"/></radialGradient>'
        '<rect width="50" height="50" fill="url(#a)"/>'
        '<rect x="50" y="50" width="50" height="50" fill="url(#b)"/>'
    ),
}
"""SVG files by the feature they contain. All of them can be represented exactly."""
