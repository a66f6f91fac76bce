"""Labeling configurations: of a request, and whether a project's own will do."""

from xml.etree import ElementTree

import pytest

from rayal.errors import UsageError
from rayal.labeling.exchange.base import Asked
from rayal.labeling.label_studio.config import BRUSH, POLYGON, colours, config_xml, lacking

STRANGE = ("cat", 'a & <b> "ü"', "it's", "new\nline", " spaces ")


def asked(*classes: str, masks: bool = False) -> Asked:
    return Asked("request", "cycle-000", classes, masks, ())


@pytest.mark.parametrize("masks", [False, True])
def test_any_signs_in_names(masks: bool) -> None:
    """A class would be another one on the way back."""
    request = asked(*STRANGE, masks=masks)
    view = ElementTree.fromstring(config_xml(request, (BRUSH, POLYGON)))
    tags = ["BrushLabels", "PolygonLabels"] if masks else ["Choices"]

    assert [*tags, "Image"] == [tag.tag for tag in view]
    for tag in view[:-1]:
        assert [*STRANGE] == [child.get("value") for child in tag]
    assert "" == lacking(config_xml(request, (BRUSH, POLYGON)), request)


def test_names_that_stand_for_data() -> None:
    """`$image` would be shown as the address of the image, and come back as that."""
    with pytest.raises(UsageError, match=r"called '\$dog'.*call them something else"):
        config_xml(asked("cat", "$dog"), ())


def test_colours_differ() -> None:
    """Two classes would look alike, or be one."""
    assert 254 == len({*colours(254)})


SEVERAL = 'choice="multiple"'
MORE = '<Choice value="b"/>'
IMAGE = '<Image name="image" value="$image"/>'
CHOICES = '<Choices name="class" toName="image" {}><Choice value="a"/>{}</Choices>'


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        (f"<View>{IMAGE}{CHOICES.format('', MORE)}</View>", ""),
        ("<View>", "it is no XML"),
        ("<View></View>", "it has no <Image"),
        (f"<View>{IMAGE}</View>", 'it has no <Choices name="class"'),
        (f"<View>{IMAGE}{CHOICES.format('', '')}</View>", "its 'class' lacks the classes 'b'"),
    ],
)
def test_a_projects_own(xml: str, reason: str) -> None:
    """People would label a request with classes that it does not have."""
    found = lacking(xml, asked("a", "b"))

    assert found.startswith(reason) and bool(found) == bool(reason)


def test_a_project_that_takes_several_classes() -> None:
    """Its answers would all be refused when they are there."""
    xml = f"<View>{IMAGE}{CHOICES.format(SEVERAL, '')}</View>"

    assert "takes several classes" in lacking(xml, asked("a"))


def test_either_way_to_draw_will_do() -> None:
    """A project for polygons alone would be refused."""
    request = asked("a", masks=True)

    assert "" == lacking(config_xml(request, (POLYGON,)), request)
    assert "" == lacking(config_xml(request, (BRUSH,)), request)
    assert "it has no <BrushLabels" in lacking(config_xml(asked("a"), ()), request)
