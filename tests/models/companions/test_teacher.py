"""Teachers: the average they claim to be, in float32 too, and what a restart keeps of them."""

import copy

import pytest
import torch
from torch import Tensor, nn

from rayal.data.card import ImageSpec
from rayal.errors import UsageError
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.base import Outputs
from rayal.models.build import build
from rayal.models.companions.teacher import (
    EmaTeacher,
    EmaTeacherSpec,
    FrozenTeacher,
    FrozenTeacherSpec,
    Teacher,
)
from rayal.models.weights import load_weights, save_weights

SPEC = ImageSpec(channels=1, height=8, width=8, mean=(0.5,), std=(0.25,))
OFFICIAL = EmaTeacherSpec(ramp=True, start="random", batch_norm="own")


class Weights(nn.Module):
    """As many weights as told, and nothing else."""

    def __init__(self, values: Tensor) -> None:
        super().__init__()
        self.values = nn.Parameter(values.clone())

    def forward(self, images: Tensor) -> Outputs:
        return Outputs(images * self.values, images, ())


def cnn(seed: int) -> nn.Module:
    """A network with batch norm, whose statistics have seen a batch of their own."""
    network = build(SmallCnn(width=4, dropout=0.5), 3, SPEC, seed).train()
    network(images(seed))
    return network


def images(seed: int) -> Tensor:
    return torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def teacher(spec: EmaTeacherSpec, model: nn.Module, other: nn.Module | None = None) -> EmaTeacher:
    made = spec.build(model, 3, lambda: copy.deepcopy(other or model))
    made.begin(model)
    return made


def random_walk(steps: int, seed: int = 0) -> Tensor:
    """Weights as training moves them: steps of 1e-2 around 1, float32; one row a step."""
    generator = torch.Generator().manual_seed(seed)
    return 1 + (1e-2 * torch.randn(steps, 50, generator=generator)).cumsum(0)


def follow(made: EmaTeacher, walk: Tensor) -> Tensor:
    """The teacher's weights after its model went along `walk`."""
    model = Weights(walk[0])
    for values in walk:
        model.values.data.copy_(values)
        made.after_step(model)
    return made.network.values.detach()


def test_half_after_one_official_step() -> None:
    """The official ramp would start one step early, or late (methods, Sec. 3)."""
    start, first = Weights(torch.tensor([0.0, 4.0])), Weights(torch.tensor([1.0, 2.0]))
    made = teacher(OFFICIAL, first, start)
    made.after_step(first)

    assert [0.5, 3.0] == made.network.values.tolist()


@pytest.mark.parametrize("steps", [1, 2, 10, 998, 999])
def test_official_ramp_is_a_running_mean(steps: int) -> None:
    """The first 999 official steps give the mean of w~0, w1, ..., wn: n + 1 terms alike."""
    walk = random_walk(steps + 1)
    made = teacher(OFFICIAL, Weights(walk[1]), Weights(walk[0]))

    expected = walk.double().mean(0)
    actual = follow(made, walk[1:]).double()
    torch.testing.assert_close(actual, expected, rtol=5e-6, atol=0)


@pytest.mark.parametrize(
    ("ramp", "updates", "expected"),
    [(True, 1, 0.5), (True, 2, 2 / 3), (True, 999, 0.999), (True, 7800, 0.999), (False, 1, 0.999)],
)
def test_ramp_ends_where_alpha_is(ramp: bool, updates: int, expected: float) -> None:
    """The average would go on to be one over the whole run, and never forget its start."""
    made = teacher(EmaTeacherSpec(ramp=ramp), Weights(torch.zeros(1)))
    made.updates = updates

    assert expected == pytest.approx(made.alpha())


@pytest.mark.parametrize("alpha", [0.5, 0.9, 0.999, 0.9999])
def test_float32_average_agrees_with_float64(alpha: float) -> None:
    """Rounding would add up over the thousands of steps of a training."""
    walk = random_walk(3000)
    expected = walk[0].double()
    for values in walk[1:].double():
        expected = alpha * expected + (1 - alpha) * values
    made = teacher(EmaTeacherSpec(alpha=alpha, ramp=False), Weights(walk[0]))

    torch.testing.assert_close(follow(made, walk[1:]).double(), expected, rtol=5e-6, atol=0)


@pytest.mark.parametrize("alpha", [0.9, 0.999, 0.9999])
def test_a_teacher_stays_with_a_model_that_stands_still(alpha: float) -> None:
    """At the end of a schedule teacher and model would differ by rounding alone, which EMAOD
    would then rank images by."""
    still = random_walk(1).expand(5000, -1)
    made = teacher(EmaTeacherSpec(alpha=alpha, ramp=False), Weights(still[0]))

    assert torch.equal(still[0], follow(made, still))


@pytest.mark.parametrize("batch_norm", ["averaged", "own"])
def test_alpha_zero_is_the_model(batch_norm: str) -> None:
    """The newest weights would not get the rest of the teacher's share."""
    model = cnn(1)
    made = teacher(EmaTeacherSpec(alpha=0, start="random", batch_norm=batch_norm), cnn(3), cnn(2))
    made.after_step(model)

    for own, theirs in zip(made.network.parameters(), model.parameters(), strict=True):
        assert torch.equal(own, theirs)


def test_alpha_one_stays_with_the_first_model() -> None:
    """EMAOD with alpha 1 would not be COD in the first cycle."""
    first = cnn(1)
    expected = copy.deepcopy(first.state_dict())
    made = teacher(EmaTeacherSpec(alpha=1, ramp=False), first)
    for seed in range(2, 5):
        made.after_step(cnn(seed))

    for name, value in made.network.state_dict().items():
        assert torch.equal(expected[name], value), name


