"""rayal.score: any module or weights, images in memory or in files; the scores of one pass."""

import gc
import io
import pickle
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import rayal
from rayal.data.card import ImageSpec
from rayal.data.datasets.digits import Digits
from rayal.data.images import Decoding
from rayal.errors import DataError, LockedError, UsageError
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.card import ModelCard
from rayal.models.companions.base import file_name
from rayal.models.companions.class_statistics import ClassStatisticsSpec
from rayal.models.trained_model import TrainedModel
from rayal.models.weights import save_weights
from rayal.signals.batch import Signals
from rayal.strategies.entropy import Entropy
from rayal.workflows.score.live import Live

SIDE, CLASSES, UNITS = 8, ("cat", "dog", "owl"), 13
MEAN, STD = (0.4, 0.5, 0.6), (0.25, 0.2, 0.3)
IMAGE = ImageSpec(channels=3, height=SIDE, width=SIDE, mean=MEAN, std=STD)
MODEL = SmallCnn(width=4, dropout=0.5)
NONE: dict[str, Any] = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
"""Pixels in [0, 1], as they are."""
CARD = ModelCard(model=MODEL, classes=CLASSES, image=IMAGE, decoding=Decoding(size=SIDE))


def plain(seed: int = 0, channels: int = 3) -> nn.Module:
    """A user's own network, in train mode."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            nn.Conv2d(channels, 6, 3),
            nn.BatchNorm2d(6),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(24, len(CLASSES)),
        )


def pixels(n: int = UNITS) -> np.ndarray:
    """N H W C."""
    return np.random.default_rng(0).integers(0, 256, (n, SIDE, SIDE, 3), np.uint8)


def noise(n: int = UNITS) -> Tensor:
    return torch.randn(n, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))


def columns(scores: rayal.Scores) -> dict[str, list[Any]]:
    table = scores.table()
    assert isinstance(table, pd.DataFrame)
    return table.set_index("id").to_dict("list")


def written_pool(path: Path) -> Path:
    """The same pixels as PNG in a Parquet file."""
    images = []
    for image in pixels():
        data = io.BytesIO()
        Image.fromarray(image).save(data, "PNG")
        images.append(data.getvalue())
    ids = [f"unit-{number:02d}" for number in range(len(images))]
    pq.write_table(pa.table({"id": ids, "image": pa.array(images, pa.binary())}), path)
    return path


def weights_file(path: Path, seed: int = 0) -> Path:
    path.write_bytes(TrainedModel.of(CARD, CARD.untrained(seed)).data())
    return path


def test_by_hand() -> None:
    """Entropies that a reader can check: of (1/2, 1/2) and of (1/5, 4/5)."""
    net = nn.Linear(2, 2, bias=False)
    nn.init.eye_(net.weight)
    images = torch.tensor([[3.0, 3.0], [0.0, float(np.log(4))]])

    scores = rayal.score(net, images, ["entropy", "least_confidence"], ids=["even", "sure"])
    table = scores.table()

    expected = [np.log(2), -0.2 * np.log(0.2) - 0.8 * np.log(0.8)]
    np.testing.assert_allclose(table["score.entropy"], expected, rtol=1e-6)
    np.testing.assert_allclose(table["score.least_confidence"], [0.5, 0.2], rtol=1e-6)
    assert ["even", "sure"] == scores.ids == list(table["id"])
    assert ["ok", "ok"] == list(table["status"]) and [0, 1] == list(table["predicted"])
    assert ["entropy", "least_confidence"] == scores.strategies and 2 == len(scores)
    assert "<Scores of 2 units by entropy, least_confidence: temporary>" == repr(scores)


def test_scores_are_those_of_a_plain_loop() -> None:
    """A wrong softmax, a lost row or a mixed batch would go unseen."""
    net, images = plain(), noise()
    scores = columns(rayal.score(net, images, ["entropy", "entropy_gradnorm"], batch=4))

    entropies, norms, predicted = [], [], []
    net.eval()
    for image in images:
        logits = net(image[None])
        log_probs = logits.log_softmax(dim=1)
        value = -(log_probs.exp() * log_probs).sum()
        gradients = torch.autograd.grad(value, list(net.parameters()))
        norms.append(sum(g.norm().item() for g in gradients))
        entropies.append(value.item())
        predicted.append(int(logits.argmax()))

    np.testing.assert_allclose(scores["score.entropy"], entropies, rtol=1e-5)
    np.testing.assert_allclose(scores["score.entropy_gradnorm"], norms, rtol=1e-4)
    assert predicted == scores["predicted"]


def test_neither_order_nor_company_decides() -> None:
    """A unit would be chosen for the images that came beside it."""
    net, images, order = plain(), noise(), torch.randperm(UNITS)
    names = ["entropy", "mc_dropout_entropy", "random", "entropy_gradnorm"]
    ids = [f"unit-{number}" for number in range(UNITS)]
    table = rayal.score(net, images, names, ids=ids, batch=4).table().set_index("id")
    moved = [ids[place] for place in order]
    other = rayal.score(net, images[order], names, ids=moved, batch=4).table().set_index("id")
    few = rayal.score(net, images[:5], names, ids=ids[:5], batch=4).table().set_index("id")
    larger = rayal.score(net, images, names, ids=ids, batch=7).table().set_index("id")

    pd.testing.assert_frame_equal(table, other.loc[ids])
    pd.testing.assert_frame_equal(table.head(5), few)
    pd.testing.assert_frame_equal(table, larger, rtol=1e-4)
    assert not table["score.random"].equals(
        rayal.score(net, images, "random", ids=ids, seed=1).table().set_index("id")["score.random"]
    )


def test_the_module_comes_back_as_it_was() -> None:
    """A training that goes on afterwards would have changed without a word."""
    net = plain().train()
    net[1].eval()
    net[0].weight.requires_grad_(False)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    rng, images = torch.random.get_rng_state(), noise().requires_grad_()

    rayal.score(net, images, ["entropy", "badge", "mc_dropout_entropy", "entropy_gradnorm"])

    assert net.training and not net[1].training and net[5].training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert not net[0].weight.requires_grad and net[6].weight.requires_grad
    assert images.grad is None and all(p.grad is None for p in net.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in net.modules())
    assert torch.equal(rng, torch.random.get_rng_state())


@pytest.mark.parametrize("way", ["weights", "module", "network"])
def test_memory_and_files_say_the_same(way: str, tmp_path: Path) -> None:
    """Other scores in a notebook than in the pass over the whole pool, and so other labels."""
    pool, names = written_pool(tmp_path / "pool.parquet"), ["entropy", "margin", "badge"]
    ids = [f"unit-{number:02d}" for number in range(UNITS)]
    options: dict[str, Any] = {"batch": 4}
    model: Any = weights_file(tmp_path / "mine.safetensors")
    of_files: dict[str, Any] = {}
    if way != "weights":
        model = plain() if way == "module" else CARD.untrained()
        options |= {"mean": MEAN, "std": STD}
        of_files = {"decoding": {"size": SIDE}}

    here = rayal.score(model, pixels(), names, ids=ids, **options)
    there = rayal.score(model, pool, names, **options, **of_files)

    pd.testing.assert_frame_equal(here.table(), there.table())
    names_of_classes = {0, 1, 2} if way != "weights" else set(CLASSES)
    assert names_of_classes >= set(here.table()["predicted"])
    for name in names:
        picks, same = (rayal.select(scores, name, 5, seed=3) for scores in (here, there))
        assert picks.ids == same.ids and picks.reasons == same.reasons
        assert picks.scores == same.scores and picks.predicted == same.predicted


def test_weights_are_normalised_as_in_training(tmp_path: Path) -> None:
    """Pixels would be fed to a trained network as it never saw them."""
    file = weights_file(tmp_path / "mine.safetensors")
    scaled = torch.tensor(pixels()).permute(0, 3, 1, 2) / 255 - torch.tensor(MEAN)[:, None, None]
    floats = scaled / torch.tensor(STD)[:, None, None]

    of_pixels = columns(rayal.score(file, pixels()))
    of_floats = columns(rayal.score(SimpleNamespace(url=str(file)), floats))
    otherwise = columns(rayal.score(file, pixels(), mean=(0.0,) * 3, std=(1.0,) * 3))

    np.testing.assert_allclose(of_pixels["score.entropy"], of_floats["score.entropy"], rtol=1e-4)
    assert of_pixels != otherwise


def test_a_module_is_told_how_its_pixels_are_normalised(tmp_path: Path) -> None:
    """A run and its own module gave other scores of the same pixels, without a word."""
    file = weights_file(tmp_path / "mine.safetensors")
    module, pool = CARD.untrained(), written_pool(tmp_path / "pool.parquet")
    batch: dict[str, Any] = {"batch": 16}  # none has to be measured
    for images, options in [(pixels(), batch), (pool, {"decoding": {"size": SIDE}, **batch})]:
        ways_out = r"give those of its training.*; mean=\(0, 0, 0\), std=\(1, 1, 1\) are for"
        with pytest.raises(UsageError, match=ways_out):
            rayal.score(module, images, **options)

        of_file = columns(rayal.score(file, images, **batch))["score.entropy"]
        known = columns(rayal.score(module, images, mean=MEAN, std=STD, **options))["score.entropy"]
        bare = columns(rayal.score(module, images, mean=(0,) * 3, std=(1,) * 3, **options))
        np.testing.assert_allclose(of_file, known, rtol=1e-5)
        assert np.abs(np.subtract(of_file, bare["score.entropy"])).max() > 1e-3


def test_layers_without_a_size_are_refused() -> None:
    """The first forward would fix their size, without saying so."""
    lazy = nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
    with pytest.raises(UsageError, match="a lazy layer, '1', .*or run the module once on images"):
        rayal.score(lazy, noise())
    assert 0 == lazy[1].in_features

    lazy(noise())
    assert UNITS == len(rayal.score(lazy, noise()))


def test_settings_say_all(tmp_path: Path) -> None:
    """What the command does could not be done in Python with the same settings."""
    pool, file = written_pool(tmp_path / "pool.parquet"), weights_file(tmp_path / "a.safetensors")
    settings = rayal.PoolScoring(
        checkpoint=str(file),
        pool=str(pool),
        strategies=[Entropy()],
        batch=16,
        compute={"engine": "local"},
    )

    scores = rayal.score(settings, out=tmp_path / "out")

    pd.testing.assert_frame_equal(scores.table(), rayal.score(file, pool, batch=16).table())
    options: list[dict[str, Any]] = [{"strategies": "margin"}, {"images": pool}, {"seed": 1}]
    for more in options:
        with pytest.raises(UsageError, match=f"{next(iter(more))} is said by the settings; leave"):
            rayal.score(settings, out=tmp_path / "out", **more)
    lacking = settings.model_copy(update={"checkpoint": None})
    with pytest.raises(UsageError, match="checkpoint is not given; give the weights, or a rayal"):
        rayal.score(lacking, out=tmp_path / "other")


def test_layouts() -> None:
    """Rows would be taken for colours."""
    net, last = plain(), pixels()
    first = np.ascontiguousarray(last.transpose(0, 3, 1, 2))
    expected = columns(rayal.score(net, torch.from_numpy(first), **NONE))

    assert expected == columns(rayal.score(net, last, **NONE))
    assert expected == columns(rayal.score(net, first, **NONE))
    assert expected == columns(rayal.score(net, torch.from_numpy(last), layout="NHWC", **NONE))
    grey, one = plain(channels=1), {"mean": [0.0], "std": [1.0]}
    assert columns(rayal.score(grey, last[..., 0], **one)) == columns(
        rayal.score(grey, last[..., :1], **one)
    )
    assert expected == columns(rayal.score(net, (first / 255).astype(np.float32)))


def test_an_axis_that_is_not_clear_is_asked_for() -> None:
    """A picture of three columns would be scored lying on its side."""
    net, images = plain(), pixels()[:, :3]  # N 3 8 3
    with pytest.raises(
        UsageError, match="may be the second axis or the last; say layout='NCHW' or"
    ):
        rayal.score(net, images)

    assert columns(rayal.score(net, images, layout="NHWC", **NONE)) != columns(
        rayal.score(net, images, layout="NCHW", **NONE)
    )
    with pytest.raises(UsageError, match="as NCHW, and the model takes 3 .*; say layout='NHWC'"):
        rayal.score(net, torch.from_numpy(pixels()))
    with pytest.raises(UsageError, match="the model takes 3 channels; give images of as many"):
        rayal.score(net, pixels()[..., :2])
    with pytest.raises(
        UsageError, match=r"8, 1\) as NHWC, and the model takes 3 channels; give im"
    ):
        rayal.score(net, pixels()[..., :1])
    rayal.score(net, pixels(), **NONE)
    with pytest.raises(
        UsageError, match=r"grey, and the model takes 3 .*np.repeat\(images\[:, None"
    ):
        rayal.score(net, pixels()[..., 0])
    rayal.score(net, np.repeat(pixels()[..., 0][:, None], 3, axis=1), **NONE)
    with pytest.raises(UsageError, match="layout 'CHW' is none; choose one of: NCHW, NHWC"):
        rayal.score(net, pixels(), layout="CHW")  # type: ignore[arg-type]


def test_datasets() -> None:
    """People have their images as datasets: with labels, as PIL images, as tensors."""
    net, images = plain(), noise()
    expected = columns(rayal.score(net, images, batch=5))

    assert expected == columns(rayal.score(net, TensorDataset(images, torch.arange(13)), batch=5))
    assert expected == columns(rayal.score(net, list(images), batch=5))
    pictures = [(Image.fromarray(image), 0) for image in pixels()]
    assert columns(rayal.score(net, pixels(), **NONE)) == columns(
        rayal.score(net, pictures, **NONE)
    )


class Ends:
    """Images of which one is as told, and the others good."""

    def __init__(self, bad: Any) -> None:
        self.bad = bad

    def __len__(self) -> int:
        return 5

    def __getitem__(self, number: int) -> Any:
        return self.bad if number == 3 else noise(1)[0]


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        (noise(0), "no images to score; give some"),
        ([], "no images to score; give some"),
        (noise()[0, 0, 0], r"shape \(8,\) are none; give N C H W"),
        ([torch.zeros(1, 1, 3, 8, 8)], r"shape \(1, 1, 3, 8, 8\) are none; give C H W"),
        (noise().long(), "images are int64; give uint8 pixels, or floating-point"),
        (iter([1]), "images are list_iterator; give a tensor, an array, a dataset"),
        (["a.png"], "image 0 is 'a.png'; give datasets whose items are .* as their folder"),
        (Ends(noise(1)[0, :, 1:]), r"image 3 is of shape \(3, 7, 8\), .*give the dataset a tr"),
        (Ends(Image.new("P", (8, 8))), r"image 3 is a PIL image of mode P; convert it: image.conv"),
        (Ends(torch.full((3, 8, 8), torch.nan)), "image '3' holds numbers .*not finite; mend it"),
    ],
)
def test_what_is_no_image_is_named(images: Any, problem: str) -> None:
    """It would end in torch's words about the shape of a matrix."""
    with pytest.raises((UsageError, DataError), match=problem):
        rayal.score(plain(), images)
    good: list[Any] = [noise(5), noise(5).numpy(), Ends(noise(1)[0]), list(noise(5))]
    assert all(5 == len(rayal.score(plain(), each)) for each in good)
    rayal.score(plain(), [Image.new("P", (8, 8)).convert("RGB")], **NONE)


