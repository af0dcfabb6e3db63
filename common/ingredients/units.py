"""What excites the units of a convolutional net, and where an image matters to its answer.

Zeiler & Fergus, Visualizing and understanding convolutional networks (ECCV 2014), sections 4 and
4.2; Springenberg et al., Striving for simplicity: the all convolutional net (ICLR workshop 2015).
"""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

GRAY = 127.5  # of the square that hides a part


def purity(strongest, labels, most=9):
    """The share of the commonest class among the examples that excite a unit most.

    Args:
        strongest: responses (n, units), the strongest of each unit to each of n examples.
        labels: classes (n,) of the examples.
        most: how many examples.

    Returns the share (%) of the commonest class among these, (units,); NaN for units that never
    respond.
    """
    classes = labels[np.argsort(-strongest, axis=0)[:most]]
    shares = [100 * np.bincount(one).max() / most for one in classes.T]
    return np.where(strongest.max(axis=0) > 0, shares, np.nan)


@tf.custom_gradient
def guided_relu(x):
    """ReLU that passes a gradient back where it is positive and the unit responds.

    The paper's projection has the first condition alone, the true gradient the second.
    """
    y = tf.nn.relu(x)
    return y, lambda gradient: tf.where(y > 0, tf.nn.relu(gradient), 0)


def exciting(net, layer, unit, images):
    """The patches of images that excite a unit most, and what in them does so.

    Args:
        net: a net whose convolutions have ReLUs.
        layer: the name of one of its layers, with responses (B, h, w, units).
        unit: the number of the unit.
        images: (n, side, side, 3) in 0..255, float32.

    Returns two arrays (n, side, side, 3) in 0..1, of squares that hold all that the strongest
    response depends on, enlarged: the image there, and the response's guided gradient, around gray.
    """
    part = keras.Model(net.inputs[0], net.get_layer(layer).output)
    probe = keras.models.clone_model(part)
    probe.set_weights(part.get_weights())
    for copy in probe.layers:
        if isinstance(copy, keras.layers.Conv2D):
            copy.activation = guided_relu
    with tf.GradientTape() as tape:
        tape.watch(x := tf.constant(images))
        responses = tf.reshape(probe(x)[..., unit], (len(images), -1))
        place = tf.argmax(responses, axis=1)  # one of several that respond alike
        strongest = tf.gather(responses, place, batch_dims=1)
    gradient = tape.gradient(strongest, x).numpy()
    side, ends = images.shape[1], []
    for axis in (2, 1):
        seen = gradient.any(axis=(axis, 3))
        ends.append((seen.argmax(axis=1), side - seen[:, ::-1].argmax(axis=1)))
    size = max((last - first).max() for first, last in ends)  # one scale for all images
    corners = [np.clip((first + last - size) // 2, 0, side - size) for first, last in ends]
    whole = np.stack([images / 255, gradient], axis=1)
    patches = np.stack(
        [one[:, i : i + size, j : j + size] for one, i, j in zip(whole, *corners, strict=True)], 1
    )
    largest = np.quantile(np.abs(patches[1]), 0.995, axis=(1, 2, 3), keepdims=True)
    patches[1] = 0.5 + patches[1] / np.where(largest > 0, largest, 1) / 2
    patches = patches.clip(0, 1).reshape(-1, size, size, 3)
    patches = ops.image.resize(patches, (side, side), interpolation="nearest")
    return np.reshape(patches, (2, -1, side, side, 3))


def covered(images, row, column, size):
    """Images (..., H, W, 3) with a gray square, whose upper left corner is at (row, column)."""
    images = images.copy()
    images[..., row : row + size, column : column + size, :] = GRAY
    return images


def hiding(predict, images, size):
    """Mean probability of a net's own answers, by what of the images (n, H, W, 3) is hidden.

    That is "nothing", a "corner" (the mean of all four) or the "middle", by a square `size` wide.
    `predict`: images (n, H, W, 3) -> probabilities (n, classes).
    """
    low, right = (side - size for side in images.shape[1:3])
    p = {"nothing": predict(images)}
    corners = [covered(images, i, j, size) for i in (0, low) for j in (0, right)]
    p["corner"] = np.mean([predict(one) for one in corners], axis=0)
    p["middle"] = predict(covered(images, low // 2, right // 2, size))
    answers = range(len(images)), p["nothing"].argmax(axis=1)
    return {where: float(np.mean(values[answers])) for where, values in p.items()}


def occlusion(predict, image, size, step):
    """The class that a net names in an image, and its probability by the place of a gray square.

    Args:
        predict: images (n, H, W, 3) -> probabilities (n, classes).
        image: (H, W, 3) in 0..255.
        size: side of the square, in pixels.
        step: pixels from one place to the next.

    Returns the class, and probabilities (rows, columns), one for each place.
    """
    answer = int(predict(image[None]).argmax())
    rows, columns = (range(0, side - size + 1, step) for side in image.shape[:2])
    hidden = (np.stack([covered(image, i, j, size) for j in columns]) for i in rows)
    return answer, np.stack([predict(row)[:, answer] for row in hidden])
