"""Influence against dense matrices and against retraining."""

import curvature
import pytest
import torch
from curvature import Slopes, conjugate_gradient, last_layer_curvature
from torch import nn
from torch.nn import functional as F

from jobs.analyse.influence import entropy_loss
from rayal.data.card import ImageSpec
from rayal.errors import UsageError
from rayal.models.base import Outputs
from rayal.models.build import build
from rayal.models.network import LAST_LAYER
from rayal.parts import build as build_part

pytestmark = [
    pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SADeprecationWarning"),
    # torch 2.15: its own rules for forward mode
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated"),
]
DAMPING = 0.01


def cross_entropy(logits, truth):
    return F.cross_entropy(logits, truth, reduction="none")


class Logistic(nn.Module):
    """Multinomial logistic regression, 3 numbers to 3 classes."""

    def __init__(self):
        super().__init__()
        self.classifier = nn.Linear(3, 3)

    def forward(self, images):
        x = images.flatten(1)
        return Outputs(self.classifier(x), x, ())


def logistic():
    torch.manual_seed(0)
    return Logistic().double().eval()


def cnn():
    spec = ImageSpec(channels=1, height=8, width=8, mean=(0.5,), std=(0.25,))
    model = build_part("models", {"name": "small_cnn", "width": 2})
    return build(model, 3, spec, seed=1).double().eval()


def data(model, units, seed):
    shape = (1, 1, 3) if isinstance(model, Logistic) else (1, 8, 8)
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(units, *shape, generator=generator, dtype=torch.float64)
    return images, torch.randint(3, (units,), generator=generator)


def in_batches(images, truth):
    return list(zip(images.split(7), truth.split(7), strict=True))


def jacobian(slopes, images):
    """N C P."""
    by_name = torch.func.jacrev(slopes.logits(images))(slopes.values)
    return torch.cat([by_name[name].flatten(2) for name in slopes.values], dim=2)


def dense(slopes, images):
    """The Gauss-Newton matrix, by its definition."""
    j, p = jacobian(slopes, images), slopes.network(images).logits.softmax(1).detach()
    bend = torch.diag_embed(p) - p[:, :, None] * p[:, None]
    return torch.einsum("nci,ncd,ndj->ij", j, bend, j) / len(images)


@pytest.mark.parametrize("make", [logistic, cnn])
def test_conjugate_gradient_is_the_dense_solution(make):
    """Influence would be that of another matrix."""
    model = make()
    images, truth = data(model, 20, seed=2)
    slopes, labeled = Slopes(model), in_batches(images, truth)
    b = slopes.gradient(labeled, cross_entropy)
    solution = conjugate_gradient(slopes.curvature(labeled, DAMPING), b, 1000, 1e-10)
    matrix = dense(slopes, images)
    matrix += DAMPING * torch.eye(len(matrix))

    torch.testing.assert_close(solution.x, torch.linalg.solve(matrix, b), rtol=1e-6, atol=1e-6)
    assert solution.residual <= 1e-10
    assert solution.iterations < 1000


def test_gauss_newton_of_logistic_regression_is_its_hessian():
    """For a model that is linear in its parameters nothing is left out."""
    model = logistic()
    images, truth = data(model, 20, seed=2)
    slopes = Slopes(model)

    def loss(v):
        return cross_entropy(slopes.logits(images)(slopes._split(v)), truth).mean()

    hessian = torch.func.hessian(loss)(slopes._flat(slopes.values))
    torch.testing.assert_close(dense(slopes, images), hessian)


@pytest.mark.parametrize("make", [logistic, cnn])
def test_last_layer_is_exact(make):
    """The closed form in features would differ from products with the whole network."""
    model = make()
    images, truth = data(model, 20, seed=3)
    slopes, labeled = Slopes(model, LAST_LAYER), in_batches(images, truth)
    matrix = last_layer_curvature(model, labeled, DAMPING)
    columns = torch.eye(len(matrix), dtype=torch.float64)
    products = [slopes.curvature(labeled, DAMPING)(column) for column in columns]

    torch.testing.assert_close(torch.stack(products, dim=1), matrix)
    torch.testing.assert_close(dense(slopes, images) + DAMPING * columns, matrix)