@pytest.mark.parametrize(
    ("ids", "problem"),
    [
        (["a"], "1 id for 2 images; give one for each"),
        (["a", "a"], "id 'a' is used more than once; make the ids unique"),
        (["a", ""], "id 1 is ''; give strings or whole numbers"),
        (["a", None], "id 1 is None; give strings"),
        (["a", "\ud800"], "is not Unicode; rename it"),
    ],
)
def test_ids_are_checked(ids: list[Any], problem: str) -> None:
    """Labels would go to other images."""
    with pytest.raises(UsageError, match=problem):
        rayal.score(plain(), noise(2), ids=ids)
    assert ["7", "b"] == rayal.score(plain(), noise(2), ids=[np.int64(7), "b"]).ids


@pytest.mark.parametrize(
    ("options", "problem", "mended"),
    [
        ({"strategies": "cod"}, "give it: previous=module", {"previous": plain(1)}),
        ({"strategies": "qbc"}, r"with --member \(in Python:.*members=\)", {"members": [plain(1)]}),
        (
            {"strategies": ["entropy", "epmcm"]},
            "give the run that trained it",
            {"strategies": "margin"},
        ),
        ({"strategies": "entrpy"}, "did you mean 'entropy'", {"strategies": "entropy"}),
        ({"strategies": []}, "strategies", {"strategies": "entropy"}),
        (
            {"classes": ["a"]},
            "1 class given, the model has 3; give as many",
            {"classes": list("abc")},
        ),
        ({"decoding": {"size": 8}}, "decoding is for images in files; leave it out", {}),
        ({"mean": [0.5], "std": [1]}, "mean and std are of uint8 pixels.*or leave", {}),
        ({"architecture": "small_cnn"}, "is for weights in files; leave it out", {}),
        ({"previous": "a.safetensors"}, "model is a module, previous where.*give both alike", {}),
        ({"engine": "ray"}, "are scored in this process; give them in files", {}),
        (
            {"engine": "local_"},
            "are scored in .*or leave engine and address out",
            {"engine": "local"},
        ),
        ({"retry_bad": True}, "retry_bad is for images in files; leave it out", {}),
        ({"break_lock": True}, "break_lock is for images in files; leave it out", {}),
        ({"set": ["compute.scorers=2"]}, "compute is for images in files; leave it out", {}),
        ({"pool": "nowhere"}, "pool is no setting of a call; give it as images=", {}),
        ({"checkpoint": "a.pt"}, "checkpoint is no setting of a call; give it as model=", {}),
        ({"set": ["previous=a.pt"]}, "give it as previous=", {"previous": plain(1)}),
        ({"set": ["model=small_cnn"]}, "is for weights in files; leave it out", {}),
        ({"strategies": None}, "strategies are None; give names", {"strategies": ["entropy"]}),
        ({"strategies": Entropy}, r"Entropy is a class; give one: Ent", {"strategies": Entropy()}),
        ({"members": None}, "members are NoneType; give .* list, or leave", {}),
        ({"members": plain(1)}, "members are Sequential; give .* list", {"members": [plain(1)]}),
        ({"address": "auto"}, "are scored in this process; give them in files", {}),
        ({"sead": 1}, "there is no such key; did you mean 'seed'", {"seed": 1}),
    ],
)
def test_what_cannot_work_is_said_first(
    options: dict[str, Any], problem: str, mended: dict[str, Any]
) -> None:
    """Hours of scoring would end in an error."""
    with pytest.raises(UsageError, match=problem):
        rayal.score(plain(), noise(), **options)
    rayal.score(plain(), noise(3), **{"strategies": options.get("strategies", "random"), **mended})


