"""The nearest of many examples, by Euclidean distance."""

import numpy as np


def nearest(queries, among, k=6):
    """Floats (n, d) -> indices of the k rows of `among` (m, d) at the smallest distance, (n, k)."""
    # |among|^2 - 2 queries among^T; |query|^2 is the same for all of a row.
    distance = np.square(among).sum(axis=1) - 2 * queries @ among.T
    return np.argsort(distance, axis=1)[:, :k]
