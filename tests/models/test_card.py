"""rayal/models/card.py: what a file of weights says of itself, and of its network."""

import json
from pathlib import Path

import pytest
import safetensors.torch
import torch

from rayal.data.datasets.digits import Digits
from rayal.data.images import Decoding
from rayal.errors import StorageError, UsageError
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.card import ModelCard
from rayal.models.trained_model import TrainedModel
from rayal.models.weights import save_weights
from rayal.parts import find
from rayal.plugins import Plugins
from rayal.storage.folder import Folder
from tests.support.doubles import card_of
from tests.support.networks import DIGITS, equal, small

CARD = card_of(SmallCnn(width=4), 3, DIGITS)


def test_the_card_is_read_without_the_weights(tmp_path: Path) -> None:
    """A report over many runs would read gigabytes, and fail where weights end too early."""
    data = TrainedModel.of(CARD, small()).data()
    size = int.from_bytes(data[:8], "little")
    (tmp_path / "whole").write_bytes(data)
    (tmp_path / "head").write_bytes(data[: 8 + size])

    assert CARD == ModelCard.parse(data, "w")
    assert CARD == ModelCard.read(Folder(tmp_path), "whole")
    assert CARD == ModelCard.read(Folder(tmp_path), "head")
    with pytest.raises(StorageError, match="no/such: there is no such file"):
        ModelCard.read(Folder(tmp_path / "no"), "such")


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff" * 100, save_weights(small())])
def test_files_of_others_have_no_card(data: bytes) -> None:
    """A stranger's weights would be called damaged."""
    assert ModelCard.parse(data, "w") is None


def test_a_card_of_another_rayal_says_so() -> None:
    """Weights with an architecture of tomorrow would be scored as if they were a stranger's."""
    fields = json.loads(CARD.metadata()["rayal"])
    fields["model"]["name"] = "tomorrows"
    data = safetensors.torch.save({"a": torch.ones(1)}, {"rayal": json.dumps(fields)})

    with pytest.raises(UsageError, match="^w.st is of a model that cannot be .* no 'tomorrows' in"):
        ModelCard.parse(data, "w.st")


def test_a_card_of_a_users_own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The way out would stand at the end of what pydantic says of it, on the third line."""
    (tmp_path / "card_plugin").mkdir()
    (tmp_path / "card_plugin/__init__.py").touch()
    source = "from rayal.models.architectures.small_cnn import SmallCnn\nclass Net(SmallCnn): ...\n"
    (tmp_path / "card_plugin/net.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    plugins = Plugins(["card_plugin"])
    card = card_of(find("models", "card_plugin.net", plugins)(width=4), 3, DIGITS)
    data = safetensors.torch.save({"a": torch.ones(1)}, card.metadata())

    with pytest.raises(UsageError, match=r"allow it on the command line: --plugins card_plugin;"):
        ModelCard.parse(data, "w.st")
    assert card == ModelCard.parse(data, "w.st", plugins)


def test_an_untrained_network_is_decided_by_the_seed() -> None:
    """COD's reference of the first cycle would be another one on every worker."""
    assert equal(small(seed=3), CARD.untrained(3))
    assert equal(CARD.untrained(), CARD.untrained(0))
    assert not equal(CARD.untrained(1), CARD.untrained(2))


@pytest.mark.parametrize(
    "given, kept",
    [
        (Decoding(channels=1, size=8, resize=9), Decoding(channels=1, size=8, resize=9)),
        (Decoding(channels=1), Decoding(channels=1)),
        (Decoding(size=8), Decoding(channels=1)),  # of another shape: not how these were made
        (None, Decoding(channels=1)),
    ],
)
def test_it_says_how_images_become_what_was_trained_on(
    given: Decoding | None, kept: Decoding, tmp_path: Path
) -> None:
    """Photographs that a store keeps as pixels could not be scored with the weights."""
    card = Digits(store=str(tmp_path)).open().card

    assert kept == ModelCard.of(CARD.model, card, "fp32", CARD.task, given).decoding
