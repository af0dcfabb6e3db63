"""Nets are trained once for all arms, and agreement counts where both err."""

import numpy as np
import pytest

from common.ingredients import attacks
from common.training import context
from recipes.attack import fgsm_transfer
from recipes.attack.fgsm_transfer import ARMS, Config, compare

RNG = np.random.default_rng(0)
X = RNG.integers(0, 256, (30, 28, 28), dtype=np.uint8)
Y = np.arange(30, dtype=np.int32) % 10


def test_agreement_counts_where_both_err():
    y = np.array([0, 0, 0, 0])
    predicted = {"a": np.array([1, 2, 0, 3]), "b": np.array([1, 1, 1, 0])}
    assert compare(predicted, "a", y) == {
        "error of the a (%)": 75,
        "agreement with the a (%)": 100,
        "error of the b (%)": 75,
        "agreement with the b (%)": 50,
    }
    none = compare({"a": y, "b": predicted["b"]}, "a", y)
    assert none["agreement with the b (%)"] == 0


def test_each_net_is_trained_once_and_attacked_as_all_arms_know_it(tmp_path, monkeypatch):
    """The images are made against the arm's own net, and shown to the same four nets."""
    trained = {}

    def learn(model, x, y, **settings):
        assert len(x) == 20
        assert settings == {"batch_size": 10, "epochs": 2}
        name = list(ARMS)[len(trained)]
        model.set_weights([weight + 0.01 for weight in model.get_weights()])
        trained[name] = model

    monkeypatch.setattr(fgsm_transfer, "fit", learn)
    config = Config(n_train=20, batch_size=10, n_test=25)
    outcomes = {}
    for name, arm in ARMS.items():
        with context.running(context.Context(seed=1, shared=tmp_path)):
            outcomes[name] = fgsm_transfer.train(config, arm, 1, ((X, Y), (X, Y)))
    assert list(trained) == list(ARMS)
    x, y = X[:25], Y[:25]
    for own, outcome in outcomes.items():
        images = attacks.fgsm(trained[own], x, y, 63.75), attacks.noise(x, 63.75, 1)
        errors = [
            {
                n: 100 * np.mean(net.predict(x, verbose=0).argmax(axis=1) != y)
                for n, net in trained.items()
            }
            for x in images
        ]
        for name, error in errors[0].items():
            assert outcome.metrics[f"error of the {name} (%)"] == pytest.approx(error)
        means = [np.mean([e for name, e in each.items() if name != own]) for each in errors]
        assert outcome.metrics[fgsm_transfer.OTHERS] == pytest.approx(means[0])
        assert outcome.metrics[fgsm_transfer.NOISY] == pytest.approx(means[1])
