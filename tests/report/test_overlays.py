"""The picture of a cycle: what is handed to the figure."""

import io

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image

from rayal.data.masks import IGNORE
from rayal.report import overlays
from rayal.report.overlays import ID_SIGNS, Row, draw, small_png
from rayal.report.palette import NO_CLASS, palette

CLASSES = ("sky", "road", "a$b$")
SHAPE = 6, 8
RNG = np.random.default_rng(0)


def row(image: str = "a", shape: tuple[int, int] = SHAPE, note: str = "5 clicks") -> Row:
    reference = RNG.integers(0, 3, shape).astype(np.uint8)
    reference[0] = IGNORE
    bought = np.full(shape, IGNORE, np.uint8)
    bought[2:4, 1:5] = 1
    return Row(
        image=image,
        note=note,
        pixels=RNG.integers(0, 256, (*shape, 3)).astype(np.uint8),
        reference=reference,
        predicted=np.zeros(shape, np.uint8),
        entropy=RNG.random(shape).astype(np.float32),
        bought=bought,
        outlines=(np.array([[1, 2], [5, 2], [5, 4], [1, 4]]),),
    )


def axes_of(rows: list[Row], reference: str = "True mask") -> list[list[Axes]]:
    """The panels, a list for each row."""
    figure = draw(rows, CLASSES, "a title", reference)
    return [figure.axes[start : start + 5] for start in range(0, 5 * len(rows), 5)]


def shown(ax: Axes) -> np.ndarray:
    (image,) = ax.images
    return np.asarray(image.get_array())


def colours(mask: np.ndarray) -> np.ndarray:
    table = {**dict(enumerate(palette(3))), IGNORE: to_rgb(NO_CLASS)}
    return np.array([[table[value] for value in line] for line in mask.tolist()])


def test_columns_by_hand() -> None:
    """Each panel shows what its heading says, at the size of the image."""
    first = row()
    ((image, reference, predicted, uncertain, bought),) = axes_of([first])

    assert ["Image", "True mask", "Prediction", "Entropy", "Bought"] == [
        ax.get_title() for ax in (image, reference, predicted, uncertain, bought)
    ]
    assert_array_equal(first.pixels, shown(image))
    assert_allclose(255 * colours(first.reference), shown(reference), atol=0.5)
    assert_allclose(255 * colours(first.predicted), shown(predicted), atol=0.5)
    assert_array_equal(first.entropy, shown(uncertain))
    assert "a\n5 clicks" == image.get_ylabel()


def test_uncertainty_has_one_scale() -> None:
    """Cycles are compared: the same colour is the same entropy in all their pictures."""
    quiet = row()._replace(entropy=np.full(SHAPE, 0.1, np.float32))

    for panels in (axes_of([quiet]), axes_of([row(), quiet])):
        for line in panels:
            (image,) = line[3].images
            assert_allclose((0, np.log(3)), image.get_clim())


def test_what_was_bought_lies_over_the_image() -> None:
    """Colours where something was bought, the image in grey elsewhere, outlines at its corners."""
    first = row()
    ((*_, bought),) = axes_of([first])
    seen, nothing = shown(bought).astype(float), first.bought == IGNORE
    grey = 0.4 * 255 + 0.6 * first.pixels.mean(axis=2)
    mixed = 0.65 * 255 * palette(3)[1] + 0.35 * grey[2, 1]
    outline = bought.lines[0].get_xydata()

    assert_allclose(np.repeat(grey[nothing][:, None], 3, axis=1), seen[nothing], atol=0.6)
    assert_allclose(mixed, seen[2, 1], atol=1)
    assert_allclose([[0.5, 1.5], [4.5, 1.5], [4.5, 3.5], [0.5, 3.5], [0.5, 1.5]], outline)
    assert ((-0.5, 7.5), (5.5, -0.5)) == (bought.get_xlim(), bought.get_ylim())


def test_images_of_several_sizes() -> None:
    """VOC's images lie in a canvas; each is shown without its filling."""
    rows = [row("a", (6, 8)), row("b", (8, 5)), row("c", (4, 4))]

    assert [(6, 8), (8, 5), (4, 4)] == [shown(line[3]).shape for line in axes_of(rows)]


def test_the_legend_names_what_is_there() -> None:
    """Of 150 classes a picture shows a few; one without a name would be a riddle."""
    figure = draw([row()], CLASSES, "", "True mask")
    alone = row()._replace(reference=np.full(SHAPE, 1, np.uint8), bought=np.full(SHAPE, 1))
    small = draw([alone], CLASSES, "", "True mask")

    def names(of: object) -> list[str]:
        (legend,) = of.legends  # type: ignore[attr-defined]
        return [text.get_text() for text in legend.get_texts()]

    assert ["sky", "road", "a$b$", "no class"] == names(figure)
    assert ["sky", "road"] == names(small)
    small_png(figure)  # a$b$ is no formula


def test_long_names_are_cut_at_their_front() -> None:
    """Names of one dataset begin alike."""
    ((image, *_),) = axes_of([row("folder/" * 10 + "000123", note="")])

    assert ID_SIGNS == len(image.get_ylabel())
    assert image.get_ylabel().endswith("folder/000123")


def test_a_notebook_shows_it() -> None:
    """Without pyplot a figure is a line of text there."""
    figure = draw([row()], CLASSES, "", "True mask")

    assert figure._repr_png_().startswith(b"\x89PNG")  # type: ignore[attr-defined]


def test_equal_figures_are_equal_files() -> None:
    """A tracker is sent only what has changed."""
    first = row()

    assert 1 == len({small_png(draw([first], CLASSES, "t", "True mask")) for _ in range(2)})


def test_files_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Photographs compress badly; a folder of them is sent to a server."""
    figure = draw([row(shape=(120, 160))], CLASSES, "t", "True mask")
    large = small_png(figure)
    monkeypatch.setattr(overlays, "MAX_BYTES", 60_000)
    small = small_png(figure)

    assert len(small) <= 60_000 < len(large)
    size, full = (Image.open(io.BytesIO(data)).size for data in (small, large))
    assert size < full
