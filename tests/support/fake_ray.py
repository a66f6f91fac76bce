"""Ray as far as `rayal.engine.holding` uses it, in this process: the test says who dies."""

import pickle
from collections.abc import Callable
from typing import Any

from ray.exceptions import RayActorError


class FakeRay:
    """Stands in for the module. Calls are answered when they are made, and told in their order."""

    def __init__(
        self,
        before: Callable[["Actor", str], Exception | None],
        after: Callable[["Actor", str], None] = lambda actor, method: None,
    ) -> None:
        """Told of each call's actor and the strategy's method: `before`, which says how the actor
        dies instead, and `after` it was answered."""
        self.before, self.after = before, after

    def put(self, value: Any) -> bytes:
        return pickle.dumps(value)

    def remote(self, kind: type) -> "Actors":
        return Actors(self, kind)

    def wait(self, references: list["Reference"], timeout: float) -> tuple[list["Reference"], None]:
        return references[:1], None

    def get(self, reference: "Reference") -> Any:
        if isinstance(reference.answer, Exception):
            raise reference.answer
        return reference.answer

    def kill(self, actor: "Actor") -> None:
        actor.dead = True


class Reference:
    def __init__(self, answer: Any) -> None:
        self.answer = answer


class Actors:
    def __init__(self, ray: FakeRay, kind: type) -> None:
        self.ray, self.kind = ray, kind

    def options(self, **_: Any) -> "Actors":
        return self

    def remote(self, *arguments: Any) -> "Actor":
        return Actor(self.ray, self.kind(*arguments))


class Actor:
    def __init__(self, ray: FakeRay, inner: Any) -> None:
        self.ray, self.inner, self.dead = ray, inner, False

    def __getattr__(self, method: str) -> Any:
        return Method(self, method)


class Method:
    def __init__(self, actor: Actor, name: str) -> None:
        self.actor, self.name = actor, name

    def remote(self, shared: bytes, *own: Any) -> Reference:
        actor, what = self.actor, own[0] if self.name == "do" else self.name
        if actor.dead or (death := actor.ray.before(actor, what)):
            answer = RayActorError() if actor.dead else death
            actor.dead = True
            return Reference(answer)
        told = pickle.loads(shared), *pickle.loads(pickle.dumps(own))
        answer = pickle.loads(pickle.dumps(getattr(actor.inner, self.name)(*told)))
        actor.ray.after(actor, what)
        return Reference(answer)
