"""What is said about the project as a whole: how it is cited, built and checked."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

import rayal
from rayal.storage import yaml_text

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PAPERS = {
    "Semi-Supervised Active Learning with Temporal Output Discrepancy": 2021,
    "Boosting Active Learning via Improving Test Performance": 2022,
    "When Active Learning Meets Implicit Semantic Data Augmentation": 2022,
    "Parting with Illusions about Deep Active Learning": 2019,
}


def parsed(name: str) -> dict[str, Any]:
    """By the rules of YAML 1.2, to which `on` is a word."""
    found: dict[str, Any] = yaml_text.parse((ROOT / name).read_text(), name, ROOT).plain()
    return found


def test_the_version_has_one_place() -> None:
    """Two of them differ one day."""
    attribute = PROJECT["tool"]["setuptools"]["dynamic"]["version"]["attr"]

    assert "rayal.__version__" == attribute
    assert re.fullmatch(r"\d+\.\d+\.\d+(\.dev\d+)?", rayal.__version__)
    assert "version" not in PROJECT["project"]


def test_unreleased_changes_have_a_version_in_development() -> None:
    """What is installed from here would pass for the last release."""
    unreleased = "## Unreleased" in (ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## (\d[\d.]*),", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)

    assert unreleased == (".dev" in rayal.__version__)
    assert unreleased == (rayal.__version__ not in released)


def test_the_citation_has_what_the_format_requires() -> None:
    """Services that read CITATION.cff show nothing of one that lacks a key."""
    cited = parsed("CITATION.cff")

    assert {"cff-version", "message", "title", "authors"} <= cited.keys()
    assert ["The rayal authors"] == [author["name"] for author in cited["authors"]]
    assert PROJECT["project"]["license"] == cited["license"]
    assert PAPERS == {each["title"]: each["year"] for each in cited["references"]}
    for paper in cited["references"]:
        assert paper["type"] in ("article", "conference-paper")
        assert ("conference" in paper) == (paper["type"] == "conference-paper")
        assert all({"family-names", "given-names"} == author.keys() for author in paper["authors"])


def test_the_citation_has_no_version() -> None:
    """It would be the second place of it."""
    assert "version" not in parsed("CITATION.cff")


@pytest.mark.parametrize("event", ["push", "pull_request"])
def test_changes_are_checked(event: str) -> None:
    """A change would land that nobody has tried."""
    assert event in parsed(".github/workflows/ci.yml")["on"]


def test_the_checks_are_those_of_this_project() -> None:
    """A second list of checks would be another one; a Python that nobody tries is no promise."""
    (job,) = parsed(".github/workflows/ci.yml")["jobs"].values()
    pythons = job["strategy"]["matrix"]["python"]
    low, high = re.findall(r"3\.(\d+)", PROJECT["project"]["requires-python"])

    assert [".ci/run"] == [step["run"] for step in job["steps"] if "run" in step]
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
    assert [f"3.{low}", f"3.{int(high) - 1}"] == pythons


def test_classifiers_are_those_of_the_pythons() -> None:
    """An index would list others than pip installs on."""
    low, high = map(int, re.findall(r"3\.(\d+)", PROJECT["project"]["requires-python"]))
    classified = [
        int(each.rpartition(".")[2])
        for each in PROJECT["project"]["classifiers"]
        if re.search(r":: 3\.\d+$", each)
    ]

    assert [*range(low, high)] == classified
