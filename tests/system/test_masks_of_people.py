"""Masks that people draw, of images and of tiles, through a whole run."""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from rayal.api.run import run
from rayal.data.masks import IGNORE, LabelValue, decode, decoded, encode
from rayal.data.store import Store
from rayal.errors import LabelsPending, UsageError
from rayal.experiment.experiment import Experiment
from rayal.labeling import incoming
from rayal.labeling.areas import Areas
from rayal.labeling.exchange.base import Answer, Asked, Format, Problem
from rayal.labeling.oracles.base import Label
from rayal.labeling.oracles.people import People
from rayal.labeling.oracles.simulated import Simulated
from rayal.labeling.outgoing import REQUEST, read_request
from rayal.labeling.request import Request
from rayal.labeling.suggestions import Suggestion
from rayal.runs.ledger import Ledger
from rayal.storage.folder import Folder
from tests.support import scenes

SHAPES = (24, 32), (40, 20)


class Arrays(Format):
    """Masks as arrays of NumPy, by unit."""

    def write(self, asked: Asked, suggestions: Mapping[str, Suggestion], out: Folder) -> None:
        shown = {
            unit: decoded(said.predicted)
            for unit, said in suggestions.items()
            if isinstance(said.predicted, bytes)
        }
        out.write("suggested.npz", npz(shown))

    def steps(self, asked: Asked, place: str) -> Sequence[str]:
        return ("Answer.",)

    def read(self, data: bytes, asked: Asked) -> Iterator[Answer | Problem]:
        with np.load(io.BytesIO(data)) as arrays:
            for number, unit in enumerate(arrays["units"].tolist()):
                yield Answer(f"array {number}", unit, arrays[f"mask {number}"])


class TrueTiles(People):
    """Answers at once with the true masks of tiles and images."""

    asks_people = False

    def answer(self, store: Store, ids: Sequence[str], out: Folder) -> dict[str, Label]:
        areas = Areas(store, self.regions if self.has_regions() else None)
        images = {unit: areas.image(unit) for unit in ids}
        truth = store.labels("pool", [*images.values()])
        own = {unit: as_kept(truth[image], store) for unit, image in images.items()}
        return {unit: Label(areas.cut(unit, label), 1.0) for unit, label in own.items()}


def as_kept(label: LabelValue, store: Store) -> bytes:
    card = store.card
    assert card.masks is not None and card.decoding is not None and isinstance(label, bytes)
    return encode(decode(label, card.masks, card.decoding))


def npz(masks: Mapping[str, np.ndarray]) -> bytes:
    """What `Arrays` reads."""
    data = io.BytesIO()
    arrays = {f"mask {number}": mask for number, mask in enumerate(masks.values())}
    np.savez(data, units=np.array([*masks]), **arrays)  # type: ignore[arg-type]
    return data.getvalue()


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scenes.write(tmp_path_factory.mktemp("scenes"), pool=12, test=3, shapes=SHAPES)


def experiment(root: Path, **fields: Any) -> Experiment:
    return Experiment.model_validate(
        {
            "name": "drawn",
            "dataset": {
                "name": "camvid",
                "root": str(root),
                "shape": (16, 24),
                "encoding": "bytes",
            },
            "task": "segmentation",
            "model": {"name": "small_segmenter", "width": 4},
            "scheme": {"name": "supervised", "epochs": 1, "batch_size": 2, "lr": 0.05},
            "strategy": "random_image_entropy_polygon",
            "oracle": People(format=Arrays(), tiles=(2, 3)),
            "budget": {"initial": 2, "per_cycle": 4, "total": 10},
            "compute": {"engine": "local", "shard_rows": 8, "cpus_per_worker": 1},
            "tracking": "none",
            **fields,
        }
    )


def answered(x: Experiment, root: Path, out: str) -> int:
    """Runs to the end, as people draw the true masks over whole images; how often it waited."""
    store = x.dataset.open()
    for times in range(9):
        try:
            run(x, out)
            return times
        except LabelsPending:
            pass
        for cycle in range(4):
            for stage in ("initial", "label"):
                request = Request(Folder(f"{out}/cycle-{cycle:03d}/{stage}"))
                asked = read_request(request.folder)
                if asked is None or not request.waiting:
                    continue
                check_shown(asked, request)
                known = set(store.pool.ids())
                masks = {
                    item.unit: drawn(root, item.unit, item.unit in known, item.size)
                    for item in asked.items
                }
                given = incoming.Given("masks.npz", npz(masks))
                taken = incoming.check(given, x.oracle.format, asked, store.card, request)  # type: ignore[attr-defined]
                incoming.take(given, taken, request)
    raise AssertionError("it waits for ever")


