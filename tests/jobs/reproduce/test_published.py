"""The papers' numbers: copied once, and what they say about each other."""

from statistics import mean

import numpy as np
import published
import pytest
from published import BUDGETS, Published

LABELS = range(2500, 17_501, 2500)


def test_table_1_of_tod_is_the_published_one() -> None:
    """A digit in the wrong row would be a failed reproduction, or a false one."""
    expected = {
        "cifar10": {"random": 91.8, "core_set": 91.8, "ll4al": 94.1, "vaal": 92.0, "sraal": 92.5}
        | {"tod_random": 92.2, "cod": 94.2, "tod": 94.5},
        "cifar100": {"random": 62.3, "core_set": 65, "ll4al": 65.2, "vaal": 65.4, "sraal": 66.2}
        | {"tod_random": 66.1, "cod": 67.3, "tod": 68.5},
    }
    for dataset, numbers in expected.items():
        found = published.TOD_TABLE_1[dataset]

        assert {key: each.at(20_000) for key, (each,) in found.items()} == {
            key: (value, None) for key, value in numbers.items()
        }


def test_the_means_of_table_2_are_those_of_its_classes() -> None:
    """A class that was left out, or copied twice, would shift all behind it. To the rounding of
    whole points."""
    assert published.TOD_TABLE_2.keys() == published.TOD_TABLE_2_MEANS.keys()
    for method, classes in published.TOD_TABLE_2.items():
        assert 19 == len(classes)
        assert published.TOD_TABLE_2_MEANS[method] == pytest.approx(mean(classes), abs=0.5)


def test_the_minutes_of_table_4_are_those_of_its_seconds() -> None:
    """Seconds in the wrong column would make another sum. To the rounding of the last digit."""
    for cost in published.DAST_TABLE_4.values():
        assert cost.train is not None and cost.sample is not None

        assert cost.minutes == pytest.approx((cost.train + cost.sample) / 60, rel=0.0025)


def test_a_standard_deviation_is_of_trials() -> None:
    """By hand: of 65.0 and 65.2 the mean is 65.1, the deviation 0.1 x sqrt(2); one row has none."""
    two = Published("log", (100, 200), ((60.0, 65.0), (61.0, 65.2)))

    assert two.at(200) == (pytest.approx(65.1), pytest.approx(0.02**0.5))
    assert two._replace(trials=((60.0, 65.0),)).at(200) == (65.0, None)


def test_every_table_has_a_value_in_every_column() -> None:
    """A number that slipped out would move the others to other labels."""
    assert {len(BUDGETS)} == {len(row) for row in published.GRADNORM_TABLE_1.values()}
    assert len(BUDGETS) == len(published.GRADNORM_TABLE_2) == 7
    assert {len(BUDGETS) - 1} == {len(row) for row in published.GRADNORM_TABLE_3.values()}
    for rows in (published.DAST_TABLE_1, *published.DAST_FIGURE_2.values()):
        for each in (each for row in rows.values() for each in row):
            assert {len(each.labels)} == {len(trial) for trial in each.trials}
    for method, (first, *_) in published.DAST_TABLE_1.items():
        assert "full" == method or list(LABELS) == list(first.labels)


# What docs/claims.md says of these numbers.


def test_gap_and_accuracy_of_gradnorm_are_not_of_the_same_averages() -> None:
    """Of 40 % of CIFAR-10: accuracy on the labeled set would be above 100 %."""
    (text,) = published.GRADNORM_TEXT["entropy_gradnorm"]

    assert text.at(20_000)[0] + published.GRADNORM_TABLE_3["entropy_gradnorm"][-1] > 100


def test_two_papers_ran_two_learning_losses() -> None:
    """Nobody is above 100 % on the labeled set, so gradnorm's gap of 7.23 leaves 92.77 at most."""
    (tod,) = published.TOD_TABLE_1["cifar10"]["ll4al"]
    most = 100 - published.GRADNORM_TABLE_3["ll4al"][-1]

    assert 92.77 == pytest.approx(most)
    assert tod.at(20_000)[0] > most


