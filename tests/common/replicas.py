"""Trains small nets of the recipes for three epochs on the devices named, and saves the numbers.

python -m tests.common.replicas DEVICES OUT.npz [NET ...]

Run by test_distribution.py in processes of their own, since devices are settled once a process.
"""

import sys

import keras
import numpy as np

import recipes  # noqa: F401  starts TensorFlow quietly
from common import data, distribution, training
from recipes import adversarial_training, augmentation, batch_norm, dropout, overfitting

NETS = {
    "dense": lambda: overfitting.build_model(30, 0),
    "bn": lambda: batch_norm.build_model(batch_norm.Config(), {"normalised": True}, 0),
    "conv": lambda: augmentation.build_model("conv", "none", augmentation.Config(), 0),
    "dropout": lambda: dropout.build_model(
        dropout.Config(width=64), {"dropout": True, "bound": False}, 0
    ),
    "augmentation": lambda: augmentation.build_model("conv", "affine", augmentation.Config(), 0),
    "attacked": lambda: adversarial_training.build_model(
        adversarial_training.Config(), {"training": "one step"}, 0
    ),
}


TESTED = {"dense": 10_000}  # images; of the others 1,000


@keras.saving.register_keras_serializable("tests")
class Count(keras.metrics.Metric):
    """How many examples were evaluated."""

    def __init__(self, name="count", **settings):
        super().__init__(name=name, **settings)
        self.n = self.add_variable((), "zeros", name="n")

    def update_state(self, y, y_pred, sample_weight=None):
        self.n.assign_add(keras.ops.cast(keras.ops.shape(y)[0], "float32"))

    def result(self):
        return self.n


def main(devices: str, out: str, names: list[str]) -> None:
    """Of every net: histories, and the weights after three epochs."""
    distribution.start(devices)
    digits = data.load("digits")
    found = {}
    for name in names or ["dense", "bn", "conv"]:
        with distribution.scope():
            model = NETS[name]()
            flat = len(model.input_shape) == 2
            x, test = (
                data.unit(split.images).reshape(len(split), -1) if flat else split.images
                for split in (digits.train, digits.test)
            )
            # 357 images in batches of 100 leave 57, which two and four replicas cannot share.
            # 10,000 test images leave none, three more do.
            n = TESTED.get(name, 1_000)
            many = np.resize(test, (n + 3, *test.shape[1:]))
            labels = np.resize(digits.test.labels, n + 3)
            history = training.fit(
                model,
                x[:357],
                digits.train.labels[:357],
                # So slow that three epochs do not let a difference in the last digit grow.
                optimizer=keras.optimizers.SGD(0.02, momentum=0.5),
                loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
                metrics=["accuracy", Count()],
                batch_size=100,
                epochs=3,
                validation_data={
                    "test": (many[:n], labels[:n]),
                    "odd": (many, labels),
                },
            ).history
        found |= {f"{name}/{key}": np.array(values) for key, values in history.items()}
        weights = [np.ravel(np.array(weight)) for weight in model.get_weights()]
        found[f"{name}/weights"] = np.concatenate(weights)
    if distribution.is_chief():
        np.savez(out, **found)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
