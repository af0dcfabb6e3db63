"""Beyond a learning rate of 2 / h gradient descent diverges; h is the largest curvature of the cost.

Source: LeCun, Bottou, Orr & Mueller, Efficient BackProp (1998), 5.1 and 5.2. On a quadratic cost
with curvatures h the distance from the minimum along each axis is multiplied by 1 - eta h at every
step. The example is the source's (figure 11): a linear unit and 100 points with covariances .84 and
.036, for which it prints a limit of 2 / .84 = 2.38. The bias has a curvature of 1, so it is 2.

Differs from the source: the points have these covariances exactly. Softmax regression on digits, whose cost is not quadratic, starts
near its minimum; subtracting the mean image allows a larger learning rate, as the source advises.

    make recipe-learning-rate-limit          a minute on 2 cores
"""

from dataclasses import dataclass
from typing import Annotated

import keras
import numpy as np
from annotated_types import Ge
from keras import layers

from common.experiment import Data, Examples, Outcome, Recipe, Results, figures, main
from common.experiment.findings import Exact, Higher, Lower, Printed
from common.ingredients.callbacks import Record
from common.ingredients.curvature import sharpness
from common.training import fit


@dataclass(frozen=True)
class Config:
    n_train: Annotated[int, Examples("train")] = 1_000  # digits, the first ones
    penalty: float = 0.01  # of softmax regression: cost + penalty / 2 * sum of w^2 and b^2
    settle: int = 1_000  # steps to the minimum of softmax regression
    steps: Annotated[int, Ge(2)] = 100  # of gradient descent from there
    away: float = 0.001  # standard deviation of each parameter's distance from the minimum


ARMS = {f"linear, {eta}": {"digits": False, "eta": eta} for eta in (1.5, 1.93, 2.2, 2.5)}
ARMS |= {
    f"{name}, {share} of 2 / h": {"digits": True, "centered": name == "centered digits", "share": share}
    for name in ("digits", "centered digits")
    for share in (0.95, 1.05)
}


def build_model(config: Config, arm: dict, seed: int) -> keras.Model:
    """(B, 2) points -> (B, 1) outputs, or (B, 784) pixels -> (B, 10) logits."""
    n_in, n_out = (784, 10) if arm["digits"] else (2, 1)
    normal = keras.initializers.RandomNormal(0, 1, keras.random.SeedGenerator(seed))
    start = "zeros" if arm["digits"] else normal
    penalty = keras.regularizers.L2(config.penalty / 2) if arm["digits"] else None
    how = {"kernel_initializer": start, "bias_initializer": start}
    how |= {"kernel_regularizer": penalty, "bias_regularizer": penalty, "dtype": "float64"}
    return keras.Sequential([keras.Input((n_in,), dtype="float64"), layers.Dense(n_out, **how)])


def train(config: Config, arm: dict, seed: int, data: Data) -> Outcome:
    return (softmax if arm["digits"] else linear)(config, arm, seed, data)
