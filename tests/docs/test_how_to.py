"""What the how-to pages show is true: their files are experiments, their snippets run."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from rayal.experiment import config
from rayal.experiment.sweep.settings import SweptExperiment
from tests.support.shown_commands import blocks

ROOT = Path(__file__).parents[2]
PAGES = {file.stem: file.read_text() for file in sorted((ROOT / "docs/how_to").glob("*.md"))}
FILES = [(page, text) for page, shown in PAGES.items() for text in blocks(shown, "yaml")]
WHOLE = [(page, text) for page, text in FILES if re.search("^(name|extends):", text, re.MULTILINE)]


@pytest.mark.parametrize(("page", "text"), WHOLE, ids=[page for page, _ in WHOLE])
def test_files_are_experiments(page: str, text: str, tmp_path: Path) -> None:
    """A reader would copy a file that is refused."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    kind = SweptExperiment if "sweep:" in text else None
    file = tmp_path / "configs" / ("sweeps" if kind else "digits") / "shown.yaml"
    file.write_text(text)

    assert config.load_as(kind, file) if kind else config.load(file)


@pytest.mark.parametrize(
    ("page", "text"), [each for each in FILES if each not in WHOLE], ids=lambda each: each[:9]
)
def test_pieces_fit_into_an_experiment(page: str, text: str, tmp_path: Path) -> None:
    """A piece of a file would not go where it says."""
    shutil.copytree(ROOT / "configs", tmp_path / "configs")
    file = tmp_path / "configs/digits/shown.yaml"
    piece = yaml.safe_load(text)
    if "sweep" in piece:
        piece["sweep"].setdefault("space", {"strategy": {"grid_search": ["random", "cod"]}})
    file.write_text(yaml.safe_dump({"extends": "base.yaml", **piece}))

    assert config.load_as(SweptExperiment, file) if "sweep" in piece else config.load(file)


@pytest.mark.parametrize("channels", [None, 3])
def test_arrays_become_a_dataset(channels: int | None, tmp_path: Path) -> None:
    """The function would write files that rayal reads otherwise, or not at all."""
    (code,) = blocks(PAGES["own_images"], "python")
    shape = (8, 10) if channels is None else (8, 10, channels)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (12, *shape), dtype=np.uint8)
    labels = np.arange(12) % 2
    (tmp_path / "tables").mkdir()
    place = code.replace('"tables/', f'"{tmp_path}/tables/')
    exec(
        place,
        dict.fromkeys(["train_images", "test_images"], images)
        | {
            "train_labels": labels,
            "test_labels": labels,
        },
    )
    (shown,) = (text for _, text in WHOLE if "name: table" in text)
    fields = yaml.safe_load(shown)
    fields["dataset"] |= {"root": str(tmp_path / "tables"), "id": None, "size": None}
    (tmp_path / "x.yaml").write_text(yaml.safe_dump(fields))
    store = config.load(tmp_path / "x.yaml").dataset.open()
    split = store.pool
    found = split.decode(split.take(split.ids()))
    expected = images[:, None] if channels is None else images.transpose(0, 3, 1, 2)

    assert found.images.tobytes() == expected.tobytes()
    assert [*store.labels("pool").values()] == labels.tolist()


def test_the_folder_of_masks_is_read(tmp_path: Path) -> None:
    """The layout shown would not be the one that is read."""
    (shown,) = (text for _, text in WHOLE if "name: mask_folder" in text)
    for split, number in (("train", 1), ("test", 101)):
        for kind, mode in (("images", "RGB"), ("masks", "L")):
            folder = tmp_path / "streets" / split / kind
            folder.mkdir(parents=True)
            Image.new(mode, (32, 24), 1 if mode == "L" else (9, 9, 9)).save(
                folder / f"{number:04d}.png"
            )
    (tmp_path / "x.yaml").write_text(shown)
    x = config.load(tmp_path / "x.yaml")

    assert ["train/images/0001.png"] == [*x.dataset.open().pool.ids()]


def test_files_that_are_named_exist() -> None:
    """A reader would look for a file in vain."""
    named = re.findall(r"`([\w./]+\.(?:yaml|sh|md|py)|Dockerfile)`", PAGES["clusters"])

    assert len(named) > 6
    for name in named:
        assert (ROOT / "jobs/cluster" / name).exists() or (ROOT / name).exists(), name


def test_the_loop_of_asking_and_telling_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: None
) -> None:
    """A reader would begin with a loop that does not end, or is refused."""
    (code,) = blocks(PAGES["ask_and_tell"], "python")
    monkeypatch.chdir(tmp_path)
    truth = {}
    for number in range(80):
        label, folder = ("cat", "dog")[number % 2], "pool" if number < 70 else "test"
        place = Path("photos", folder) if folder == "pool" else Path("photos/test", label)
        place.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(place / f"{number}.png")
        truth[f"{place.relative_to('photos')}/{number}.png"] = label
    short = code.replace('"epochs": 20', '"epochs": 1').replace(
        '"local"}', '"local"}, tracking="none"'
    )
    names = {"label_of": truth.get}
    exec(short, names)

    learner = names["learner"]
    assert 60 == len(learner.labels) and [20, 40, 60] == learner.curve()["labels"].tolist()  # type: ignore[attr-defined]
