"""Attacks against closed forms, and what they promise on any model and any images."""

import gc
import logging
import warnings
import weakref

import keras
import numpy as np
import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax

from common.ingredients import attacks

RNG = np.random.default_rng(0)
ATTACKS = {
    "fgsm": attacks.fgsm,
    "pgd": lambda *a, **k: attacks.pgd(*a, steps=5, **k),
    "pgd, random start": lambda *a, **k: attacks.pgd(*a, steps=5, seed=1, **k),
}


def linear(inputs: int = 6, classes: int = 4, seed: int = 0) -> keras.Model:
    """Softmax regression: logits = x / 255 W + b."""
    normal = keras.initializers.RandomNormal(0, 1, seed=keras.random.SeedGenerator(seed))
    dense = keras.layers.Dense(classes, kernel_initializer=normal, bias_initializer=normal)
    return keras.Sequential([keras.Input((inputs,)), keras.layers.Rescaling(1 / 255), dense])


def convolutional(seed: int = 0) -> keras.Model:
    """With everything that behaves otherwise in training."""
    draws = keras.random.SeedGenerator(seed)
    he = keras.initializers.HeNormal(seed=draws)
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Conv2D(4, 3, kernel_initializer=he),
            keras.layers.BatchNormalization(),
            keras.layers.ReLU(),
            keras.layers.Dropout(0.5, seed=seed),
            keras.layers.Flatten(),
            keras.layers.Dense(3, kernel_initializer=he),
        ]
    )


