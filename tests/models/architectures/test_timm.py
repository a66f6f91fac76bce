"""timm's networks: the same numbers as there, from files here and never from elsewhere."""

import json
import socket
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from rayal.data.images import decode
from rayal.errors import UsageError
from rayal.models.architectures.timm import Timm
from rayal.models.build import build
from rayal.testing.model import spec
from tests.support.backbones import timm_folder


@pytest.fixture(scope="module")
def timm() -> Any:
    return pytest.importorskip("timm", reason="pip install timm")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks the network of machines fails."""

    def refused(*_: Any) -> None:
        raise AssertionError("a connection was asked for")

    monkeypatch.setattr(socket.socket, "connect", refused)


def images(size: int = 160) -> Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))


def features(model: Timm, batch: Tensor) -> Tensor:
    network = build(model, 5, spec(*batch.shape[2:], channels=3), seed=0, headless=True).eval()
    with torch.no_grad():
        found: Tensor = network(batch).features
    return found


@pytest.mark.parametrize("arch", ["test_vit", "test_vit3", "test_convnext", "test_efficientnet"])
def test_features_are_those_of_timm(arch: str, timm: Any, tmp_path: Path) -> None:
    """The class token, attention, or the mean: a study would be one of other vectors."""
    timm_folder(tmp_path, arch)
    theirs = timm.create_model(f"local-dir:{tmp_path}", pretrained=True, num_classes=0).eval()
    with torch.no_grad():
        wanted = theirs(images())

    for place in (tmp_path, tmp_path / "model.safetensors"):
        found = features(Timm(arch=arch, pretrained=str(place)), images())
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


def test_other_sizes(timm: Any, tmp_path: Path) -> None:
    """DINOv2's weights are for 518 px and used at 224: without their positions, or other ones."""
    timm_folder(tmp_path)
    options = {"pretrained": True, "num_classes": 0, "img_size": 96}
    theirs = timm.create_model(f"local-dir:{tmp_path}", **options).eval()
    with torch.no_grad():
        wanted = theirs(images(96))

    assert torch.equal(
        wanted, features(Timm(arch="test_vit", pretrained=str(tmp_path)), images(96))
    )


def test_small_images_are_enlarged(timm: Any, tmp_path: Path) -> None:
    """CIFAR's 32 px would be two patches a side."""
    theirs = timm_folder(tmp_path)
    theirs.reset_classifier(0)
    larger = torch.nn.functional.interpolate(images(32), scale_factor=5, mode="bilinear")
    with torch.no_grad():
        wanted = theirs(larger)

    model = Timm(arch="test_vit", pretrained=str(tmp_path), enlarge=5)
    assert torch.equal(wanted, features(model, images(32)))


def test_the_mean_of_patches(timm: Any, tmp_path: Path) -> None:
    """The class token among them, or before the norm, is another vector."""
    theirs = timm_folder(tmp_path)
    with torch.no_grad():
        wanted = theirs.forward_features(images())[:, theirs.num_prefix_tokens :].mean(dim=1)

    model = Timm(arch="test_vit", pretrained=str(tmp_path), pooling="mean")
    torch.testing.assert_close(features(model, images()), wanted)
    same = Timm(arch="test_vit", pretrained=str(tmp_path), pooling="class")
    assert torch.equal(
        features(same, images()), features(same.model_copy(update={"pooling": None}), images())
    )


def test_images_are_made_as_timm_makes_them(timm: Any, tmp_path: Path) -> None:
    """Vectors of a cut of another size look like good ones."""
    timm_folder(tmp_path, crop_pct=0.9, interpolation="bilinear")
    recipe = Timm(arch="test_vit", pretrained=str(tmp_path)).recipe()
    theirs = timm.data.create_transform(
        (3, 160, 160), crop_pct=0.9, interpolation="bilinear", mean=(0, 0, 0), std=(1, 1, 1)
    )
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (12, 16, 3), np.uint8)).resize((260, 210))
    smooth.save(tmp_path / "a.png")

    assert recipe is not None and recipe.decoding is not None
    assert ((0.4, 0.5, 0.6), (0.2, 0.3, 0.25)) == (recipe.mean, recipe.std)
    found = decode((tmp_path / "a.png").read_bytes(), recipe.decoding).astype(int)
    wanted = (theirs(smooth).numpy() * 255).round().astype(int)
    assert (3, 160, 160) == found.shape
    assert 1 >= np.abs(found - wanted).max()  # Pillow and torch round differently


