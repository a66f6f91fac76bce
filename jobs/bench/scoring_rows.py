"""Rows of the speed table about the scoring pass: gradient norms, EPMCM, COD, and six at once."""

import argparse
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import torch
from baselines import backward, norms_one_by_one
from benchmark import Row, median_ratio
from pool_features import SPEC
from racing import race
from statistics_pass import StatisticsPass, column

from rayal.models.architectures.resnet18 import Resnet18
from rayal.models.build import build
from rayal.signals.gradients.norms import entropy_gradient_norms

SIX = ["random", "entropy", "margin", "cod", "epmcm", "entropy_gradnorm"]


def gradnorm(options: argparse.Namespace, width: int = 64, batch: int = 64) -> list[Row]:
    """Norms of all parameters' gradients, per image."""
    model = build(Resnet18(width=width), 10, SPEC, seed=0).to(options.device).eval()
    images = torch.randn((batch, *SPEC.shape), generator=torch.Generator().manual_seed(0))
    images = images.to(options.device)

    def whole(side: Callable[..., object]) -> Callable[[], object]:
        def run() -> object:
            result = side(model, images)
            if options.device == "cuda":
                torch.cuda.synchronize()
            return result

        return run

    ran = race(
        "gradnorm",
        options.runs,
        rayal=whole(entropy_gradient_norms),
        loop=whole(norms_one_by_one),
        backward=whole(backward),
    )
    ours, theirs = (ran.results[side].sqrt().sum(1) for side in ("rayal", "loop"))
    torch.testing.assert_close(ours, theirs, rtol=1e-2, atol=0)  # convolutions of a GPU: 10 bits
    what = f"exact gradient norm, ResNet-18 of width {width}, {batch} images"
    least = "at least 30 x" if options.device == "cuda" else "at least 1.5 x"
    rate = f"{batch / ran.median('rayal'):.1f} images/s, {options.device}"
    return [
        Row(what, "loop with batch size 1", ran.times("loop"), least, rate),
        Row(what, "batched forward + backward", ran.times("backward"), "at least 0.6 x", rate),
    ]


def epmcm(options: argparse.Namespace, **sizes: int) -> list[Row]:
    return [_against_entropy("epmcm", "at most 1.05 x", options, **sizes)]


def cod(options: argparse.Namespace, **sizes: int) -> list[Row]:
    return [_against_entropy("cod", "at most 1.15 x", options, **sizes)]


def _against_entropy(name: str, target: str, options: argparse.Namespace, **sizes: int) -> Row:
    with _pass(**sizes) as pool:
        sides = {each: partial(pool.later, each) for each in (name, "entropy")}
        ran = race(name, options.runs, **sides)
        assert len(column(ran.results[name], name)) == pool.units
    rate = f"{pool.units / ran.median(name):.0f} images/s; passes of cycle 1 in this process"
    return Row(name, "entropy", ran.times(name, "entropy"), target, rate)


def six(options: argparse.Namespace, **sizes: int) -> list[Row]:
    """One pass for all of them, against one for each."""
    with _pass(**sizes) as pool:
        alone = {name: partial(pool.later, name) for name in SIX}
        ran = race("six", options.runs, six=partial(pool.later, *SIX), **alone)
        for name in SIX:
            together, by_itself = (column(ran.results[side], name) for side in ("six", name))
            assert together == by_itself, f"{name} scores otherwise beside others"
    dearest = max(SIX, key=ran.median)
    six_passes = [sum(seconds) for seconds in zip(*(ran.seconds[n] for n in SIX), strict=True)]
    what, same = "six strategies in one pass", "the same scores"
    share, detail = median_ratio(ran.seconds["six"], six_passes), f"{', '.join(SIX)}; {same}"
    return [
        Row(what, f"{dearest} alone", ran.times("six", dearest), "at most 1.3 x", detail),
        Row(what, "six passes", share, "none", f"{ran.median('six'):.2f} s; {same}"),
    ]


@contextmanager
def _pass(images: int = 1024, width: int = 32, batch: int = 256) -> Iterator[StatisticsPass]:
    with tempfile.TemporaryDirectory() as scratch:
        yield StatisticsPass(Path(scratch), images, width, batch)
