"""What of an experiment contradicts itself whatever the data."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rayal.experiment import explore, first
from rayal.models.companions.base import Spec
from rayal.parts import Component, Contradiction, find, names
from rayal.strategies.base import Strategy

if TYPE_CHECKING:
    from rayal.experiment.experiment import Experiment


def contradictions(x: "Experiment") -> Iterator[Contradiction]:
    """What cannot work whatever the data, as the parts say it of themselves."""
    yield from x.budget.contradictions(x.candidates)
    yield from _first_labels(x)
    yield from first.contradictions(x.first, x.task, x.budget, x.labeled is not None, x.candidates)
    yield from x.oracle.contradictions(x.budget)
    yield from x.compute.contradictions()
    workers = x.compute.train_workers
    yield from x.scheme.contradictions(x.task, x.start, workers)
    for key, part in (
        ("dataset", x.dataset),
        ("model", x.model),
        ("scheme", x.scheme),
    ):
        if problem := part.misplaced(x.task):
            yield Contradiction((key,), problem)
    for where, strategy in _strategies(x):
        if problem := strategy.misplaced(x.task):
            yield Contradiction(where, problem)
            continue
        for why in strategy.contradictions(x.task, x.oracle, x.ensemble):
            yield Contradiction(where, f"{strategy.part_name()!r} {why}")
    yield from x.guards.contradictions(x.task, x.strategy, x.budget.unit == "samples")
    yield from explore.contradictions(x.explore, x.budget, x.strategy, x.buys_again())
    yield from _seen_as_in_training(x)
    yield from _memorised(x)
    yield from _changing_observers(x)
    yield from _different_companions(x)
    yield from _idle_companions(x)
    for spec in x.fits():
        yield from spec.contradictions(workers)
    if x.fine_tune is not None:
        yield from x.fine_tune.contradictions(x.task, workers)


def _first_labels(x: "Experiment") -> Iterator[Contradiction]:
    """They are random, or exist already."""
    initial, labeled = x.budget.initial, x.labeled is not None
    if labeled and initial:
        yield Contradiction(
            ("budget", "initial"),
            f"{initial}, but the first labels are those in labeled; set it to 0",
        )
    if not labeled and initial == 0:
        yield Contradiction(
            ("budget", "initial"),
            "0, but a model needs labels to begin with; raise it, or set labeled to a file of"
            " labels that exist already",
        )
    if labeled and x.budget.balanced:
        yield Contradiction(
            ("budget", "balanced"),
            "true, but the first labels are those in labeled; set it to false",
        )


def _seen_as_in_training(x: "Experiment") -> Iterator[Contradiction]:
    """Where strategies cannot see images in the training's random changes."""
    if x.score_transform == "test":
        return
    where, augment = ("score_transform",), x.scheme.augment
    if x.task.dense:
        yield Contradiction(
            where,
            f"train, but task {x.task.part_name()!r} scores pixels, and other ones would be seen"
            " than are bought; use test",
        )
    elif augment.changes_nothing:
        yield Contradiction(
            where,
            "train, but scheme.augment changes nothing; use test, or set there what training"
            " changes, such as flip",
        )
    elif augment.window and (fits := x.fits()):
        yield Contradiction(
            where,
            f"train, but the {fits[0].name} that a strategy asks knows whole images, and"
            " scheme.augment.window cuts pieces; use test, or crop in place of window",
        )


def _memorised(x: "Experiment") -> Iterator[Contradiction]:
    """What a model without weights is not asked for, and schemes that would train it."""
    model, scheme = x.model, x.scheme
    if model.memorises != scheme.memorises:
        schemes = {name: find(scheme.kind, name) for name in names(scheme.kind)}
        fitting = [
            name
            for name, each in schemes.items()
            if each.memorises == model.memorises and x.task.part_name() in each.tasks
        ]
        kind = "memorises labels" if model.memorises else "has weights to train"
        yield Contradiction(
            ("scheme",),
            f"{scheme.part_name()!r} is not for model {model.part_name()!r}, which {kind};"
            f" choose one of: {', '.join(fitting)}",
        )
    if not model.memorises:
        return
    if x.ensemble > 1:
        yield Contradiction(
            ("ensemble",),
            f"{x.ensemble}, but model {model.part_name()!r} is decided by the labels alone:"
            " all of them would be the same; use 1",
        )
    for key, strategy in _strategies(x):
        for spec in strategy.companions():
            yield Contradiction(
                key,
                f"{strategy.part_name()!r} trains a {spec.name} beside the model, and model"
                f" {model.part_name()!r} is not trained; use another strategy, or model",
            )


def _strategies(x: "Experiment") -> list[tuple[tuple[str | int, ...], Strategy]]:
    observers = [(("observers", i), each) for i, each in enumerate(x.observers)]
    return [(("strategy",), x.strategy), *observers]


def _changing_observers(x: "Experiment") -> Iterator[Contradiction]:
    """What is only recorded must not change what the model learns."""
    _, *observers = _strategies(x)
    for key, strategy in observers:
        for spec in strategy.companions():
            if spec.changes_training:
                yield Contradiction(
                    key,
                    f"{strategy.part_name()!r} trains a {spec.name} with the model, which only"
                    " the strategy that selects may; observe it in a run of its own",
                )


def _different_companions(x: "Experiment") -> Iterator[Contradiction]:
    """Two that ask for one companion must mean the same one."""
    owners: dict[str, tuple[Component, Spec]] = {
        spec.name: (x.scheme, spec) for spec in x.scheme.companions()
    }
    for key, strategy in _strategies(x):
        for spec in (*strategy.companions(), *strategy.fits()):
            owner, there = owners.setdefault(spec.name, (strategy, spec))
            if type(spec) is not type(there):
                yield Contradiction(
                    key,
                    f"{strategy.part_name()!r} cannot be used beside {owner.part_name()!r},"
                    f" whose {spec.name} is another; use another strategy or scheme",
                )
            elif spec != there:
                yield Contradiction(
                    key,
                    f"{strategy.part_name()!r} wants a {spec.name} with {spec!r}, but"
                    f" {owner.part_name()!r} has one with {there!r}; give both the same",
                )


def _idle_companions(x: "Experiment") -> Iterator[Contradiction]:
    """One that only a scheme fills has to be the scheme's."""
    for key, strategy in _strategies(x):
        for spec in strategy.companions():
            if spec.filled_by_scheme and spec not in x.scheme.companions():
                yield Contradiction(
                    key,
                    f"{strategy.part_name()!r} wants a {spec.name} that scheme"
                    f" {x.scheme.part_name()!r} never uses, so that it would learn nothing;"
                    " use its other settings, or a scheme that trains with it",
                )