def test_seventeen_of_nineteen_classes_improve() -> None:
    """The text has 18: one ties, one falls."""
    pairs = list(zip(published.TOD_TABLE_2["cod"], published.TOD_TABLE_2["tod"], strict=True))

    assert 17 == sum(after > before for before, after in pairs)
    assert [(84, 84), (20, 8)] == [(b, a) for b, a in pairs if a <= b]


def test_overlaps_of_gradnorm_are_too_many_for_the_whole_pool() -> None:
    """25,000 candidates of the pool U are chosen at random, so that of the 2,500 largest of U a
    share of 25,000 / U at most can be chosen, on average; chance is 2,500^2 / U. Of the candidates
    alone chance is 250: VAAL's row has 246 on average."""
    pools = [50_000 - labels for labels in BUDGETS]
    most = [2500 * 25_000 / pool for pool in pools]
    chance = [2500**2 / pool for pool in pools]

    assert (139, 208) == (round(chance[0]), round(chance[-1]))
    assert (1389, 2083) == (round(most[0]), round(most[-1]))
    for method in ("entropy_gradnorm", "expected_gradnorm"):
        found = published.GRADNORM_TABLE_1[method]
        assert [3, 4, 5, 6] == [at for at in range(7) if found[at] > most[at]]
    assert 246 == round(mean(published.GRADNORM_TABLE_1["vaal"]))


def test_warm_starts_see_more_images_than_all_labels() -> None:
    """200 epochs in each of seven cycles, against 200 over all 50,000."""
    assert 17_500_000 == 200 * sum(BUDGETS)
    assert 10_000_000 == 200 * 50_000


def test_dast_al_at_35_percent_is_not_the_mean_of_its_log() -> None:
    """All other columns agree to 0.01, this one is 0.4 lower."""
    printed, log, _ = published.DAST_TABLE_1["dast_al"]

    assert -0.4 == pytest.approx(printed.at(17_500)[0] - log.at(17_500)[0])


def test_mebibytes_are_called_millions() -> None:
    """VAAL's autoencoder and discriminator have 23,115,204 parameters; of 4 bytes each that is the
    paper's number. SRAAL's is 90.22; the re-implementation has more."""
    assert published.DAST_TABLE_4["vaal"].extra == pytest.approx(
        4 * (22_835_139 + 280_065) / 2**20, abs=0.005
    )


def test_shares_of_caltech_are_of_training_and_test() -> None:
    """868 of 8,677 images are 10 %, but 911 of them are the test."""
    training = 8677 - 911

    assert [10.0, 40.0] == [round(100 * labels / 8677, 1) for labels in (868, 3472)]
    assert [11.2, 44.7] == [round(100 * labels / training, 1) for labels in (868, 3472)]


def test_draws_with_replacement_lose_images() -> None:
    """Of 10,000 positions, drawn 10,000 times: a position is missed with (1 - 1/10,000)^10,000."""
    draws = np.random.default_rng(0).integers(10_000, size=(200, 10_000))
    distinct = mean(len(np.unique(each[:1000])) for each in draws)
    never = mean(10_000 - len(np.unique(each)) for each in draws)

    assert distinct == pytest.approx(10_000 * (1 - (1 - 1e-4) ** 1000), abs=2)
    assert never == pytest.approx(10_000 * (1 - 1e-4) ** 10_000, abs=15)
    assert (952, 3679) == (round(10_000 * (1 - 0.9999**1000)), round(10_000 * 0.9999**10_000))


def test_the_bias_changes_by_twice_the_score() -> None:
    """Its gradient is p - e_y: 1 - p_y of the predicted class, the same of all others together."""
    p = np.random.default_rng(0).dirichlet(np.ones(10), size=100)
    gradient = p - np.eye(10)[p.argmax(1)]
    score = 1 - p.max(1)

    np.testing.assert_allclose(np.abs(gradient).sum(1), 2 * score)
    assert (np.linalg.norm(gradient, axis=1) > score).all()


def test_weight_decay_in_a_phase_of_ads() -> None:
    """Of the released code: 200 epochs of 79 batches of 128 of 10,000 images, at a rate of 0.1 that
    never falls there, with weight decay of 5e-4; its losses are of the order of 1 / 128^2."""
    steps = 200 * -(-10_000 // 128)

    assert 15_800 == steps
    assert 0.454 == pytest.approx((1 - 0.1 * 5e-4) ** steps, abs=5e-4)
