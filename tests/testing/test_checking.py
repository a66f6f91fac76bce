"""The suites find what is wrong with a user's own part, and say it in a sentence: one of these for
each promise; and a part that keeps them all passes."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from rayal import testing
from rayal.cycle import batch_size
from rayal.data.card import ImageSpec
from rayal.data.datasets.base import Dataset
from rayal.data.source import Source, numbered
from rayal.engine.local import LocalEngine
from rayal.errors import DataError, UsageError
from rayal.labeling.oracles.base import Label
from rayal.labeling.oracles.clicks import Clicks
from rayal.labeling.oracles.simulated import Simulated
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.architectures.small_segmenter import SmallSegmenter
from rayal.models.base import Model, Outputs
from rayal.signals.batch import Signals
from rayal.strategies.base import Strategy
from rayal.strategies.entropy import Entropy
from rayal.testing.checking import broken, contracts
from rayal.testing.model import spec
from rayal.training.base import Batch
from rayal.training.learner import Learner
from rayal.training.schemes.supervised import Supervised


def says(part: Any) -> str:
    """All that `check` says of a part."""
    with pytest.raises(AssertionError) as caught:
        testing.check(part)
    return str(caught.value)


# --- strategies


class Right(Strategy):
    """The largest probability, the lowest first."""

    needs = frozenset({"probs"})

    def score(self, s: Signals) -> Tensor:
        return -s.probs.amax(dim=1)


class NotANumber(Right):
    def score(self, s: Signals) -> Tensor:
        return super().score(s).masked_fill(torch.tensor([u == "unit-3" for u in s.ids]), torch.nan)


class SeesItsBatch(Right):
    def score(self, s: Signals) -> Tensor:
        scores = super().score(s)
        return scores - scores.mean()


class GivesATable(Right):
    def score(self, s: Signals) -> Tensor:
        return s.probs


class GivesNothing(Right):
    def score(self, s: Signals) -> None:
        return None


class ChangesTheModel(Right):
    needs = frozenset({"probs", "model"})

    def score(self, s: Signals) -> Tensor:
        with torch.no_grad():
            next(s.model.parameters()).mul_(1.01)
        return super().score(s)


class TrainsTheModel(Right):
    needs = frozenset({"probs", "model"})

    def score(self, s: Signals) -> Tensor:
        scores = super().score(s)
        s.model.train()
        return scores


class Misspelt(Right):
    needs = frozenset({"probs", "probabilities"})  # type: ignore[arg-type]


class Undeclared(Right):
    needs = frozenset({"logits"})


class SelectsTwice(Right):
    def select(self, pool: Any, budget: float, rng: Any) -> list[str]:
        ids = list(super().select(pool, budget, rng))
        return ids[:-1] + ids[:1]


class SelectsTooFew(Right):
    def select(self, pool: Any, budget: float, rng: Any) -> list[str]:
        return list(super().select(pool, budget, rng))[1:]


class TakesTheFirst(Right):
    def select(self, pool: Any, budget: float, rng: Any) -> list[str]:
        return list(pool.ids[: int(budget)])


class IgnoresTheSeed(Right):
    def select(self, pool: Any, budget: float, rng: Any) -> list[str]:
        return list(super().select(pool, budget, np.random.default_rng(0)))


class IgnoresPrices(Right):
    def select(self, pool: Any, budget: float, rng: Any) -> list[str]:
        return list(pool.ids[np.lexsort((rng.random(len(pool.ids)), -pool.scores))][: int(budget)])


@pytest.mark.parametrize(
    ("strategy", "sentence"),
    [
        (NotANumber, "promises a finite score for every unit; that of 'unit-3' is nan in cycle 0"),
        (SeesItsBatch, "promises scores that do not depend on the batch; that of 'unit-0' is "),
        (GivesATable, "promises a tensor with one number per unit; of 24 it gives (24, 5)"),
        (GivesNothing, "promises scores, or a select that needs none; it has neither"),
        (ChangesTheModel, "promises to leave the models as they are; blocks"),
        (TrainsTheModel, "mode they are in; all of the model is in train mode now"),
        (Misspelt, "promises to read signals that there are; there is no signal 'probabilities'"),
        (
            Undeclared,
            "reads the signal 'probs'; add it to its `needs` (StrategyContract.test_scores_are_f",
        ),
        (SelectsTwice, "7 buys of 50 units; strategy 'SelectsTwice' selected a unit twice"),
        (SelectsTooFew, "selected 6 units, the budget buys 7 or more"),
        (TakesTheFirst, "promises a choice that does not depend on the order of the pool; of 20 c"),
        (IgnoresTheSeed, "promises a choice of equals by the seed; seeds 0, 1 and 2 do not all"),
        (IgnoresPrices, "strategy 'IgnoresPrices' spent "),
    ],
)
def test_a_wrong_strategy(strategy: type[Strategy], sentence: str) -> None:
    said = says(strategy())

    assert f"strategy {strategy.__name__} " in said
    assert sentence in said


class Dense(Right):
    """The same for every pixel; filling counts where `everywhere`."""

    tasks = frozenset({"segmentation"})
    everywhere: bool = False

    def score(self, s: Signals) -> Tensor:
        values = super().score(s)
        return values.mean(dim=(1, 2)) if self.everywhere else values


class DenseAndNotANumber(Dense):
    def score(self, s: Signals) -> Tensor:
        return super().score(s) * torch.nan


class DenseAndChangesTheModel(Dense):
    needs = frozenset({"probs", "model"})

    def score(self, s: Signals) -> Tensor:
        with torch.no_grad():
            next(s.model.parameters()).mul_(1.01)
        return super().score(s)


class DenseAndSeesItsBatch(Dense):
    def score(self, s: Signals) -> Tensor:
        scores = super().score(s)
        return scores - scores.mean()


@pytest.mark.parametrize(
    ("strategy", "sentence"),
    [
        (
            Dense(everywhere=True),
            "promises scores of images alone, without what fills their canvas",
        ),
        (
            DenseAndNotANumber(),
            "a finite score for every image; strategy 'DenseAndNotANumber' gave 'scene",
        ),
        (DenseAndChangesTheModel(), "promises to leave the models as they are; blocks."),
        (DenseAndSeesItsBatch(), "that do not depend on the batch; that of 'scene-0"),
    ],
)
def test_a_wrong_strategy_of_pixels(strategy: Strategy, sentence: str) -> None:
    assert sentence in says(strategy)


class TestRight(testing.StrategyContract):
    """As in a user's own test file; a suite that nothing passes would be no help."""

    part = Right()


