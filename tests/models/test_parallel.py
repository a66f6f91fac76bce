"""rayal/models/parallel.py: each function on two real processes, and on one."""

import ast
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import rayal
from rayal.cycle.rounds import RoundLog, Worker
from rayal.errors import ClusterError
from rayal.models import parallel
from rayal.storage.folder import Folder
from tests.support.forks import as_two

CPU = torch.device("cpu")
ROOT = Path(rayal.__file__).parent


class Normed(nn.Module):
    """A weight to learn, a running mean, and a counter."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2))
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("count", torch.tensor(7))

    def forward(self, rows: Tensor) -> Tensor:
        return (rows * self.weight).sum()


def own(rank: int) -> Tensor:
    return torch.tensor([1.0, 2.0]) * (rank + 1)


def total(rank: int) -> Any:
    value = own(rank)
    return parallel.total(value), value


def mean(rank: int) -> Any:
    weight = torch.ones(2, requires_grad=True)
    found = parallel.mean(weight * own(rank))
    found.sum().backward()
    return found.detach(), weight.grad


def averaged(rank: int) -> Any:
    return parallel.averaged([own(rank), torch.full((2, 3), float(rank)), torch.tensor(rank + 1.0)])


def first(rank: int) -> Any:
    value = torch.tensor([rank + 3])
    return parallel.first(value), value


def rows(rank: int) -> Any:
    """Worker 0 has one row, worker 1 three; then worker 1 alone has any."""
    uneven = range(1) if rank == 0 else range(1, 4)
    alone = range(0) if rank == 0 else range(2)
    return [
        parallel.rows(
            torch.tensor([[n, -n] for n in numbers], dtype=torch.float32).view(-1, 2),
            torch.tensor([*numbers], dtype=torch.uint8),
        )
        for numbers in (uneven, alone)
    ]


def rows_with_gradient(rank: int) -> Any:
    """The mean of the squares of w, of worker 0, and 2 w, 3 w, 4 w, of worker 1, at w = 1."""
    weight = torch.ones(1, requires_grad=True)
    own = weight * (torch.ones(1) if rank == 0 else torch.tensor([2.0, 3.0, 4.0]))
    found = parallel.rows_with_gradient(own)
    (found.square().mean() * len(own) * parallel.workers() / len(found)).backward()
    return found.detach(), parallel.total(weight.grad) / parallel.workers()


def averaging(rank: int) -> Any:
    module = Normed()
    wrapped = parallel.averaging(module)
    wrapped(own(rank)).backward()
    return module.weight.grad, wrapped is module


def share_buffers(rank: int) -> Any:
    module = Normed()
    module.mean += rank + 1
    module.count += rank
    parallel.share_buffers(module)
    return module.mean, int(module.count)


def first_bytes(rank: int) -> Any:
    return [parallel.first_bytes(b"ab" * length, CPU).decode() for length in (rank + 2, rank)]


def check_same(rank: int) -> Any:
    """Says what was raised at equal numbers, then at unequal ones."""
    told = []
    for number in (7, 7 + rank):
        try:
            parallel.check_same(number, "epoch", CPU)
            told.append("")
        except ClusterError as error:
            told.append(str(error))
    return told


def resumed(rank: int) -> Any:
    """The rows from which a worker goes on; each has a folder of its own, as disks may be late."""
    with TemporaryDirectory() as place:
        log = RoundLog(Folder(place), "epochs.jsonl", 0.0)
        for epoch in range(1, 4 if rank == 0 else 2):
            state = {"learner": {"at": torch.tensor(epoch)}, "rows": [{}] * epoch}
            log.checkpoints.save(epoch, state)
        learner = Remembers()
        log.resume(learner, Worker(rank=rank, size=2))  # type: ignore[arg-type]
        return len(log.rows), learner.state


class Remembers:
    """A learner that keeps what it is given."""

    state: Any = None

    def load_state_dict(self, state: Any) -> None:
        self.state = state


CASES: list[Callable[[int], Any]] = [
    *(
        total,
        mean,
        averaged,
        first,
        first_bytes,
        check_same,
        resumed,
        rows,
        rows_with_gradient,
        averaging,
        share_buffers,
    )
]


def _work(rank: int, folder: Path) -> None:
    found = {case.__name__: case(rank) for case in CASES} | {"workers": parallel.workers()}
    torch.save(found, folder / str(rank))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    """What each of two workers found, by function."""
    folder = tmp_path_factory.mktemp("pair")
    as_two(_work, folder)
    return [torch.load(folder / str(rank)) for rank in range(2)]


def said(pair: list[dict[str, Any]], case: str) -> list[Any]:
    return [found[case] for found in pair]


def test_workers_are_counted(pair: list[dict[str, Any]]) -> None:
    """A worker would train as if it were alone, and all would become different models."""
    assert [2, 2] == said(pair, "workers")
    assert 1 == parallel.workers()


def test_total_is_of_all_workers(pair: list[dict[str, Any]]) -> None:
    """A mean over labeled pixels would be that of one worker's, or the value itself be changed."""
    for rank, (found, value) in enumerate(said(pair, "total")):
        assert [3.0, 6.0] == found.tolist()
        assert torch.equal(own(rank), value)
    alone = torch.ones(2, requires_grad=True)
    assert torch.equal(alone, parallel.total(alone)) and not parallel.total(alone).requires_grad


