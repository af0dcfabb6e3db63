"""Random distortions of 28 x 28 images, after Simard, Steinkraus & Platt (ICDAR 2003)."""

import keras
import numpy as np
from keras import ops
from scipy.ndimage import gaussian_filter1d

GRID = np.stack(np.meshgrid(np.arange(28), np.arange(28), indexing="ij"), -1).astype("float32")


@keras.saving.register_keras_serializable("recipes")
class Distort(keras.layers.Layer):
    """(B, 28, 28) -> the same, each image distorted at random, in training only.

    An image is sampled once, bilinearly. Keras's layers sample, and blur, once each for rotation,
    scale, shear and shift; their elastic one has other parameters.

    Args:
        kind: "none"; "shifts" by at most one pixel in one direction; "affine"; or "elastic".
        rotation: affine, largest rotation and shear in degrees.
        scale: affine, largest relative change of size.
        shift: affine, largest shift in each direction, in pixels.
        sigma: elastic, standard deviation in pixels of the Gaussian that smooths displacements.
        alpha: elastic, what the smoothed displacements are multiplied by.
        seed: of everything random.

    Raises:
        ValueError: another kind.
    """

    def __init__(
        self, kind, rotation=10.0, scale=0.1, shift=1.0, sigma=4.0, alpha=34.0, seed=0, **kwargs
    ):
        super().__init__(**kwargs)
        if kind not in ("none", "shifts", "affine", "elastic"):
            raise ValueError(f"expected none, shifts, affine or elastic, received {kind}")
        self.kind, self.rotation, self.scale, self.shift = kind, rotation, scale, shift
        self.sigma, self.alpha, self.seed = sigma, alpha, seed
        self.generator = keras.random.SeedGenerator(seed)

    def get_config(self):
        """The arguments, so that a saved model can be loaded."""
        names = ("kind", "rotation", "scale", "shift", "sigma", "alpha", "seed")
        return super().get_config() | {name: getattr(self, name) for name in names}

    def call(self, images, training=False):
        """(B, 28, 28) -> (B, 28, 28)."""
        if not training or self.kind == "none":
            return images
        return warp(images, self.displacements(ops.shape(images)[0]))

    def displacements(self, n):
        """-> (n, 28, 28, 2): how far down and right, in pixels, each pixel is sampled."""
        if self.kind == "shifts":  # the image and its four neighbors, as Nielsen expands the data
            moves = ops.array([[0, 0], [0, 1], [0, -1], [1, 0], [-1, 0]], "float32")
            move = ops.take(moves, keras.random.randint((n,), 0, 5, seed=self.generator), axis=0)
            return ops.broadcast_to(move[:, None, None, :], (n, 28, 28, 2))
        if self.kind == "affine":
            angles = self.uniform(2, n) * self.rotation * np.pi / 180
            turn, shear = angles[0], angles[1]
            size = 1 + self.uniform(n, 1, 1) * self.scale
            shift = self.uniform(n, 1, 1, 2) * self.shift
            rows = [ops.cos(turn), -ops.sin(turn + shear), ops.sin(turn), ops.cos(turn + shear)]
            matrix = ops.reshape(ops.stack(rows, axis=-1), (n, 2, 2)) * size
            from_middle = GRID - 13.5
            return ops.einsum("nij,hwj->nhwi", matrix, from_middle) - from_middle + shift
        # Simard: uniform noise, smoothed by a Gaussian along both axes, times alpha.
        noise = self.uniform(n, 28, 28, 2)
        smooth = gaussian_filter1d(np.eye(28, dtype="float32"), self.sigma, 0, mode="constant")
        return self.alpha * ops.einsum("ah,nhwc,bw->nabc", smooth, noise, smooth)

    def uniform(self, *shape):
        """Numbers from U(-1, 1) of this shape."""
        return keras.random.uniform(shape, -1, 1, seed=self.generator)


def warp(images, moved):
    """(n, 28, 28), displacements (n, 28, 28, 2) -> images sampled there, zero beyond the border.

    Bilinear, as `keras.ops.image.map_coordinates`, which takes two to three times as long.
    """
    padded = ops.reshape(ops.pad(images, [[0, 0], [1, 1], [1, 1]]), (-1, 30 * 30))
    at = ops.reshape(ops.clip(GRID + 1 + moved, 0, 29), (-1, 28 * 28, 2))
    corner = ops.minimum(ops.floor(at), 28)
    down, right = (at - corner)[..., 0], (at - corner)[..., 1]
    upper_left = ops.cast(corner[..., 0] * 30 + corner[..., 1], "int32")
    value = 0.0
    for below, weight_down in ((0, 1 - down), (30, down)):
        for beside, weight_right in ((0, 1 - right), (1, right)):
            pixel = ops.take_along_axis(padded, upper_left + below + beside, axis=1)
            value += weight_down * weight_right * pixel
    return ops.reshape(value, (-1, 28, 28))
