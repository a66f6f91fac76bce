"""transformers' networks of images: the same numbers as there, from a folder here alone."""

import json
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from rayal.data.images import decode
from rayal.errors import UsageError
from rayal.models.architectures._transformers import quiet
from rayal.models.architectures.transformers import Transformers
from rayal.models.build import build
from rayal.models.card import ModelCard
from rayal.testing.model import spec
from tests.support.backbones import transformers_folder
from tests.support.doubles import card_of


@pytest.fixture(scope="module")
def package() -> Any:
    return pytest.importorskip("transformers", reason="pip install transformers")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks the network of machines fails."""

    def refused(*_: Any) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refused)


def images(size: int = 32) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def features(model: Transformers, batch: Tensor) -> Tensor:
    network = build(model, 5, spec(*batch.shape[2:], channels=3), seed=0, headless=True).eval()
    with torch.no_grad():
        found: Tensor = network(batch).features
    return found


def at(folder: Path, **fields: Any) -> Transformers:
    return Transformers(pretrained=str(folder), **fields)


POOLED = {
    "Dinov2": lambda o: o.last_hidden_state[:, 0],
    "DINOv3ViT": lambda o: o.last_hidden_state[:, 0],
    "CLIP": lambda o: o.pooler_output,
    "Siglip": lambda o: o.pooler_output,
    "ViT": lambda o: o.last_hidden_state[:, 0],
    "ConvNext": lambda o: o.pooler_output,
    "ResNet": lambda o: o.pooler_output.flatten(1),
}
"""What is taken of each family unless told otherwise."""


@pytest.mark.parametrize("kind", POOLED)
def test_features_are_those_of_transformers(kind: str, package: Any, tmp_path: Path) -> None:
    """A tower of CLIP without its last norm, or ViT's random pooler, would look like features."""
    theirs = transformers_folder(tmp_path, kind)
    with torch.no_grad():
        wanted = POOLED[kind](theirs(pixel_values=images()))

    assert torch.equal(wanted, features(at(tmp_path), images()))


def test_means_leave_out_what_is_no_patch(package: Any, tmp_path: Path) -> None:
    """The class token and registers are no place of the image."""
    theirs = transformers_folder(tmp_path / "v", "DINOv3ViT")
    theirs.config.num_register_tokens = 3
    theirs = package.DINOv3ViTModel(theirs.config).eval()
    theirs.save_pretrained(tmp_path / "v")
    convolutions = transformers_folder(tmp_path / "c", "ConvNext")
    with torch.no_grad():
        tokens = theirs(pixel_values=images()).last_hidden_state[:, 4:].mean(dim=1)
        places = convolutions(pixel_values=images()).last_hidden_state.mean(dim=(2, 3))

    torch.testing.assert_close(features(at(tmp_path / "v", pooling="mean"), images()), tokens)
    torch.testing.assert_close(features(at(tmp_path / "c", pooling="mean"), images()), places)