def test_other_refusals(tmp_path: Path) -> None:
    """What is for files is not for memory, and the other way round."""
    pool = written_pool(tmp_path / "pool.parquet")
    without = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    for options, problem in [
        ({"ids": ["a"]}, "ids and layout are for images in memory; leave them out"),
        ({"engine": "ray"}, "needs a folder that its workers reach; give it as out"),
        (
            {"engine": "ray", "compute": {"engine": "local"}},
            "engine is 'ray', and 'local' in compute; leave out one",
        ),
        ({"compute": None}, "compute: "),
        ({}, r"the size of the images.*give it: decoding=\{'size': 224\}"),
        ({"strategies": "cod"}, "give it: previous=module"),
        (
            {"decoding": {"size": 8}, "classes": ["a"], **NONE},
            "1 class given, the model has 3; give",
        ),
    ]:
        with pytest.raises(UsageError, match=problem):
            rayal.score(plain(), pool, **options)
    with pytest.raises(UsageError, match="needs a model with dropout, this one has none"):
        rayal.score(without, noise(), "bald")
    with pytest.raises(UsageError, match="model is 3; give a torch.nn.Module, a Run, or the path"):
        rayal.score(3, noise())
    with pytest.raises(UsageError, match="model is None; give a torch.nn.Module, a Run, or"):
        rayal.score(None, noise())
    with pytest.raises(UsageError, match="vectors N D are uint8; give floating-point numbers"):
        rayal.score(nn.Linear(4, 3), torch.zeros(2, 4, dtype=torch.uint8))
    with pytest.raises(UsageError, match="need one value for each of 3 channels"):
        rayal.score(plain(), pixels(), mean=[0.5], std=[0.5])


