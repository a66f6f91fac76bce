"""What a mask costs in clicks, and the mask that so many clicks give: regions become polygons.

Source: Mittal et al., "Parting with Illusions about Deep Active Learning" (2019): each connected
component of the true mask is approximated by a polygon (Ramer-Douglas-Peucker, 10 pixels); an
annotator would click its vertices. Training uses the approximated masks. There is no code, and the
paper leaves open what the options of `ClickModel` decide; each says why its default is what it is.
The paper's figures on VOC: 33 clicks an image, 95.06 % mIoU of the approximated masks.

Measured with the defaults on CamVid (701 masks of 480x360, 88 regions each, most of them specks):

| tolerance        |     5 |    10 |    20 |    40 |
|------------------|-------|-------|-------|-------|
| clicks an image  |   425 |   294 |   227 |   195 |
| `skipped`        |   309 |   157 |    76 |    35 |
| mIoU, %          |  83.4 |  73.8 |  60.2 |  44.7 |
| `triangle`       |   483 |   363 |   303 |   276 |
| mIoU, %          |  86.4 |  80.0 |  71.8 |  63.6 |

`traced` adds 505 clicks an image and 0.0 points of mIoU; connectivity 4 adds 191 and takes 0.1.

H W are the rows and columns of a mask.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, NonNegativeFloat

from rayal.data.masks import IGNORE, Mask
from rayal.data.polygons import Connectivity, components, fill, outlines, simplify
from rayal.settings import Settings


class ClickModel(Settings):
    """How masks become polygons. Lengths are pixels of the masks that networks see."""

    tolerance: NonNegativeFloat = 10.0
    """No point of an outline is farther from its polygon (pixels); the paper's grid is 5 to 40."""
    connectivity: Connectivity = 8
    """Whether pixels that touch at a corner only are one region (8) or two (4). Not in the paper;
    8 makes fewer regions of thin things (poles, legs) and so fewer clicks. Regions may then cross
    at a corner, where with filled holes the smaller one hides a little of the larger."""
    holes: Literal["filled", "traced"] = "filled"
    """What becomes of a hole. `filled`: a region is its outer outline, and what lies in its holes
    is painted over it, as people label; a hole without a region gets the class around it. `traced`:
    holes are polygons too, and cost clicks. Not in the paper; filled is cheaper, and about as exact
    in whole images. A region that is bought alone has right labels in its holes only when they are
    traced."""
    background: int | None = Field(default=None, ge=0, lt=IGNORE)
    """Index of a class that is not labeled: it is what no polygon covers, and costs nothing. null:
    every class gets polygons. Not in the paper."""
    collapsed: Literal["counted", "triangle", "skipped"] = "counted"
    """What becomes of regions, mostly smaller than the tolerance, whose outline falls to two points
    and covers nothing. `counted`: they cost two clicks; `triangle`: the outermost point is added,
    at three clicks; `skipped`: nobody labels them. The paper's sum counts them, it seems."""
    void: Literal["covered", "kept"] = "covered"
    """Pixels without a class in the true mask are nobody's region. `covered`: where a polygon
    reaches over them they get its class; `kept`: they stay ignored, which an annotator could not
    do without clicks. Outside of all polygons they are ignored in either case."""


class Region(NamedTuple):
    """A connected component of one class, as somebody who clicks would draw it."""

    polygon: NDArray[np.int64]  # K 2, x y: corners of pixels, 0 0 the top left one of the image
    label: int  # class index
    clicks: int  # vertices, of the holes too
    shape: tuple[int, int]  # H W of the mask
    holes: tuple[NDArray[np.int64], ...] = ()  # each K 2; empty unless they are traced

    def window(self) -> tuple[tuple[slice, slice], NDArray[np.bool_]]:
        """The part of the mask that holds the polygon, and which of its pixels are covered.

        Those inside the polygon and in none of the holes: simplified holes may overlap, or stick
        out of the polygon.
        """
        place, inside = fill([self.polygon], self.shape)
        corner = place[1].start, place[0].start
        for hole in self.holes:
            part, hollow = fill([hole - corner], inside.shape)
            inside[part] &= ~hollow
        return place, inside

    def mask(self) -> NDArray[np.bool_]:
        """The pixels covered, H W."""
        covered = np.zeros(self.shape, np.bool_)
        place, inside = self.window()
        covered[place] = inside
        return covered


def approximate(mask: Mask, options: ClickModel) -> list[Region]:
    """The regions of a mask, H W, in the order of painting: the largest outline first.

    Its size is what the true outline encloses, holes included, so what lies in a hole comes after
    what lies around it. Equals go by their topmost, then leftmost point.
    """
    labeled = mask != IGNORE
    if options.background is not None:
        labeled &= mask != options.background
    found = components(mask, options.connectivity, labeled)
    curves = outlines(found, options.connectivity)
    if options.holes == "filled":
        curves = [curve for curve in curves if curve.area > 0]
    least = 3 if options.collapsed == "triangle" else 2
    polygons = simplify([curve.points for curve in curves], options.tolerance, least)
    drawn = [
        pair
        for pair in zip(curves, polygons, strict=True)
        if len(pair[1]) > 2 or options.collapsed != "skipped"
    ]
    holes: dict[int, list[NDArray[np.int64]]] = {}
    for curve, polygon in drawn:
        if curve.area < 0:
            holes.setdefault(curve.region, []).append(polygon)
    outer = [pair for pair in drawn if pair[0].area > 0]
    outer.sort(key=lambda pair: -pair[0].area)  # stable: equals stay in raster order
    return [
        _region(polygon, int(mask[curve.pixel]), mask.shape, holes.get(curve.region, ()))
        for curve, polygon in outer
    ]


def _region(
    polygon: NDArray[np.int64],
    label: int,
    shape: tuple[int, int],
    holes: Sequence[NDArray[np.int64]],
) -> Region:
    clicks = len(polygon) + sum(len(hole) for hole in holes)
    return Region(polygon, label, clicks, shape, tuple(holes))


def paint(regions: Iterable[Region], shape: tuple[int, int], rest: int = IGNORE) -> Mask:
    """A mask of the regions, each over those before it; `rest` where there is none."""
    painted = np.full(shape, rest, np.uint8)
    for region in regions:
        place, inside = region.window()
        painted[place][inside] = region.label
    return painted
