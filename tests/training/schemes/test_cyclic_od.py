"""The cyclic teacher: the last cycle's model, unmoved while the next one trains."""

from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import load_file
from torch import nn

from rayal.cycle.loop import run
from rayal.data.card import ImageSpec
from rayal.data.tasks.classification import Classification
from rayal.engine.local import LocalEngine
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.build import build
from rayal.models.companions.base import Companions
from rayal.models.companions.teacher import FrozenTeacherSpec
from rayal.runs.ledger import Ledger
from rayal.storage.folder import Folder
from rayal.training.base import Batch, Unlabeled
from rayal.training.learner import Learner
from rayal.training.schemes._consistency import ConsistencyHeadSpec
from rayal.training.schemes.cyclic_od import CyclicOd
from rayal.training.schemes.tod import Tod
from tests.support.doubles import Silent
from tests.support.whole_runs import short

SPEC = ImageSpec(channels=1, height=8, width=8, mean=(0.5,), std=(0.25,))
IMAGES = torch.randn(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def cnn(seed: int) -> nn.Module:
    network = build(SmallCnn(width=4), 3, SPEC, seed).train()
    network(IMAGES * seed)
    return network


def learner(cycle: int, **fields: Any) -> Learner:
    scheme, model = CyclicOd.model_validate({"lr": 0.05, **fields}), cnn(1)
    companions = Companions(
        (spec, spec.build(model, 3, lambda: cnn(2))) for spec in scheme.companions()
    )
    for companion in companions:
        companion.begin(model)
    return scheme.start(model, Classification(), companions, cycle)


def batch(step: int) -> Batch:
    return Batch(IMAGES[:4], torch.arange(4) % 3, step, 10, IMAGES[4:])


def test_teacher_is_the_model_of_the_beginning_for_all_the_training() -> None:
    """It would follow the model, which is `tod`, or take batch norm's statistics of it."""
    made = learner(cycle=1)
    before = {name: value.clone() for name, value in made.model.state_dict().items()}
    losses = [made.step(batch(step))["consistency"] for step in range(4)]
    teacher = made.companions.of(FrozenTeacherSpec)

    for name, value in teacher.network.state_dict().items():
        assert torch.equal(before[name], value), name
        assert value.numel() == 0 or not torch.equal(value, made.model.state_dict()[name])
    expected = build(SmallCnn(width=4), 3, SPEC, 0)
    expected.load_state_dict(before)
    by_hand = expected.train()(IMAGES[4:]).logits - teacher.logits(IMAGES[4:])
    assert losses[0].item() == pytest.approx(by_hand.square().sum(1).mean().item(), rel=1e-5)


def test_first_cycle_is_supervised() -> None:
    """The model would be held at its random initial weights."""
    scheme, made = CyclicOd(use_labeled=True), learner(cycle=0, use_labeled=True)

    assert scheme.unlabeled(0) is None
    assert Unlabeled(128) == scheme.unlabeled(1)
    assert type(made) is Learner
    assert {"loss", "accuracy"} == made.step(batch(0)).keys()


@pytest.mark.parametrize("fields", [{}, {"heads": 2, "use_labeled": True, "reduction": "mean"}])
def test_the_objective_is_tods_with_another_teacher(fields: dict[str, Any]) -> None:
    """The ablation would compare more than teachers."""
    made = learner(cycle=1, **fields)
    loss = made.loss(batch(0))
    other = Tod.model_validate(fields)
    head = made.companions.get(ConsistencyHeadSpec)
    companions = Companions(
        (
            spec,
            head
            if head and spec == ConsistencyHeadSpec()
            else spec.build(cnn(1), 3, lambda: cnn(2)),
        )
        for spec in other.companions()
    )

    expected = other.start(cnn(1), Classification(), companions, 1).loss(batch(0))
    torch.testing.assert_close(loss, expected)


def test_a_cold_start_is_refused(tiny: Any) -> None:
    """Every cycle would be held at new random weights."""
    with pytest.raises(ValidationError, match="'cyclic_od' continues from the last cycle; use war"):
        short(tiny, scheme={"name": "cyclic_od", "epochs": 1}, start="cold")
    short(tiny, scheme={"name": "cyclic_od", "epochs": 1}, start="warm")


def test_each_cycle_is_taught_by_the_one_before(tiny: Any, tmp_path: Path) -> None:
    """The third training would still be held at the first one's beginning."""
    scheme = {"name": "cyclic_od", "epochs": 2, "batch_size": 16, "lr": 0.05}
    compute = {"engine": "local", "shard_rows": 256}
    x = short(tiny, scheme=scheme, compute=compute)
    with Ledger(Folder(tmp_path), x.identity()) as ledger:
        run(x, x.dataset.open(), ledger, LocalEngine(x.compute), Silent())
    folders = [tmp_path / f"cycle-{cycle:03d}/train" for cycle in range(3)]
    columns = [(folder / "epochs.jsonl").read_text() for folder in folders]

    assert [False, True, True] == ["consistency" in column for column in columns]
    for last, this in zip(folders, folders[1:], strict=False):
        ended = load_file(last / "weights.safetensors")
        teacher = load_file(this / "companion-teacher.safetensors")
        for name, value in ended.items():
            assert torch.equal(value, teacher[f"network.{name}"]), name


def test_companions() -> None:
    """A second head would be missing, or there without being asked for."""
    assert (FrozenTeacherSpec(),) == CyclicOd().companions()
    assert ["teacher", "consistency_head"] == [s.name for s in CyclicOd(heads=2).companions()]