def test_mean_keeps_the_gradient_of_its_worker(pair: list[dict[str, Any]]) -> None:
    """An objective on means over the whole batch would have no gradient, or that of half of it."""
    for rank, (found, gradient) in enumerate(said(pair, "mean")):
        assert [1.5, 3.0] == found.tolist()
        assert torch.equal(own(rank), gradient)
    found, gradient = mean(0)
    assert torch.equal(own(0), found) and torch.equal(own(0), gradient)


def test_gradients_are_averaged_in_their_shapes(pair: list[dict[str, Any]]) -> None:
    """Workers would each go their own way in a step that does not go through `averaging`."""
    for found in said(pair, "averaged"):
        assert [[1.5, 3.0], [[0.5] * 3] * 2, 1.5] == [each.tolist() for each in found]
    assert all(map(torch.equal, averaged(1), [own(1), torch.ones(2, 3), torch.tensor(2.0)]))
    assert [] == parallel.averaged([])


def test_only_the_first_worker_decides(pair: list[dict[str, Any]]) -> None:
    """Workers would go on from different epochs, or the asked value be overwritten."""
    assert [3, 3] == [int(found) for found, _ in said(pair, "first")]
    assert [3, 4] == [int(value) for _, value in said(pair, "first")]
    assert 8 == int(parallel.first(torch.tensor(8)))


def test_bytes_of_the_first_worker(pair: list[dict[str, Any]]) -> None:
    """Workers would go on from what each of them happened to read."""
    assert [["abab", ""]] * 2 == said(pair, "first_bytes")
    assert b"own" == parallel.first_bytes(b"own", CPU)


def test_workers_apart_are_told(pair: list[dict[str, Any]]) -> None:
    """The mean of two different models would be trained to the end, and nobody would know."""
    for rank, (same, apart) in enumerate(said(pair, "check_same")):
        assert "" == same
        assert f"at different epochs, this one at {7 + rank}" in apart
    parallel.check_same(3, "epoch", CPU)


def test_all_go_on_from_the_first_workers_checkpoint(pair: list[dict[str, Any]]) -> None:
    """Where a listing comes late, one worker would begin an epoch that another has done."""
    assert [(3, {"at": torch.tensor(3)})] * 2 == said(pair, "resumed")


def test_rows_of_unequal_workers_come_in_order(pair: list[dict[str, Any]]) -> None:
    """Class statistics would hold padding, or labels beside the features of other images."""
    for uneven, alone in said(pair, "rows"):
        for numbers, (floats, labels) in (([0, 1, 2, 3], uneven), ([0, 1], alone)):
            assert [[n, -n] for n in numbers] == floats.tolist()
            assert numbers == labels.tolist() and labels.dtype == torch.uint8
    (whole, _), _ = rows(1)
    assert [[1, -1], [2, -2], [3, -3]] == whole.tolist()


def test_rows_have_the_gradient_of_the_mean_over_all(pair: list[dict[str, Any]]) -> None:
    """A loss of pairs would weigh those of one worker more than those of another: the gradient of
    w^2 (1 + 4 + 9 + 16) / 4 at w = 1 is 15."""
    for found, gradient in said(pair, "rows_with_gradient"):
        assert [1.0, 2.0, 3.0, 4.0] == found.tolist()
        assert [15.0] == pytest.approx(gradient.tolist())
    found, gradient = rows_with_gradient(1)
    assert [2.0, 3.0, 4.0] == found.tolist()
    assert [58 / 3] == pytest.approx(gradient.tolist())


def test_gradients_are_averaged(pair: list[dict[str, Any]]) -> None:
    """Two workers would train two models."""
    for gradient, unwrapped in said(pair, "averaging"):
        assert [1.5, 3.0] == gradient.tolist()
        assert not unwrapped
    gradient, unwrapped = averaging(1)
    assert torch.equal(own(1), gradient) and unwrapped


def test_buffers_become_those_of_the_first_worker(pair: list[dict[str, Any]]) -> None:
    """Each worker would normalise by statistics of its own, and the file hold one of them."""
    assert [[1.0, 1.0]] * 2 == [values.tolist() for values, _ in said(pair, "share_buffers")]
    assert [7, 8] == [count for _, count in said(pair, "share_buffers")]
    assert [2.0, 2.0] == share_buffers(1)[0].tolist()


def speaks(file: Path) -> bool:
    """Whether a file names torch's own ways for processes to talk, however it imports them."""
    ours = {"distributed", "DistributedDataParallel"}
    return any(
        (isinstance(node, ast.alias) and node.name.split(".")[-1] in ours)
        or (isinstance(node, ast.alias) and node.name.startswith("torch.distributed"))
        or (isinstance(node, ast.ImportFrom) and "torch.distributed" in (node.module or ""))
        or (isinstance(node, ast.Attribute) and node.attr in ours)
        for node in ast.walk(ast.parse(file.read_text()))
    )


def test_no_other_module_talks_to_workers() -> None:
    """A scheme would have to know how workers meet, and a single process of it be a special case
    in many places."""
    assert ["models/parallel.py"] == [
        str(file.relative_to(ROOT)) for file in sorted(ROOT.rglob("*.py")) if speaks(file)
    ]