def test_without_a_description_the_name_tells(timm: Any) -> None:
    """A state dict alone says no mean."""
    recipe = Timm(arch="vit_small_patch14_dinov2.lvd142m").recipe()
    squashed = Timm(arch="vit_base_patch16_siglip_224.v2_webli").decoding()

    assert recipe is not None and recipe.decoding is not None
    assert (518, None, "bicubic") == (
        recipe.decoding.size,
        recipe.decoding.resize,
        recipe.decoding.interpolation,
    )
    assert (None, "bicubic") == (squashed.size, squashed.interpolation)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"arch": "test_vitt"}, "did you mean 'test_vit'"),
        ({"arch": "test_vit.mine"}, "knows no weights 'test_vit.mine'; choose one of: 'test_vit.r"),
        ({"arch": "test_vit", "args": {"pretrained": True}}, "rayal gives these to timm itself"),
        ({"arch": "test_vit", "args": {"checkpoint_path": "a.pt"}}, "rayal gives these"),
    ],
)
def test_what_cannot_work_is_refused(fields: dict[str, Any], message: str, timm: Any) -> None:
    """Weights would be fetched, or a pass begin with another network."""
    with pytest.raises(UsageError, match=message):
        Timm(**fields)
    Timm(arch="test_vit.r160_in1k", args={"drop_path_rate": 0.1})


@pytest.mark.parametrize(
    ("fields", "sides", "message"),
    [
        ({"arch": "deit_tiny_distilled_patch16_224"}, (3, 224), "by several classifiers"),
        ({"arch": "test_vit"}, (4, 160), "takes images of 1 or 3 channels, not 4"),
        ({"arch": "test_vit", "args": {"drop_paths": 1}}, (3, 160), "drop_paths.*; use another"),
        ({"arch": "test_resnet", "pooling": "class"}, (3, 160), "Invalid pool type: token"),
    ],
)
def test_networks_that_cannot_be_built(
    fields: dict[str, Any], sides: tuple[int, int], message: str, timm: Any
) -> None:
    """A traceback of timm says nothing of what to change."""
    channels, size = sides
    with pytest.raises(UsageError, match=message):
        build(Timm(**fields), 5, spec(size, size, channels=channels), seed=0)
    build(Timm(arch="test_vit"), 5, spec(160, 160, channels=3), seed=0)


def test_gray_images_are_seen_as_three_equal_channels(timm: Any) -> None:
    """Scans and digits would have to be written anew; or one channel alone would be seen."""
    gray = build(Timm(arch="test_vit"), 5, spec(160, 160, channels=1), seed=0).eval()
    color = build(Timm(arch="test_vit"), 5, spec(160, 160, channels=3), seed=0).eval()
    images = torch.randn(2, 1, 160, 160, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found, expected = gray(images), color(images.repeat(1, 3, 1, 1))

    assert torch.equal(found.logits, expected.logits)
    assert torch.equal(found.features, expected.features)


def test_weights_of_another_network(timm: Any, tmp_path: Path) -> None:
    """timm stretches patches of another size to fit, and the vectors are noise."""
    timm_folder(tmp_path)
    found = load_file(tmp_path / "model.safetensors")
    found["patch_embed.proj.weight"] = found["patch_embed.proj.weight"][..., :8, :8].contiguous()
    save_file(found, tmp_path / "other.safetensors")
    model = Timm(arch="test_vit", pretrained=str(tmp_path / "other.safetensors"))
    with pytest.raises(UsageError, match=r"64x3x16x16 in the network, 64x3x8x8 in the file"):
        features(model, images())
    model = Timm(arch="test_convnext", pretrained=str(tmp_path))
    with pytest.raises(UsageError, match="(names|fit)"):
        features(model, images())


def test_code_in_a_file_is_not_run(timm: Any, tmp_path: Path) -> None:
    """A pickle of others runs whatever its author wanted."""
    net = timm_folder(tmp_path)
    torch.save(net, tmp_path / "net.pt")
    torch.save({"state_dict": net.state_dict(), "epoch": 3}, tmp_path / "state.pt")
    with pytest.raises(UsageError, match="holds Python objects"):
        features(Timm(arch="test_vit", pretrained=str(tmp_path / "net.pt")), images())

    whole = features(Timm(arch="test_vit", pretrained=str(tmp_path)), images())
    state = Timm(arch="test_vit", pretrained=str(tmp_path / "state.pt"))
    assert torch.equal(whole, features(state, images()))


def test_a_damaged_description(timm: Any, tmp_path: Path) -> None:
    """Means that are words would end in a traceback."""
    timm_folder(tmp_path, mean=["a", "b", "c"])
    with pytest.raises(UsageError, match="pretrained_cfg is damaged; copy it again"):
        Timm(arch="test_vit", pretrained=str(tmp_path)).recipe()
    config = json.loads((tmp_path / "config.json").read_text())
    config["pretrained_cfg"]["mean"] = [0.5, 0.5, 0.5]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert Timm(arch="test_vit", pretrained=str(tmp_path)).recipe() is not None


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever has no timm would see a ModuleNotFoundError."""
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(UsageError, match="needs a package: pip install timm"):
        Timm(arch="resnet50")
