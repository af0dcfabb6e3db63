"""Attacks against closed forms, and what they promise on any model and any images."""

import gc
import warnings
import weakref

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp, softmax

from common import attacks

RNG = np.random.default_rng(0)
ATTACKS = {
    "fgsm": attacks.fgsm,
    "pgd": lambda *a, **k: attacks.pgd(*a, steps=5, **k),
    "pgd from chance": lambda *a, **k: attacks.pgd(*a, steps=5, seed=1, **k),
}


def linear(inputs: int = 6, classes: int = 4, seed: int = 0) -> keras.Model:
    """Softmax regression: logits = x W + b."""
    normal = keras.initializers.RandomNormal(0, 1, seed=keras.random.SeedGenerator(seed))
    dense = keras.layers.Dense(classes, kernel_initializer=normal, bias_initializer=normal)
    return keras.Sequential([keras.Input((inputs,)), dense])


def convolutional(seed: int = 0) -> keras.Model:
    """With everything that behaves otherwise in training."""
    draws = keras.random.SeedGenerator(seed)
    he = keras.initializers.HeNormal(seed=draws)
    return keras.Sequential(
        [
            keras.Input((6, 6, 2)),
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
    x = rng.uniform(0, 1, (n, *model.input_shape[1:])).astype(np.float32)
    x[rng.uniform(0, 1, x.shape) < 0.2] = 0  # as in most pictures of digits
    return x, rng.integers(0, model.output_shape[-1], n)


def loss(model: keras.Model, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Cross-entropies (n,) in double precision."""
    z = attacks.logits(model, x).astype(np.float64)
    return logsumexp(z, axis=1) - z[np.arange(len(y)), y]


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", ["inf", "2"])
def test_softmax_regression_has_a_closed_form(norm, targeted):
    """dJ/dx = W (p - onehot(y))."""
    model = linear()
    x, y = examples(model)
    x = 0.25 + x / 2  # so that nothing is clipped
    weights, bias = (np.float64(w) for w in model.get_weights())
    p = softmax(x.astype(np.float64) @ weights + bias, axis=1)
    gradient = (p - np.eye(4)[y]) @ weights.T
    if targeted:
        gradient = -gradient
    unit = np.sign(gradient)
    if norm == "2":
        unit = gradient / np.linalg.norm(gradient, axis=1, keepdims=True)
    attacked = attacks.fgsm(model, x, y, 0.1, targeted=targeted, norm=norm)
    np.testing.assert_allclose(attacked, x + 0.1 * unit, atol=2e-7 if norm == "inf" else 1e-6)


def test_the_gradient_of_a_sure_answer_does_not_vanish():
    """Where p_y rounds to 1, that of the cross-entropy is 0 or has lost the part of y."""
    model = linear()
    weights, _ = model.get_weights()
    model.set_weights([weights, np.array([0, 0, 0, 200.0])])
    x, _ = examples(model)
    sure = np.full(len(x), 3)
    assert np.all(softmax(attacks.logits(model, x), axis=1)[:, 3] == 1)
    attacked = attacks.fgsm(model, x, sure, 0.1, clip=(-1, 2))
    z = (x @ weights)[:, :3]
    others = softmax(z, axis=1) @ weights[:, :3].T
    np.testing.assert_allclose(attacked, x + 0.1 * np.sign(others - weights[:, 3]), atol=1e-6)


@pytest.mark.parametrize("name", ATTACKS)
@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000), epsilon=st.floats(0, 1.5), targeted=st.booleans())
def test_no_pixel_moves_further_than_epsilon_nor_out_of_range(name, seed, epsilon, targeted):
    model = MODELS[seed % len(MODELS)]
    x, y = examples(model, 7, seed)
    low, high = np.float32(-0.1), np.float32(1.0)
    attacked = ATTACKS[name](model, x, y, epsilon, targeted=targeted, clip=(low, high))
    assert attacked.dtype == np.float32
    assert attacked.shape == x.shape
    assert np.all(np.abs(attacked.astype(np.float64) - x) <= epsilon)  # exactly, as promised
    assert np.all((low <= attacked) & (attacked <= high))


@pytest.mark.parametrize("name", ATTACKS)
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), epsilon=st.floats(0, 1.5))
def test_no_image_moves_further_than_epsilon_in_the_other_norm(name, seed, epsilon):
    model = MODELS[seed % len(MODELS)]
    x, y = examples(model, 7, seed)
    move = ATTACKS[name](model, x, y, epsilon, norm="2").astype(np.float64) - x
    assert np.all(np.linalg.norm(move.reshape(7, -1), axis=1) <= epsilon + 1e-6)


@pytest.mark.parametrize("name", ATTACKS)
def test_without_epsilon_nothing_changes(name):
    model = convolutional()
    x, y = examples(model)
    np.testing.assert_array_equal(ATTACKS[name](model, x, y, 0), x)
    np.testing.assert_array_equal(ATTACKS[name](model, x, y, 0, norm="2"), x)


@pytest.mark.parametrize("targeted", [False, True])
@pytest.mark.parametrize("norm", ["inf", "2"])
@pytest.mark.parametrize("make", [linear, convolutional])
def test_a_small_step_never_lowers_the_loss(make, norm, targeted):
    model = make()
    x, y = examples(model, 200)
    attacked = attacks.fgsm(model, x, y, 1e-3, targeted=targeted, norm=norm, clip=(-1, 2))
    gain = loss(model, attacked, y) - loss(model, x, y)
    assert np.all((-gain if targeted else gain) >= -1e-6)
    assert np.mean(np.abs(gain)) > 1e-5


def test_many_steps_reach_further_than_one_and_a_target_is_reached():
    model = convolutional()
    x, y = examples(model, 200)
    one = attacks.fgsm(model, x, y, 0.3)
    many = attacks.pgd(model, x, y, 0.3, steps=30)
    assert loss(model, x, y).mean() < loss(model, one, y).mean() < loss(model, many, y).mean()
    towards = attacks.pgd(model, x, y, 0.3, steps=30, targeted=True)
    assert loss(model, towards, y).mean() < loss(model, x, y).mean()


def test_predicted_labels_are_the_models_own():
    model = convolutional()
    x, _ = examples(model)
    own = attacks.logits(model, x).argmax(axis=1)
    by_name = attacks.fgsm(model, x, "predicted", 0.1)
    np.testing.assert_array_equal(by_name, attacks.fgsm(model, x, own, 0.1))


def test_clip_may_differ_by_channel():
    model = convolutional()
    x, y = examples(model)
    low, high = np.array([0.0, -2.0], np.float32), np.array([1.0, 3.0], np.float32)
    attacked = attacks.fgsm(model, x, y, 0.5, clip=(low, high))
    assert attacked[..., 0].min() == 0
    assert attacked[..., 1].min() < -0.4
    assert attacked[..., 1].max() > 1.3


@pytest.mark.parametrize("name", ATTACKS)
def test_the_model_is_left_as_it_was(name):
    model = convolutional()
    x, y = examples(model)
    before = [np.array(variable) for variable in model.variables]
    ATTACKS[name](model, x, y, 0.1)
    for was, variable in zip(before, model.variables, strict=True):
        np.testing.assert_array_equal(was, np.array(variable))


def test_the_weights_of_today_are_attacked():
    """The compiled program is kept, and must see what was trained or added in between."""
    model = linear()
    x, y = examples(model)
    first = attacks.fgsm(model, x, y, 0.1)
    model.set_weights([-w for w in model.get_weights()])
    assert not np.array_equal(attacks.fgsm(model, x, y, 0.1), first)
    model.set_weights([-w for w in model.get_weights()])
    model.add(keras.layers.Dense(4, kernel_initializer=keras.initializers.HeNormal(seed=1)))
    assert not np.array_equal(attacks.fgsm(model, x, y, 0.1), first)


def test_a_model_is_not_kept_alive():
    model = linear()
    x, y = examples(model)
    attacks.fgsm(model, x, y, 0.1)
    seen = weakref.ref(model)
    del model
    keras.utils.clear_session()
    gc.collect()
    assert seen() is None


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
    attacked = attacks.fgsm(half, x, y, 0.1)
    assert attacked.dtype == np.float32
    assert np.all(np.abs(attacked.astype(np.float64) - x) <= 0.1)
    same = np.mean(np.sign(attacked - x) == np.sign(attacks.fgsm(full, x, y, 0.1) - x))
    assert same > 0.9
    assert loss(full, attacked, y).mean() > loss(full, x, y).mean()


def test_noise_is_as_large_as_the_attack_and_blind():
    x = np.full((50, 40), 0.5, np.float32)
    moved = attacks.noise(x, 0.1, seed=3).astype(np.float64) - x
    assert np.all(np.abs(moved) <= 0.1)
    np.testing.assert_allclose(np.abs(moved), 0.1, atol=1e-7)
    assert abs(np.mean(moved > 0) - 0.5) < 4 * 0.5 / np.sqrt(x.size)
    np.testing.assert_array_equal(attacks.noise(x, 0.1, 3), attacks.noise(x, 0.1, 3))
    spread = attacks.noise(x, 0.1, seed=3, uniform=True) - x
    assert abs(np.abs(spread).mean() - 0.05) < 0.002


def test_harm_measures_all_four():
    """On a linear net of +-1 weights the attack moves a logit by epsilon * inputs."""
    model = linear(inputs=100, classes=2)
    w = np.sign(RNG.normal(size=100))
    model.set_weights([np.stack([w, -w], axis=1), np.zeros(2)])
    x = (0.5 + 0.02 * w * np.array([1, -1] * 50)[:, None]).astype(np.float32)
    x += 0.001 * RNG.normal(size=x.shape)
    x += w[None] * (-0.5 * w.sum() / 100)  # so that logits are centred on zero
    y = (attacks.logits(model, x).argmax(axis=1)).astype(int)
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
    x, _ = examples(model, 400)
    y = attacks.logits(model, x).argmax(axis=1)
    with pytest.warns(attacks.GradientMaskingWarning):
        attacks.harm(model, x, y, 0.3, clip=(-1, 2), steps=1)


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
def test_when_a_gradient_counts_as_masked(errors, masked):
    assert (attacks.masking(errors) is not None) == masked


@pytest.mark.parametrize("name", ATTACKS)
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"epsilon": -0.1}, "epsilon of at least 0, received -0.1"),
        ({"epsilon": float("nan")}, "received nan"),
        ({"epsilon": float("inf")}, "received inf"),
        ({"norm": "1"}, "received '1'"),
        ({"clip": (0, 0.5)}, "expected images within 0 .. 0.5"),
        ({"y": np.full(20, 4)}, "from 0 to 3, received 4 .. 4"),
        ({"y": np.full(20, -1)}, "from 0 to 3, received -1 .. -1"),
        ({"y": np.full(20, 4), "targeted": True}, "from 0 to 3"),
        ({"y": np.zeros(3, int)}, "expected 20 classes"),
        ({"y": "true"}, "received 'true'"),
        ({"y": "predicted", "targeted": True}, "if not targeted"),
    ],
)
def test_bad_input_is_refused(name, change, said):
    model = linear()
    x, y = examples(model)
    arguments = {"epsilon": 0.1, "y": y} | change
    with pytest.raises(ValueError, match=said):
        ATTACKS[name](model, x, arguments.pop("y"), arguments.pop("epsilon"), **arguments)


def test_images_that_are_not_numbers_and_a_softmax_are_refused():
    model = linear()
    x, y = examples(model)
    with pytest.raises(ValueError, match="expected images within"):
        attacks.fgsm(model, np.where(x > 0.9, np.nan, x), y, 0.1)
    with pytest.raises(ValueError, match="received one with a softmax"):
        attacks.fgsm(keras.Sequential([*model.layers, keras.layers.Softmax()]), x, y, 0.1)
    sure = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, activation="softmax")])
    with pytest.raises(ValueError, match="received one with a softmax"):
        attacks.fgsm(sure, x, y, 0.1)
    for wrong in ({"steps": 0}, {"step_size": 0.0}, {"step_size": float("nan")}):
        with pytest.raises(ValueError, match="received"):
            attacks.pgd(model, x, y, 0.1, **wrong)


MODELS = [linear(), convolutional(), linear(3, 2, seed=5)]


def test_no_warning_where_nothing_is_masked():
    model = convolutional()
    x, _ = examples(model, 200)
    y = attacks.logits(model, x).argmax(axis=1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        errors = attacks.harm(model, x, y, 0.2)
    assert not [one for one in caught if one.category is attacks.GradientMaskingWarning]
    assert errors["clean"] == 0
    assert errors["noise"] < errors["fgsm"] <= errors["pgd"]


def test_noise_in_the_other_norm_is_as_long_as_epsilon_at_most():
    x, _ = examples(linear())
    moved = attacks.noise(x, 0.3, seed=3, norm="2").astype(np.float64) - x
    lengths = np.linalg.norm(moved.reshape(len(x), -1), axis=1)
    assert np.all(lengths <= 0.3 + 1e-6)
    assert lengths.max() == pytest.approx(0.3)