def test_averaged_batch_norm_moves_like_a_weight() -> None:
    """The teacher would evaluate new weights with the statistics of old ones."""
    first, model = cnn(1), cnn(2)
    made = teacher(EmaTeacherSpec(alpha=0.75, ramp=False), first)
    made.after_step(model)

    statistics = dict(first.named_buffers()), dict(model.named_buffers())
    assert any("running_var" in name for name in statistics[0])
    for name, value in made.network.named_buffers():
        if value.is_floating_point():
            expected = 0.75 * statistics[0][name] + 0.25 * statistics[1][name]
            torch.testing.assert_close(value, expected)
        else:
            assert value == statistics[0][name]


def test_averaged_teacher_normalises_by_its_batch() -> None:
    """With running statistics, which lag behind the model's, a training with it overflows. They
    must not move by its batches, and dropout must not disturb its answers."""
    made = teacher(EmaTeacherSpec(), cnn(1))
    buffers = {name: value.clone() for name, value in made.network.named_buffers()}
    by_hand = copy.deepcopy(made.network).train()
    for dropout in (each for each in by_hand.modules() if is_dropout(each)):
        dropout.p = 0.0

    torch.testing.assert_close(by_hand(images(5)).logits, made.logits(images(5)))
    for name, value in made.network.named_buffers():
        if value.is_floating_point():
            assert torch.equal(buffers[name], value), name


def test_own_batch_norm_learns_from_the_teachers_batches_alone() -> None:
    """The official teacher normalises by its batch, and never takes the model's statistics."""
    made = teacher(EmaTeacherSpec(alpha=0, batch_norm="own"), cnn(1))
    before = {name: value.clone() for name, value in made.network.named_buffers()}
    made.after_step(cnn(2))
    for name, value in made.network.named_buffers():
        assert torch.equal(before[name], value), name

    by_hand = copy.deepcopy(made.network).train()
    for dropout in (each for each in (*by_hand.modules(), *made.modules()) if is_dropout(each)):
        dropout.p = 0.0
    expected = by_hand(images(5)).logits
    torch.testing.assert_close(expected, made.logits(images(5)))
    for name, value in by_hand.named_buffers():
        assert torch.equal(value, dict(made.network.named_buffers())[name]), name
        assert not torch.equal(before[name], value), name


def is_dropout(module: nn.Module) -> bool:
    return isinstance(module, nn.Dropout)


@pytest.mark.parametrize(
    "spec", [EmaTeacherSpec(), OFFICIAL, FrozenTeacherSpec()], ids=["paper", "official", "frozen"]
)
def test_gets_no_gradients_and_leaves_the_model_its_own(spec: EmaTeacherSpec) -> None:
    """The optimizer would train the teacher, or the copy would freeze the model."""
    model = cnn(1)
    made: Teacher = spec.build(model, 3, lambda: cnn(2))
    made.begin(model)
    answer = made.logits(images(5))

    assert not answer.requires_grad and answer.dtype == torch.float32
    assert not any(p.requires_grad for p in made.parameters())
    assert all(p.requires_grad for p in model.parameters())
    mine = {value.data_ptr() for value in made.network.state_dict().values()}
    assert not mine & {value.data_ptr() for value in model.state_dict().values()}


def test_starts() -> None:
    """A teacher of random weights would be the model, or the reverse."""
    model, other = cnn(1), cnn(2)
    copied = teacher(EmaTeacherSpec(start="copy"), model, other).network.state_dict()
    random = teacher(EmaTeacherSpec(start="random"), model, other).network.state_dict()

    for name in copied:
        assert torch.equal(model.state_dict()[name], copied[name])
        assert torch.equal(other.state_dict()[name], random[name])


def test_weights_file_continues_the_count() -> None:
    """After a warm start the ramp would begin anew, and the next cycle forget all before it."""
    walk = random_walk(21)
    straight = teacher(OFFICIAL, Weights(walk[1]), Weights(walk[0]))
    expected = follow(straight, walk[1:])

    first = teacher(OFFICIAL, Weights(walk[1]), Weights(walk[0]))
    follow(first, walk[1:11])
    second = OFFICIAL.build(Weights(walk[11]), 3, lambda: Weights(walk[20]))
    load_weights(second, save_weights(first))
    second.begin(Weights(walk[11]))
    assert 10 == second.updates
    assert torch.equal(expected, follow(second, walk[11:]))


def test_a_file_without_the_count_is_refused() -> None:
    """Weights of another network would pass for a teacher at its first step."""
    model = cnn(1)
    made = teacher(EmaTeacherSpec(), model)
    with pytest.raises(UsageError, match="_extra_state .a number in the network, absent"):
        load_weights(made, save_weights(nn.ModuleDict({"network": model})))


def test_frozen_is_the_model_at_each_beginning() -> None:
    """The second cycle would still be pulled to the model before the first."""
    old, new = cnn(1), cnn(2)
    made = FrozenTeacherSpec().build(old, 3, lambda: cnn(9))
    saved = save_weights(made)
    again = FrozenTeacherSpec().build(new, 3, lambda: cnn(9))
    load_weights(again, saved)
    again.begin(new)
    again.after_step(cnn(3))

    assert isinstance(again, FrozenTeacher)
    for name, value in new.state_dict().items():
        assert torch.equal(value, again.network.state_dict()[name]), name
    assert not torch.equal(new.classifier.weight, made.network.classifier.weight)
