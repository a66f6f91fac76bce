"""What lives beside a model: found by the type of its spec, saved under its name."""

import pytest
from torch import nn

from rayal.data.card import ImageSpec
from rayal.errors import UsageError
from rayal.models.architectures.small_cnn import SmallCnn
from rayal.models.build import build
from rayal.models.companions.base import Companions, file_name, name_of
from rayal.models.companions.class_statistics import ClassStatisticsSpec
from rayal.models.companions.teacher import EmaTeacherSpec, FrozenTeacherSpec, Teacher

SPEC = ImageSpec(channels=1, height=8, width=8, mean=(0.5,), std=(0.25,))
MODEL = build(SmallCnn(width=4), 3, SPEC, seed=0)
SPECS = (EmaTeacherSpec(), ClassStatisticsSpec(reset=False))
BUILT = [(spec, spec.build(MODEL, 3, nn.Identity)) for spec in SPECS]


def test_found_by_the_type_of_the_spec() -> None:
    """A strategy would read another companion than it asked for."""
    beside = Companions(reversed(BUILT))

    assert BUILT[0][1] is beside.of(EmaTeacherSpec)
    assert BUILT[1][1] is beside.of(ClassStatisticsSpec)
    assert isinstance(beside.of(EmaTeacherSpec), Teacher)


def test_order_and_names() -> None:
    """The optimizer's groups come in this order, and a run of 0.4 goes on from these files."""
    beside = Companions(BUILT)

    assert [made for _, made in BUILT] == list(beside)
    assert ["teacher", "class_statistics"] == list(beside.named())
    assert list(beside) == list(beside.named().values())


def test_files_say_whose_they_are() -> None:
    """A pass would look for a companion in a file of the model, or under another name."""
    assert ["teacher", "a-b"] == [name_of(file_name(name)) for name in ("teacher", "a-b")]
    for other in ("weights.safetensors", "companion-teacher.json", "member-001.safetensors"):
        assert name_of(other) is None


def test_one_that_is_absent() -> None:
    """A strategy that forgot to ask for its companion would end in a bare KeyError."""
    beside = Companions(BUILT)

    assert beside.get(FrozenTeacherSpec) is None
    with pytest.raises(UsageError, match="of a FrozenTeacherSpec .* ask for it in `companions`"):
        beside.of(FrozenTeacherSpec)
    asked = FrozenTeacherSpec().build(nn.Linear(1, 1), 1, lambda: nn.Linear(1, 1))
    assert asked is Companions([*BUILT, (FrozenTeacherSpec(), asked)]).of(FrozenTeacherSpec)
    assert [] == list(Companions())