def test_models_beside_the_first() -> None:
    """COD and committees would compare a model with itself."""
    net, before, images = plain(0), plain(1), noise()
    cod = columns(rayal.score(net, images, "cod", previous=before))["score.cod"]
    qbc = rayal.score(net, images, "ensemble_entropy", members=[before, plain(2)])
    with torch.no_grad():
        probs = [each.eval()(images).softmax(1) for each in (net, before, plain(2))]

    expected = (probs[0] - probs[1]).square().sum(1) / 2
    np.testing.assert_allclose(cod, expected, rtol=1e-4)
    entropies = torch.stack([-(p * p.log()).sum(1) for p in probs]).mean(0)
    np.testing.assert_allclose(columns(qbc)["score.ensemble_entropy"], entropies, rtol=1e-4)


class Flat(nn.Linear):
    """Another architecture."""

    def __init__(self) -> None:
        super().__init__(192, 3)

    def forward(self, images: Tensor) -> Tensor:
        return super().forward(images.flatten(1))


class Locked(Flat):
    """A module that can have no copy."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = Lock()


def test_modules_of_a_pass_over_files(tmp_path: Path) -> None:
    """Workers get copies of them, and each other's weights."""
    pool, before = written_pool(tmp_path / "pool.parquet"), plain(1)
    ids = [f"unit-{number:02d}" for number in range(UNITS)]
    options: dict[str, Any] = {"strategies": ["cod", "qbc"], "batch": 4, "classes": CLASSES}
    models: dict[str, Any] = {"previous": before, "members": [plain(2)]}
    of_files: dict[str, Any] = {"decoding": {"size": SIDE}, **NONE}

    here = rayal.score(plain(), pixels(), ids=ids, **models, **options, **NONE).table()
    there = rayal.score(plain(), pool, **models, **options, **of_files).table()

    pd.testing.assert_frame_equal(here, there)
    assert set(CLASSES) >= set(here["predicted"])
    with pytest.raises(UsageError, match="not all built as the model is.*; give such ones, or"):
        rayal.score(plain(), pool, "cod", previous=Flat(), **of_files)
    with pytest.raises(
        UsageError, match="Locked cannot be copied.*; give images in memory, or sav"
    ):
        rayal.score(Locked(), pool, **of_files)
    assert UNITS == len(rayal.score(Locked(), noise()))
    assert UNITS == len(rayal.score(plain(), noise(), "cod", previous=Flat()))


