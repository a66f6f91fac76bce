"""The contract of a fit, tried on each that a strategy asks for."""

import copy
import io
from typing import ClassVar

import torch
from torch import Tensor

from rayal.models.weights import load_weights, save_weights, state
from rayal.strategies.base import Strategy
from rayal.testing.bench import CLASSES, IMAGE, Bench
from rayal.testing.contract import Contract
from rayal.testing.fits import ShortFit
from rayal.training.fits.base import FitSpec

STEPS = 4


class FitContract(Contract):
    """What every fit of a strategy promises."""

    part: Strategy
    kind: ClassVar[str] = "a fit of strategy"

    def test_notes_a_finite_loss(self) -> None:
        """Nobody could see whether it converges, or a diverged one would be used."""
        for spec in self.part.fits():
            for noted in self._fit(spec).go(range(STEPS)):
                wrong = {k: v for k, v in noted.items() if v.ndim or not v.isfinite()}
                if "loss" not in noted or wrong:
                    self.broken(
                        "scalars that are finite, with `loss` among them",
                        f"{spec.name} gives {noted}",
                    )

    def test_takes_a_step_of_the_smallest_sets(self) -> None:
        """A first cycle with few labels would fit nothing, and score by chance."""
        for spec in self.part.fits():
            if (steps := spec.steps(1, 1)) < 1:
                self.broken("at least one step", f"{spec.name} takes {steps}")

    def test_continues_from_its_state(self) -> None:
        """Who is killed inside a fit would choose other units than who is not."""
        for spec in self.part.fits():
            whole, first, second = (self._fit(spec) for _ in range(3))
            whole.go(range(STEPS))
            first.go(range(STEPS // 2))
            checkpoint = io.BytesIO()
            torch.save(first.fitting.state_dict(), checkpoint)
            checkpoint.seek(0)
            second.fitting.load_state_dict(torch.load(checkpoint, weights_only=True))
            second.go(range(STEPS // 2, STEPS))
            self._compare(
                spec,
                "to continue from its state",
                whole.fitting.finished(),
                second.fitting.finished(),
            )

    def test_is_saved_whole(self) -> None:
        """A pass would score with less than what was fitted."""
        for spec in self.part.fits():
            made = self._fit(spec).finished()
            again = spec.build(self._bench.networks[0], CLASSES, IMAGE)
            load_weights(again, save_weights(made))
            self._compare(spec, "to be all in its parameters and buffers", made, again)

    def test_leaves_the_model_alone(self) -> None:
        """A strategy would change the model that the run reports, and that others score with."""
        for spec in self.part.fits():
            bench = Bench(self.part.companions())
            modules = [bench.networks[0], *(each for _, each in bench.companions)]
            before = [copy.deepcopy(module.state_dict()) for module in modules]
            ShortFit(spec, modules[0], bench.companions, CLASSES, IMAGE, STEPS).finished()
            for module, then in zip(modules, before, strict=True):
                now = module.state_dict()
                if changed := [name for name in then if not torch.equal(then[name], now[name])]:
                    self.broken(
                        "to leave model and companions as they are",
                        f"{spec.name} changes {changed[0]}",
                    )
                if module.training:
                    self.broken("to leave them in eval mode", f"{spec.name} turns it off")

    def _fit(self, spec: FitSpec) -> ShortFit:
        bench = self._bench
        return ShortFit(spec, bench.networks[0], bench.companions, CLASSES, IMAGE, STEPS)

    @property
    def _bench(self) -> Bench:
        return self.once("fit bench", lambda: Bench(self.part.companions()))

    def _compare(
        self, spec: FitSpec, promise: str, one: torch.nn.Module, other: torch.nn.Module
    ) -> None:
        ends: list[dict[str, Tensor]] = [state(one), state(other)]
        for name, value in ends[0].items():
            if not torch.equal(value, ends[1][name]):
                self.broken(promise, f"{spec.name} has another {name}")