def test_a_right_strategy_of_pixels_passes() -> None:
    testing.check(Dense())


# --- models


class MixesItsBatch(SmallCnn):
    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        network = super().network(num_classes, image)
        network.register_forward_hook(lambda _, __, out: out._replace(logits=_centred(out.logits)))
        return network


def _centred(logits: Tensor) -> Tensor:
    return logits - logits.mean(dim=0) / 10


class PlainTensor(Model):
    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        network = nn.Sequential()
        network.layer_channels = ()
        network.classifier = nn.Linear(image.channels * image.height * image.width, num_classes)
        network.forward = lambda images: network.classifier(images.flatten(1))
        return network


class Unused(SmallCnn):
    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        network = super().network(num_classes, image)
        network.spare = nn.Linear(2, 2)
        return network


class Unseeded(SmallCnn):
    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        network = super().network(num_classes, image)
        with torch.no_grad():
            weight = network.get_parameter("classifier.weight")
            if weight.device.type == "cpu":
                weight.copy_(torch.from_numpy(np.random.default_rng().normal(size=weight.shape)))
        return network


class ThreeChannels(SmallCnn):
    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        return super().network(num_classes, image.model_copy(update={"channels": 3}))


class Overwrites(SmallSegmenter):
    def network(self, num_classes: int, image: ImageSpec) -> nn.Module:
        network = super().network(num_classes, image)

        def overwrite(_: Any, __: Any, out: Outputs) -> Outputs:
            out.layers[0].detach().mul_(2)
            return out

        network.register_forward_hook(overwrite)
        return network


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        (
            MixesItsBatch(width=4),
            "promises in eval mode the same outputs of an image whatever is in",
        ),
        (PlainTensor(), "Outputs"),
        (Unused(width=4), "promises parameters that the loss depends on; spare.weight gets no"),
        (Unseeded(width=4), "promises weights that the seed decides; of seed 1 twice classifier"),
        (
            ThreeChannels(width=4),
            "promises to say in `accepts` which images it cannot take; of 1 ch",
        ),
        (Overwrites(width=4), "promises layers as the blocks give them; block 0 was overwritten"),
    ],
)
def test_a_wrong_model(model: Model, sentence: str) -> None:
    said = says(model)

    assert f"model {type(model).__name__} promises " in said
    assert sentence in said


