import base64
import hashlib
import json
import re

import pytest

from rayal.report.page import markup
from rayal.report.page.blocks import Key, Listing, Section, Table, Text, number
from tests.support.made_up import HOSTILE
from tests.support.pages import Page


def page(*blocks: object) -> Page:
    return Page(markup.written("title", [], [Section("one", blocks)]))  # type: ignore[arg-type]


def test_only_the_scripts_that_are_written_here_may_run() -> None:
    """A name that got past everything else would still run."""
    scripts = ["let a = 1;\n", "let b = '</' + 'script>';"]
    digests = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in scripts]
    policy = markup.policy(scripts)
    allowed = re.search("script-src ([^;]*);", policy)

    assert allowed and " ".join(f"'sha256-{each}'" for each in digests) == allowed[1]
    assert policy.startswith("default-src 'none';") and "unsafe-eval" not in policy
    assert "script-src 'none';" in markup.policy([])


def test_the_policy_of_a_page_names_its_scripts() -> None:
    """A browser would refuse to draw."""
    found = page(Text("nothing"))
    (policy,) = (
        attrs["content"] for _, attrs in found.tags if "Content-Security-Policy" in attrs.values()
    )

    assert policy == markup.policy(found.scripts)


@pytest.mark.parametrize("name", HOSTILE)
def test_json_stays_inside_of_its_element(name: str) -> None:
    """`</script>` in a name ends the element that it stands in, whatever JSON says of it."""
    written = str(markup.as_json({"name": name}))

    assert not set("<>&\u2028\u2029") & {*written}
    assert markup.text(name) == json.loads(written)["name"]


@pytest.mark.parametrize("name", HOSTILE)
def test_text_stays_text(name: str) -> None:
    """In a paragraph, a cell, a caption and a label for who does not see."""
    rows = [[name, number(0.25, ".0f", 100)]]
    found = page(Text(name), Table(name, [name, "n"], rows), Listing(name, name))
    shown = markup.text(name)

    assert found.text.count(shown) >= 5
    assert [[shown, "n"], [shown, "0.25"]] == found.tables[shown]
    assert not {"svg", "b", "img"} & {tag for tag, _ in found.tags}


def test_colours_and_names_of_classes() -> None:
    """Nobody could tell which colour of a mask is which class; a name is text here too."""
    made = page(Key([("#0072b2", "<b>car</b>"), ("#d55e00", "road")]))
    rects = [attrs["fill"] for tag, attrs in made.tags if tag == "rect"]

    assert ["#0072b2", "#d55e00"] == rects and "<b>car</b>" in made.text


def test_secrets_are_hidden() -> None:
    """A page is sent around: an address with a password stands in the experiment."""
    found = page(Listing("experiment.yaml", "root: s3://me:hunter2@host/data\nlr: 0.1"))

    assert "hunter2" not in found.text and "s3://***@host/data\nlr: 0.1" in found.text


def test_a_picture_is_nothing_but_a_picture() -> None:
    """Its address is not escaped, as it is long."""
    with pytest.raises(AssertionError):
        markup._picture('data:image/png;base64,AA"onerror=x')
    assert "data:image/png;base64,AA==" == markup._picture("data:image/png;base64,AA==")


def test_a_number_is_there_as_it_is() -> None:
    """What is copied from the page would be the rounded one."""
    written = markup.written(
        "t", [], [Section("s", [Table("c", ["a", "b"], [["x", number(1 / 3)]])])]
    )

    assert '<data value="0.3333333333333333">0.3333</data>' in written
    assert "–" == number(float("nan")) == number(None)


def test_without_bokeh_there_are_the_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run would have no page at all."""
    monkeypatch.setattr(markup, "_libraries", lambda: [])
    found = page(Text("nothing"))

    assert "pip install bokeh" in found.text and [] == found.scripts
