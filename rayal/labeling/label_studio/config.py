"""Label Studio's labeling configuration: what an annotator can say of an image, as XML."""

import colorsys
from collections.abc import Iterable, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

from rayal.errors import UsageError, quoted, some
from rayal.labeling.exchange.base import Asked

IMAGE, CHOICE, BRUSH, POLYGON = "image", "class", "brush", "polygon"
"""Names of the configuration, which results say too."""
MANY = 24
"""Classes that are shown side by side; more are in a list to choose from."""


class Control(NamedTuple):
    """What a tag of the configuration is called, and its results."""

    tag: str
    child: str
    type: str


CONTROLS = {
    CHOICE: Control("Choices", "Choice", "choices"),
    BRUSH: Control("BrushLabels", "Label", "brushlabels"),
    POLYGON: Control("PolygonLabels", "Label", "polygonlabels"),
}


def controls_of(asked: Asked, drawn: Sequence[str]) -> tuple[str, ...]:
    """The controls of a request; `drawn`: those for masks."""
    return tuple(drawn) if asked.masks else (CHOICE,)


def config_xml(asked: Asked, drawn: Sequence[str]) -> str:
    """The configuration of a request, whatever signs its classes have.

    Raises UsageError for a class that Label Studio would take for something else.
    """
    if strange := [name for name in asked.classes if name.startswith("$") or not name.strip()]:
        raise UsageError(
            f"Label Studio cannot show classes called {some(strange)}: what begins with $ stands"
            " for data of a task; call them something else"
        )
    view = ElementTree.Element("View")
    for name in controls_of(asked, drawn):
        control = CONTROLS[name]
        tag = ElementTree.SubElement(view, control.tag, name=name, toName=IMAGE)
        if name == CHOICE:
            layout = "select" if len(asked.classes) > MANY else "inline"
            tag.attrib |= {"choice": "single", "required": "true", "layout": layout}
        for value, colour in zip(asked.classes, colours(len(asked.classes)), strict=True):
            child = ElementTree.SubElement(tag, control.child, value=value)
            if name != CHOICE:
                child.set("background", colour)
    # Below what is chosen from, which would be out of sight below a high image.
    ElementTree.SubElement(view, "Image", name=IMAGE, value="$image", zoom="true")
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def colours(count: int) -> list[str]:
    """So many different colours, neighbours far apart: `#rrggbb`.

    The hue goes on by the golden angle, and brightness changes with it, so that no two are equal.
    """
    golden = 0.6180339887498949
    tones = ((0.85, 0.9), (0.6, 1.0), (0.95, 0.65))  # saturation, value
    rgb = [colorsys.hsv_to_rgb(i * golden % 1, *tones[i % len(tones)]) for i in range(count)]
    return [f"#{''.join(f'{round(255 * part):02x}' for part in each)}" for each in rgb]


def lacking(xml: str, asked: Asked) -> str:
    """Why the answers to this request cannot be given with a project's own configuration; empty
    where they can."""
    try:
        view = ElementTree.fromstring(xml)
    except ElementTree.ParseError as error:
        return f"it is no XML ({error})"
    shown = [tag.get("name") for tag in view.iter("Image") if tag.get("value") == "$image"]
    if IMAGE not in shown:
        return f'it has no <Image name="{IMAGE}" value="$image"/>'
    wanted = (BRUSH, POLYGON) if asked.masks else (CHOICE,)
    reasons = [_lacking(view, name, asked.classes) for name in wanted]
    return "" if "" in reasons else reasons[0]


def _lacking(view: ElementTree.Element, name: str, classes: Iterable[str]) -> str:
    control = CONTROLS[name]
    found = [tag for tag in view.iter(control.tag) if tag.get("name") == name]
    if not found or found[0].get("toName") != IMAGE:
        return f'it has no <{control.tag} name="{name}" toName="{IMAGE}">'
    there = {child.get("value") for child in found[0].iter(control.child)}
    if missing := [each for each in classes if each not in there]:
        return f"its {quoted(name)} lacks the classes {some(missing)}"
    if name == CHOICE and found[0].get("choice", "single") == "multiple":
        return f"its {quoted(name)} takes several classes for an image"
    return ""
