"""The compiled loop against plain `model.fit` on the same batches, and Keras's promises."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from common import training

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 6)).astype(np.float32)
Y = RNG.integers(0, 3, 50).astype(np.int32)
X_VAL = RNG.normal(size=(23, 6)).astype(np.float32)
Y_VAL = RNG.integers(0, 3, 23).astype(np.int32)
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def build(seed=0, layers=()):
    rng = keras.random.SeedGenerator(seed)
    init = keras.initializers.GlorotUniform(seed=rng)
    return keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(8, activation="tanh", kernel_initializer=init),
            *layers,
            keras.layers.Dense(3, kernel_initializer=init),
        ]
    )


def train(model, x=X, y=Y, **changed):
    settings = {
        "optimizer": keras.optimizers.SGD(0.1),
        "loss": LOSS,
        "metrics": ["accuracy"],
        "batch_size": 10,
        "epochs": 3,
        "seed": 1,
    }
    return training.fit(model, x, y, **(settings | changed)).history


def plain_fit(model, optimizer, batch_size, epochs, seed):
    """What every tutorial writes, fed by the same order."""
    model.compile(optimizer=optimizer, loss=LOSS, metrics=["accuracy"])
    history = []
    for epoch in range(epochs):
        rows = training.order(seed, epoch, len(X))
        logs = model.fit(X[rows], Y[rows], batch_size=batch_size, shuffle=False, verbose=0)
        history.append({name: values[0] for name, values in logs.history.items()})
    return {name: [logs[name] for logs in history] for name in history[0]}


@pytest.mark.parametrize("batch_size", [10, 7, 50, 64])
@pytest.mark.parametrize(
    "optimizer",
    [lambda: keras.optimizers.SGD(0.1, momentum=0.9), lambda: keras.optimizers.Adam(0.01)],
    ids=["momentum", "adam"],
)
def test_equals_plain_fit(optimizer, batch_size):
    def model():
        return build(layers=[keras.layers.BatchNormalization(), keras.layers.Dropout(0.0)])

    ours, theirs = model(), model()
    history = train(ours, optimizer=optimizer(), batch_size=batch_size)
    expected = plain_fit(theirs, optimizer(), batch_size, epochs=3, seed=1)
    for mine, plain in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, plain, atol=1e-5)
    assert history.keys() == expected.keys()
    for name in expected:
        np.testing.assert_allclose(history[name], expected[name], atol=1e-5, err_msg=name)


def test_equals_plain_fit_for_a_convolution():
    images = RNG.normal(size=(20, 5, 5, 1)).astype(np.float32)

    def model():
        init = keras.initializers.GlorotUniform(seed=keras.random.SeedGenerator(0))
        return keras.Sequential(
            [
                keras.Input((5, 5, 1)),
                keras.layers.Conv2D(2, 3, kernel_initializer=init),
                keras.layers.Flatten(),
                keras.layers.Dense(3, kernel_initializer=init),
            ]
        )

    ours, theirs = model(), model()
    assert not training.compiles_with_xla(ours)
    train(ours, images, Y[:20], epochs=1, batch_size=6)
    rows = training.order(1, 0, 20)
    theirs.compile(optimizer=keras.optimizers.SGD(0.1), loss=LOSS)
    theirs.fit(images[rows], Y[:20][rows], batch_size=6, shuffle=False, verbose=0)
    for mine, plain in zip(ours.get_weights(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, plain, atol=1e-5)


def test_xla_is_for_dense_nets_without_dropout():
    assert training.compiles_with_xla(build(layers=[keras.layers.BatchNormalization()]))
    assert not training.compiles_with_xla(build(layers=[keras.layers.Dropout(0.5)]))
    nested = keras.Sequential([keras.Input((8,)), keras.layers.GaussianNoise(0.1)])
    assert not training.compiles_with_xla(build(layers=[nested]))


def test_validation_may_be_rarer_than_epochs():
    history = train(build(), epochs=5, validation_data=(X_VAL, Y_VAL), validation_freq=2)
    often = train(build(), epochs=5, validation_data=(X_VAL, Y_VAL))
    assert len(history["loss"]) == 5
    assert history["val_loss"] == pytest.approx(often["val_loss"][1::2])


def test_validation_equals_keras_evaluate_and_counts_the_last_batch(monkeypatch):
    monkeypatch.setattr(training, "EVALUATION_BATCH", 10)  # 23 examples: two batches and a rest
    model = build()
    history = train(model, validation_data=(X_VAL, Y_VAL))
    expected = model.evaluate(X_VAL, Y_VAL, verbose=0, return_dict=True)
    assert history["val_loss"][-1] == pytest.approx(expected["loss"], abs=1e-6)
    assert history["val_accuracy"][-1] == pytest.approx(expected["accuracy"], abs=1e-6)
    again = training.evaluate(model, X_VAL, Y_VAL, batch_size=7)
    assert again == pytest.approx(expected, abs=1e-6)


def test_every_example_is_evaluated_once():
    class Count(keras.metrics.Sum):
        def update_state(self, y_true, y_pred, sample_weight=None):
            return super().update_state(tf.ones_like(y_true, tf.float32))

    history = train(
        build(), metrics=[Count(name="n")], batch_size=7, validation_data=(X_VAL, Y_VAL)
    )
    assert history["n"] == [50] * 3
    assert history["val_n"] == [23] * 3


def test_validation_data_never_leaks_into_training():
    with_it, without = (build(layers=[keras.layers.BatchNormalization()]) for _ in range(2))
    train(with_it, validation_data={"a": (X_VAL, Y_VAL), "b": (X_VAL * 100, Y_VAL)})
    train(without)
    for mine, plain in zip(with_it.get_weights(), without.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, plain)


def test_several_validation_sets_have_their_own_names():
    history = train(build(), validation_data={"a": (X_VAL, Y_VAL), "b": (X, Y)})
    assert {"loss", "a_loss", "b_loss", "a_accuracy", "b_accuracy"} <= history.keys()
    assert history["a_loss"] != history["b_loss"]


def test_the_same_seed_gives_the_same_bits():
    layers = lambda: [keras.layers.Dropout(0.5, seed=3)]  # noqa: E731
    one, two, other = build(layers=layers()), build(layers=layers()), build(layers=layers())
    assert train(one) == train(two)
    train(other, seed=2)
    for mine, same, another in zip(
        one.get_weights(), two.get_weights(), other.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(mine, same)
        assert not np.array_equal(mine, another)


def test_dropout_draws_anew_in_every_step():
    """Inside a compiled loop a seed that is not state would give one mask for ever."""
    model = keras.Sequential(
        [
            keras.Input((40,)),
            keras.layers.Dropout(0.5, seed=0),
            keras.layers.Dense(40, kernel_initializer="identity"),
        ]
    )

    def seen(unit):
        metric = lambda targets, outputs: outputs[:, unit]  # noqa: E731
        metric.__name__ = f"unit{unit}"
        return metric

    ones, still = np.ones((200, 40), np.float32), keras.optimizers.SGD(0.0)
    metrics = [seen(unit) for unit in range(5)]
    history = train(model, ones, ones, loss="mse", metrics=metrics, optimizer=still, batch_size=1)
    for unit in range(5):  # the mean of 200 draws from {0, 2}; one mask for ever gives 0 or 2
        assert 0.5 < history[f"unit{unit}"][0] < 1.5


def test_uint8_images_are_scaled_to_the_unit_interval():
    images = RNG.integers(0, 256, (50, 6), dtype=np.uint8)
    kept, scaled = build(), build()
    train(kept, images, Y, validation_data=(images, Y))
    train(scaled, (images / 255).astype(np.float32), Y)
    for mine, plain in zip(kept.get_weights(), scaled.get_weights(), strict=True):
        np.testing.assert_allclose(mine, plain, atol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 1000])
def test_order_is_a_permutation_of_seed_and_epoch(n):
    assert sorted(training.order(3, 5, n)) == list(range(n))
    np.testing.assert_array_equal(training.order(3, 5, n), training.order(3, 5, n))
    if n > 2:
        assert not np.array_equal(training.order(3, 5, n), training.order(3, 6, n))
        assert not np.array_equal(training.order(3, 5, n), training.order(4, 5, n))


def test_early_stopping_restores_the_best_weights():
    stopping = keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True)
    model = build()
    history = train(
        model,
        optimizer=keras.optimizers.SGD(1.0),
        epochs=200,
        callbacks=[stopping],
        validation_data=(X_VAL, Y_VAL),
    )["val_loss"]
    assert len(history) == np.argmin(history) + 1 + 3 < 200
    assert training.evaluate(model, X_VAL, Y_VAL)["loss"] == pytest.approx(min(history), abs=1e-6)


def test_learning_rate_scheduler_sets_the_rate_of_the_step():
    model, frozen = build(), build()
    schedule = keras.callbacks.LearningRateScheduler(lambda epoch: 0.1 if epoch == 0 else 0.0)
    train(model, callbacks=[schedule], epochs=3)
    train(frozen, epochs=1)
    for mine, plain in zip(model.get_weights(), frozen.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, plain)


def test_reduce_on_plateau_lowers_the_rate():
    plateau = keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.1, patience=1, min_delta=10)
    optimizer = keras.optimizers.SGD(0.1)
    history = train(
        build(), optimizer=optimizer, callbacks=[plateau], validation_data=(X_VAL, Y_VAL)
    )
    assert history["learning_rate"] == pytest.approx([0.1, 0.1, 0.01])


def test_tensorboard_writes_events(tmp_path):
    train(
        build(), callbacks=[keras.callbacks.TensorBoard(tmp_path)], validation_data=(X_VAL, Y_VAL)
    )
    events = list(tmp_path.rglob("events*"))
    assert {file.parent.name for file in events} == {"train", "validation"}
    assert all(file.stat().st_size > 100 for file in events)


def test_callbacks_see_batches_epochs_and_logs():
    seen = []
    spy = keras.callbacks.LambdaCallback(
        on_train_begin=lambda logs: seen.append("begin"),
        on_train_batch_end=lambda batch, logs: seen.append(batch),
        on_epoch_end=lambda epoch, logs: seen.append(sorted(logs)),
        on_train_end=lambda logs: seen.append("end"),
    )
    train(build(), epochs=1, batch_size=7, callbacks=[spy], validation_data=(X_VAL, Y_VAL))
    names = ["accuracy", "loss", "val_accuracy", "val_loss"]
    assert seen == ["begin", 7, names, "end"]


def test_a_train_step_of_ones_own_is_used():
    class Halved(keras.Sequential):
        def train_step(self, data):
            x, y = data
            return super().train_step((x * 0.0, y))

    model = Halved([keras.Input((6,)), keras.layers.Dense(3, kernel_initializer="zeros")])
    train(model)
    np.testing.assert_array_equal(model.get_weights()[0], np.zeros((6, 3)))


@pytest.mark.parametrize("size", [1, 4, 10, 25])
def test_an_epoch_may_be_a_part_of_a_pass_or_more(size):
    """Whatever its size, epochs one after the other are whole passes one after the other."""
    parts = [training.order(3, epoch, 10, size) for epoch in range(100 // size)]
    assert all(len(part) == size for part in parts)
    np.testing.assert_array_equal(
        np.concatenate(parts), np.concatenate([training.order(3, i, 10) for i in range(10)])
    )


def test_steps_per_epoch_divides_the_same_training_differently():
    """Three passes of 4 batches are four epochs of 3, and the weights end up the same."""
    ends, lengths = [], []
    for epochs, steps in ((3, None), (4, 3)):
        model = build()
        lengths.append(
            len(train(model, X[:40], Y[:40], epochs=epochs, steps_per_epoch=steps)["loss"])
        )
        ends.append(model.get_weights())
    assert lengths == [3, 4]
    for one, other in zip(*ends, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"y": Y[:-1]}, "as many inputs as targets"),
        ({"x": X[:0], "y": Y[:0]}, "as many inputs as targets"),
        ({"batch_size": 0}, "at least 1"),
        ({"epochs": 0}, "at least 1"),
        ({"validation_freq": 0}, "at least 1"),
        ({"steps_per_epoch": 0}, "at least 1"),
    ],
)
def test_nonsense_is_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        train(build(), **changed)


@pytest.mark.parametrize("batch_size", [5, 7, 50])
def test_an_array_mapped_from_a_file_trains_and_evaluates_like_one_in_memory(
    tmp_path, monkeypatch, batch_size
):
    images = RNG.integers(0, 256, (50, 6), dtype=np.uint8)
    np.save(tmp_path / "x.npy", images)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    monkeypatch.setattr(training, "CHUNK_BYTES", 15 * 6)  # several chunks, the last one shorter
    monkeypatch.setattr(training, "EVALUATION_BYTES", 8 * 6)
    settings = {"x": images, "batch_size": batch_size, "validation_data": (images, Y)}
    plain, streamed = build(), build()
    expected = train(plain, **settings)
    received = train(streamed, **settings | {"x": mapped, "validation_data": (mapped, Y)})
    assert received.keys() == expected.keys()
    for name, values in expected.items():
        assert received[name] == pytest.approx(values, rel=1e-5), name
    for mine, other in zip(plain.get_weights(), streamed.get_weights(), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-7)
    assert training.evaluate(streamed, mapped, Y) == pytest.approx(
        training.evaluate(plain, images, Y), rel=1e-5
    )
