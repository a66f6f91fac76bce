"""One training in progress: a step of its loss, its optimizer and what lives beside the model.

B images of a batch on this worker; * is nothing for classification, H W for segmentation.
"""

from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from rayal.data.tasks.base import Task
from rayal.errors import UsageError
from rayal.models import parallel
from rayal.models.base import Outputs
from rayal.models.companions.base import Companions, LearningCompanion
from rayal.models.device import Beside
from rayal.models.network import computing
from rayal.training.base import Batch, TrainingScheme

ADAMS: dict[str, type[torch.optim.Adam]] = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


class Learner:
    """One training in progress: the model, what updates it and how.

    A scheme's own learner overrides `loss` or `per_unit_loss` (another objective) or `step` (a
    second player); what it keeps between steps belongs into a companion.
    """

    def __init__(
        self,
        scheme: TrainingScheme,
        model: nn.Module,
        task: Task,
        companions: Companions,
    ) -> None:
        self.scheme, self.task, self.companions = scheme, task, companions
        self.model = model.train()
        """The network that evaluation and scoring use."""
        self.network = parallel.averaging(model)
        """What a forward pass goes through: the model, or the model shared by all workers."""
        self.beside = Beside()
        """Where a GPU may do what the step's own forward passes need not wait for."""
        self._noted: dict[str, Tensor] = {}
        self._companion_losses = {
            name: parallel.averaging(companion.train())
            for name, companion in companions.named().items()
            if isinstance(companion, LearningCompanion)
        }

    @cached_property
    def optimizer(self) -> torch.optim.Optimizer:
        """Of all that is trained; a group's `scale` multiplies the scheme's learning rate, which
        falls for those that are not `constant`."""
        x, parts = self.scheme, [(self.model, 1.0, False)]
        parts += [(c, 1.0, not c.follows_schedule) for c in self.companions]
        if x.last_layer_lr != 1:
            last: Any = self.model.classifier
            parts.insert(0, (last, x.last_layer_lr, False))
        groups, seen = list[dict[str, Any]](), set[Tensor]()
        for part, scale, constant in parts:
            fresh = [p for p in part.parameters() if p.requires_grad and p not in seen]
            seen.update(fresh)
            if fresh:
                groups.append({"params": fresh, "scale": scale, "constant": constant})
        fused = fused_on(self.model)
        if (adam := ADAMS.get(x.optimizer)) is not None:
            betas = (x.momentum, 0.999)
            return adam(groups, lr=x.lr, betas=betas, weight_decay=x.weight_decay, fused=fused)
        return torch.optim.SGD(
            groups,
            lr=x.lr,
            momentum=x.momentum,
            weight_decay=x.weight_decay,
            nesterov=x.nesterov,
            fused=fused,
        )

    def step(self, batch: Batch) -> dict[str, Tensor]:
        """One update; returns what is worth plotting, as scalars: means over the batch."""
        self._noted = {}
        self.set_lr(batch)
        with computing(batch.images.device, self.scheme.precision):
            loss = self.loss(batch)
        if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
            raise self._broken("loss", loss, "a scalar tensor that depends on the weights")
        self.optimizer.zero_grad()
        torch.autograd.backward(loss if batch.weight == 1 else loss * batch.weight)
        self.optimizer.step()
        parallel.share_buffers(self.model)
        for companion in self.companions:
            companion.after_step(self.model)
        return {"loss": loss.detach(), **self._noted}

    def loss(self, batch: Batch) -> Tensor:
        """The scalar to minimise: here the mean task loss, plus the companions'."""
        return self.supervised_loss(self.network(batch.images), batch)

    def supervised_loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """Mean loss of the labeled images, plus the companions'; notes these, and the accuracy.

        All workers have to call it in every step.
        """
        outputs = outputs._replace(logits=outputs.logits.float())
        for companion in self.companions:
            companion.observe(outputs, batch.labels)
        per_unit = self.per_unit_loss(outputs, batch)
        if not isinstance(per_unit, Tensor) or per_unit.shape != (len(batch.labels),):
            raise self._broken("per_unit_loss", per_unit, f"{len(batch.labels)} losses, (B,)")
        self.note(accuracy=self.task.accuracy(outputs.logits, batch.labels))
        loss = self._mean(per_unit, self.unit_weights(outputs, batch), batch)
        for name, companion_loss in self._companion_losses.items():
            beside = companion_loss(outputs, per_unit.detach(), batch.progress)
            self.note(**{f"{name}_loss": beside})
            loss = loss + beside
        return loss

    def _broken(self, method: str, value: object, wanted: str) -> UsageError:
        given = f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)[:80]
        return UsageError(
            f"scheme {self.scheme.part_name()!r}: {method}() returned {given}; return {wanted}"
        )

    def per_unit_loss(self, outputs: Outputs, batch: Batch) -> Tensor:
        """One loss per labeled image, (B,): the task's."""
        return self.task.loss(outputs.logits, batch.labels)

    def unit_weights(self, outputs: Outputs, batch: Batch) -> Tensor | None:
        """How much each labeled image counts in the mean, (B,), without gradient: the task's
        weights. None: all alike."""
        return self.task.weights(batch.labels)

    def _mean(self, per_unit: Tensor, weights: Tensor | None, batch: Batch) -> Tensor:
        """Mean of (B,), each image counted by its weight, a scalar; 0 where no image counts.

        Times `Batch.weight`, and then averaged over workers, it is that of the global batch.
        """
        if weights is None:
            return per_unit.mean()
        # parts of equal size may hold unequal numbers of labels
        total = parallel.total(weights.sum())
        share = (per_unit * weights).sum() / torch.where(total > 0, total, 1.0)
        return share * (parallel.workers() / batch.weight)

    def note(self, **values: Tensor) -> None:
        """Adds scalars to what this step returns."""
        self._noted |= {name: value.detach() for name, value in values.items()}

    @property
    def lr(self) -> float:
        """The learning rate of the last step."""
        first = self.optimizer.param_groups[0]
        return float(first["lr"] / first["scale"])

    def set_lr(self, batch: Batch) -> None:
        """Sets the learning rate of this step in every group."""
        for group in self.optimizer.param_groups:
            step = 0 if group.get("constant") else batch.step  # no key: an older checkpoint's group
            group["lr"] = group["scale"] * self.scheme.lr_at(step, batch.steps)

    def learned(self) -> dict[str, Any]:
        """What a training is for: the model, and what lives beside it. It goes on changing."""
        beside = {name: each.state_dict() for name, each in self.companions.named().items()}
        return {"model": self.model.state_dict(), "companions": beside}

    def load_learned(self, state: dict[str, Any]) -> None:
        """Puts both where `learned` had them."""
        self.model.load_state_dict(state["model"])
        for name, companion in self.companions.named().items():
            companion.load_state_dict(state["companions"][name])

    def state_dict(self) -> dict[str, Any]:
        """All that a training needs to continue as if it had never stopped."""
        return {**self.learned(), "optimizer": self.optimizer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues from a `state_dict` of the same scheme, model and companions."""
        self.load_learned(state)
        self.optimizer.load_state_dict(state["optimizer"])


def fused_on(module: nn.Module) -> bool | None:
    """How an optimizer of its weights is told to update all of them in one kernel: on a GPU. None
    leaves it to torch, as on a CPU."""
    return all(weight.is_cuda for weight in module.parameters()) or None