# --- datasets


class Own(Dataset):
    """Grey images of 4x4; what is wrong with them decide its fields."""

    labels: tuple[int, ...] = (0, 1, 2)
    test_id: str = "test-00000"

    def files(self) -> list[str]:
        return []

    def source(self) -> Source:
        images = np.random.default_rng(0).integers(0, 256, (3, 1, 4, 4), np.uint8)
        test = numbered("test", [0], images[:1])._replace(ids=[self.test_id])
        pool = numbered("train", self.labels, images)
        return Source(["a", "b", "c"], pool, test, origin="here", licence="free")


class AnotherEachTime(Own):
    def source(self) -> Source:
        source = super().source()
        np.asarray(source.pool.images)[0] = np.random.default_rng().integers(0, 256, (1, 4, 4))
        return source


class OfAnotherTask(Own):
    tasks = frozenset({"segmentation"})


class ForgetsItsOptions(Own):
    def shaping(self) -> dict[str, Any]:
        return {}


@pytest.mark.parametrize(
    ("dataset", "sentence"),
    [
        (Own(labels=(0, 1, 3)), "can be prepared; train row 2|pool row 2 .*label 3 is not a class"),
        (Own(test_id="train-00001"), "1 id is used more than once in pool and test"),
        (AnotherEachTime(), "promises the same store of the same originals; pool/part-00000.parq"),
        (OfAnotherTask(), "promises tasks that its labels are for: ..segmentation..; its labels"),
        (ForgetsItsOptions(), "promises another fingerprint with other options .Dataset.shaping."),
    ],
)
def test_a_wrong_dataset(dataset: Dataset, sentence: str) -> None:
    with pytest.raises(AssertionError, match=sentence):
        testing.check(dataset)


def test_a_right_dataset_passes() -> None:
    testing.check(Own())


# --- oracles


class Forgets(Simulated):
    def answer(self, store: Any, ids: Any, out: Any) -> dict[str, Label]:
        return super().answer(store, ids[1:], out)


class AnswersMore(Simulated):
    def answer(self, store: Any, ids: Any, out: Any) -> dict[str, Label]:
        return super().answer(store, [*ids, store.pool.ids()[-1]], out)


class Charges(Simulated):
    def answer(self, store: Any, ids: Any, out: Any) -> dict[str, Label]:
        return {u: label._replace(cost=2.0) for u, label in super().answer(store, ids, out).items()}


class ChangesItsMind(Simulated):
    def answer(self, store: Any, ids: Any, out: Any) -> dict[str, Label]:
        return {unit: Label(place % 10, 1.0) for place, unit in enumerate(ids)}


class OfNoClass(Simulated):
    def answer(self, store: Any, ids: Any, out: Any) -> dict[str, Label]:
        return {unit: Label(99, 1.0) for unit in ids}


class KnowsOthers(Simulated):
    def known_classes(self, store: Any) -> dict[str, int]:
        return {unit: 10 - label for unit, label in super().known_classes(store).items()}


class Silent(Simulated):
    def contradictions(self, budget: Any) -> Any:
        return iter(())


class PromisesMore(Simulated):
    def costs_again(self, store: Any, votes: Any) -> dict[str, float]:
        return dict.fromkeys(votes, 1.0)


class SellsAtOtherPrices(Clicks):
    def costs(self, store: Any, ids: Any) -> Any:
        return super().costs(store, ids) + 1


@pytest.mark.parametrize(
    ("oracle", "sentence"),
    [
        (Forgets(), "promises an answer for every unit; there is none for 'digit-"),
        (AnswersMore(), "promises answers for what it is asked; it answers 'digit-"),
        (Charges(), "promises to cost what `costs` said; 'digit-"),
        (ChangesItsMind(), "promises the same answer again"),
        (OfNoClass(), "is 99, not a class from 0 to 9"),
        (KnowsOthers(), "promises the classes that it answers; 'digit-"),
        (
            Silent(),
            "promises to contradict ('budget', 'unit') of a budget in clicks; it tells of no",
        ),
        (
            PromisesMore(),
            "promises second answers, or no costs of them; costs_again gives {'digit-",
        ),
        (SellsAtOtherPrices(), "promises regions at the price they have; 'pool-00000/0': "),
    ],
)
def test_a_wrong_oracle(oracle: Simulated | Clicks, sentence: str) -> None:
    assert sentence in says(oracle)