def test_modules_travel_to_workers() -> None:
    """A pass on a cluster would end before its first image."""
    live = Live.of(rayal.wrap(plain()).eval())
    card = CARD.model_copy(update={"model": live})

    arrived = pickle.loads(pickle.dumps(card)).untrained()

    assert torch.equal(live.module(noise()).logits, arrived(noise()).logits)
    assert card.model_dump_json() == pickle.loads(pickle.dumps(card)).model_dump_json()


def test_a_dataset_says_how_its_images_are() -> None:
    """Of a prepared one a user would have to find out size, mean and deviation."""
    store = Digits().open()
    (shard,) = store.pool.shards(10_000)
    decoded = store.pool.decode(store.pool.read(shard))
    spec, net = store.card.image, nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

    here = rayal.score(net, decoded.images, ids=decoded.ids, batch=64, mean=spec.mean, std=spec.std)

    expected = here.table().set_index("id").sort_index()
    for pool in ("digits", Digits(), Path(store.url)):
        found = rayal.score(net, pool, batch=64).table().set_index("id").sort_index()
        pd.testing.assert_frame_equal(expected, found)


def test_what_was_trained_beside_weights_is_read(tmp_path: Path) -> None:
    """Strategies that ask a companion could not score images in memory at all."""
    network = CARD.untrained()
    spec = ClassStatisticsSpec(covariance="diagonal", reset=True)
    statistics = spec.build(network, len(CLASSES), CARD.untrained)
    labels = torch.arange(UNITS) % len(CLASSES)
    statistics.observe(network.train()(noise()), labels)
    weights_file(tmp_path / "weights.safetensors")
    (tmp_path / file_name(spec.name)).write_bytes(save_weights(statistics))
    pool = written_pool(tmp_path / "pool.parquet")

    here = rayal.score(tmp_path, pixels(), ["epmcm"], batch=4).table()
    there = rayal.score(tmp_path, pool, ["epmcm"], batch=4).table()

    np.testing.assert_array_equal(here["score.epmcm"], there["score.epmcm"])
    assert here["score.epmcm"].min() > 0


