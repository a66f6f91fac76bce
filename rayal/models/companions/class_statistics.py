"""Mean and covariance of the features of each class, kept while a model trains, and their use.

Source: Wang et al., "Implicit Semantic Data Augmentation for Deep Networks" (NeurIPS 2019; TPAMI
2021), Sec. 3.1 and Eq. 7, official code blackfeather-wang/ISDA-for-Deep-Networks, b66a594; DAST-AL
(ECCV 2022), Eq. 7, official code cheny124800/DASTAL, 175e5bb.

B images of a batch, N of any set, C classes, D features, K classes taken at a time. w_c and S_c are
the row of class c in the weight of the last linear layer and the covariance of its features. Of a
dense network every position of its logit grid h w counts as an image, with the label nearest to it.

Differences, each between papers and code:
- The papers speak of covariance matrices; the codes for ImageNet and of DAST-AL keep their
  diagonals (`diagonal`), ISDA's for CIFAR all of them (`full`).
- The official codes never start afresh: features of the first epoch, and the way the means have
  gone since, weigh as much as the last epoch's. `reset` starts afresh with every training.
- On several workers the official codes keep what each worker saw, or the first one did; here every
  worker keeps the statistics of the whole batch.
"""

from collections.abc import Callable, Iterator
from typing import Any, ClassVar, Literal, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding

from rayal.data.pixels import labeled_rows, on_grid
from rayal.errors import UsageError
from rayal.models import parallel
from rayal.models.base import Outputs
from rayal.models.companions.base import Companion, CompanionSpec
from rayal.models.network import last_layer

Covariance = Literal["diagonal", "full"]

BLOCK = 2**24  # elements of the largest tensor that work on full covariances makes: 64 MiB