def drawn(root: Path, unit: str, whole: bool, size: tuple[int, int]) -> np.ndarray:
    image = unit if whole else unit.rpartition("/")[0]
    mask = np.array(Image.open(root / "trainannot" / f"{Path(image).stem}.png"))
    assert size == mask.shape
    return np.where(mask == scenes.VOID, IGNORE, mask).astype(np.uint8)


def check_shown(asked: Asked, request: Request) -> None:
    """Every unit has a picture of its own, and suggestions of its size, void outside of its
    tile."""
    out = request.folder / REQUEST
    assert len({item.image for item in asked.items}) == len(asked.items)
    with np.load(io.BytesIO(out.read("suggested.npz"))) as arrays:
        units = arrays["units"].tolist()
        for number, unit in enumerate(units):
            mask, item = arrays[f"mask {number}"], asked.by_unit[unit]
            assert item.size == mask.shape
            assert item.part == (mask == IGNORE).any()
    said = out.read("HOW.md").decode()
    assert ("dark and grey" in said) == any(item.part for item in asked.items)


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"strategy": "entropy", "oracle": People(format=Arrays())},
        {
            "strategy": "random_polygon",
            "dataset": {"shape": None, "canvas": (40, 32)},
        },
    ],
    ids=["tiles", "images", "tiles on a canvas"],
)
def test_people_and_an_oracle_that_knows_all_get_the_same(
    fields: dict[str, Any], root: Path, tmp_path: Path, undrawn: None
) -> None:
    """Labels of people would be learned beside their place, or other units be chosen than where
    the same labels are there at once."""
    own = dict(fields.pop("dataset", {}))
    x = experiment(root, **fields)
    x = x.model_copy(update={"dataset": x.dataset.model_copy(update=own)})
    assert isinstance(x.oracle, People)
    same = x.model_copy(update={"oracle": TrueTiles(format=Arrays(), tiles=x.oracle.tiles)})
    assert 3 == answered(x, root, str(tmp_path / "people"))
    run(same, str(tmp_path / "simulated"))

    identities = {"people": x.identity(), "simulated": same.identity()}
    pools = [Ledger(Folder(tmp_path / name), of).state(2) for name, of in identities.items()]
    assert 10 == len(pools[0].labels) == pools[0].spent
    assert list(pools[0].labels) == list(pools[1].labels)
    assert pools[0].labels == pools[1].labels
    tiles = [unit for unit in pools[0].labels if Path(unit).stem.isdecimal()]
    assert len(tiles) == (8 if x.oracle.tiles else 0)


def test_what_people_cannot_be_asked_for_is_refused(root: Path) -> None:
    """Everything would be trained before anybody hears that nobody can answer."""
    store = experiment(root).dataset.open()
    card = store.card
    with pytest.raises(UsageError, match="csv cannot carry masks"):
        People(format="csv").check(card)  # type: ignore[arg-type]
    People(format=Arrays(), tiles=(2, 2)).check(card)
    classes = card.model_copy(update={"masks": None})
    with pytest.raises(UsageError, match="oracle.tiles: .* classes of whole images; set it to nul"):
        People(format=Arrays(), tiles=(2, 2)).check(classes)
    People(format=Arrays()).check(classes)
    deep = classes.model_copy(update={"image": card.image.model_copy(update={"depth": 4})})
    with pytest.raises(UsageError, match=r"are volumes \(C, D, H, W\); set oracle to simulated"):
        People(format=Arrays()).check(deep)
    Simulated().check(deep)
    image = store.pool.ids()[0]
    with pytest.raises(UsageError, match="people knows no regions of images; set oracle.tiles"):
        People(format=Arrays()).regions(store, [image])
    assert 6 == len(People(format=Arrays(), tiles=(2, 3)).regions(store, [image])[image])
