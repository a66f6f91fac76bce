"""Tiny networks of timm and transformers with random weights, in folders as these write them."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "image_size": 32,
    "patch_size": 8,
}
"""A transformer that sees images of 32 px in 16 patches."""
PROCESSOR = {
    "image_processor_type": "ViTImageProcessor",
    "do_resize": True,
    "size": {"height": 32, "width": 32},
    "resample": 3,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.4, 0.5, 0.6],
    "image_std": [0.2, 0.3, 0.25],
}


def timm_folder(root: Path, arch: str = "test_vit", **cfg: Any) -> Any:
    """The network that lies in `root` then, with ten classes."""
    import timm

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = timm.create_model(arch, num_classes=10).eval()
    root.mkdir(parents=True, exist_ok=True)
    said = {"mean": [0.4, 0.5, 0.6], "std": [0.2, 0.3, 0.25], "input_size": [3, 160, 160]}
    said |= {name: net.pretrained_cfg[name] for name in ("classifier", "fixed_input_size")}
    said["num_classes"] = 10
    config = {"architecture": arch, "num_classes": 10, "pretrained_cfg": {**said, **cfg}}
    (root / "config.json").write_text(json.dumps(config))
    save_file({k: v.contiguous() for k, v in net.state_dict().items()}, root / "model.safetensors")
    return net


def transformers_folder(root: Path, kind: str = "Dinov2", **processor: Any) -> Any:
    """The network of images that lies in `root` then: of `kind`, such as Dinov2, ViT or CLIP."""
    import transformers

    config: Any = getattr(transformers, f"{kind}Config")
    options: dict[str, Any] = dict(TINY)
    if kind in ("CLIP", "Siglip"):
        words = {"vocab_size": 50, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
        text = {**{k: v for k, v in TINY.items() if "size" not in k}, "hidden_size": 32, **words}
        options = {"text_config": text, "vision_config": TINY}
    if kind in ("ConvNext", "ResNet"):
        options = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 1, 1]}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        net = getattr(transformers, f"{kind}Model")(config(**options)).eval()
    net.save_pretrained(root)
    (root / "preprocessor_config.json").write_text(json.dumps({**PROCESSOR, **processor}))
    return getattr(net, "vision_model", net)