def test_a_score_that_is_none_stops_the_pass() -> None:
    """Units of a diverged model would be labeled in any order."""
    net = plain()
    nn.init.constant_(net[6].weight, torch.inf)

    with pytest.raises(DataError, match="score.entropy of 'x' is nan; a model that diverged"):
        rayal.score(net, noise(1), ids=["x"])


class Rooted(Entropy):
    """A user's formula, which is no number of a certain or of a usual prediction."""

    less: float = 9.0

    def values(self, s: Signals) -> torch.Tensor:
        return (super().values(s) - self.less).sqrt()


class Rows(Entropy):
    """A user's strategy that forgets to sum over the classes."""

    def score(self, s: Signals) -> torch.Tensor:
        return s.log_probs


def test_a_formula_that_is_none_is_no_diverged_model() -> None:
    """The user would train again and again, and mend nothing."""
    for strategy in (Rooted(), Rows()):
        with pytest.raises(DataError, match="rayal.testing.check") as told:
            rayal.score(plain(), noise(3), [strategy], ids=["x", "y", "z"])
        assert "diverged" not in str(told.value)
        with pytest.raises(AssertionError):
            rayal.testing.check(strategy)
    assert "has one value per image, got shape (3, 3); give a tensor" in str(told.value)
    with pytest.raises(DataError, match="gave 'x' the score nan, and all that it read"):
        rayal.score(plain(), noise(1), [Rooted()], ids=["x"])
    net = plain()
    nn.init.constant_(net[6].weight, torch.inf)
    with pytest.raises(DataError, match="'x' is nan; a model that diverged"):
        rayal.score(net, noise(1), [Rooted()], ids=["x"])
    rayal.score(plain(), noise(1), [Rooted(less=0.0)], ids=["x"])