class ClassStatistics(Companion):
    """How often each class was seen, and mean and biased covariance (over n) of its features.

    On features that do not change it gives the numbers of one pass over all of them, in whatever
    batches they come. Float32 by default: after 10^5 steps it is as near as 1e-5 to float64, far
    below the noise of the estimate, and full matrices of 100 classes and 512 features take 105 MB,
    also in every checkpoint, in place of 210. `double()` makes it keep and compute in float64.
    """

    counts: Tensor  # C: float64, for float32 stops counting at 2**24
    means: Tensor  # C D
    covariances: Tensor  # C D variances, or C D D; 0 for a class that was never seen

    def __init__(self, classes: int, features: int, covariance: Covariance, reset: bool) -> None:
        super().__init__()
        self.reset = reset
        shape = (features,) if covariance == "diagonal" else (features, features)
        self.register_buffer("counts", torch.zeros(classes, dtype=torch.float64))
        self.register_buffer("means", torch.zeros(classes, features))
        self.register_buffer("covariances", torch.zeros(classes, *shape))

    @torch.no_grad()
    def begin(self, model: nn.Module) -> None:
        """A training starts: forgets everything, if it is to `reset`."""
        if self.reset:
            for buffer in self.buffers():
                buffer.zero_()

    @torch.no_grad()
    def observe(self, outputs: Outputs, labels: Tensor) -> None:
        """Takes in the features of a batch, those that the last layer reads; a label (B,), or pixel
        of a mask (B H W), that is no class counts for none.

        Every worker must call it as often, with its part of the batch, and ends with the same bits.
        The sizes of the parts are then waited for; a single worker waits for nothing on its device.
        """
        features, labels = parallel.rows(*positions(outputs, labels))
        with torch.autocast(features.device.type, enabled=False):
            self._merge(features.to(self.means.dtype), labels)

    def _merge(self, features: Tensor, labels: Tensor) -> None:
        """The update of Welford and Chan: old and new parts weighed by their numbers.

        A product with `members`, not a sum by index: on a GPU that would add in random order.
        """
        classes = torch.arange(len(self.counts), device=labels.device)
        members = (labels == classes[:, None]).to(features.dtype)  # C B
        arrived = members.sum(1, dtype=self.counts.dtype)
        self.counts += arrived
        rate = (arrived / self.counts.clamp(min=1)).to(features.dtype)[:, None]
        number = arrived.clamp(min=1).to(features.dtype)[:, None]  # C 1
        means = members @ features / number
        apart = features - members.T @ means  # B D
        shift = means - self.means
        self.means.lerp_(means, rate)
        if self.covariances.dim() == 2:
            new = members @ apart.square() / number + (1 - rate) * shift.square()
            self.covariances.lerp_(new, rate)
            return
        # B images are of B classes at most: the first B of the order hold all that have arrived.
        order = arrived.argsort(descending=True, stable=True)[: len(features)]
        size = max(1, BLOCK // (self.means.shape[1] * max(features.shape)))
        for start in range(0, len(order), size):
            some = order[start : start + size]
            new = (members[some, None] * apart.T) @ apart / number[some, None]  # K D D
            new += ((1 - rate) * shift)[some, :, None] * shift[some, None]
            new = self.covariances[some].lerp_(new, rate[some, None])
            self.covariances.index_copy_(0, some, new)


class ClassStatisticsSpec(CompanionSpec):
    """Statistics of what the model's last linear layer takes in."""

    name: ClassVar[str] = "class_statistics"

    covariance: Covariance = "diagonal"
    """What is kept of the features of a class. `diagonal`: a variance per feature; `full`: the
    matrix, C D D numbers in place of C D."""
    reset: bool = True
    """Start afresh with every training; false (official): one estimate through a warm run."""

    def build(
        self, model: nn.Module, classes: int, fresh: Callable[[], nn.Module]
    ) -> ClassStatistics:
        width = linear_weight(model).shape[1]
        return ClassStatistics(classes, width, self.covariance, self.reset)


def positions(outputs: Outputs, labels: Tensor) -> tuple[Tensor, Tensor]:
    """What the last layer reads, B D, without gradient, and the labels, B, as they are; or of dense
    networks the same at every position of their grid, see `labeled_rows`."""
    if outputs.logits.ndim == 2:
        return outputs.features.detach(), labels
    maps = outputs.layers[-1].detach()
    labels = on_grid(labels, maps.shape[2:]).flatten()
    return labeled_rows(maps.movedim(1, 3).flatten(0, 2), labels)


def linear_weight(model: nn.Module) -> Tensor:
    """The weight of the last layer, C D; raises UsageError where that is no linear map."""
    last = last_layer(model)
    if last is None:
        raise UsageError(
            f"the last layer of {type(model).__name__} sees neighbours too, so that features of"
            " classes have no covariance there; use a model whose last layer is a 1x1 convolution"
        )
    return last.weight.flatten(1)


def quadratic_terms(weight: Tensor, statistics: ClassStatistics) -> Tensor:
    """Q (C C): Q[c, j] = (w_j - w_c)^T S_c (w_j - w_c), the variance of z_j - z_c in class c.

    At least 0, and 0 for j = c and for a class never seen; not symmetric. Gradients reach `weight`
    (C D); the statistics are constants, and must not change between forward and backward.
    """
    covariances = statistics.covariances
    with torch.autocast(weight.device.type, enabled=False):
        if covariances.dim() == 2:
            terms = _diagonal_terms(weight, covariances.to(weight.dtype))
        else:
            terms = cast(Tensor, _FullTerms.apply(weight, covariances))
    same = torch.eye(len(weight), dtype=torch.bool, device=weight.device)
    return terms.clamp(min=0).masked_fill(same, 0)  # rounding can leave either a little off


def _diagonal_terms(weight: Tensor, variances: Tensor) -> Tensor:
    """The square multiplied out, so that two matrix products give Q."""
    weight = weight - weight.mean(0)  # only differences count; small numbers cancel better
    scaled = variances * weight
    return (
        variances @ weight.square().T
        - 2 * scaled @ weight.T
        + (scaled * weight).sum(1, keepdim=True)
    )


class _FullTerms(torch.autograd.Function):
    """Q of full covariances, in blocks: autograd alone would keep two tensors of C C D."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, covariances: Tensor) -> Tensor:
        ctx.save_for_backward(weight, covariances)
        blocks = _blocks(weight, covariances)
        return torch.cat([(pull * apart).sum(2) for _, apart, pull in blocks])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        weight, covariances = ctx.saved_tensors
        total = torch.zeros_like(weight)
        for rows, _, pull in _blocks(weight, covariances):
            by_pair = 2 * grads[0][rows, :, None] * pull  # K C D: of Q[c, j] by w_j, - by w_c
            total += by_pair.sum(0)
            total[rows] -= by_pair.sum(1)
        return total, None


def _blocks(weight: Tensor, covariances: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """For K classes c at a time, these rows, w_j - w_c and S_c (w_j - w_c), both K C D."""
    size = max(1, BLOCK // (weight.shape[1] * max(weight.shape)))
    for start in range(0, len(weight), size):
        rows = slice(start, start + size)
        apart = weight - weight[rows, None]
        yield rows, apart, apart @ covariances[rows].to(weight.dtype)


def isda_logits(logits: Tensor, labels: Tensor, quadratic: Tensor, ratio: float) -> Tensor:
    """Logits (N C *) whose cross-entropy bounds the mean one under augmented features from above.

    z + ratio/2 Q[y]: the features are drawn from N(a, ratio S_y), infinitely often (ISDA, Eq. 7).
    Never below the cross-entropy of `logits`; equal at ratio 0. Where a label (N *) is no class the
    logits stay as they are.
    """
    known = labels < len(quadratic)
    # not quadratic[...], whose gradient several threads of a CPU add up in any order
    terms = embedding(torch.where(known, labels, 0).long(), quadratic) * known[..., None]  # N * C
    return logits + ratio / 2 * terms.movedim(-1, 1)


def epmcm_log_scores(logits: Tensor, quadratic: Tensor) -> Tensor:
    """EPMCM on a log scale, N C * -> N *: at least 0; large where a unit would change a model much.

    s = log sum_j exp(z_j - z_y + Q[y, j] / 2) of the predicted class y, and expm1(s) the score of
    DAST-AL, Eq. 7: E[1 / p_y] - 1 under features from N(a, S_y). Rank by s: the score itself leaves
    float32 at s = 88. The term of y, which is 1, is kept apart so that certain units differ.
    """
    predicted = logits.argmax(dim=1, keepdim=True)
    terms = quadratic[predicted[:, 0]].movedim(-1, 1)  # N C *
    exponents = logits - logits.gather(1, predicted) + terms / 2
    others = exponents.scatter(1, predicted, -torch.inf).logsumexp(dim=1)
    return torch.logaddexp(others, torch.zeros_like(others))