def test_shards_and_other_sizes(package: Any, tmp_path: Path) -> None:
    """Of a large network a part of the weights would do, or images of one size alone."""
    theirs = transformers_folder(tmp_path, "ViT")
    whole = features(at(tmp_path), images())
    (tmp_path / "model.safetensors").unlink()
    theirs.save_pretrained(tmp_path, max_shard_size="50KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    with torch.no_grad():
        larger = theirs(pixel_values=images(48), interpolate_pos_encoding=True).last_hidden_state

    assert len(shards) > 1
    assert [str(shard) for shard in shards] == at(tmp_path).files()
    assert torch.equal(whole, features(at(tmp_path), images()))
    assert torch.equal(larger[:, 0], features(at(tmp_path), images(48)))
    shards[0].unlink()
    with pytest.raises(UsageError, match="lacks 'model-00001-of-.*; copy all of them"):
        features(at(tmp_path), images())


def test_weights_that_lack_the_pooler(package: Any, tmp_path: Path) -> None:
    """Classifiers are saved without it, and a random one looks like features."""
    transformers_folder(tmp_path, "ViT")
    net = package.ViTForImageClassification.from_pretrained(tmp_path, local_files_only=True)
    net.save_pretrained(tmp_path / "classifier")

    with pytest.raises(UsageError, match="lacks 2 weights.*pooler.*; set pooling: class or mean"):
        features(at(tmp_path / "classifier", pooling="pooler"), images())
    given = [features(at(tmp_path / each), images()) for each in (".", "classifier")]
    assert torch.equal(*given)


def test_what_no_loss_reaches_is_not_trained(package: Any, tmp_path: Path) -> None:
    """Several processes that train together would stop at the token of masked patches."""
    transformers_folder(tmp_path)
    network = build(at(tmp_path), 5, spec(32, 32, channels=3), seed=0)
    frozen = [name for name, each in network.named_parameters() if not each.requires_grad]

    assert ["net.trunk.embeddings.mask_token"] == frozen


def test_pickles_are_read_without_their_code(package: Any, tmp_path: Path) -> None:
    """Older folders hold nothing else."""
    theirs = transformers_folder(tmp_path)
    whole = features(at(tmp_path), images())
    (tmp_path / "model.safetensors").unlink()
    torch.save(theirs.state_dict(), tmp_path / "pytorch_model.bin")
    assert torch.equal(whole, features(at(tmp_path), images()))

    torch.save(theirs, tmp_path / "pytorch_model.bin")
    with pytest.raises(UsageError, match="holds Python objects"):
        features(at(tmp_path), images())


def test_a_card_is_enough_to_build_it(package: Any, tmp_path: Path) -> None:
    """A worker elsewhere has no folder."""
    transformers_folder(tmp_path)
    card = card_of(at(tmp_path).bare(), 5, spec(32, 32, channels=3))
    (tmp_path / "config.json").unlink()
    again = ModelCard.model_validate_json(card.model_dump_json())

    assert again == card and again.model.pretrained is None
    assert 5 == again.untrained().classifier.out_features


CENTRE = {
    "image_processor_type": "BitImageProcessor",
    "size": {"shortest_edge": 40},
    "do_center_crop": True,
    "crop_size": {"height": 32, "width": 32},
}


@pytest.mark.parametrize(
    "processor",
    [
        {},
        CENTRE,
        {"image_processor_type": "ConvNextImageProcessor", "size": {"shortest_edge": 32}},
        {"resample": 2, "do_rescale": False, "image_mean": [90.0] * 3, "image_std": [50.0] * 3},
    ],
)
def test_images_are_made_as_the_processor_makes_them(
    processor: dict[str, Any], package: Any, tmp_path: Path
) -> None:
    """Vectors of another cut or normalisation look like good ones."""
    transformers_folder(tmp_path, **processor)
    with quiet():
        theirs = package.AutoImageProcessor.from_pretrained(tmp_path, local_files_only=True)
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize((200, 160))
    smooth.save(tmp_path / "a.png")
    wanted = theirs(images=[smooth], return_tensors="pt")["pixel_values"][0].numpy()
    recipe = at(tmp_path).recipe()

    assert recipe is not None and recipe.decoding is not None
    pixels = decode((tmp_path / "a.png").read_bytes(), recipe.decoding)
    mean, std = (np.array(each)[:, None, None] for each in (recipe.mean, recipe.std))
    np.testing.assert_allclose((pixels / 255 - mean) / std, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "unheard"}, "no network of model_type 'unheard'; give another"),
        (
            {"model_type": "mine", "auto_map": {"AutoModel": "code.Mine"}},
            r"its own code, in auto_map, is never run",
        ),
        ({"model_type": "bert"}, "BertModel sees no images; give the weights of one that does"),
        ({"model_type": "siglip2_vision_model"}, "takes 'pixel_attention_mask'.*beside the pixels"),
        ({"quantization_config": {"bits": 4}}, "are quantized; give those in full"),
        ({"hidden_size": 48}, "does not fit Dinov2Model.*; give the folder as it was saved"),
        ({"num_channels": 1}, "its network takes images of 1 channels, not 3"),
    ],
)
def test_folders_of_something_else(
    change: dict[str, Any], message: str, package: Any, tmp_path: Path
) -> None:
    """A pass would end in a traceback, or run the code of a stranger."""
    transformers_folder(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(UsageError, match=message):
        features(at(tmp_path), images())
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert (2, 32) == features(at(tmp_path), images()).shape


def test_a_network_that_looks_at_random_patches(package: Any, tmp_path: Path) -> None:
    """A resumed pass would keep other vectors."""
    transformers_folder(tmp_path, "ViTMAE")
    with pytest.raises(UsageError, match="draws random numbers whenever.*; use another network"):
        features(at(tmp_path, pooling="class"), images())
    with pytest.raises(UsageError, match="gives no pooler of images of 32x32 px: .*; use another"):
        features(at(tmp_path), images())
    transformers_folder(tmp_path, "ViT")
    features(at(tmp_path, pooling="class"), images())


def test_processors_that_do_more(package: Any, tmp_path: Path) -> None:
    """Channels the other way round are another image."""
    transformers_folder(tmp_path, do_flip_channel_order=True)
    with pytest.raises(UsageError, match="'do_flip_channel_order'; use other weights"):
        at(tmp_path).recipe()
    transformers_folder(tmp_path)
    assert at(tmp_path).recipe() is not None


def test_nothing_is_there(package: Any, tmp_path: Path) -> None:
    """Which file is missing is not to be guessed."""
    with pytest.raises(UsageError, match="is no folder with a config.json; give the folder"):
        features(at(tmp_path / "none"), images())
    with pytest.raises(UsageError, match=r"give it with model\.pretrained"):
        features(Transformers(), images())
    transformers_folder(tmp_path)
    (tmp_path / "model.safetensors").rename(tmp_path / "kept")
    with pytest.raises(UsageError, match="holds no weights: model.safetensors or .*; give the fol"):
        features(at(tmp_path), images())
    (tmp_path / "kept").rename(tmp_path / "model.safetensors")
    features(at(tmp_path), images())


def test_nothing_is_left_changed(package: Any, tmp_path: Path) -> None:
    """A user's own downloads would fail afterwards, in silence."""
    import huggingface_hub.constants as constants

    transformers_folder(tmp_path)
    logging = package.utils.logging
    before = constants.HF_HUB_OFFLINE, logging.get_verbosity(), logging.is_progress_bar_enabled()
    features(at(tmp_path), images())
    after = constants.HF_HUB_OFFLINE, logging.get_verbosity(), logging.is_progress_bar_enabled()

    assert before == after


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has no transformers would see a ModuleNotFoundError."""
    monkeypatch.setitem(sys.modules, "transformers", None)
    model = Transformers(config={"model_type": "dinov2"})
    with pytest.raises(UsageError, match=r"pip install transformers"):
        build(model, 5, spec(32, 32, channels=3), seed=0)
