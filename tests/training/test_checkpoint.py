"""Checkpoints: what is found again is whole, or the one before it."""

import logging
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from rayal.errors import StorageError
from rayal.storage.folder import Folder
from rayal.training.checkpoint import Checkpoints, state_of


def state(epochs: int) -> dict[str, object]:
    return {"weights": torch.full((50,), float(epochs)), "rows": [{"epoch": epochs}]}


def saved(folder: Path, *epochs: int) -> Checkpoints:
    checkpoints = Checkpoints(Folder(folder))
    for epoch in epochs:
        checkpoints.save(epoch, state(epoch))
    return checkpoints


def found(checkpoints: Checkpoints) -> int | None:
    """The epochs of the newest checkpoint."""
    checkpoint = checkpoints.newest()
    if checkpoint is None:
        return None
    newest = state_of(checkpoint)
    epochs = newest["rows"][0]["epoch"]
    assert torch.equal(state(epochs)["weights"], newest["weights"])
    return epochs


def cut(keep: Callable[[int], int]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(path.read_bytes()[: keep(path.stat().st_size)])


def flip_a_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_the_newest_two_are_kept(tmp_path: Path) -> None:
    """A long training would fill the disk, or have nothing to fall back on."""
    checkpoints = saved(tmp_path, 3, 20, 100)

    assert [
        "checkpoint-000020.json",
        "checkpoint-000020.pt",
        "checkpoint-000100.json",
        "checkpoint-000100.pt",
    ] == sorted(path.name for path in tmp_path.iterdir())
    assert 100 == found(checkpoints)


def test_none_is_no_state(tmp_path: Path) -> None:
    """A first training would fail where it looks for a checkpoint."""
    assert Checkpoints(Folder(tmp_path / "absent")).newest() is None


def test_clear_leaves_what_is_not_a_checkpoint(tmp_path: Path) -> None:
    """Finished trainings would keep their checkpoints, or lose their weights."""
    checkpoints = saved(tmp_path, 1, 2)
    (tmp_path / "weights.safetensors").write_bytes(b"")
    (tmp_path / "checkpoint-000003.pt").write_bytes(b"half")
    checkpoints.clear()

    assert ["weights.safetensors"] == [path.name for path in tmp_path.iterdir()]


@pytest.mark.parametrize("kind", ["pt", "json"])
@pytest.mark.parametrize(
    "damage", [cut(lambda n: 0), cut(lambda n: n // 2), cut(lambda n: n - 2), flip_a_bit]
)
def test_a_damaged_one_is_passed_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str, damage: Callable[[Path], None]
) -> None:
    """A torn or rotten checkpoint would end the run, or worse, be trained on."""
    checkpoints = saved(tmp_path, 4, 5)
    damage(tmp_path / f"checkpoint-000005.{kind}")
    with caplog.at_level(logging.WARNING):
        assert 4 == found(checkpoints)

    assert f"checkpoint-000005.{kind} is damaged" in caplog.text


def test_a_checkpoint_without_its_record_is_not_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer killed between the two files would leave a checkpoint that nobody can check."""
    checkpoints = saved(tmp_path, 4)

    def killed(*_: object) -> None:
        raise StorageError("killed")

    monkeypatch.setattr(Folder, "write_sealed", killed)
    with pytest.raises(StorageError):
        checkpoints.save(5, state(5))

    assert (tmp_path / "checkpoint-000005.pt").exists()
    assert 4 == found(checkpoints)


def test_code_is_never_run(tmp_path: Path) -> None:
    """A checkpoint from elsewhere could run what its author likes."""

    class Harmful:
        def __reduce__(self) -> tuple[object, ...]:
            return exec, ("raise AssertionError('it ran')",)

    saved(tmp_path, 1).save(2, {"weights": Harmful()})
    with pytest.raises(Exception, match="[Ww]eights.only"):
        state_of(Checkpoints(Folder(tmp_path)).newest() or b"")
