"""Color spaces of CSS Color 4 besides sRGB: conversions to sRGB and back.

Numbers are in the units of CSS: L of Lab and LCH in [0, 100], of Oklab and OKLCH in [0, 1], hues in degrees, everything
else about [0, 1]. Sources: CSS Color 4, sections 8 to 10 and 18; the matrices of Oklab are by Björn Ottosson.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

Triple = tuple[float, float, float]
_Matrix3 = tuple[Triple, Triple, Triple]

_SRGB_TO_XYZ: _Matrix3 = (
    (506752 / 1228815, 87881 / 245763, 12673 / 70218),
    (87098 / 409605, 175762 / 245763, 12673 / 175545),
    (7918 / 409605, 87881 / 737289, 1001167 / 1053270),
)
"""Linear-light sRGB to XYZ with the white point D65."""
_P3_TO_XYZ: _Matrix3 = (
    (608311 / 1250200, 189793 / 714400, 198249 / 1000160),
    (35783 / 156275, 247089 / 357200, 198249 / 2500400),
    (0.0, 32229 / 714400, 5220557 / 5000800),
)
_D50_TO_D65: _Matrix3 = (
    (0.955473421488075, -0.02309845494876471, 0.06325924320057072),
    (-0.0283697093338637, 1.0099953980813041, 0.021041441191917323),
    (0.012314014864481998, -0.020507649298898964, 1.330365926242124),
)
_D50_WHITE: Triple = (0.3457 / 0.3585, 1.0, (1 - 0.3457 - 0.3585) / 0.3585)
_SRGB_TO_LMS: _Matrix3 = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_LMS_TO_OKLAB: _Matrix3 = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
_LAB_EPSILON, _LAB_KAPPA = 216 / 24389, 24389 / 27


def _times(matrix: _Matrix3, values: Triple) -> Triple:
    x, y, z = (sum(m * v for m, v in zip(row, values, strict=True)) for row in matrix)
    return x, y, z


def _inverse(m: _Matrix3) -> _Matrix3:
    """The inverse of a 3 x 3 matrix: cross products of its rows as columns, over the determinant."""
    a, b, c = _cross(m[1], m[2]), _cross(m[2], m[0]), _cross(m[0], m[1])
    det = sum(x * y for x, y in zip(m[0], a, strict=True))
    x, y, z = ((a[i] / det, b[i] / det, c[i] / det) for i in range(3))
    return x, y, z


def _cross(u: Triple, v: Triple) -> Triple:
    return u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]


_XYZ_TO_SRGB, _D65_TO_D50 = _inverse(_SRGB_TO_XYZ), _inverse(_D50_TO_D65)
_OKLAB_TO_LMS, _LMS_TO_SRGB = _inverse(_LMS_TO_OKLAB), _inverse(_SRGB_TO_LMS)


def _each(function: Callable[[float], float], values: Triple) -> Triple:
    x, y, z = map(function, values)
    return x, y, z


def _encoded(value: float) -> float:
    """sRGB from linear light; odd, so that values out of gamut stay so."""
    size = abs(value)
    return math.copysign(12.92 * size if size <= 0.0031308 else 1.055 * size ** (1 / 2.4) - 0.055, value)


def _linear(value: float) -> float:
    """Linear light from sRGB."""
    size = abs(value)
    return math.copysign(size / 12.92 if size <= 0.04045 else ((size + 0.055) / 1.055) ** 2.4, value)


def _same(values: Triple) -> Triple:
    return values


def _from_linear(values: Triple) -> Triple:
    return _each(_encoded, values)


def _to_linear(values: Triple) -> Triple:
    return _each(_linear, values)


def _from_p3(values: Triple) -> Triple:
    return _from_linear(_times(_XYZ_TO_SRGB, _times(_P3_TO_XYZ, _to_linear(values))))


def _from_oklab(values: Triple) -> Triple:
    return _from_linear(_times(_LMS_TO_SRGB, _each(lambda v: v**3, _times(_OKLAB_TO_LMS, values))))


def _to_oklab(values: Triple) -> Triple:
    lms = _times(_SRGB_TO_LMS, _to_linear(values))
    return _times(_LMS_TO_OKLAB, _each(lambda v: math.copysign(abs(v) ** (1 / 3), v), lms))


def _from_lab(values: Triple) -> Triple:
    lightness, a, b = values
    fy = (lightness + 16) / 116
    fx, fz = fy + a / 500, fy - b / 200
    x, z = (f**3 if f**3 > _LAB_EPSILON else (116 * f - 16) / _LAB_KAPPA for f in (fx, fz))
    y = fy**3 if lightness > _LAB_KAPPA * _LAB_EPSILON else lightness / _LAB_KAPPA
    white = _D50_WHITE
    return _from_linear(_times(_XYZ_TO_SRGB, _times(_D50_TO_D65, (x * white[0], y * white[1], z * white[2]))))


def _to_lab(values: Triple) -> Triple:
    xyz = _times(_D65_TO_D50, _times(_SRGB_TO_XYZ, _to_linear(values)))
    ratios = (value / white for value, white in zip(xyz, _D50_WHITE, strict=True))
    fx, fy, fz = (t ** (1 / 3) if t > _LAB_EPSILON else (_LAB_KAPPA * t + 16) / 116 for t in ratios)
    return 116 * fy - 16, 500 * (fx - fy), 200 * (fy - fz)


def _from_polar(values: Triple) -> Triple:
    lightness, chroma, hue = values
    radians = math.radians(math.fmod(hue, 360))
    return lightness, chroma * math.cos(radians), chroma * math.sin(radians)


def _to_polar(values: Triple) -> Triple:
    lightness, a, b = values
    return lightness, math.hypot(a, b), math.degrees(math.atan2(b, a)) % 360


def _from_hsl(values: Triple) -> Triple:
    hue, saturation, lightness = values
    degrees, chroma = math.fmod(hue, 360), saturation * min(lightness, 1 - lightness)

    def channel(offset: float) -> float:
        k = (offset + degrees / 30) % 12
        return lightness - chroma * max(-1.0, min(k - 3, 9 - k, 1.0))

    return channel(0), channel(8), channel(4)


def _to_hsl(values: Triple) -> Triple:
    high, low = max(values), min(values)
    lightness, spread = (high + low) / 2, high - low
    saturation = spread / (1 - abs(2 * lightness - 1)) if spread and 0 < lightness < 1 else 0.0
    return _hue(values), saturation, lightness


def _hue(values: Triple) -> float:
    red, green, blue = values
    high, spread = max(values), max(values) - min(values)
    if not spread:
        return 0.0
    if high == red:
        return 60 * ((green - blue) / spread % 6)
    return 60 * ((blue - red) / spread + 2 if high == green else (red - green) / spread + 4)


def _from_hwb(values: Triple) -> Triple:
    hue, white, black = values
    if white + black >= 1:
        gray = white / (white + black)
        return gray, gray, gray
    red, green, blue = (channel * (1 - white - black) + white for channel in _from_hsl((hue, 1.0, 0.5)))
    return red, green, blue


def _to_hwb(values: Triple) -> Triple:
    return _hue(values), min(values), 1 - max(values)


def _from_lch(values: Triple) -> Triple:
    return _from_lab(_from_polar(values))


def _from_oklch(values: Triple) -> Triple:
    return _from_oklab(_from_polar(values))


class ColorSpace(NamedTuple):
    """A color space: its maps to and from sRGB, and which of its three numbers is a hue (None if it has none).

    `colorfulness` is the distance of a color from gray, about 1 for the most colorful ones; for spaces with a hue only.
    """

    to_srgb: Callable[[Triple], Triple]
    from_srgb: Callable[[Triple], Triple]
    hue: int | None = None
    colorfulness: Callable[[Triple], float] = max


COLOR_SPACES: dict[str, ColorSpace] = {
    "srgb": ColorSpace(_same, _same),
    "srgb-linear": ColorSpace(_from_linear, _to_linear),
    "lab": ColorSpace(_from_lab, _to_lab),
    "oklab": ColorSpace(_from_oklab, _to_oklab),
    "lch": ColorSpace(lambda v: _from_lab(_from_polar(v)), lambda v: _to_polar(_to_lab(v)), 2, lambda v: v[1] / 150),
    "oklch": ColorSpace(
        lambda v: _from_oklab(_from_polar(v)), lambda v: _to_polar(_to_oklab(v)), 2, lambda v: v[1] / 0.4
    ),
    "hsl": ColorSpace(_from_hsl, _to_hsl, 0, lambda v: v[1]),
    "hwb": ColorSpace(_from_hwb, _to_hwb, 0, lambda v: 1 - v[1] - v[2]),
}
"""The spaces that colors are mixed in (`color-mix`)."""

GIVEN_SPACES: dict[str, Callable[[Triple], Triple]] = {
    "srgb": _same,
    "srgb-linear": _from_linear,
    "display-p3": _from_p3,
}
"""The spaces of `color()`: their maps to sRGB."""
