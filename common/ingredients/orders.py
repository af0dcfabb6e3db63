"""Orders in which training examples are shown."""

import keras
import numpy as np


class Ordered(keras.utils.PyDataset):
    """Mini-batches for `fit` of the examples in `rows`, which a callback may change between epochs.

    Args:
        x, y: all examples (n, ...).
        batch_size: of the mini-batches, all of them full.
        rows: of x and y in the order in which the first epoch shows them (m,).
    """

    def __init__(self, x, y, batch_size, rows):
        super().__init__()
        self.x, self.y, self.batch_size, self.rows = x, y, batch_size, rows

    def __len__(self):
        """Mini-batches in an epoch."""
        return len(self.rows) // self.batch_size

    def __getitem__(self, i):
        """The mini-batch i."""
        rows = self.rows[i * self.batch_size :][: self.batch_size]
        return self.x[rows], self.y[rows]


def in_passes(order, y, batch_size, passes, rng):
    """-> the rows of the n examples in each of the passes (passes, n).

    Args:
        order: "shuffled", or any other name, anew in each pass; "shuffled once"; "sorted" by class;
            "one class a batch", except where two classes meet; "equal classes", which has each
            class in a mini-batch equally often, for which a class of fewer examples begins again
            and one of more leaves some out.
        y: classes (n,).
        batch_size: of the mini-batches; divides n. For "equal classes" both are multiples of the
            number of classes.
        passes: how many.
        rng: NumPy's generator.
    """
    once, rows = rng.permutation(len(y)), []
    for _ in range(passes):
        mixed = once if order in ("shuffled once", "sorted") else rng.permutation(len(y))
        classes = [mixed[y[mixed] == c] for c in np.unique(y)]
        if order == "sorted":
            mixed = np.concatenate(classes)
        elif order == "one class a batch":
            mixed = rng.permutation(np.concatenate(classes).reshape(-1, batch_size)).ravel()
        elif order == "equal classes":
            equal = len(y) // len(classes)
            mixed = np.stack([np.resize(one, equal) for one in classes], axis=1).ravel()
        rows.append(mixed)
    return np.stack(rows)


def by_rank(losses, count, s, rng):
    """-> rows (count,), drawn with replacement, the more often the larger their loss.

    Loshchilov & Hutter, Online batch selection (2015): the probability falls geometrically with the
    rank of the loss, from p to nearly p / s.

    Args:
        losses: of all examples (n,).
        count: rows to draw.
        s: at least 1, for which all are equally likely.
        rng: NumPy's generator.
    """
    p = s ** -(np.arange(len(losses)) / len(losses))
    return rng.choice(np.argsort(-losses), count, p=p / p.sum())
