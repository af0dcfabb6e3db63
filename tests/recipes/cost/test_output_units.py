"""Slopes of the costs against a - y and central differences; targets; errors."""

import numpy as np
import pytest
from scipy.special import expit, log_softmax, softmax

from recipes.cost import output_units
from recipes.cost.output_units import (
    ARMS,
    EARLY,
    END,
    PAIRS,
    PASSED,
    Config,
    build_model,
    cost_of,
    error,
    examples,
    slopes,
    train,
)

RNG = np.random.default_rng(0)
IMAGES, DIGITS = RNG.integers(0, 256, (40, 28, 28), dtype=np.uint8), RNG.integers(0, 10, 40)
Z = RNG.normal(0, 2, (6, 3)).astype("float32")
Y = {
    "classes": np.eye(3, dtype="float32")[RNG.integers(0, 3, 6)],
    "labels": RNG.integers(0, 2, (6, 3)).astype("float32"),
    "angle": RNG.uniform(-1, 1, (6, 3)).astype("float32"),
}
A = {
    "softmax": lambda z: softmax(z, axis=-1),
    "sigmoid": expit,
    "tanh": np.tanh,
    "linear": lambda z: z,
}


def written_out(pair, y, z):
    """C of each example, (n,), in double precision."""
    unit, cost = pair.split(", ")
    a = A[unit](z)
    return {
        "log-likelihood": lambda: -np.sum(y * log_softmax(z, axis=-1), axis=-1),
        "cross-entropy": lambda: -np.sum(y * np.log(a) + (1 - y) * np.log(1 - a), axis=-1),
        "quadratic": lambda: np.sum((a - y) ** 2, axis=-1) / 2,
    }[cost]()


@pytest.mark.parametrize("pair", list(ARMS))
def test_costs_are_the_lectures(pair):
    y = Y[ARMS[pair]["task"]]
    expected = written_out(pair, y.astype(float), Z.astype(float))
    np.testing.assert_allclose(cost_of(pair)(y, Z), expected, rtol=1e-5)


@pytest.mark.parametrize("pair", list(ARMS))
def test_slopes_by_central_differences(pair):
    y, z, h = Y[ARMS[pair]["task"]].astype(float), Z.astype(float), 1e-6
    expected = np.empty_like(z)
    for place in np.ndindex(z.shape):
        moved = np.zeros_like(z)
        moved[place] = h
        rise = written_out(pair, y, z + moved) - written_out(pair, y, z - moved)
        expected[place] = rise.sum() / (2 * h)
    slope, wrong = slopes(pair, y.astype("float32"), Z)
    np.testing.assert_allclose(slope, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(wrong, A[pair.split(", ")[0]](z) - y, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("task", list(PAIRS))
def test_only_the_right_pair_has_the_slope_a_minus_y(task):
    right, wrong = (slopes(pair, Y[task], Z) for pair in PAIRS[task])
    np.testing.assert_allclose(*right, rtol=1e-5, atol=1e-6)
    assert np.abs(wrong[0]).sum() < 0.7 * np.abs(wrong[1]).sum()


@pytest.mark.parametrize("task", list(PAIRS))
def test_both_pairs_start_from_one_net_and_one_set_of_examples(task):
    nets = [build_model(Config(), ARMS[pair], 3).get_weights() for pair in PAIRS[task]]
    for one, two in zip(*nets, strict=True):
        np.testing.assert_array_equal(one, two)
    drawn = [examples(task, IMAGES, DIGITS, np.random.default_rng(3)) for _ in range(2)]
    for one, two in zip(*drawn, strict=True):
        np.testing.assert_array_equal(one, two)


def test_the_labels_of_a_digit():
    _, y = examples("labels", IMAGES[:3], np.array([0, 7, 8]), RNG)
    assert y.tolist() == [[1, 0, 1], [0, 1, 0], [1, 1, 1]]


def test_a_digit_is_turned_about_the_middle_by_its_angle():
    """A stroke from the middle to the right points down by the angle afterwards, or up by it."""
    stroke = np.zeros((200, 28, 28), "uint8")
    stroke[:, 13:15, 16:26] = 255
    turned, angle = examples("angle", stroke, np.zeros(200), np.random.default_rng(0))
    assert turned.shape == (200, 28, 28)
    assert -1 <= angle.min() < -0.9 < 0.9 < angle.max() <= 1
    places = np.arange(28) - 13.5
    total = turned.sum(axis=(1, 2))
    down = (turned * places[:, None]).sum(axis=(1, 2)) / total
    right = (turned * places).sum(axis=(1, 2)) / total
    seen = np.arctan2(down, right) / (np.pi / 4)
    sign = np.sign(np.corrcoef(seen, angle[:, 0])[0, 1])
    np.testing.assert_allclose(seen, sign * angle[:, 0], atol=0.03)


class Says:
    def __init__(self, z):
        self.z = np.asarray(z, "float32")

    def predict_on_batch(self, x):
        return self.z


def test_errors_by_hand():
    hot = np.eye(2, dtype="float32")[[0, 1, 1, 1]]
    z = [[2, 0], [0, 2], [2, 0], [0, 1]]
    assert error("classes", "softmax, quadratic", Says(z), None, hot) == 25
    assert error("labels", "sigmoid, quadratic", Says([[3, -3], [3, -3]]), None, hot[:2]) == 50
    angles = np.array([[0.0], [1.0]], "float32")
    found = error("angle", "linear, quadratic", Says([[0.2], [0.8]]), None, angles)
    assert found == pytest.approx(9, rel=1e-5)


@pytest.mark.parametrize("arm", list(ARMS))
def test_the_error_before_training_comes_first(arm, monkeypatch):
    monkeypatch.setattr(
        output_units, "fit", lambda *_, callbacks, **__: callbacks[0].on_epoch_end(0)
    )
    outcome = train(Config(n_train=20), ARMS[arm], 0, ((IMAGES, DIGITS), (IMAGES, DIGITS)))
    first, after = outcome.curves["error"]
    assert first == after == outcome.metrics[EARLY] == outcome.metrics[END]
    right = arm in [pairs[0] for pairs in PAIRS.values()]
    assert (outcome.metrics[PASSED] == pytest.approx(100, abs=1e-3)) == right
