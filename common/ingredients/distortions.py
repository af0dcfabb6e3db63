"""Random distortions of 28 x 28 images, after Simard, Steinkraus & Platt (ICDAR 2003).

Keras's layers do not replace them: its elastic one (3.15) draws a single displacement for both
axes, which moves pixels along one diagonal, and those for rotation, zoom, shear and translation
sample an image, and so blur it, once each.
"""

import keras
import numpy as np
from keras import ops
from scipy.ndimage import gaussian_filter1d

GRID = np.indices((28, 28)).astype("float32")  # row and column of each pixel


@keras.saving.register_keras_serializable("recipes")
class Distort(keras.layers.Layer):
    """(B, 28, 28) -> the same, each image distorted at random, in training only.

    Args:
        kind: "none"; "shifts" by at most one pixel in one direction; "affine"; or "elastic".
        rotation: affine, largest rotation and shear in degrees.
        scale: affine, largest relative change of size.
        shift: affine, largest shift in each direction, in pixels.
        sigma: elastic, standard deviation in pixels of the Gaussian that smooths displacements.
        alpha: elastic, what the smoothed displacements are multiplied by.
        seed: of everything random.
    """

    def __init__(self, kind, rotation, scale, shift, sigma, alpha, seed, **kwargs):
        super().__init__(**kwargs)
        self.kind, self.rotation, self.scale, self.shift = kind, rotation, scale, shift
        self.sigma, self.alpha = sigma, alpha
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=False):
        """(B, 28, 28) -> (B, 28, 28)."""
        if not training or self.kind == "none":
            return images
        return warp(images, getattr(self, self.kind)(ops.shape(images)[0]))

    def shifts(self, n):
        """The image or one of its four neighbors, as Nielsen expands the data -> (n, 2, 28, 28)."""
        moves = ops.array([[0, 0], [0, 1], [0, -1], [1, 0], [-1, 0]], "float32")
        move = ops.take(moves, keras.random.randint((n,), 0, 5, seed=self.generator), axis=0)
        return ops.broadcast_to(move[:, :, None, None], (n, 2, 28, 28))

    def affine(self, n):
        """Rotation, shear and change of size about the middle, then a shift -> (n, 2, 28, 28)."""
        angles = self.uniform(2, n) * self.rotation * np.pi / 180
        turn, shear = angles[0], angles[1]
        size = 1 + self.uniform(n, 1, 1) * self.scale
        shift = self.uniform(n, 2, 1, 1) * self.shift
        rows = [ops.cos(turn), -ops.sin(turn + shear), ops.sin(turn), ops.cos(turn + shear)]
        matrix = ops.reshape(ops.stack(rows, axis=-1), (n, 2, 2)) * size
        from_middle = GRID - 13.5
        return ops.einsum("nij,jhw->nihw", matrix, from_middle) - from_middle + shift

    def elastic(self, n):
        """Uniform noise, smoothed by a Gaussian along both axes, times alpha -> (n, 2, 28, 28)."""
        smooth = gaussian_filter1d(np.eye(28, dtype="float32"), self.sigma, mode="constant")
        return self.alpha * smooth @ self.uniform(n, 2, 28, 28) @ smooth.T

    def uniform(self, *shape):
        """Numbers from U(-1, 1) of this shape."""
        return keras.random.uniform(shape, -1, 1, seed=self.generator)


def warp(images, moved):
    """Images (n, 28, 28), sampled so far down and right (n, 2, 28, 28) in pixels; black outside.

    Bilinear, as `keras.ops.image.map_coordinates`, which takes two to three times as long.
    """
    padded = ops.reshape(ops.pad(images, [[0, 0], [1, 1], [1, 1]]), (-1, 30 * 30))
    at = ops.reshape(ops.clip(GRID + 1 + moved, 0, 29), (-1, 2, 28 * 28))
    corner = ops.minimum(ops.floor(at), 28)
    down, right = (at - corner)[:, 0], (at - corner)[:, 1]
    upper_left = ops.cast(corner[:, 0] * 30 + corner[:, 1], "int32")
    value = 0.0
    for below, weight_down in ((0, 1 - down), (30, down)):
        for beside, weight_right in ((0, 1 - right), (1, right)):
            pixel = ops.take_along_axis(padded, upper_left + below + beside, axis=1)
            value += weight_down * weight_right * pixel
    return ops.reshape(value, (-1, 28, 28))
