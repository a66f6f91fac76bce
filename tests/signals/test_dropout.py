"""rayal/signals/dropout.py: masks that are random enough, and belong to units."""

import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor, nn

from rayal.errors import UsageError
from rayal.randomness import unit_keys
from rayal.signals.dropout import UnitNoise, dropout_layers, unit_dropout

CPU = torch.device("cpu")


def noise_of(units: int, *key: int | str) -> UnitNoise:
    return UnitNoise(unit_keys([f"unit-{i}" for i in range(units)], *key), CPU)


def dropped(layer: nn.Module, x: Tensor, noise: UnitNoise) -> Tensor:
    """What a layer alone hands on while dropout is on."""
    with unit_dropout(layer, noise):
        return layer.eval()(x)


def test_numbers_are_those_of_splitmix64():
    """A slip in 64-bit arithmetic, which wraps here in signed numbers, would go unseen."""
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    expected = [(number >> 40) * 2.0**-24 for number in published]
    actual = UnitNoise(np.zeros(1, np.uint64), CPU).take(3)

    assert expected == actual[0].tolist()


def test_numbers_agree_with_unsigned_arithmetic():
    """Seeds above 2^63 are negative to torch."""
    keys = np.random.default_rng(0).integers(0, 2**64, 50, dtype=np.uint64)
    z = keys[:, None] + np.arange(1, 201, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    expected = ((z ^ (z >> np.uint64(31))) >> np.uint64(40)) * 2.0**-24

    assert np.array_equal(expected, UnitNoise(keys, CPU).take(200).numpy())


def test_taking_in_parts_is_taking_at_once():
    """Masks would depend on how the layers before are divided."""
    parts, whole = noise_of(4), noise_of(4)

    assert torch.equal(torch.cat([parts.take(3), parts.take(5)], dim=1), whole.take(8))


@pytest.mark.parametrize("keys", ["hashed", "neighbours"])
def test_numbers_are_uniform_and_independent(keys):
    """Biased or correlated masks would give one and the same mistake in every pass."""
    units, count, bins = 1000, 256, 64
    noise = noise_of(units) if keys == "hashed" else UnitNoise(np.arange(units, dtype="u8"), CPU)
    uniforms = noise.take(count).double().numpy()
    cells = np.bincount((uniforms * bins).astype(int).ravel(), minlength=bins)
    first, second = uniforms[:, :-1].ravel(), uniforms[:, 1:].ravel()
    pairs = np.histogram2d(first, second, bins=8)[0].ravel()

    assert scipy.stats.chisquare(cells).pvalue > 0.001
    assert scipy.stats.chisquare(pairs).pvalue > 0.001
    bound = 5 / np.sqrt(units * count)
    for one, other in (
        (uniforms[:, :-1], uniforms[:, 1:]),  # neighbouring elements
        (uniforms[:-1], uniforms[1:]),  # neighbouring units
        (uniforms[:, : count // 2], uniforms[:, count // 2 :]),  # the next layer, or pass
    ):
        assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 1.5 * bound


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_a_share_of_p_is_zero_and_the_rest_raised(p):
    """The mean of a feature would not be what the network was trained with."""
    x = torch.full((500, 200), 3.0)
    out = dropped(nn.Dropout(p), x, noise_of(500))

    assert scipy.stats.binomtest(int((out == 0).sum()), out.numel(), p).pvalue > 0.001
    torch.testing.assert_close(out[out != 0].unique(), torch.tensor([3 / (1 - p)]))
    by_element = (out == 0).sum(0).numpy()
    expected = np.full(200, 500 * p) * by_element.sum() / (500 * 200 * p)
    assert scipy.stats.chisquare(by_element, expected).pvalue > 0.001


def test_masks_belong_to_units():
    """Another batch size or order of the shards would select other units."""
    x = torch.randn(6, 3, 5, 5, generator=torch.Generator().manual_seed(0))
    keys = unit_keys([f"unit-{i}" for i in range(6)], 1)
    layer = nn.Dropout(0.5)
    together = dropped(layer, x, UnitNoise(keys, CPU))
    order = [4, 2, 0, 5, 5]

    for row in range(6):
        alone = dropped(layer, x[[row]], UnitNoise(keys[[row]], CPU))
        assert torch.equal(alone, together[[row]])
    assert torch.equal(together[order], dropped(layer, x[order], UnitNoise(keys[order], CPU)))
    assert len({tuple((row != 0).flatten().tolist()) for row in together}) == 6


@pytest.mark.parametrize(
    ("layer", "shape"),
    [(nn.Dropout1d, (64, 7)), (nn.Dropout2d, (64, 3, 4)), (nn.Dropout3d, (64, 2, 3, 2))],
)
def test_channels_are_dropped_whole(layer, shape):
    """Dropping single positions of a map is hardly any noise at all."""
    out = dropped(layer(0.5), torch.ones(20, *shape), noise_of(20)).flatten(2)
    kept = (out != 0).float().mean(2)

    assert set(kept.unique().tolist()) == {0.0, 1.0}
    assert 0.4 < kept.mean() < 0.6


class Twice(nn.Module):
    """Hands on what one dropout layer makes of its input in two calls, and two others in one."""

    def __init__(self) -> None:
        super().__init__()
        self.shared, self.second, self.third = (nn.Dropout(0.5) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return torch.stack([self.shared(x), self.shared(x), self.second(x), self.third(x)])


def test_every_call_and_pass_has_masks_of_its_own():
    """Layers that drop the same places are less noise than the model has; many layers would
    overflow a signed seed."""
    model, x, noise = Twice().eval(), torch.ones(8, 64), noise_of(8)
    with unit_dropout(model, noise):
        masks = torch.cat([model(x), model(x)]).flatten(1) != 0

    agreement = (masks[:, None] == masks[None]).float().mean(2).fill_diagonal_(0.5)
    assert ((agreement - 0.5).abs() < 0.12).all()  # 5 sigma of 512 elements


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_stays_half(dtype):
    """Autocast inputs would be turned to float32, or the masks of a precision be its own."""
    x = torch.ones(4, 100, dtype=dtype)
    out = dropped(nn.Dropout(0.25), x, noise_of(4))

    assert out.dtype == dtype
    assert torch.equal(out != 0, dropped(nn.Dropout(0.25), x.float(), noise_of(4)) != 0)


def test_what_is_dropped_is_zero_even_where_it_is_infinite():
    """An infinite feature times 0 is NaN; and p = 1 divides by 0."""
    out = dropped(nn.Dropout(0.5), torch.full((4, 50), float("inf")), noise_of(4))

    assert not out.isnan().any() and (out == 0).any()
    assert not dropped(nn.Dropout(1.0), torch.ones(4, 50), noise_of(4)).any()


def test_only_dropout_wakes_up():
    """Batch norm in training mode would mix the batch and change its statistics."""
    model = nn.Sequential(nn.BatchNorm1d(30), nn.Dropout(0.5), nn.Dropout(0.0), nn.ReLU()).eval()
    x = torch.randn(16, 30, generator=torch.Generator().manual_seed(1)) * 5 + 2
    before = {name: value.clone() for name, value in model.state_dict().items()}
    plain = model(x)
    with unit_dropout(model, noise_of(16)):
        noisy = model(x)

    assert not any(module.training for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(noisy[noisy != 0], 2 * plain[noisy != 0])
    assert torch.equal(model(x), plain)


def test_dropout_is_off_again_after_an_error():
    """All later scores of the worker would be noisy."""
    layer = nn.Dropout(0.5).eval()
    with pytest.raises(ZeroDivisionError), unit_dropout(layer, noise_of(2)):
        raise ZeroDivisionError

    assert torch.equal(layer(torch.ones(2, 40)), torch.ones(2, 40))


def test_layers_that_drop_something():
    """A layer of p = 0 would pass for a model with dropout."""
    model = nn.Sequential(nn.Dropout(0.0), nn.Dropout(0.3), nn.Sequential(nn.Dropout2d(0.2)))

    assert [model[1], model[2][0]] == dropout_layers(model)


@pytest.mark.parametrize("layer", [nn.AlphaDropout(0.5), nn.FeatureAlphaDropout(0.5)])
def test_other_kinds_are_refused(layer):
    """Their zeros are not 0: masks of another kind would pass for theirs."""
    with pytest.raises(UsageError, match=f"{type(layer).__name__} cannot be kept on"):
        dropout_layers(nn.Sequential(layer))
    for right in (nn.Dropout(0.5), nn.Dropout2d(0.5)):
        assert [right] == dropout_layers(nn.Sequential(right))


def test_rows_that_are_no_units_are_refused():
    """A layer over patches would give one unit's noise to another."""
    with pytest.raises(UsageError, match="sees 12 rows for 4 images"):
        dropped(nn.Dropout(0.5), torch.ones(12, 5), noise_of(4))
