"""Pages of whole runs in a real browser, without a network.

Slow; skipped where there is no `chromium`, or no bokeh. With RAYAL_AXE set to a copy of axe.min.js
(`npm pack axe-core`) it also asks that whether people who do not see a page can use it; with
RAYAL_MADE set to a folder the pictures of the pages stay there, for eyes.
"""

import json
import os
from collections.abc import Callable
from importlib.util import find_spec
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import rayal
from rayal.experiment.experiment import Experiment
from rayal.experiment.sweep.settings import SweptExperiment
from tests.support import browser, scenes
from tests.support.finished_sweep import finish
from tests.support.made_up import HOSTILE
from tests.support.whole_runs import go

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not browser.there(), reason="no chromium here"),
    pytest.mark.skipif(find_spec("bokeh") is None, reason="no bokeh here"),
]

READY = """document.readyState === "complete" && [...document.querySelectorAll(".figure")]
  .every((figure) => ["yes", "later"].includes(figure.dataset.drawn))"""
OPEN = """for (const fold of document.querySelectorAll("details")) fold.open = true;
  new Promise((done) => setTimeout(done, 2000))"""
DRAWN = """[...document.querySelectorAll(".figure")].every((f) => f.dataset.drawn === "yes")"""
AXE = """axe.run(document, {resultTypes: ["violations"]}).then((found) => found.violations
  .filter((each) => ["serious", "critical"].includes(each.impact))
  .map((each) => [each.id, each.nodes.map((node) => node.html.slice(0, 200))]))"""
HOVER = """(async () => {
  const deep = (root, selector) => [...root.querySelectorAll("*")].flatMap((each) => [
    ...(each.matches(selector) ? [each] : []),
    ...(each.shadowRoot ? deep(each.shadowRoot, selector) : [])]);
  const place = document.querySelector('[data-draws="map"]');
  place.scrollIntoView({block: "center"});
  const [events] = deep(place, ".bk-events");
  const area = events.getBoundingClientRect();
  for (let x = 0.1; x < 0.95; x += 0.02) {
    for (let y = 0.1; y < 0.95; y += 0.04) {
      const at = {clientX: area.left + x * area.width, clientY: area.top + y * area.height};
      events.dispatchEvent(new PointerEvent("pointermove", {...at, bubbles: true, composed: true,
        pointerType: "mouse", isPrimary: true, view: window}));
      for (const tip of deep(document, ".bk-tooltip-content")) {
        if (tip.querySelector("img")) return tip.textContent;
      }
    }
  }
  return "";
})()"""


@pytest.fixture
def looked(tmp_path: Path) -> Callable[[Path], dict[str, object]]:
    """Opens a page at the width of a desk and of a phone, light and dark, and checks it."""

    def look(page: Path) -> dict[str, object]:
        said: dict[str, object] = {}
        for width, dark in product((1440, 360), (False, True)):
            scripts = {"open": OPEN, "drawn": DRAWN, "hacked": "window.hacked === undefined"}
            scripts["wide"] = "document.documentElement.scrollWidth"
            if axe := os.environ.get("RAYAL_AXE"):
                scripts |= {"load": f"{Path(axe).read_text()}; true", "axe": AXE}
            if width == 1440 and 'data-draws="map"' in page.read_text():
                scripts["tip"] = HOVER
            name = f"{page.parent.name}-{width}-{'dark' if dark else 'light'}"
            seen = browser.visit(
                page.as_uri(),
                tmp_path / name,
                ready=READY,
                size=(width, 900),
                dark=dark,
                scripts=scripts,
            )
            if made := os.environ.get("RAYAL_MADE"):
                (Path(made) / f"{name}.png").write_bytes(seen.png)
            said |= seen.said
            assert ([page.as_uri()], []) == (seen.requests, seen.complaints), name
            assert (True, True, width) == tuple(seen.said[k] for k in ("drawn", "hacked", "wide"))
            assert [] == seen.said.get("axe", []), name
        return said

    return look


def page_of(place: Path, made: Path) -> Path:
    """The page of what is at a place, in a folder of its own name."""
    return rayal.compare(place).write_html(made / place.name / "report.html")


def test_a_sweep(tiny: Callable[..., Experiment], looked: Callable[..., object], tmp_path: Path):
    """What a team decides by would not open, or only with a network."""
    fields = json.loads(tiny(strategy="random").model_dump_json())
    fields["scheme"] = {"name": "supervised", "epochs": 1, "batch_size": 16}
    space = {"strategy": {"grid_search": ["random", "core_set"]}}
    x = SweptExperiment.model_validate({**fields, "sweep": {"space": space, "seeds": [0, 1]}})
    finish(x, tmp_path / "sweep")

    looked(page_of(tmp_path / "sweep", tmp_path / "pages"))


def test_a_run_on_masks(cache: Path, undrawn: None, looked: Callable[..., object], tmp_path: Path):
    """Overlays are the widest that a page holds."""
    root = scenes.write(tmp_path / "scenes", pool=12, test=2, shapes=((24, 32), (20, 28)))
    x = Experiment.model_validate(
        {
            "name": "dense",
            "dataset": {"name": "camvid", "root": str(root), "canvas": (24, 32)},
            "task": "segmentation",
            "model": {"name": "small_segmenter", "width": 4},
            "scheme": {"name": "supervised", "steps": 8, "batch_size": 4, "lr": 0.05},
            "strategy": "entropy",
            "budget": {"initial": 3, "per_cycle": 4, "total": 7},
            "compute": {"engine": "local", "cpus_per_worker": 1, "score_batch": 4},
            "tracking": "none",
        }
    )
    go(x, tmp_path / "masks")

    looked(page_of(tmp_path / "masks", tmp_path / "pages"))


def test_hostile_names(
    tiny: Callable[..., Experiment], looked: Callable[..., object], tmp_path: Path
) -> None:
    """A class, or a photograph, could run a script in the browser of whoever reads a report; also
    where the mouse points at it."""
    names = [name.replace("/", "∕") for name in HOSTILE[:6]]
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 2)):
        for name in names:
            folder = tmp_path / "images" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                file = folder / f"{number}{names[number % len(names)]}.png"
                Image.fromarray(rng.integers(0, 255, (24, 24, 3), np.uint8)).save(file)
    x = tiny(
        dataset={"name": "image_folder", "root": str(tmp_path / "images"), "size": 24},
        strategy="core_set",
        scheme={"epochs": 1, "batch_size": 8},
        budget={"initial": 8, "per_cycle": 6, "total": 20},
    )
    go(x, tmp_path / "hostile")
    said = looked(page_of(tmp_path / "hostile", tmp_path / "pages"))

    assert isinstance(said, dict) and any(name in str(said["tip"]) for name in names)
