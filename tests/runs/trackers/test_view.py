from typing import Any

from rayal.runs.trackers._view import (
    MAX_PARAM_LENGTH,
    MAX_PARAMS,
    epoch_points,
    flat,
    plain,
)


def test_parameters_by_hand() -> None:
    """A part is called by its name; what does not fit a column is left to experiment.yaml."""
    x = {
        "name": "digits-al",
        "scheme": {"name": "isda", "lr": 0.1, "milestones": [10, 20], "nesterov": True},
        "observers": [{"name": "entropy"}],
        "note": "x" * (MAX_PARAM_LENGTH + 1),
        "candidates": None,
    }

    assert {
        "name": "digits-al",
        "scheme": "isda",
        "scheme.lr": "0.1",
        "scheme.milestones": "[10, 20]",
        "scheme.nesterov": "true",
        "candidates": "null",
    } == flat(x)


def test_parameters_are_bounded() -> None:
    """MLflow takes 100 of them in one batch, and refuses odd names."""
    params = flat({f"key #{n}": {"a": n} for n in range(300)})

    assert MAX_PARAMS == len(params)
    assert "key _0.a" in params
    assert "___m red__" == plain("€\x1b[m red'\n")


def test_passwords_are_not_shown() -> None:
    """Parameters are read by everyone who sees the server."""
    assert {"root": "s3://***@bucket/x"} == flat({"root": "s3://key:secret@bucket/x"})


def test_epochs_count_through_all_cycles(run: Any) -> None:
    """A curve that starts again at each cycle is a heap of points."""
    run.train(0)
    run.evaluate(0)
    run.epochs(1, 2)
    losses = [[p for p in points if p.key == "train/loss"] for points in epoch_points(run.record)]

    assert [[1, 2, 3], [4, 5]] == [[point.step for point in points] for points in losses]
    assert [1500, 1500] == [
        losses[0][1].time - losses[0][0].time,
        losses[1][1].time - losses[1][0].time,
    ]


def test_the_same_points_every_time(run: Any) -> None:
    """MLflow drops a copy only if its time is the same too."""
    run.finish()

    assert list(epoch_points(run.record)) == list(epoch_points(run.record))
