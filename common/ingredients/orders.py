"""Orders in which training examples are shown."""

import numpy as np


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
