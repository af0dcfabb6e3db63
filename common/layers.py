"""Layers of the classic convolutional nets that Keras does not have, in its public operations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import keras
import numpy as np
import tensorflow as tf
from keras import ops


@keras.saving.register_keras_serializable("recipes")
class LocalResponseNormalization(keras.layers.Layer):
    """Divides a unit's response by those of its neighbours among the maps, at the same place.

    b_i = a_i / (k + alpha * sum of a_j^2 over the n maps around i)^beta; at the first and last
    maps there are fewer. Krizhevsky, Sutskever & Hinton 2012, section 3.3.

    (B, H, W, C) -> (B, H, W, C). The sum is a product with a band matrix (C, C), and the gradient
    is written out: on a CPU that takes a quarter of `tf.nn.local_response_normalization`'s time.

    Args:
        k, alpha, beta: as in the formula; `alpha` is not divided by n, as some libraries do.
        n: maps that are summed over, the unit's own among them; odd.

    Raises:
        ValueError: an even n.
    """

    def __init__(
        self, k: float = 2.0, n: int = 5, alpha: float = 1e-4, beta: float = 0.75, **settings
    ):
        super().__init__(**settings)
        if n < 1 or n % 2 == 0:
            raise ValueError(f"expected an odd n of at least 1, received {n}")
        self.k, self.n, self.alpha, self.beta = k, n, alpha, beta

    def build(self, shape: Sequence[int | None]) -> None:
        """Makes the band matrix."""
        place = np.arange(shape[-1])
        near = np.abs(place[:, None] - place) <= self.n // 2
        self._band = (self.alpha * near).astype(np.float32)

    def call(self, a):
        """(B, H, W, C) -> the same shape."""
        band = ops.cast(self._band, a.dtype)

        @ops.custom_gradient
        def normalised(a):
            flat = ops.reshape(a, (-1, a.shape[-1]))
            base = self.k + ops.matmul(ops.square(flat), band)
            if self.beta == 0.75:  # a general power takes far longer than two roots
                root = ops.rsqrt(base)
                factor = root * ops.sqrt(root)
            else:
                factor = ops.power(base, -self.beta)

            def gradient(upstream):
                # db_i/da_j = factor_i [i = j] - 2 beta band_ij a_i a_j factor_i / base_i
                upstream = ops.reshape(upstream, ops.shape(flat))
                shared = ops.matmul(upstream * flat * factor / base, band)
                own = upstream * factor - 2 * self.beta * flat * shared
                return ops.reshape(own, ops.shape(a))

            return ops.reshape(flat * factor, ops.shape(a)), gradient

        return normalised(a)

    def get_config(self) -> dict:
        """The arguments, so that a saved model can be loaded."""
        own = {"k": self.k, "n": self.n, "alpha": self.alpha, "beta": self.beta}
        return super().get_config() | own


@keras.saving.register_keras_serializable("recipes")
class Crop(keras.layers.Layer):
    """Subtracts the mean image and cuts a part: a random one in training, else the middle.

    (B, H, W, 3) in [0, 1] -> (B, size, size, 3) in [-255, 255], in Krizhevsky's scale of pixels.
    In training every image draws its own place, colour, and whether it is mirrored. Krizhevsky et
    al. 2012, section 4.1.

    Args:
        size: height and width of the part.
        mean: the mean training image (H, W, 3) in 0..255.
        margin: of zeros around the images after the mean is subtracted, for images no larger than
            the part.
        colour: vectors (3, 3) in rows, `pca_colours`; each image is shifted along them by normal
            draws of deviation `strength`. None: no change of colour.
        strength: deviation of those draws; .1 in the paper.
        random: whether training is different at all.
        seed: of the draws.

    Raises:
        ValueError: a part that is larger than the image with its margin.
    """

    def __init__(
        self,
        size: int,
        mean: np.ndarray,
        margin: int = 0,
        colour: np.ndarray | None = None,
        strength: float = 0.1,
        random: bool = True,
        seed: int = 0,
        **settings,
    ):
        super().__init__(**{"dtype": "float32"} | settings)  # half precision would round pixels
        self.size, self.margin, self.strength, self.random = size, margin, strength, random
        self.mean = np.asarray(mean, np.float32)
        self.colour = None if colour is None else np.asarray(colour, np.float32)
        self.seed = seed
        self.draws = keras.random.SeedGenerator(seed)
        height, width = (side + 2 * margin for side in self.mean.shape[:2])
        if size > min(height, width):
            raise ValueError(
                f"expected images of at least {size} x {size} with their margin, "
                f"received {height} x {width}"
            )

    def get_config(self) -> dict:
        """The arguments, so that a saved model can be loaded."""
        arrays = {"mean": self.mean.tolist(), "colour": self.colour}
        if self.colour is not None:
            arrays["colour"] = self.colour.tolist()
        own = {
            name: getattr(self, name) for name in ("size", "margin", "strength", "random", "seed")
        }
        return super().get_config() | own | arrays

    def call(self, images, training=False):
        """(B, H, W, 3) in [0, 1] -> (B, size, size, 3)."""
        images = self._padded(images)
        if not (training and self.random):
            down, right = (room // 2 for room in self._room(images))
            return self._part(images, down, right)
        n, (height, width) = ops.shape(images)[0], images.shape[1:3]
        down, right = (
            keras.random.randint((n, 1), 0, room + 1, seed=self.draws)
            for room in self._room(images)
        )
        mirrored = keras.random.randint((n, 1), 0, 2, seed=self.draws)
        rows = down + ops.arange(self.size)
        columns = ops.arange(self.size)
        columns = right + ops.where(mirrored == 1, self.size - 1 - columns, columns)
        # One gather of whole pixels, by their numbers in the batch.
        first = (height * width * ops.arange(n))[:, None, None]
        pixels = first + rows[:, :, None] * width + columns[:, None, :]
        parts = ops.take(ops.reshape(images, (-1, 3)), ops.reshape(pixels, (-1,)), axis=0)
        parts = ops.reshape(parts, (n, self.size, self.size, 3))
        if self.colour is None:
            return parts
        amounts = self.strength * keras.random.normal((n, 3), seed=self.draws)
        return parts + ops.matmul(amounts, self.colour)[:, None, None, :]

    def ten(self, images):
        """(B, H, W, 3) in [0, 1] -> (10, B, size, size, 3): corners and middle, also mirrored."""
        images = self._padded(images)
        down, right = self._room(images)
        places = [(0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)]
        parts = [self._part(images, *place) for place in places]
        return ops.stack([*parts, *(ops.flip(part, axis=2) for part in parts)])

    def _padded(self, images):
        around = (self.margin, self.margin)
        return ops.pad(255.0 * images - self.mean, ((0, 0), around, around, (0, 0)))

    def _room(self, images) -> list[int]:
        return [side - self.size for side in images.shape[1:3]]

    def _part(self, images, down: int, right: int):
        return images[:, down : down + self.size, right : right + self.size]


def predict(crop: Crop, net: keras.Model, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities (n, classes) of uint8 images (n, H, W, 3): of the middle, and of ten parts.

    The latter are the mean over `Crop.ten`. `net` takes parts and gives logits.
    """

    def probabilities(batch):
        batch = ops.cast(batch, "float32") / 255
        views = [crop(batch), *ops.unstack(crop.ten(batch), 10)]
        one, *ten = [ops.softmax(ops.cast(net(view, training=False), "float32")) for view in views]
        return one, sum(ten) / 10

    shape = tf.TensorSpec((None, *images.shape[1:]), tf.uint8)
    program = tf.function(probabilities, autograph=False).get_concrete_function(shape)
    size = max(1, 2**21 // images[:1].nbytes)  # the responses of so many fit into memory
    parts = [program(tf.constant(images[i : i + size])) for i in range(0, len(images), size)]
    one, ten = (np.concatenate([part[k] for part in parts]) for k in (0, 1))
    return one, ten


def grouped(
    x: keras.KerasTensor, groups: int, convolution: Callable[[], keras.Layer]
) -> keras.KerasTensor:
    """Convolutions side by side, each on its share of the maps: (B, H, W, C) -> (B, H', W', F).

    `convolution()` makes one of them. `keras.layers.Conv2D(groups=...)` does the same ten times
    slower on a CPU. Raises ValueError if the maps cannot be shared out.
    """
    if x.shape[-1] % groups:
        raise ValueError(f"expected groups that divide {x.shape[-1]} maps, received {groups}")
    if groups == 1:
        return convolution()(x)
    parts = [convolution()(part) for part in ops.split(x, groups, axis=-1)]
    return keras.layers.Concatenate()(parts)


def small_alexnet(classes: int, seed: int) -> keras.Model:
    """(B, 32, 32, 3) mean-subtracted pixels -> (B, classes) logits: AlexNet scaled to CIFAR-10.

    Layers conv1 to conv5, dense6 and dense7 are named. The recipe alexnet builds and explains the
    same stack; weights are N(0, .01^2) times the root of how many more inputs the published unit
    has, so that every layer keeps its gain.
    """
    maps, units = (32, 64, 96, 96, 64), 512
    published = (363, 1200, 2304, 1728, 1728, 9216, 4096, 4096)  # inputs of a unit
    draws = keras.random.SeedGenerator(seed)

    def settings(layer: int, inputs: int) -> dict:
        deviation = 0.01 * (published[layer] / inputs) ** 0.5
        return {
            "kernel_initializer": keras.initializers.RandomNormal(0, deviation, seed=draws),
            "bias_initializer": "ones" if layer in (1, 3, 4, 5, 6) else "zeros",
            "kernel_regularizer": keras.regularizers.L2(2.5e-4),
        }

    def conv(x, layer: int, size: int, groups: int = 1):
        how = settings(layer, size**2 * x.shape[-1] // groups) | {"activation": "relu"}
        one = partial(keras.layers.Conv2D, maps[layer] // groups, size, padding="same", **how)
        return keras.layers.Identity(name=f"conv{layer + 1}")(grouped(x, groups, one))

    x = inputs = keras.Input((32, 32, 3))
    x = keras.layers.MaxPooling2D(3, 2)(LocalResponseNormalization()(conv(x, 0, 5)))
    x = keras.layers.MaxPooling2D(3, 2)(LocalResponseNormalization()(conv(x, 1, 5, groups=2)))
    x = conv(conv(conv(x, 2, 3), 3, 3, groups=2), 4, 3, groups=2)
    x = keras.layers.Flatten()(keras.layers.MaxPooling2D(3, 2)(x))
    for layer in (5, 6):
        how = settings(layer, x.shape[-1]) | {"activation": "relu", "name": f"dense{layer + 1}"}
        x = keras.layers.Dropout(0.5, seed=10 * seed + layer)(keras.layers.Dense(units, **how)(x))
    return keras.Model(inputs, keras.layers.Dense(classes, **settings(7, units))(x))


def pca_colours(images: np.ndarray) -> np.ndarray:
    """uint8 images (n, H, W, 3) -> the main axes of their colours (3, 3), in rows, in 0..255.

    An axis is an eigenvector of the pixels' covariance times the deviation along it, so the rows'
    outer products add up to the covariance. (The paper's formula has the eigenvalue, whose unit is
    that of squared pixels; its author's program, cuda-convnet2, takes the root.)
    """
    total, squares, n = np.zeros(3), np.zeros((3, 3)), 0
    size = min(1_000, max(1, 2**24 // images[:1].nbytes))  # large images are many pixels
    for start in range(0, len(images), size):
        pixels = images[start : start + size].reshape(-1, 3).astype(np.float64)
        total, squares, n = total + pixels.sum(0), squares + pixels.T @ pixels, n + len(pixels)
    values, vectors = np.linalg.eigh(squares / n - np.outer(total, total) / n**2)
    return (vectors * np.sqrt(np.maximum(values, 0))).T
