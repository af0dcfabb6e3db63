"""Crops of images, after Krizhevsky, Sutskever & Hinton (NIPS 2012), section 4.1."""

import keras
import numpy as np
from keras import ops


class Crop(keras.layers.Layer):
    """Subtracts the mean image and crops: at random in training, the middle otherwise.

    (B, H, W, 3) pixels in 0..255 -> (B, size, size, 3) in -255..255, float32. In training every
    image gets its own position, and half of them are mirrored.

    Args:
        size: height and width of a crop; ValueError if the image with its margin is smaller.
        mean: mean training image (H, W, 3) in 0..255.
        margin: width of the zeros around the image, in pixels, once the mean is subtracted.
        colors: axes (3, 3) from `pca_colors`, or None. Each, times an amount from N(0, .1^2), is
            added to all pixels of a training image.
        seed: of everything random.
    """

    def __init__(self, size, mean, margin=0, colors=None, seed=0):
        super().__init__(dtype="float32")  # half precision would round pixels
        self.size, self.margin, self.colors = size, margin, colors
        self.mean = np.asarray(mean, np.float32)
        self.generator = keras.random.SeedGenerator(seed)
        height, width = (side + 2 * margin for side in self.mean.shape[:2])
        if size > min(height, width):
            expected = f"expected images of at least {size} x {size} with their margin"
            raise ValueError(f"{expected}, received {height} x {width}")

    def centered(self, images):
        """(B, H, W, 3) -> (B, H + 2 margin, W + 2 margin, 3), with the mean subtracted."""
        around = (self.margin, self.margin)
        return ops.pad(ops.cast(images, "float32") - self.mean, ((0, 0), around, around, (0, 0)))

    def call(self, images, training=False):
        """(B, H, W, 3) pixels -> (B, size, size, 3)."""
        images, size = self.centered(images), self.size
        height, width = images.shape[1:3]
        if not training:
            i, j = (height - size) // 2, (width - size) // 2
            return images[:, i : i + size, j : j + size]
        n, places = ops.shape(images)[0], ops.arange(size)
        down, right, mirrored = (
            keras.random.randint((n, 1), 0, ways, seed=self.generator)
            for ways in (height - size + 1, width - size + 1, 2)
        )
        rows = down + places
        columns = right + ops.where(mirrored == 1, size - 1 - places, places)
        # One gather of pixels, by their number in the batch.
        first = (height * width * ops.arange(n))[:, None, None]
        pixels = first + rows[:, :, None] * width + columns[:, None, :]
        crops = ops.take(ops.reshape(images, (-1, 3)), ops.reshape(pixels, (-1,)), axis=0)
        crops = ops.reshape(crops, (n, size, size, 3))
        if self.colors is None:
            return crops
        amounts = 0.1 * keras.random.normal((n, 3), seed=self.generator)
        return crops + ops.matmul(amounts, ops.cast(self.colors, "float32"))[:, None, None, :]


def predict_crops(crop, net, images):
    """Images (n, H, W, 3) -> class probabilities (n, classes): of middle crops, mean of ten crops.

    The ten are corners and middle, and these mirrored. `net` turns what the layer `crop` returns
    into logits.
    """
    pixels, size = keras.Input(images.shape[1:]), crop.size
    centered = crop.centered(pixels)
    down, right = (side - size for side in centered.shape[1:3])
    offsets = (0, 0), (0, right), (down, 0), (down, right), (down // 2, right // 2)
    crops = [centered[:, i : i + size, j : j + size] for i, j in offsets]
    logits = net(ops.concatenate([*crops, *(ops.flip(one, axis=2) for one in crops)]))
    ten = ops.reshape(ops.softmax(ops.cast(logits, "float32")), (10, -1, logits.shape[-1]))
    model = keras.Model(pixels, [ten[4], ops.mean(ten, axis=0)])  # number 4 is the middle
    n = max(1, 2**18 // images[:1].nbytes)  # few enough for the responses to fit into memory
    batches = [images[i : i + n] for i in range(0, len(images), n)]
    # Each replica answers for the whole batch.
    found = [[out[: len(some)] for out in model.predict_on_batch(some)] for some in batches]
    return tuple(np.concatenate(outputs) for outputs in zip(*found, strict=True))


def pca_colors(images):
    """uint8 images (n, H, W, 3) -> the principal axes of their colors (3, 3), in rows.

    An axis is an eigenvector of the pixels' covariance, as long as the standard deviation along it.
    The paper's formula has the eigenvalue; its author's program, cuda-convnet2, takes the root.
    """
    n, total, squares = images[..., 0].size, np.zeros(3), np.zeros((3, 3))
    for some in np.array_split(images, 1 + images.nbytes // 2**22):  # float64 takes 8 times as much
        pixels = some.reshape(-1, 3).astype(np.float64)
        total, squares = total + pixels.sum(axis=0), squares + pixels.T @ pixels
    values, vectors = np.linalg.eigh(squares / n - np.outer(total, total) / n**2)
    return (vectors * np.sqrt(np.maximum(values, 0))).T
