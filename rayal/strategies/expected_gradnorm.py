"""Expected gradient norm: the norm of the gradient of the loss expected under the prediction.

Source: Wang et al., "Boosting Active Learning via Improving Test Performance" (AAAI 2022), Sec. 4,
Eqs. 5 and 6; official code xulabs/aitom, al_gradnorm, dc5b275.

The paper's expected loss is sum_i p_i CE(z, i). As CE(z, i) = -log p_i, it *is* the entropy, and so
is its gradient where p is not held constant, as in the official code: this strategy and
`entropy_gradnorm` are one function under two names, and what the paper's tables tell them apart by
is the noise between runs. With p held constant the gradient is 0 everywhere, and so no option.

The expectation *outside* the norm is another function: `expected_gradient_length`.
"""

from rayal.strategies.entropy_gradnorm import EntropyGradnorm


class ExpectedGradnorm(EntropyGradnorm):
    """The norm of grad sum_i p_i CE_i with respect to all parameters: as `entropy_gradnorm`."""
