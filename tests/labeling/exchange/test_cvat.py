"""CVAT for images 1.1: what is drawn, tagged, left and forged."""

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from rayal.data.masks import encode
from rayal.errors import UsageError
from rayal.labeling.exchange.base import Answer, Asked, Item, Problem
from rayal.labeling.exchange.cvat import FILE, LABELS, Cvat
from rayal.labeling.suggestions import Suggestion
from rayal.storage.folder import Folder

CLASSES = "road", "car"


def asked(masks: bool = True, units: int = 1, image: str = "images/1-cafe.png") -> Asked:
    items = [Item(f"u{n}", n, image if n == 1 else f"{n}.png", (4, 5)) for n in range(1, units + 1)]
    return Asked("cafe", "x", CLASSES, masks, tuple(items))


def xml(content: str, attributes: str = 'name="1-cafe.png" width="5" height="4"') -> bytes:
    image = f"<image {attributes}>{content}</image>"
    return f"<annotations><version>1.1</version>{image}</annotations>".encode()


def read(data: bytes, masks: bool = True) -> Answer | Problem | None:
    found = [*Cvat().read(data, asked(masks))]
    assert len(found) < 2
    return found[0] if found else None


def drawn(content: str) -> list[list[int]]:
    """The mask of a drawing, with dots for what is void."""
    found = read(xml(content))
    assert isinstance(found, Answer), found
    mask: np.ndarray = found.label  # type: ignore
    return mask.tolist()  # type: ignore


def reason(content: str, masks: bool = True) -> str:
    found = read(xml(content), masks)
    assert isinstance(found, Problem), found
    assert "image 1 ('1-cafe.png')" == found.where
    return found.reason


V = 255


def test_shapes() -> None:
    """A mask would lie elsewhere than what was drawn."""
    square = [[V, V, V, V, V], [V, 0, 0, V, V], [V, 0, 0, V, V], [V] * 5]

    assert square == drawn('<polygon label="road" points="1,1;3,1;3,3;1,3"/>')
    assert square == drawn('<box label="road" xtl="1" ytl="1" xbr="3" ybr="3"/>')
    assert square == drawn(
        '<mask label="road" rle="0, 2, 0, 2" left="1" top="1" width="2" height="2"/>'
    )
    assert [[V] * 5, [V, V, 1, V, V], [V] * 5, [V] * 5] == drawn(
        '<mask label="car" rle="1,1" left="1" top="1" width="2" height="1"/>'
    )


def test_a_box_that_is_turned() -> None:
    """It would be where it was before."""
    turned = drawn('<box label="car" xtl="0" ytl="1" xbr="4" ybr="3" rotation="90"/>')

    assert [[V, 1, 1, V, V]] * 4 == turned


def test_what_lies_above() -> None:
    """A car would be painted over by the road that was drawn after it."""
    car = '<polygon label="car" points="0,0;5,0;5,2;0,2" z_order="{}"/>'
    road = '<polygon label="road" points="0,0;5,0;5,4;0,4" z_order="{}"/>'

    assert [[1] * 5] * 2 + [[0] * 5] * 2 == drawn(car.format(2) + road.format(-1))
    assert [[0] * 5] * 4 == drawn(car.format(0) + road.format(0))  # the later one


@pytest.mark.parametrize(
    ("content", "label"),
    [
        ('<tag label="car"/>', "car"),
        ('<tag label="car"/><tag label="car"/>', "car"),
        ('<tag label="SKIP"/>', None),
        ('<tag label="SKIP"/><tag label="car" source="auto"/>', None),
        ('<tag label="car" source="auto"/>', "waits"),
        ('<tag label="car" source="file"/>', "waits"),
        ('<tag label="car" source="semi-auto"/>', "car"),
        ('<tag label="car" source="auto"/><tag label="AGREED"/>', "car"),
        ('<tag label="car" source="auto"/><tag label="road" source="manual"/>', "road"),
        ('<tag label="AGREED"/>', "waits"),
        ("", "waits"),
    ],
)
def test_tags(content: str, label: str | None) -> None:
    """What the model suggested would be taken for what somebody said, or the reverse."""
    found = read(xml(content), masks=False)

    assert label == (found.label if isinstance(found, Answer) else "waits"), found


