"""Inputs made easier to learn from, after LeCun et al., Efficient BackProp (1998), section 4.3."""

import numpy as np


def preprocess(stage, x):
    """-> a function of inputs (m, D) -> (m, D), with the mean and the covariance of x (n, D).

    Directions in which x does not vary become 0 where they would be divided by their deviation.

    Args:
        stage: "raw"; "mean subtracted"; and besides "unit variance" of each input, "decorrelated"
            along the principal axes, "whitened", which is both, or "whitened, floor", for which the
            mean of the variances is added to each.
        x: the training inputs, and no others.
    """
    mean = x.mean(axis=0)
    variances, axes = np.linalg.eigh((x - mean).T @ (x - mean) / len(x))

    def scale(variance, floor=0.0):
        varies = variance > 1e-9 * variance.max()
        return np.where(varies, 1 / np.sqrt(np.where(varies, variance, 1) + floor), 0)

    matrix = {
        "unit variance": np.diag(scale(x.var(axis=0))),
        "decorrelated": axes,
        "whitened": axes * scale(variances),
        "whitened, floor": axes * scale(variances, variances.mean()),
    }.get(stage, np.eye(len(mean)))
    return lambda inputs: (inputs - mean * (stage != "raw")) @ matrix
