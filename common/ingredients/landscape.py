"""The cost around a trained net, after Li et al., Visualizing the loss landscape (NIPS 2018)."""

import itertools

import numpy as np
import tensorflow as tf


class Landscape:
    """The mean loss at weights near those that a model has now.

    Args:
        model: built; it predicts as in inference.
        loss: (targets (B, ...), outputs (B, ...)) -> (B,).
        x, y: all examples, as the model and the loss take them.
    """

    def __init__(self, model, loss, x, y):
        weights = [tf.constant(one.value) for one in model.trainable_weights]
        state = [tf.constant(one.value) for one in model.non_trainable_variables]
        x, y = tf.constant(x), tf.constant(y)

        @tf.function(autograph=False, reduce_retracing=True)
        def costs(directions, places):
            def cost(place):
                moved = [tf.tensordot(place, moves, 1) for moves in directions]
                there = [one + move for one, move in zip(weights, moved, strict=True)]
                return tf.reduce_mean(loss(y, model.stateless_call(there, state, x)[0]))

            return tf.map_fn(cost, places)

        self.compiled = costs

    def costs(self, directions, places):
        """(P,): costs where the weights are moved by places[p, d] times directions[d].

        A direction is a list of arrays shaped as the trainable weights; places are (P, D).
        ValueError if a direction has length 0.
        """
        if not all(any(np.any(part) for part in one) for one in directions):
            raise ValueError("expected directions of positive length, received one of length 0")
        moves = [tf.constant(np.stack(parts), "float32") for parts in zip(*directions, strict=True)]
        return self.compiled(moves, tf.constant(places, "float32")).numpy()

    def surface(self, directions, x, y):
        """(len(y), len(x)): costs at x along the first direction and y along the second."""
        places = np.stack(np.meshgrid(x, y), axis=-1)
        return self.costs(directions, places.reshape(-1, 2)).reshape(places.shape[:2])

    def width(self, directions, rise):
        """Mean length of the intervals about 0 in which the cost exceeds that at 0 by up to `rise`.

        In lengths of the directions, and up to 10 to each side.
        """
        places, total = np.concatenate([[0], 10 ** np.linspace(-3, 1, 45)]), 0
        for direction, sign in itertools.product(directions, (1, -1)):
            costs = np.nan_to_num(self.costs([direction], sign * places[:, None]), nan=np.inf)
            k = np.argmax(costs > costs[0] + rise) or len(places)  # the first place beyond
            total += places[k - 1]
            if k < len(places):
                part = (costs[0] + rise - costs[k - 1]) / (costs[k] - costs[k - 1])
                total += part * (places[k] - places[k - 1])
        return total / len(directions)


def random_directions(weights, number, seed, normalized=True):
    """Lists of arrays shaped as the weights, from N(0, 1), but 0 for vectors, such as biases.

    Normalized: the weights into a unit, or of a filter, are scaled to the length that they have in
    `weights`, so that a net whose units are rescaled shows the same costs along its directions.
    """
    rng, directions = np.random.default_rng(seed), []
    for _ in range(number):
        direction = []
        for one in map(np.asarray, weights):
            part = rng.normal(size=one.shape) if one.ndim > 1 else np.zeros(one.shape)
            if normalized and one.ndim > 1:
                filters = [array.reshape(-1, array.shape[-1]) for array in (one, part)]
                length, drawn = np.linalg.norm(filters, axis=1)
                part = part * (length / drawn)
            direction.append(part)
        directions.append(direction)
    return directions


def principal_plane(path):
    """Two directions of length 1, the path's places along them (T, 2), and their share of it.

    `path` is a list of T lists of weights, and the last are the origin. Of the sum of squares of
    the distances from there the share, 0 to 1, lies on the two directions.
    """
    flat = np.stack([np.concatenate([one.ravel() for one in weights]) for weights in path])
    flat = flat - flat[-1]
    _, lengths, axes = np.linalg.svd(flat, full_matrices=False)
    ends = np.cumsum([one.size for one in path[-1]])[:-1]
    directions = [
        [part.reshape(one.shape) for part, one in zip(np.split(axis, ends), path[-1], strict=True)]
        for axis in axes[:2]
    ]
    return directions, flat @ axes[:2].T, np.sum(lengths[:2] ** 2) / np.sum(lengths**2)


def nonconvex(costs):
    """Share, 0 to 1, of the inner points of a surface where it bends down in some direction.

    By second differences of costs (N, N): there the lower eigenvalue of their matrix is negative.
    """
    middle = costs[1:-1, 1:-1]
    xx = costs[1:-1, 2:] - 2 * middle + costs[1:-1, :-2]
    yy = costs[2:, 1:-1] - 2 * middle + costs[:-2, 1:-1]
    xy = (costs[2:, 2:] - costs[2:, :-2] - costs[:-2, 2:] + costs[:-2, :-2]) / 4
    return np.mean((xx + yy) / 2 < np.hypot((xx - yy) / 2, xy))
