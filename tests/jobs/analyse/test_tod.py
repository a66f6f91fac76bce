"""The TOD figures: their numbers by hand, on a real run, and the theorem behind the first one."""

import numpy as np
import pytest
import torch
from analysis import Study
from torch import nn

from jobs.analyse import tod
from jobs.analyse.tod import bin_losses, look, shares, slopes
from rayal.models.base import Outputs
from rayal.runs.record import Record
from rayal.signals.gradients.norms import gradient_norms
from rayal.storage.folder import Folder

pytestmark = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module")
def study(runs):
    return Study(Record(Folder(runs[0])))


class Scalar(nn.Module):
    """A model with one number f(x; w) as its logits."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, images):
        f = self.body(images.flatten(1))
        return Outputs(f, f, ())


def sides(model, x, y, rate):
    """|f(w') - f(w)| after one step of SGD on (f - y)^2 / 2, and rate sqrt(2 L) ||grad f||^2."""
    f = model(x).logits
    loss = 0.5 * (f - y).square().sum()
    slope = gradient_norms(model, x, lambda logits: logits[:, 0]).sum()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    loss.backward()
    optimizer.step()
    moved = (model(x).logits - f).abs().sum()
    return moved.item(), (rate * (2 * loss).sqrt() * slope).item()


def test_theorem_1_is_an_equality_for_a_linear_model():
    """Fig. 1 would show another quantity than the one that bounds the discrepancy.

    By hand: w = (1, 1), x = (2, 1), y = 1: f = 3, L = 2, ||grad f||^2 = 5; a step of 0.1 moves f by
    0.1 * 2 * 5 = 1 (methods, Sec. 27.1; Theorem 1).
    """
    model = Scalar(nn.Linear(2, 1, bias=False)).double().eval()
    nn.init.ones_(model.body.weight)
    x = torch.tensor([2.0, 1.0], dtype=torch.float64).reshape(1, 1, 1, 2)

    assert sides(model, x, 1.0, 0.1) == pytest.approx((1.0, 1.0), abs=1e-12)


@pytest.mark.parametrize("rate", [1e-4, 1e-6])
def test_theorem_1_holds_to_first_order(rate):
    """For a curved model the sides differ by a share of the order of the step."""
    torch.manual_seed(0)
    model = Scalar(nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))).double().eval()
    moved, bound = sides(model, torch.randn(1, 1, 2, 2, dtype=torch.float64), 3.0, rate)

    assert moved == pytest.approx(bound, rel=100 * rate)


def test_shares_by_hand():
    """Of 4 units, the 2 highest scores hold one of the 2 highest losses."""
    loss, score = np.array([4.0, 3.0, 2.0, 1.0]), np.array([4.0, 1.0, 3.0, 2.0])
    found = shares(score, loss)

    assert (found[0.25], found[0.5], found[0.75], found[1.0]) == (1, 0.5, pytest.approx(2 / 3), 1)


def test_shares_of_the_same_and_of_the_opposite_order():
    """The best and the worst score there could be."""
    loss = np.random.default_rng(0).random(200)

    assert set(shares(loss, loss).values()) == {1}
    assert {q: s for q, s in shares(-loss, loss).items() if q <= 0.5} == pytest.approx(
        {n / 20: 0 for n in range(1, 11)}
    )
    assert shares(-loss, loss)[0.75] == pytest.approx(2 / 3)  # 150 + 150 - 200 of 150


def test_bins_by_hand():
    """Bins would be of the smallest discrepancy first, or of unequal size."""
    discrepancy = np.arange(40.0)
    losses = bin_losses(discrepancy, discrepancy)

    assert losses == [38.5 - 2 * n for n in range(20)]
    assert len(bin_losses(np.arange(7.0), np.arange(7.0))) == 7


def test_discrepancy_is_the_score_of_the_pass(study):
    """Figs. 3 and 5 would be of another distance than the one that chose.

    The pass keeps predictions in half precision; in cycle 0 the smallest distance to the untrained
    network comes first, so the score is its negative.
    """
    for cycle, sign in ((0, -1), (1, 1), (2, 1)):
        found = look(study, cycle)

        assert list(study.columns(cycle)["cod"].ids) == found.ids
        np.testing.assert_allclose(sign * found.discrepancy, found.scores["cod"], atol=2e-3)


@pytest.mark.parametrize("scalar", ["predicted", "sum"])
def test_slopes_agree_with_autograd(study, scalar):
    """Fig. 1 would show the gradient of something else."""
    ids = study.store.pool.ids()[:6]
    network = study.network(1).requires_grad_()
    expected = {}
    for places, images, _ in study.batches(ids):
        for place, image in zip(places, images, strict=True):
            logits = network(image[None]).logits
            f = logits.max() if scalar == "predicted" else logits.sum()
            gradients = torch.autograd.grad(f, list(network.parameters()))
            expected[place] = sum(g.square().sum().item() for g in gradients)

    np.testing.assert_allclose(
        slopes(study, 1, ids, scalar), [expected[n] for n in range(6)], rtol=1e-4
    )


def test_end_to_end(runs, program, rows, assert_drawn, artifacts, tmp_path, capsys):
    """The program as a user starts it: figures, tables, MLflow, and numbers that fit."""
    assert program("analyse/tod.py", *runs, "--out", tmp_path, "--units", 50) == 0

    names = ("tod_fig1", "tod_fig3", "tod_fig5", "tod_fig6")
    for name in names:
        assert_drawn(tmp_path / name)
    wanted = {f"{name}.{kind}" for name in names for kind in ("png", "svg", "csv")}
    for run in runs:
        assert wanted <= artifacts(Record(Folder(run)).run_id)
    assert "least_confidence" in capsys.readouterr().out

    assert len(rows(tmp_path / "tod_fig1.csv")) == 2 * 50
    sixth = rows(tmp_path / "tod_fig6.csv")
    assert {row["score"] for row in sixth} == {"cod", "entropy", "least_confidence"}
    assert {float(row["share"]) for row in sixth if row["q"] == "1.0"} == {1}
    assert {row["drawn"] for row in sixth if row["cycle"] == "0"} == {"False"}

    study = Study(Record(Folder(runs[1])))
    (row,) = (r for r in rows(tmp_path / "tod_fig3.csv") if (r["seed"], r["cycle"]) == ("1", "2"))
    candidates = [str(unit) for unit in study.columns(2)["cod"].ids]
    losses = study.losses(study.network(2), candidates)
    assert float(row["mean_loss"]) == pytest.approx(losses.mean())
    fifth = rows(tmp_path / "tod_fig5.csv")
    bins = [float(r["mean_loss"]) for r in fifth if (r["seed"], r["cycle"]) == ("1", "2")]
    assert np.mean(bins) == pytest.approx(losses.mean())  # 560 candidates: bins of the same size


def test_a_run_of_one_pass(finished, program, rows, assert_drawn, tmp_path):
    """The first cycle alone has no course to draw, and Fig. 6 takes what there is."""
    run = finished("one-pass", budget={"initial": 20, "per_cycle": 20, "total": 40})

    assert program("analyse/tod.py", run, "--out", tmp_path, "--no-tracking") == 0
    assert {row["drawn"] for row in rows(tmp_path / "tod_fig6.csv")} == {"True"}
    assert_drawn(tmp_path / "tod_fig6")


def test_scaling():
    """One value, or none, would divide by zero."""
    assert tod._scaled([2.0, 4.0, 3.0]) == [0, 1, 0.5]
    assert tod._scaled([2.0]) == [0.5]
    assert tod._scaled([]) == []