def test_no_score_is_less_than_nothing() -> None:
    """The entropy of a model that is certain was shown as -0."""
    net = plain()
    nn.init.constant_(net[6].weight, 0.0)
    net[6].bias.data[:] = torch.tensor([1e4, 0.0, 0.0])
    found = rayal.score(net, noise(3), ["entropy"]).table()["score.entropy"]

    assert [0.0] * 3 == found.tolist() and not np.signbit(found).any()


def test_where_scores_are_kept(tmp_path: Path) -> None:
    """They would be lost with the notebook, or fill its memory."""
    scores = rayal.score(plain(), noise(), ["entropy", "core_set"])
    place = scores.url.removesuffix("/scores")
    scores.write(tmp_path / "kept")
    direct = rayal.score(plain(), noise(), ["entropy", "core_set"], out=tmp_path / "direct")

    assert f"{tmp_path}/direct/scores" == direct.url
    expected = rayal.select(scores, "core_set", 4).ids
    assert expected == rayal.select(tmp_path / "kept", "core_set", 4).ids
    assert expected == rayal.select(direct, "core_set", 4).ids
    with pytest.raises(UsageError, match="holds scores and the like; give a new folder as out"):
        scores.write(tmp_path / "kept")
    assert fsspec.filesystem("memory").exists(place)
    del scores
    gc.collect()
    assert not fsspec.filesystem("memory").exists(place)