# --- schemes and engines


class Forgetful(Learner):
    """Counts its steps, and does not tell the checkpoint."""

    done = 0

    def loss(self, batch: Batch) -> Tensor:
        self.done += 1
        return super().loss(batch) * self.done


class Resumed(Supervised):
    def start(self, *args: Any) -> Learner:
        return Forgetful(self, *args[:3])


class RollsDice(Supervised):
    def lr_at(self, step: int, steps: int) -> float:
        return self.lr * float(np.random.default_rng().uniform(0.5, 1))


class Diverges(Supervised):
    def lr_at(self, step: int, steps: int) -> float:
        return 1e30


@pytest.mark.parametrize(
    ("scheme", "sentence"),
    [
        (
            Resumed(),
            "promises the same end when it is cut in step 3 and continued (classification)",
        ),
        (RollsDice(), "promises the same end with the same seed (classification); epochs.jsonl"),
        (Diverges(), "promises trainings that end with finite numbers; loss became "),
    ],
)
def test_a_wrong_scheme(scheme: Supervised, sentence: str) -> None:
    assert sentence in says(scheme)


class LosesAShard(LocalEngine):
    def score(self, job: Any, tasks: Any) -> Any:
        return super().score(job, tasks[1:])


class TriesAgain(LocalEngine):
    def score(self, job: Any, tasks: Any) -> Any:
        try:
            return iter(list(super().score(job, tasks)))
        except DataError:
            return super().score(job, tasks)


class Blames(LocalEngine):
    def train(self, jobs: Any) -> Any:
        try:
            yield from super().train(jobs)
        except DataError as error:
            raise RuntimeError("a worker died") from error


@pytest.mark.parametrize(
    ("engine", "sentence"),
    [
        (LosesAShard, "promises a result of each of 1 shards; there are 0"),
        (TriesAgain, "promises to raise what a pass raises, at once; it raises nothing"),
        (Blames, "what training raises: DataError: loss became "),
    ],
)
def test_a_wrong_engine(
    engine: type[LocalEngine], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_size, "SECONDS", 0.0)  # how long it measures
    said = says(engine)

    assert f"engine {engine.__name__} promises " in said
    assert sentence in said


# --- check itself


def test_every_broken_promise_is_told() -> None:
    """Mending the first, a user would find the next, and the next."""
    said = says(AnswersMore()).splitlines()

    assert "2 promises are not kept" == said[0]
    assert ["  oracle AnswersMore promises"] * 2 == [line[:29] for line in said[1:]]


class OnlyLarge(SmallCnn):
    """A model for images of a size that no suite tries."""

    def accepts(self, image: ImageSpec) -> str | None:
        return None if image.height == 100 else "takes 100x100"


class OfLarge(testing.ModelContract):
    image = spec(100, 100)


def test_a_model_for_images_of_another_size() -> None:
    """It could not be tried at all."""
    assert "takes 100x100; set `image`" in says(OnlyLarge(width=4))
    assert [] == broken(OfLarge, OnlyLarge(width=4))


@pytest.mark.parametrize("part", [nn.Linear(1, 1), nn.Linear, "entropy", None])
def test_what_has_no_contract_is_told(part: Any) -> None:
    """It would seem to have passed."""
    with pytest.raises(
        UsageError, match=r"has no contract; give a strategy, model, .* such as Mine\(\), or the cl"
    ):
        testing.check(part)


def test_pytest_is_not_needed() -> None:
    """A notebook's environment often has none."""
    files = list(Path(testing.__file__).parent.glob("*.py"))

    assert len(files) > 8
    assert [] == [file.name for file in files if "import pytest" in file.read_text()]


def test_a_part_is_asked_for_what_its_tasks_need() -> None:
    """A strategy for both tasks would be tried on one."""
    both = [testing.StrategyContract, testing.DenseStrategyContract]

    assert both == contracts(Entropy())
    assert both[1:] == contracts(Dense())
    assert [] == broken(testing.OracleContract, Simulated())


def test_a_class_is_no_part_yet() -> None:
    """Who forgets the brackets would be told that a strategy has no contract."""
    with pytest.raises(UsageError, match=r"^Right is a class; give an instance of it: Right\(\)$"):
        testing.check(Right)
    testing.check(Right())