def examples(model: keras.Model, n: int = 20, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.uniform(0, 255, (n, *model.input_shape[1:])).astype(np.float32)
    x[rng.uniform(0, 1, x.shape) < 0.2] = 0  # as in most pictures of digits
    return x, rng.integers(0, model.output_shape[-1], n)


def logits(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return np.float32(model.predict(x, verbose=0))


def loss(model: keras.Model, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cross-entropies (n,) in double precision."""
    z = logits(model, x).astype(np.float64)
    return logsumexp(z, axis=1) - z[np.arange(len(y)), y]


@pytest.mark.parametrize("targeted", [False, True])
def test_softmax_regression_has_a_closed_form(targeted):
    """dJ/dx = W (p - onehot(y)) / 255."""
    model = linear()
    x, y = examples(model)
    x = 64 + x / 2  # so that nothing is clipped
    weights, bias = (np.float64(w) for w in model.get_weights())
    p = softmax(x.astype(np.float64) / 255 @ weights + bias, axis=1)
    gradient = (p - np.eye(4)[y]) @ weights.T
    if targeted:
        gradient = -gradient
    attacked = attacks.fgsm(model, x, y, 25.5, targeted=targeted)
    np.testing.assert_allclose(attacked, x + 25.5 * np.sign(gradient), atol=2e-5)


def test_the_gradient_of_a_sure_answer_does_not_vanish():
    """Where p_y rounds to 1, that of the cross-entropy is 0 or has lost the share of y."""
    model = linear()
    weights, _ = model.get_weights()
    model.set_weights([weights, np.array([0, 0, 0, 200.0])])
    x, _ = examples(model)
    sure = np.full(len(x), 3)
    assert np.all(softmax(logits(model, x), axis=1)[:, 3] == 1)
    attacked = attacks.fgsm(model, x, sure, 25.5, clip=(-255, 510))
    z = (x / 255 @ weights)[:, :3]
    others = softmax(z, axis=1) @ weights[:, :3].T
    np.testing.assert_allclose(attacked, x + 25.5 * np.sign(others - weights[:, 3]), atol=1e-4)


@pytest.mark.parametrize("name", ATTACKS)
@settings(max_examples=15)
@given(
    seed=st.integers(0, 10_000),
    epsilon=st.one_of(st.floats(0, 400), st.floats(0, 1e-3)),
    targeted=st.booleans(),
)
def test_no_pixel_moves_further_than_epsilon_nor_out_of_range(name, seed, epsilon, targeted):
    model = MODELS[seed % len(MODELS)]
    x, y = examples(model, 7, seed)
    low, high = np.float32(-25.5), np.float32(255)
    attacked = ATTACKS[name](model, x, y, epsilon, targeted=targeted, clip=(low, high))
    assert attacked.dtype == np.float32
    assert attacked.shape == x.shape
    assert np.all(np.abs(attacked.astype(np.float64) - x) <= epsilon)  # exactly, as promised
    assert np.all((low <= attacked) & (attacked <= high))


@settings(max_examples=50)
@given(seed=st.integers(0, 10_000), epsilon=st.floats(0, 400), uniform=st.booleans())
def test_noise_keeps_within_epsilon_and_range(seed, epsilon, uniform):
    x = np.random.default_rng(seed).uniform(0, 255, (5, 30)).astype(np.float32)
    noisy = attacks.noise(x, epsilon, seed, uniform=uniform)
    assert noisy.dtype == np.float32
    assert np.all(np.abs(noisy.astype(np.float64) - x) <= epsilon)
    assert np.all((noisy >= 0) & (noisy <= 255))


@pytest.mark.parametrize("name", ATTACKS)
def test_without_epsilon_nothing_changes(name):
    model = convolutional()
    x, y = examples(model)
    np.testing.assert_array_equal(ATTACKS[name](model, x, y, 0), x)


@pytest.mark.parametrize("name", ATTACKS)
def test_where_the_gradient_is_zero_nothing_moves(name):
    model = linear()
    model.set_weights([np.zeros((6, 4)), np.zeros(4)])
    x, y = examples(model)
    start = x if "random" not in name else attacks.noise(x, 9, 1, uniform=True)
    np.testing.assert_allclose(ATTACKS[name](model, x, y, 9), start, atol=1e-4)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("make", [linear, convolutional])
def test_a_small_step_never_lowers_the_loss(make, targeted):
    model = make()
    x, y = examples(model, 200)
    attacked = attacks.fgsm(model, x, y, 0.25, targeted=targeted, clip=(-255, 510))
    gain = loss(model, attacked, y) - loss(model, x, y)
    assert np.all((-gain if targeted else gain) >= -1e-6)
    assert np.mean(np.abs(gain)) > 1e-5


def test_many_steps_reach_further_than_one_and_a_target_is_reached():
    model = convolutional()
    x, y = examples(model, 200)
    one = attacks.fgsm(model, x, y, 76)
    many = attacks.pgd(model, x, y, 76, steps=30)
    assert loss(model, x, y).mean() < loss(model, one, y).mean() < loss(model, many, y).mean()
    towards = attacks.pgd(model, x, y, 76, steps=30, targeted=True)
    assert loss(model, towards, y).mean() < loss(model, x, y).mean()


def test_pgd_is_the_projected_walk_by_hand():
    """In float64, on a model whose gradient has a closed form, with the step that is usual."""
    model = linear()
    x, y = examples(model)
    weights, bias = (np.float64(w) for w in model.get_weights())
    attacked = attacks.pgd(model, x, y, 30, steps=4, clip=(-1, 256))
    now = x.astype(np.float64)
    for _ in range(4):
        p = softmax(now / 255 @ weights + bias, axis=1)
        gradient = (p - np.eye(4)[y]) @ weights.T
        now = np.clip(now + 2.5 * 30 / 4 * np.sign(gradient), x - 30.0, x + 30.0)
        now = np.clip(now, -1, 256)
    np.testing.assert_allclose(attacked, now, atol=1e-3)


def test_mini_batches_do_not_show():
    model = convolutional()
    x, y = examples(model, attacks.AT_ONCE + 3)
    whole = attacks.fgsm(model, x, y, 25)
    np.testing.assert_array_equal(whole[-3:], attacks.fgsm(model, x[-3:], y[-3:], 25))
    p, of_three = attacks.probabilities(model, x), attacks.probabilities(model, x[-3:])
    np.testing.assert_allclose(p[-3:], of_three, rtol=1e-5)
    np.testing.assert_allclose(of_three, softmax(logits(model, x[-3:]), axis=1), rtol=1e-5)


def test_bytes_are_attacked_like_floats():
    model = convolutional()
    x, y = RNG.integers(0, 256, (9, 6, 6, 2), dtype=np.uint8), np.zeros(9, np.uint8)
    for attack in (attacks.fgsm, attacks.pgd):
        expected = attack(model, x.astype(np.float32), y.astype(int), 20)
        np.testing.assert_array_equal(attack(model, x, y, 20), expected)
    expected = attacks.noise(x.astype(np.float32), 20, 0)
    np.testing.assert_array_equal(attacks.noise(x, 20, 0), expected)


def test_clip_may_differ_by_channel():
    model = convolutional()
    x, y = examples(model)
    low, high = np.array([0.0, -500.0], np.float32), np.array([255.0, 750.0], np.float32)
    attacked = attacks.fgsm(model, x, y, 127, clip=(low, high))
    assert attacked[..., 0].min() == 0
    assert attacked[..., 0].max() == 255
    assert attacked[..., 1].min() < -100
    assert attacked[..., 1].max() > 330


@pytest.mark.parametrize("name", ATTACKS)
def test_the_model_is_left_as_it_was(name):
    model = convolutional()
    x, y = examples(model)
    before = [keras.ops.convert_to_numpy(variable) for variable in model.variables]
    ATTACKS[name](model, x, y, 25)
    for was, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(was, keras.ops.convert_to_numpy(variable))


def test_the_model_is_attacked_as_it_is_now():
    model = linear()
    x, y = examples(model)
    first = attacks.fgsm(model, x, y, 25)
    model.set_weights([-w for w in model.get_weights()])
    assert not np.array_equal(attacks.fgsm(model, x, y, 25), first)
    model.set_weights([-w for w in model.get_weights()])
    np.testing.assert_array_equal(attacks.fgsm(model, x, y, 25), first)
    model.add(keras.layers.Dense(4, kernel_initializer=keras.initializers.HeNormal(seed=1)))
    assert not np.array_equal(attacks.fgsm(model, x, y, 25), first)


def test_a_model_is_not_kept_alive():
    model = linear()
    attacks.harm(model, *examples(model), 25)
    seen = weakref.ref(model)
    del model
    keras.utils.clear_session()
    gc.collect()
    assert seen() is None


def test_the_memory_of_a_model_is_given_back():
    """Not the model alone, but its weights: a compiled program holds their resources."""
    wide, used = 4_000_000, []
    for _ in range(9):
        inputs = keras.Input((1,))
        model = keras.Model(inputs, keras.layers.Dense(wide)(inputs)[:, :4])  # 16 MB
        attacks.fgsm(model, np.ones((1, 1)), [0], 25)
        del model
        keras.utils.clear_session()
        gc.collect()
        used.append(psutil.Process().memory_info().rss)
    assert used[-1] - used[2] < 3 * 4 * wide  # of six models


def test_many_models_are_attacked_without_a_word(caplog):
    with caplog.at_level(logging.WARNING):
        for seed in range(12):
            model = linear(seed=seed)
            attacks.fgsm(model, *examples(model), 25)
    assert not caplog.records


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    full = convolutional()
    keras.config.set_dtype_policy(policy)
    try:
        half = convolutional()
    finally:
        keras.config.set_dtype_policy("float32")
    half.set_weights(full.get_weights())
    x, y = examples(full, 200)
    attacked = attacks.fgsm(half, x, y, 25)
    assert attacked.dtype == np.float32
    assert attacks.probabilities(half, x).dtype == np.float32
    assert np.all(np.abs(attacked.astype(np.float64) - x) <= 25)
    same = np.mean(np.sign(attacked - x) == np.sign(attacks.fgsm(full, x, y, 25) - x))
    assert same > 0.9
    assert loss(full, attacked, y).mean() > loss(full, x, y).mean()


def test_noise_is_as_large_as_the_attack_and_blind():
    x = np.full((50, 40), 128, np.float32)
    moved = attacks.noise(x, 25.6, seed=3).astype(np.float64) - x
    assert np.all(np.abs(moved) <= 25.6)
    np.testing.assert_allclose(np.abs(moved), 25.6, atol=2e-5)
    assert abs(np.mean(moved > 0) - 0.5) < 4 * 0.5 / np.sqrt(x.size)
    np.testing.assert_array_equal(attacks.noise(x, 25.6, 3), attacks.noise(x, 25.6, 3))
    assert not np.array_equal(attacks.noise(x, 25.6, 3), attacks.noise(x, 25.6, 4))
    spread = attacks.noise(x, 25.6, seed=3, uniform=True) - x
    assert abs(np.abs(spread).mean() - 12.8) < 0.5


def test_harm_measures_all_four():
    """On a linear net of +-1 weights the attack moves a logit by epsilon * inputs."""
    inputs = keras.Input((100,))
    model = keras.Model(inputs, keras.layers.Dense(2)(inputs))
    w = np.sign(RNG.normal(size=100))
    model.set_weights([np.stack([w, -w], axis=1), np.zeros(2)])
    x = (0.5 + 0.02 * w * np.array([1, -1] * 50)[:, None]).astype(np.float32)
    x += 0.001 * RNG.normal(size=x.shape)
    x += w[None] * (-0.5 * w.sum() / 100)  # so that logits are centered on zero
    y = (logits(model, x).argmax(axis=1)).astype(int)
    errors = attacks.harm(model, x, y, 0.05, clip=(-5, 5))
    assert errors["clean"] == 0
    assert errors["noise"] < 20
    assert errors["fgsm"] == errors["pgd"] == 100


def test_a_masked_gradient_is_noticed():
    """Where a net answers by the parity of a rounded sum, its gradient says nothing."""
    inputs = keras.Input((4,))
    hidden = keras.layers.Lambda(lambda x: keras.ops.sin(300.0 * x))(inputs)
    dense = keras.layers.Dense(3, kernel_initializer=keras.initializers.HeNormal(seed=0))
    model = keras.Model(inputs, dense(hidden))
    x = np.random.default_rng(0).uniform(0, 1, (400, 4)).astype(np.float32)
    y = logits(model, x).argmax(axis=1)
    with pytest.warns(UserWarning, match="masked gradient"):
        attacks.harm(model, x, y, 0.3, clip=(-1, 2), steps=1)


def test_no_warning_where_nothing_is_masked():
    model = convolutional()
    x, _ = examples(model, 200)
    y = logits(model, x).argmax(axis=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        errors = attacks.harm(model, x, y, 51)
    assert not [one for one in caught if "masked gradient" in str(one.message)]
    assert errors["clean"] == 0
    assert errors["noise"] < errors["fgsm"] <= errors["pgd"]


@pytest.mark.parametrize(
    ("errors", "masked"),
    [
        ({"clean": 1, "noise": 5, "fgsm": 60, "pgd": 80}, False),
        ({"clean": 1, "noise": 5, "fgsm": 100, "pgd": 100}, False),
        ({"clean": 1, "noise": 1, "fgsm": 1, "pgd": 1}, False),  # nothing does harm
        ({"clean": 1, "noise": 5, "fgsm": 5, "pgd": 80}, True),
        ({"clean": 1, "noise": 5, "fgsm": 60, "pgd": 4}, True),
        ({"clean": 1, "noise": 5, "fgsm": 60, "pgd": 59}, True),
    ],
)
def test_when_a_gradient_counts_as_masked(errors, masked, monkeypatch):
    measured = iter(errors.values())
    monkeypatch.setattr(attacks, "error", lambda model, x, y: next(measured))
    model = linear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert attacks.harm(model, *examples(model), 25) == errors
    assert ["masked gradient" in str(one.message) for one in caught] == [True] * masked


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epsilon": -0.1}, "a finite epsilon of at least 0, received -0.1"),
        ({"epsilon": float("nan")}, "received nan"),
        ({"epsilon": float("inf")}, "received inf"),
        ({"clip": (0, 127.5)}, r"pixels in 0.0 .. 127.5, received 0.0 .. 25\d"),
        ({"y": np.full(20, 4)}, r"classes in 0 .. 3, received shape \(20,\) in 4 .. 4"),
        ({"y": np.full(20, -1)}, r"classes in 0 .. 3, received shape \(20,\) in -1 .. -1"),
        ({"y": np.full(20, 4), "targeted": True}, "classes in 0 .. 3"),
        ({"y": np.zeros(3, int)}, r"20 classes in 0 .. 3, received shape \(3,\)"),
        ({"y": np.zeros((20, 1), int)}, r"20 classes in 0 .. 3, received shape \(20, 1\)"),
    ],
)
def test_bad_input_is_refused(name, change, said):
    model = linear()
    x, y = examples(model)
    arguments = {"epsilon": 0.1, "y": y} | change
    with pytest.raises(ValueError, match=f"expected .*{said}"):
        ATTACKS[name](model, x, arguments.pop("y"), arguments.pop("epsilon"), **arguments)


def test_images_that_are_not_numbers_and_a_softmax_are_refused():
    model = linear()
    x, y = examples(model)
    with pytest.raises(ValueError, match=r"expected pixels in 0.0 .. 255.0, received nan .. nan"):
        attacks.fgsm(model, np.where(x > 250, np.nan, x), y, 0.1)
    ended = keras.Sequential([keras.Input((6,)), *model.layers, keras.layers.Softmax()])
    with pytest.raises(ValueError, match="expected logits, received a softmax"):
        attacks.fgsm(ended, x, y, 0.1)
    sure = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, activation="softmax")])
    with pytest.raises(ValueError, match="expected logits, received a softmax"):
        attacks.fgsm(sure, x, y, 0.1)


MODELS = [linear(), convolutional(), linear(3, 2, seed=5)]
