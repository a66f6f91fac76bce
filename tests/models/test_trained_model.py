"""rayal/models/trained_model.py: weights go into files and out of them by one door."""

import ast
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import rayal
from rayal.errors import StorageError, UsageError
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.trained_model import TrainedModel
from rayal.models.weights import save_weights
from rayal.storage.folder import Folder
from rayal.storage.stage_file import FileLocation
from tests.support.doubles import card_of
from tests.support.networks import DIGITS, equal, small

ROOT = Path(rayal.__file__).parent
CARD = card_of(SmallCnn(width=4), 3, DIGITS)


def there_and_back(model: TrainedModel) -> TrainedModel:
    return TrainedModel.parse(model.data(), "saved")


def test_weights_survive_saving() -> None:
    """A scoring worker would see another model than the one trained, its batch norm included."""
    trained = small(seed=1)
    trained(torch.randn(8, 1, 8, 8))  # moves the running means
    restored = there_and_back(TrainedModel.of(CARD, trained))

    assert equal(trained, restored.network())
    assert CARD == restored.card


def test_a_trained_network_does_not_read_the_pretrained_file() -> None:
    """Evaluation would need the file on every machine, and warn of classes that it replaces."""
    card = card_of(SmallCnn(width=4, pretrained="/absent.safetensors"), 3, DIGITS)

    assert equal(small(seed=1), TrainedModel.of(card, small(seed=1)).network())


def exactly(weights: dict[str, Tensor], classes: int = 3) -> nn.Module:
    card = card_of(SmallCnn(width=4), classes, DIGITS)
    return TrainedModel.adopted(card, weights, "theirs.pth").network()


def test_weights_of_others_are_restored_whole() -> None:
    """A pool would be scored by another network than the file's."""
    start = small(seed=1)

    assert equal(start, exactly(dict(start.state_dict())))


def test_a_network_to_score_with_has_no_random_layer() -> None:
    """Scores would come from a last layer that was never trained."""
    with pytest.raises(
        UsageError, match=r"^theirs\.pth is for 5 classes, not for 3; give weights for 3$"
    ):
        exactly(dict(small(classes=5).state_dict()))
    exactly(dict(small(classes=3).state_dict()))


def test_what_does_not_fit_exactly_is_named() -> None:
    """A user would search for a wrong number of classes where the architecture is another."""
    for other in (small(classes=5, width=8), nn.Linear(3, 5)):
        with pytest.raises(
            UsageError, match=r"theirs\.pth(: its| do not fit this network in) \d+ "
        ):
            exactly(dict(other.state_dict()))


def test_a_bias_of_other_classes_is_no_number_of_classes() -> None:
    """The message would name classes that the weights do not have."""
    weights = dict(small().state_dict()) | {"classifier.bias": torch.zeros(5)}

    with pytest.raises(UsageError, match=r"1 weights: classifier\.bias \(3 in .*, 5 in the file"):
        exactly(weights)


class Mine(SmallCnn):
    """An architecture of a notebook, which no other process can find by its name."""


def test_a_runs_own_card_stands_for_that_of_the_file(tmp_path: Path) -> None:
    """A model from a notebook could be trained, and then not be evaluated."""
    card = card_of(Mine(width=4), 3, DIGITS)
    record = TrainedModel.of(card, small(seed=1)).write(Folder(tmp_path))
    file = FileLocation(str(tmp_path), record)

    assert ["weights.safetensors"] == [path.name for path in tmp_path.iterdir()]
    assert equal(small(seed=1), TrainedModel.read(file, card).network())
    with pytest.raises(UsageError, match="is of a model that cannot be read here"):
        TrainedModel.parse(file.read(), "w.safetensors")
    (tmp_path / record.name).write_bytes(b"torn")
    with pytest.raises(StorageError, match=r"weights\.safetensors is damaged"):
        TrainedModel.read(file, card)


def test_weights_that_do_not_fit_name_their_file() -> None:
    """Of several files it would not be known which one is meant."""
    data = TrainedModel.of(CARD, small(seed=1)).data()
    wider = card_of(SmallCnn(width=8), 3, DIGITS)

    with pytest.raises(UsageError, match=r"^a/w\.safetensors do not fit this network in \d+ weig"):
        TrainedModel.parse(data, "a/w.safetensors", wider).network()
    TrainedModel.parse(data, "a/w.safetensors", CARD).network()  # the file's own options
    with pytest.raises(UsageError, match="^b: these 5 bytes are no safetensors weights"):
        TrainedModel.parse(b"hello", "b", CARD)
    with pytest.raises(UsageError, match="^c does not say what it is; give weights of a rayal run"):
        TrainedModel.parse(save_weights(small()), "c")
    TrainedModel.parse(data, "c")


def test_models_of_one_kind_are_told_from_others() -> None:
    """One pass would compare predictions of other classes, or refuse a model over its weights."""
    model = TrainedModel.of(CARD, small(seed=1))
    renamed = CARD.model_copy(update={"classes": ("cat", "dog", "owl")})
    wider = card_of(SmallCnn(width=8), 3, DIGITS)

    assert model.like(TrainedModel.of(CARD, small(seed=2))) is None
    assert "the weights is SmallCnn(" in str(model.like(model.described(renamed)))
    assert "for 3 classes" in str(model.like(TrainedModel.of(wider, small(width=8))))


def test_another_card_leaves_the_weights() -> None:
    """A pass on images prepared otherwise would score with other weights, or by the old card."""
    half = CARD.model_copy(update={"precision": "bf16"})
    model = TrainedModel.of(CARD, small(seed=1)).described(half)

    assert half == there_and_back(model).card
    assert equal(small(seed=1), there_and_back(model).network())


def imported(file: Path) -> set[str]:
    """The top packages that a file imports."""
    nodes = list(ast.walk(ast.parse(file.read_text())))
    names = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    names |= {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    return {name.split(".")[0] for name in names}


def test_no_other_module_opens_weights() -> None:
    """What is wrong with a file, or missing in its card, would have to be mended in many places."""
    assert ["models/weights.py"] == [
        str(file.relative_to(ROOT))
        for file in sorted(ROOT.rglob("*.py"))
        if "safetensors" in imported(file)
    ]
