"""The built site: it has all there is, and every link leads somewhere."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

import commands
import exit_codes
import pytest
from pydantic import BaseModel

import rayal
from rayal import parts
from rayal.experiment.experiment import Experiment
from rayal.experiment.sweep.settings import Sweep
from rayal.parts import Component
from rayal.workflows.score.settings import PoolScoring
from tests.support import html_pages
from tests.support.html_pages import Page


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[str, Page]:
    """Address below the site -> page."""
    return {
        file.relative_to(site.resolve()).as_posix(): page
        for file, page in html_pages.read(site).items()
    }


def outside(address: str) -> bool:
    return bool(urlsplit(address).scheme)


def test_every_link_leads_somewhere(site: Path, pages: dict[str, Page]) -> None:
    """A reader would end on an error, or at the top of a page instead of at the place."""
    broken = []
    for name, page in pages.items():
        for link in sorted(page.links | page.loads):
            if outside(link):
                continue
            path, anchor = unquote(urlsplit(link).path), unquote(urlsplit(link).fragment)
            folder = site if path.startswith("/") else (site / name).parent
            target = (folder / path.lstrip("/")).resolve() if path else (site / name).resolve()
            target = target / "index.html" if target.is_dir() else target
            there = pages.get(target.relative_to(site.resolve()).as_posix())
            if not target.is_file() or (anchor and there and anchor not in there.anchors):
                broken.append(f"{name}: {link}")

    assert not broken


def test_links_to_elsewhere_are_whole(pages: dict[str, Page]) -> None:
    """A link without its host, or to a plain address of this machine, helps nobody."""
    links = {link for page in pages.values() for link in page.links if outside(link)}

    for link in links:
        assert re.fullmatch(r"https://[\w.-]+\.\w+(/[^\s]*)?|mailto:\S+@\S+", link), link


def test_nothing_is_fetched_from_elsewhere(site: Path, pages: dict[str, Page]) -> None:
    """The site would look otherwise without internet, and tell others who reads it."""
    assert not [load for page in pages.values() for load in page.loads if outside(load)]
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def fields(settings: type[BaseModel], prefix: str) -> Iterator[str]:
    """Every field that holds a value or a part, dotted, as the annotations nest them."""
    for name, field in settings.model_fields.items():
        mentioned = [field.annotation, *getattr(field.annotation, "__args__", ())]
        blocks = [each for each in mentioned if isinstance(each, type)]
        blocks = [each for each in blocks if issubclass(each, BaseModel)]
        if not blocks or issubclass(blocks[0], Component):
            yield prefix + name
        else:
            yield from fields(blocks[0], f"{prefix}{name}.")


@pytest.mark.parametrize(
    ("settings", "prefix", "address"),
    [
        (Experiment, "", "reference/experiment.html"),
        (Sweep, "sweep.", "reference/sweep.html"),
        (PoolScoring, "", "reference/scoring.html"),
    ],
    ids=["experiment", "sweep", "scoring"],
)
def test_every_field_is_there(
    pages: dict[str, Page], settings: type[BaseModel], prefix: str, address: str
) -> None:
    """A setting that no page names is found by nobody."""
    expected = {*fields(settings, prefix)}

    assert len(expected) > 10
    assert expected <= pages[address].anchors


@pytest.mark.parametrize("kind", parts.PACKAGES)
def test_every_part_and_option_is_there(pages: dict[str, Page], kind: str) -> None:
    """A strategy, model or dataset would be known to its author only."""
    for name in parts.names(kind):
        methods = kind in ("strategies", "schemes")
        page = pages[f"methods/{kind}/{name}.html" if methods else f"reference/{kind}.html"]
        assert name in page.anchors
        assert {*fields(parts.find(kind, name), f"{name}.")} <= page.anchors


def test_every_verb_and_option_is_there(pages: dict[str, Page]) -> None:
    """The page would be of an older command line."""
    page = pages["reference/command_line.html"]
    found = commands.verbs(commands.root())

    assert len(found) > 15
    for words, command in found:
        assert "-".join(("rayal", *words)) in page.anchors
        for each in command.params:
            for word in each.opts if each.param_type_name == "option" else [each.name.upper()]:
                assert word in page.text, f"{words} {word}"


def test_every_public_name_is_there(pages: dict[str, Page]) -> None:
    """A name that can be imported, and that no page explains."""
    used, for_parts = (pages[f"reference/{page}.html"] for page in ("python", "parts_api"))

    for name in rayal._HOMES:
        (page,) = (page for page in (used, for_parts) if f"rayal.{name}" in page.anchors)
        value = getattr(rayal, name)
        told = value.__doc__ if callable(value) else name  # a constant has no text of its own
        begin = re.split(r"[`.\n]", told)[0]
        assert begin in page.text, name


def test_every_exit_code_is_there(pages: dict[str, Page]) -> None:
    """A script would meet a code that nothing explains."""
    page = pages["reference/exit_codes.html"]

    assert {row[0] for row in exit_codes._rows()} == {*"0123456", "130"}
    assert "LockedError" in page.text
    assert "130" in page.text


def test_what_was_measured_is_quoted(pages: dict[str, Page]) -> None:
    """The results of a method would be those of another, or of nothing."""
    assert "95.23 ± 0.77" in pages["methods/strategies/margin.html"].text
    assert "95.23 ± 0.77" not in pages["methods/strategies/entropy.html"].text
    assert "None of the runs" in pages["methods/strategies/random_polygon.html"].text
