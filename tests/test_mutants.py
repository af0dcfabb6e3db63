"""That the guards guard: one thing broken at a time in a copy, and a test or a claim must fail.

Each mutant changes one line. Its guard is a test, or a recipe whose claims are judged on a seed or
two; unbroken, the same guards pass in the rest of the tests and in `make regress`.
"""

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("common", "recipes", "tests", "pyproject.toml")

# what is broken: file, what stands there, what stands there then, who notices
MUTANTS = {
    "dropout keeps what it should drop": (
        "recipes/dropout.py",
        "keras.layers.Dropout(share,",
        "keras.layers.Dropout(1 - share,",
        "tests/recipes/test_dropout.py::test_dropout_drops_its_share_and_keeps_the_mean",
    ),
    "momentum off": (
        "recipes/dropout.py",
        "momentum=0.95",
        "momentum=0.0",
        "tests/recipes/test_dropout.py::test_the_optimizer_is_the_papers",
    ),
    "L2 penalty twice as large": (
        "recipes/l1_l2.py",
        "/ (2 * config.n_train)",
        "/ config.n_train",
        "tests/recipes/test_l1_l2.py::test_the_penalty_is_lambda_over_n_on_kernels_only",
    ),
    "biases regularised": (
        "recipes/l1_l2.py",
        '"kernel_regularizer": keras.regularizers.L1L2(l1, l2) if l1 or l2 else None,',
        '"kernel_regularizer": keras.regularizers.L1L2(l1, l2) if l1 or l2 else None,\n'
        '        "bias_regularizer": keras.regularizers.L1L2(l1, l2) if l1 or l2 else None,',
        "tests/recipes/test_l1_l2.py::test_the_penalty_is_lambda_over_n_on_kernels_only",
    ),
    "batch normalisation without gamma": (
        "recipes/batch_norm.py",
        "keras.layers.BatchNormalization()",
        "keras.layers.BatchNormalization(scale=False)",
        "tests/recipes/test_batch_norm.py::test_what_is_normalised_has_no_bias",
    ),
    "He scaled by 1/n": (
        "recipes/glorot_vs_he.py",
        '2.0, "fan_in"',
        '1.0, "fan_in"',
        "tests/recipes/test_glorot_vs_he.py::test_variances_are_the_papers",
    ),
    "labels shifted by one": (
        "common/data.py",
        "labels = bundled.target.astype(np.int32)",
        "labels = (bundled.target.astype(np.int32) + 1) % 10",
        "tests/common/test_data.py::test_digits_keep_their_look",
    ),
    "test labels only shifted by one": (
        "common/data.py",
        "images[-500:], labels[-500:])",
        "images[-500:], (labels[-500:] + 1) % 10)",
        "recipes.overfitting",
    ),
    "test images augmented": (
        "recipes/augmentation.py",
        'if not training or self.kind == "none":',
        'if self.kind == "none":',
        "tests/recipes/test_augmentation.py::"
        "test_images_that_are_only_predicted_are_never_distorted",
    ),
    "validation images trained on": (
        "recipes/early_stopping.py",
        "learned.images[:n],\n        targets[:n],",
        "learned.images,\n        targets,",
        "tests/recipes/test_early_stopping.py::"
        "test_validation_images_are_training_images_that_follow",
    ),
    "held-out images kept among the others": (
        "common/data.py",
        "return Split(self.images[:-n], self.labels[:-n]),",
        "return Split(self.images, self.labels),",
        "tests/common/test_data.py::test_held_out_examples_are_the_last_and_in_neither_twice",
    ),
    "last batch dropped in evaluation": (
        "common/training.py",
        "        if rest:\n",
        "        if rest and order is not None:\n",
        "tests/common/test_training.py::test_every_example_is_evaluated_once",
    ),
    "last batch dropped in training": (
        "common/training.py",
        "        if rest:\n",
        "        if rest and order is None:\n",
        "tests/common/test_training.py::test_equals_plain_fit",
    ),
    "every epoch in the same order": (
        "common/training.py",
        "np.random.default_rng((seed, i))",
        "np.random.default_rng((seed, 0))",
        "tests/common/test_training.py::test_order_is_a_permutation_of_seed_and_epoch",
    ),
    "sign of FGSM flipped": (
        "common/attacks.py",
        "loss = sign *",
        "loss = -sign *",
        "tests/common/test_attacks.py::test_softmax_regression_has_a_closed_form",
    ),
    "attack not kept within epsilon": (
        "common/attacks.py",
        "move = tf.clip_by_value(move, -epsilon, epsilon)",
        "move = tf.clip_by_value(move, -2 * epsilon, 2 * epsilon)",
        "tests/common/test_attacks.py::test_no_pixel_moves_further_than_epsilon_nor_out_of_range",
    ),
    "sigma' left in the cross-entropy's gradient": (
        "recipes/slowdown.py",
        '"cross-entropy": lambda y, z: ops.sum(ops.binary_crossentropy(y, z, from_logits=True),'
        " axis=-1),",
        '"cross-entropy": lambda y, z: ops.sum(ops.square(ops.sigmoid(z) - y), axis=-1),',
        "tests/recipes/test_slowdown.py::test_slopes_are_what_the_book_derives",
    ),
    "adversarial training forgets the attacked half": (
        "recipes/adversarial_training.py",
        "a, b = self.alpha, 1 - self.alpha",
        "a, b = 1.0, 0.0",
        "tests/recipes/test_adversarial_training.py::test_a_step_descends_the_mixed_loss",
    ),
    "response normalisation divides alpha by n": (
        "common/layers.py",
        "self._band = (self.alpha * near)",
        "self._band = (self.alpha / self.n * near)",
        "tests/common/test_layers.py::test_response_normalisation_is_the_formula",
    ),
    "resumed training forgets the optimizer": (
        "common/training.py",
        "(*model.variables, *model.optimizer.variables)",
        "model.variables",
        "tests/common/test_resume.py::test_a_killed_training_ends_as_one_that_was_not",
    ),
    "effects not paired over seeds": (
        "common/claims.py",
        "return summarize(larger - smaller)",
        "return summarize(larger - smaller[::-1])",
        "tests/common/test_claims.py::test_effect_interval_is_scipys_paired_t_test",
    ),
}


@pytest.mark.parametrize("broken", MUTANTS)
def test_it_is_noticed(broken, forks, tmp_path):
    file, before, after, guard = MUTANTS[broken]
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copyfile
        copy(ROOT / part, tmp_path / part)
    source = (tmp_path / file).read_text()
    assert source.count(before) == 1, "a mutant must change exactly one place"
    (tmp_path / file).write_text(source.replace(before, after))
    is_recipe = guard.startswith("recipes.")
    command = [guard, "--dataset", "digits", "--seeds", "1", "--jobs", "1"]
    command = command if is_recipe else ["pytest", "-x", guard]
    done = forks.run(*command, folder=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr  # a claim fails; of pytest: tests failed
    assert ("FAILS" if is_recipe else "FAILED") in done.stdout
