"""The bound of EPMCM against draws: exact in distribution, in both readings, and of a real run."""

import math

import pytest
import torch
from torch import Tensor

from jobs.analyse import dast_al
from jobs.analyse.dast_al import drawn, factor, gaps
from rayal.models.base import Outputs
from rayal.models.companions.class_statistics import (
    ClassStatistics,
    epmcm_log_scores,
    quadratic_terms,
)

C, D = 4, 7
both = pytest.mark.parametrize("covariance", ["diagonal", "full"])


def layer(covariance: str) -> tuple[Tensor, Tensor, ClassStatistics]:
    """Features (5 D), weight (C D) and statistics of moderate covariances, in float64."""
    g = torch.Generator().manual_seed(0)
    statistics = ClassStatistics(C, D, covariance, reset=True).double()
    seen = 0.2 * torch.randn(200, D, generator=g).double() @ torch.randn(D, D, generator=g).double()
    statistics.observe(Outputs(seen, seen, ()), torch.arange(200) % C)
    features, weight = torch.randn(5, D, generator=g), 0.4 * torch.randn(C, D, generator=g)
    return features.double(), weight.double(), statistics


@both
def test_factor_has_the_covariance_of_the_logits(covariance: str) -> None:
    """Draws of logits would not be those of features; a class that never varies has no noise."""
    _, weight, statistics = layer(covariance)
    own = statistics.covariances[1]
    moves = factor(weight, own)
    expected = weight @ (own if covariance == "full" else own.diag()) @ weight.T

    torch.testing.assert_close(moves @ moves.T, expected, rtol=1e-12, atol=1e-12)
    assert not factor(weight, torch.zeros_like(own)).any()


@both
@pytest.mark.parametrize("block", [2**22, 20_000])
def test_means_agree_with_draws_of_features(
    covariance: str, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The short way, C numbers a draw in place of D and in parts, would change the distribution."""
    monkeypatch.setattr(dast_al, "BLOCK", block)
    features, weight, statistics = layer(covariance)
    own, n, label = statistics.covariances[2], 20_000, 2
    root = torch.linalg.cholesky(own if covariance == "full" else own.diag())
    g = torch.Generator().manual_seed(1)
    noise = torch.randn(n, 5, D, generator=g, dtype=torch.float64) @ root.T
    inverse = 1 / ((features + noise) @ weight.T).softmax(2)[:, :, label]
    values = torch.stack([1 - 1 / inverse, inverse - 1])  # 2 n 5
    generator = torch.Generator().manual_seed(2)
    logits = features @ weight.T
    _, means = drawn(logits, label, factor(weight, own), (100, n), generator)

    error = values.std(1) * math.sqrt(2 / n)
    assert ((means - values.mean(1)).abs() <= 4 * error).all()
    assert (error <= 0.05 * values.mean(1)).all(), "draws that could show anything"


def test_without_variation_the_gaps_are_known() -> None:
    """Both readings by hand: (1/p - 1) - (1 - p), and 0."""
    features, weight, _ = layer("diagonal")
    logits = features @ weight.T
    nothing = ClassStatistics(C, D, "diagonal", reset=True).double()
    p = logits.softmax(1).amax(1)
    found = gaps(logits, weight, nothing, (10, 20), seed=0)

    torch.testing.assert_close(found[:, 0], (1 / p - 1 - (1 - p)).expand(2, -1))
    torch.testing.assert_close(found[:, 1], torch.zeros(2, 5).double())


@both
def test_only_the_error_of_drawing_shrinks(covariance: str) -> None:
    """The two readings would be mixed up: the bound stays as loose as it is, however many draws."""
    features, weight, statistics = layer(covariance)
    found = gaps(features @ weight.T, weight, statistics, (100, 1000, 30_000), seed=3).mean(2)
    loose, error = found.T.tolist()

    assert loose == pytest.approx(3 * [loose[-1]], rel=0.05) and loose[-1] > 0
    assert error[0] > error[1] > error[2] > 0
    assert error[2] < 0.2 * error[0]


def test_of_a_real_run(finished, program, rows, assert_drawn, tmp_path, capsys):
    """The program would read other weights, statistics or units than the run had."""
    run = finished("epmcm", strategy="epmcm")
    choices = {"all": (), "first": ("--cycle", 0, "--chosen")}
    found = {}
    for name, options in choices.items():
        out = tmp_path / name
        arguments = (run, "--units", 10, "--out", out, "--no-tracking", *options)
        assert program("analyse/dast_al.py", *arguments) == 0
        found[name] = rows(out / "dast_table2.csv")
        assert_drawn(out / "dast_table2")

    for table in found.values():
        assert [row["draws"] for row in table] == ["100", "1000", "10000", "100000"]
        loose = [float(row["gap_to_change"]) for row in table]
        error = [float(row["gap_to_bound"]) for row in table]
        assert loose == pytest.approx(4 * [loose[-1]], rel=0.1) and loose[-1] > 0
        assert error[-1] < 0.3 * error[0]
    assert found["all"] != found["first"]
    assert "| 100000 |" in capsys.readouterr().out


def test_bounds_are_the_scores_of_the_run(finished, monkeypatch):
    """The table would be about other statistics, weights or units than those that chose."""
    (study,) = dast_al.analysis.open_studies([finished("epmcm", strategy="epmcm")])
    pool = study.columns(1)["epmcm"]
    ids = [str(unit) for unit in pool.ids[:40]]

    def scores(logits, weight, statistics, *_):
        return epmcm_log_scores(logits, quadratic_terms(weight, statistics))

    monkeypatch.setattr(dast_al, "gaps", scores)
    expected = torch.tensor(pool.scores[:40])
    torch.testing.assert_close(dast_al.gaps_of(study, 1, ids, ()), expected, rtol=1e-4, atol=0)


def test_a_run_without_statistics_is_refused(finished, program, tmp_path, capsys):
    """A traceback, or a table of zeros."""
    run = finished("entropy", strategy="entropy")

    assert program("analyse/dast_al.py", run, "--out", tmp_path) == 2
    assert "kept no class statistics; analyse a run of scheme isda" in capsys.readouterr().err