def test_a_last_layer_that_is_too_large(monkeypatch):
    """Memory would run out without a word."""
    model = logistic()
    monkeypatch.setattr(curvature, "LARGEST", 11)
    with pytest.raises(UsageError, match="--layers all"):
        last_layer_curvature(model, in_batches(*data(model, 4, seed=0)), DAMPING)


@pytest.mark.parametrize("loss", [cross_entropy, entropy_loss])
@pytest.mark.parametrize("only", [None, LAST_LAYER])
def test_slopes_agree_with_autograd(loss, only):
    """Products, norms and sums would be of other gradients."""
    model = cnn()
    images, truth = data(model, 9, seed=4)
    slopes = Slopes(model, only)
    parameters = [p for n, p in model.named_parameters() if only is None or n in only]
    gradients = []
    for image, label in zip(images, truth, strict=True):
        value = loss(model(image[None]).logits, label[None]).sum()
        parts = torch.autograd.grad(value, parameters)
        gradients.append(torch.cat([part.flatten() for part in parts]))
    g = torch.stack(gradients)
    v = torch.randn(g.shape[1], dtype=torch.float64)

    torch.testing.assert_close(slopes.along(v, images, truth, loss), g @ v)
    torch.testing.assert_close(slopes.norms(images, truth, loss), g.norm(dim=1))
    torch.testing.assert_close(slopes.gradient(in_batches(images, truth), loss), g.sum(0))


def test_residual_is_what_is_left():
    """A solution that was cut short would look finished."""
    matrix = torch.diag(torch.tensor([1.0, 10.0, 100.0], dtype=torch.float64))
    b = torch.ones(3, dtype=torch.float64)
    short = conjugate_gradient(lambda v: matrix @ v, b, 2, 1e-12)
    whole = conjugate_gradient(lambda v: matrix @ v, b, 10, 1e-12)
    nothing = conjugate_gradient(lambda v: matrix @ v, torch.zeros(3), 10, 1e-12)

    assert short.iterations == 2
    assert short.residual == pytest.approx(((b - matrix @ short.x).norm() / b.norm()).item())
    assert whole.iterations == 3  # as many as there are different eigenvalues
    assert whole.x.tolist() == pytest.approx([1, 0.1, 0.01])
    assert (nothing.x.tolist(), nothing.residual) == ([0, 0, 0], 0)


def minimum(images, truth, weights):
    """Parameters at the minimum of sum of weights * loss + damping / 2 ||w||^2, by Newton steps."""
    slopes = Slopes(logistic())

    def objective(v):
        losses = cross_entropy(slopes.logits(images)(slopes._split(v)), truth)
        return (weights * losses).sum() + DAMPING / 2 * v.square().sum()

    v = slopes._flat(slopes.values)
    for _ in range(50):
        v = v - torch.linalg.solve(torch.func.hessian(objective)(v), torch.func.grad(objective)(v))
    return v


def test_influence_foretells_retraining():
    """What v . g_x is for: the fall of the test loss per weight of x in the training loss.

    Retrained with a little more and a little less of x, a ridge logistic regression whose ridge is
    the damping moves the test loss by just that (Koh and Liang 2017, Eq. 2, with this H).
    """
    model = logistic()
    images, truth = data(model, 30, seed=5)
    test, x = data(model, 12, seed=6), data(model, 1, seed=7)
    everything, labels = torch.cat([images, x[0]]), torch.cat([truth, x[1]])

    def trained(extra):
        weights = torch.full((31,), 1 / 30, dtype=torch.float64)
        weights[-1] = extra
        return minimum(everything, labels, weights)

    def test_loss(v):
        slopes = Slopes(logistic())
        return cross_entropy(slopes.logits(test[0])(slopes._split(v)), test[1]).sum()

    step = 1e-4
    fall = (test_loss(trained(-step)) - test_loss(trained(step))) / (2 * step)
    nn.utils.vector_to_parameters(trained(0.0), model.parameters())
    slopes, labeled = Slopes(model), in_batches(images, truth)
    b = slopes.gradient([test], cross_entropy)
    v = conjugate_gradient(slopes.curvature(labeled, DAMPING), b, 100, 1e-12).x
    influence_of_x = slopes.along(v, *x, cross_entropy)

    assert influence_of_x.item() == pytest.approx(fall.item(), rel=1e-5)
