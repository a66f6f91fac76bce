"""What networks of the cryo-ET recipe share: how their weights start."""

from torch import nn


def start_as_published(network: nn.Module) -> nn.Module:
    """The network, its convolutions' biases 0, its linear weights from N(0, 0.01). Kernels stay as
    `Network` draws them: by He's normal initialisation, as the recipe does."""
    for module in network.modules():
        if isinstance(module, nn.Conv3d) and module.bias is not None:
            nn.init.zeros_(module.bias)
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.01)
    return network


def too_small(sides: tuple[int, ...], least: int) -> str | None:
    """None, or that a side is below what the pools of a network leave something of."""
    if min(sides) >= least:
        return None
    size = "x".join(map(str, sides))
    return f"volumes of {size} are too small; it needs {'x'.join([str(least)] * len(sides))}"
