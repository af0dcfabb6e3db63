"""A training that is killed and begun anew ends with the same bits as one that was not."""

import keras
import numpy as np
import pytest

from common.ingredients.callbacks import Record
from common.training import context, fit, resume

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (57, 8, 8, 1), dtype=np.uint8)
Y = RNG.integers(0, 3, 57).astype(np.int32)
EPOCHS = 8


class Killed(Exception):
    pass


class Kill(keras.callbacks.Callback):
    """Ends the program, as it were, at the end of an epoch, before or after it is kept."""

    remembers = ()

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs=None):
        if epoch == self.epoch:
            raise Killed


@pytest.fixture(autouse=True)
def always(monkeypatch):
    """Every epoch is kept."""
    monkeypatch.setattr(resume, "SAVE_SECONDS", 0.0)
    monkeypatch.setattr(resume, "SAVE_SHARE", 1e9)


def build():
    draws = keras.random.SeedGenerator(1)
    he = keras.initializers.HeNormal(seed=draws)
    layers = [
        keras.Input((8, 8, 1)),
        keras.layers.RandomTranslation(0.2, 0.2, seed=3),
        keras.layers.Flatten(),
        keras.layers.Dense(20, "relu", kernel_initializer=he),
        keras.layers.BatchNormalization(),
        keras.layers.Dropout(0.4, seed=2),
        keras.layers.Dense(3, kernel_initializer=he),
    ]
    return keras.Sequential(layers)


def train(callbacks=(), folder=None, x=X, learning_rate=0.01, batch_size=10, seed=0):
    """Everything that a resumed training could forget: -> history, weights, what was recorded."""
    model = build()
    record = Record(lambda: float(np.sum(model.layers[2].kernel.numpy())))
    model.compile(
        optimizer=keras.optimizers.Adam(learning_rate),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    callbacks = [
        record,
        keras.callbacks.EarlyStopping("val_loss", patience=4, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("loss", 0.5, patience=1, min_delta=0.2),
        *callbacks,
    ]
    with context.running(context.Context(seed, folder)):
        history = fit(
            model,
            x,
            Y,
            batch_size=batch_size,
            epochs=EPOCHS,
            validation_data=(X[:10], Y[:10]),
            callbacks=callbacks,
        ).history
    return history, [w.tobytes() for w in model.get_weights()], record.values


@pytest.fixture(scope="module")
def whole():
    """What a training gives that is not killed."""
    return train([Kill(-1)])


@pytest.mark.parametrize("kill", [[1, 1, 4, 6], range(8)])
def test_a_killed_training_ends_as_one_that_was_not(kill, whole, tmp_path):
    for epoch in kill:
        with pytest.raises(Killed):
            train([Kill(epoch)], tmp_path)
    resumed = train([Kill(-1)], tmp_path)
    assert resumed == whole
    assert len(resumed[0]["loss"]) == len(resumed[2])


class See(keras.callbacks.Callback):
    """Adds the epochs that are trained to a list."""

    remembers = ()

    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def on_epoch_begin(self, epoch, logs=None):
        self.seen.append(epoch)


def test_it_does_not_begin_anew(tmp_path):
    seen = []
    with pytest.raises(Killed):
        train([Kill(3), See(seen)], tmp_path)
    train([Kill(-1), See(seen)], tmp_path)
    assert seen[:4] == [0, 1, 2, 3]
    assert seen[4] == 3  # the epoch in which it was killed


def test_a_finished_training_is_not_repeated(tmp_path):
    """Where a later one of the same run was killed."""
    once, twice = [], []
    first = train([See(once)], tmp_path)
    assert train([See(twice)], tmp_path) == first
    assert once == list(range(len(first[2])))
    assert twice == []


@pytest.mark.parametrize(
    "change",
    [
        {"batch_size": 9},
        {"seed": 1},
        {"x": X[::-1].copy()},
        {"learning_rate": 0.1},
    ],
    ids=["batch", "seed", "images", "learning rate"],
)
def test_another_training_finds_nothing(change, tmp_path):
    seen = []
    with pytest.raises(Killed):
        train([Kill(3)], tmp_path)
    train([See(seen)], tmp_path, **change)
    assert seen[0] == 0
    assert len(list(tmp_path.glob("*.state"))) == 2


def test_with_a_damaged_state_it_begins_anew(whole, tmp_path):
    seen = []
    with pytest.raises(Killed):
        train([Kill(5), See([])], tmp_path)
    (file,) = tmp_path.glob("*.state")
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.warns(UserWarning, match="damaged checkpoint"):
        assert train([Kill(-1), See(seen)], tmp_path) == whole
    assert seen[0] == 0


def test_a_mapped_array_resumes(whole, tmp_path):
    X.tofile(tmp_path / "x")
    mapped = np.memmap(tmp_path / "x", np.uint8, "r", shape=X.shape)
    with pytest.raises(Killed):
        train([Kill(4)], tmp_path, x=mapped)
    assert train([Kill(-1)], tmp_path, x=mapped) == whole


def test_a_callback_with_a_hidden_state_is_not_trusted(tmp_path):
    seen = []
    hidden = keras.callbacks.LambdaCallback(on_epoch_end=lambda *_: seen.append(1))
    train([hidden], tmp_path)
    assert not list(tmp_path.iterdir())


def test_without_a_folder_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    train()
    assert not list(tmp_path.iterdir())


def test_not_every_epoch_is_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(resume, "SAVE_SECONDS", 60.0)
    train(folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_trainings_of_a_run_that_begin_alike_are_told_apart(tmp_path):
    """They differ in a penalty only, and the run is begun again after both have ended."""

    def run():
        ends = []
        with context.running(context.Context(0, tmp_path)):
            for strength in (0.0, 0.1):
                ones = {"kernel_initializer": "ones"}
                penalty = keras.regularizers.L2(strength)
                layers = [
                    keras.Input((8, 8, 1)),
                    keras.layers.Flatten(),
                    keras.layers.Dense(1, kernel_regularizer=penalty, **ones),
                ]
                model = keras.Sequential(layers)
                model.compile(keras.optimizers.SGD(1e-6), "mse")
                fit(model, X, Y, epochs=2)
                ends.append(model.get_weights()[0].tobytes())
        return ends

    first = run()
    assert first[0] != first[1]
    assert run() == first
