"""Inputs made easier to learn from, after LeCun et al., Efficient BackProp (1998), section 4.3."""

import numpy as np


def preprocess(stage, x):
    """-> a function of inputs (m, D) -> (m, D), with the mean and the covariance of x (n, D).

    Directions in which x does not vary become 0 where others are scaled.

    Args:
        stage: "raw"; "mean subtracted"; and also "unit variance" of each input, "decorrelated"
            along the principal axes, "whitened", which is both, or "whitened, floor", for which the
            mean of the variances is added to each.
        x: the training inputs, and no others.
    """
    mean = 0 if stage == "raw" else x.mean(axis=0)
    if stage in ("raw", "mean subtracted"):
        return lambda inputs: inputs - mean

    def scale(variance, floor=0.0):
        varies = variance > 1e-9 * variance.max()
        return np.where(varies, 1 / np.sqrt(np.where(varies, variance, 1) + floor), 0)

    if stage == "unit variance":
        each = scale(x.var(axis=0))
        return lambda inputs: (inputs - mean) * each
    variances, axes = np.linalg.eigh((x - mean).T @ (x - mean) / len(x))
    if stage == "whitened":
        axes = axes * scale(variances)
    elif stage == "whitened, floor":
        axes = axes * scale(variances, variances.mean())
    elif stage != "decorrelated":
        raise ValueError(f"expected one of the stages above, received {stage}")
    return lambda inputs: (inputs - mean) @ axes