def test_what_cannot_be_taken() -> None:
    """It would be taken for something else, or in part."""
    assert "has the tags 'car' and 'road'; leave one" in reason(
        '<tag label="car"/><tag label="road"/>', masks=False
    )
    assert "has SKIP and annotations; delete one" in reason(
        '<tag label="SKIP"/><tag label="car"/>', masks=False
    )
    assert "has a box instead of a tag" in reason('<box label="car"/>', masks=False)
    assert "'Car' is no class; did you mean 'car'?" in reason('<polygon label="Car"/>')
    assert "has a 'polyline', which has no area; draw" in reason('<polyline label="car"/>')
    assert "with points None; draw it again" in reason('<polygon label="car"/>')
    assert "of 2 points, without" in reason('<polygon label="car" points="0,0;1,1"/>')
    assert "number 'nan'; draw it again" in reason('<polygon label="car" points="0,0;1,nan;2,2"/>')
    assert "far out" in reason('<polygon label="car" points="0,0;1e9,0;2,2"/>')
    mask = '<mask label="car" rle="{}" left="{}" top="0" width="{}" height="1"/>'
    assert "runs of 3 pixels, not 2; export" in reason(mask.format("1,2", 0, 2))
    assert "which does not lie in the image of 4x5; draw" in reason(mask.format("1,2", 3, 3))
    assert "larger than the image; draw" in reason(mask.format("1,2", 0, 99))
    assert "has 'x' where a whole number should be; export" in reason(mask.format("x", 0, 3))


def test_other_images() -> None:
    """The label of one image would be taken for that of another."""
    tag = '<tag label="car"/>'
    for attributes, message in {
        'name="1-f00d.png" width="5" height="4"': "is no image of this request, did you mean",
        'name="holiday.png" width="5" height="4"': "is no image of this request; leave it out",
        'name="1-cafe.png" width="50" height="40"': "is 40x50, and 4x5 was handed out; label",
        'name="1-cafe.png" width="5" height="4" rayal_id="u7"': "'u7' has another image",
        'width="5" height="4"': "'' is no image of this request",
    }.items():
        found = read(xml(tag, attributes), masks=False)
        assert isinstance(found, Problem) and message in found.reason, found


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"<annotations><image", "is no whole XML .*; export it again as CVAT for images 1.1"),
        (b"<!DOCTYPE a><annotations/>", "declares a document type.*; leave it out"),
        (b"<a>" * 40, "deeper than 32 elements; export it again"),
        (b"<other/>", "holds 'other' or tracks.*; export the task as CVAT for images"),
        (b"<annotations><track/></annotations>", "or tracks of a video; export the task"),
        (b"PK\x03\x04", "is no whole zip .*; make it again"),
    ],
)
def test_files_that_are_none(data: bytes, message: str) -> None:
    """A bomb would fill the memory, or a mistaken file end in a traceback."""
    with pytest.raises(UsageError, match=message):
        read(data)


def test_what_goes_out(tmp_path: Path) -> None:
    """CVAT would not import it; or a suggestion lie elsewhere than the model has it."""
    mask = np.full((4, 5), V, np.uint8)
    mask[1:3, 1:4] = 1
    out, form = Folder(tmp_path), Cvat()
    form.write(asked(), {"u1": Suggestion(None, "margin", encode(mask), 0.5)}, out)
    labels = json.loads(out.read(LABELS))
    (shape,) = ElementTree.fromstring(out.read(FILE)).iter("mask")
    agreed = out.read(FILE).replace(b"<mask", b'<tag label="AGREED" source="manual" /><mask')
    answer = read(agreed)

    assert ["road", "car", "SKIP", "AGREED"] == [each["name"] for each in labels]
    assert {"name", "type", "attributes"} == {key for each in labels for key in each}
    assert "0, 6" == shape.get("rle") and "auto" == shape.get("source")
    assert read(out.read(FILE)) is None
    assert isinstance(answer, Answer) and mask.tolist() == answer.label.tolist()  # type: ignore


def test_regions_share_an_image() -> None:
    """Only the last region of an image would be answered."""
    items = [Item(f"a/{n}", n + 1, "images/a.png", (4, 5)) for n in range(2)]
    both = Asked("cafe", "x", CLASSES, True, tuple(items))
    data = xml('<box label="car" xtl="0" ytl="0" xbr="2" ybr="2"/>').replace(b"1-cafe", b"a")

    assert ["a/0", "a/1"] == [each.unit for each in Cvat().read(data, both)]  # type: ignore


@pytest.mark.parametrize(
    ("form", "classes", "message"),
    [
        (Cvat(), ("AGREED", "x"), "'AGREED' is a class of the dataset, or skip; set it"),
        (Cvat(), ("a\x01", "x"), "has a sign that XML cannot hold; use csv"),
    ],
)
def test_classes_that_it_cannot_carry(form: Cvat, classes: tuple[str, ...], message: str) -> None:
    """People would label for nothing."""
    with pytest.raises(UsageError, match=message):
        form.check(classes)
    Cvat(agreed="YES").check(("AGREED", "x"))