def test_a_pass_over_files_goes_on(tmp_path: Path) -> None:
    """The same call again would score everything anew, another module go on with these scores."""
    pool, heard = written_pool(tmp_path / "pool.parquet"), list[str]()
    options: dict[str, Any] = {"decoding": {"size": SIDE}, "out": tmp_path / "out", **NONE}

    def scored(seed: int = 0) -> rayal.Scores:
        return rayal.score(plain(seed), pool, on_event=lambda e: heard.append(e.what), **options)

    first = scored()
    count = len(heard)
    again = scored()

    assert count > 2 and ["opened"] == heard[count:]
    pd.testing.assert_frame_equal(first.table(), again.table())
    assert any("units    13 in" in line for line in again.lines)
    with pytest.raises(LockedError, match="weights"):
        scored(seed=1)


def test_nothing_is_left_of_what_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each failed attempt in a notebook would take memory, or space on the disk."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    pool = written_pool(tmp_path / "pool.parquet")
    there = {*fsspec.filesystem("memory").find("rayal")}
    net = plain()
    nn.init.constant_(net[6].weight, torch.inf)
    of_files = {"decoding": {"size": SIDE}, "batch": 4, **NONE}
    options: dict[str, Any]
    for images, options in [(noise(), {}), (pool, of_files)]:
        with pytest.raises(DataError, match="a model that diverged"):
            rayal.score(net, images, **options)

    assert there == {*fsspec.filesystem("memory").find("rayal")}
    assert [] == [*(tmp_path / "temporary").iterdir()]


def test_nothing_is_left_of_what_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C would leave weights in memory; the same call with the same folder would be refused."""
    file, there = (
        weights_file(tmp_path / "a.safetensors"),
        fsspec.filesystem("memory").find("rayal"),
    )

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr("rayal.workflows.score.opened.Scorer", stop)
        rayal.score(file, pixels())
    assert there == fsspec.filesystem("memory").find("rayal")

    monkeypatch.setattr("rayal.workflows.score.in_memory.SHARD", 4)
    images = noise()
    images[-1] = torch.nan
    with pytest.raises(DataError, match="not finite"):
        rayal.score(plain(), images, batch=2, out=tmp_path / "out")
    assert [] == [*tmp_path.glob("out/*")]
    assert UNITS - 1 == len(rayal.score(plain(), images[:-1], out=tmp_path / "out"))


def test_a_notebook_shows_the_first() -> None:
    """It would show an address in place of scores."""
    shown = rayal.score(plain(), noise(), ids=[f"<{n}>" for n in range(UNITS)])._repr_html_()

    assert "Scores of 13 units by entropy" in shown and "score.entropy" in shown
    assert "&lt;4&gt;" in shown and "&lt;5&gt;" not in shown and "<0>" not in shown


def test_who_watches_hears_how_far_it_is() -> None:
    """A notebook would seem to hang."""
    heard: list[str] = []
    rayal.score(plain(), noise(), on_event=lambda event: heard.append(str(event)))

    assert heard[0].startswith("score: opened  memory://") and "score: begun" == heard[1]
    assert ["score: 13 of 13 images", "score: ended"] == heard[-2:]


def test_dense_networks_in_memory() -> None:
    """Networks of rayal that classify pixels would be taken for classifiers."""
    from rayal.models.architectures.small_segmenter import SmallSegmenter
    from rayal.models.build import build

    network = build(SmallSegmenter(width=4), 3, IMAGE, seed=0)
    scores = columns(rayal.score(network, noise(), Entropy(pixels="max")))

    assert UNITS == len(scores["score.entropy"]) and "predicted" not in scores
