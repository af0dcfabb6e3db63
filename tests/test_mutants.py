"""Tests of the tests: one thing is broken at a time in a copy, and a test must fail.

Unbroken, the same tests pass in the rest of the suite.
"""

import shutil
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PARTS = ("common", "recipes", "tests", "tools", "pyproject.toml")

# what is broken: file, what stands there, what stands there then, who notices
MUTANTS = {
    "noise that does not fade": (
        "recipes/cost/svm_output.py",
        "ops.maximum(0.0, 1 - self.step / self.steps)",
        "1.0",
        "tests/recipes/cost/test_svm_output.py::test_noise_falls_linearly_to_zero",
    ),
    "dropout keeps what it should drop": (
        "recipes/regularization/dropout.py",
        "layers.Dropout(config.drop_input, ",
        "layers.Dropout(1 - config.drop_input, ",
        "tests/recipes/regularization/test_dropout.py::test_dropout_drops_its_share_and_keeps_the_mean",
    ),
    "momentum off": (
        "recipes/regularization/dropout.py",
        "SGD(config.learning_rate, 0.95)",
        "SGD(config.learning_rate, 0.0)",
        "tests/recipes/regularization/test_dropout.py::test_the_optimizer_is_the_papers",
    ),
    "L2 penalty twice as large": (
        "recipes/regularization/l1_l2.py",
        "/ (2 * config.n_train)",
        "/ config.n_train",
        "tests/recipes/regularization/test_l1_l2.py::test_the_penalty_is_lambda_over_n_on_kernels_only",
    ),
    "biases regularized": (
        "recipes/regularization/l1_l2.py",
        "        kernel_regularizer=keras",
        "        bias_regularizer=keras.regularizers.L1L2(l1, l2),\n        kernel_regularizer=keras",
        "tests/recipes/regularization/test_l1_l2.py::test_the_penalty_is_lambda_over_n_on_kernels_only",
    ),
    "batch normalization without gamma": (
        "recipes/depth/batch_norm.py",
        "layers.BatchNormalization()",
        "layers.BatchNormalization(scale=False)",
        "tests/recipes/depth/test_batch_norm.py::test_what_is_normalized_has_no_bias",
    ),
    "He scaled by 1/n": (
        "recipes/depth/glorot_vs_he.py",
        '2.0, "fan_in"',
        '1.0, "fan_in"',
        "tests/recipes/depth/test_glorot_vs_he.py::test_variances_are_the_papers",
    ),
    "a guided gradient that may be negative": (
        "common/ingredients/units.py",
        "tf.where(y > 0, tf.nn.relu(gradient), 0)",
        "tf.where(y > 0, gradient, 0)",
        "tests/ingredients/test_units.py::test_the_second_layers_gradient_is_guided",
    ),
    "the corner hidden in place of the middle": (
        "common/ingredients/units.py",
        "low // 2, right // 2, size",
        "low, right, size",
        "tests/ingredients/test_units.py::test_what_hides_more_of_the_sum_lowers_it_more",
    ),
    "an arm that vanished is overlooked": (
        "common/experiment/report.py",
        "recipe.default_dataset, whole)",
        "recipe.default_dataset, False)",
        "tests/experiment/test_record.py::test_an_arm_that_vanished_moved_unless_arms_were_chosen",
    ),
    "labels shifted by one": (
        "common/data/mnist5k.py",
        "pixels[classes == digit]",
        "pixels[classes == (digit + 1) % 10]",
        "tests/data/test_datasets.py::test_mnist5k",
    ),
    "other images taken for the public ones": (
        "common/data/datasets.py",
        "if (received := content_checksum(data)) != content:",
        "if (received := content_checksum(data)) == 0:",
        "tests/data/test_files.py::test_other_images_are_refused",
    ),
    "figures of other test images counted": (
        "tools/catalog.py",
        ' and "images" not in f["printed"]',
        "",
        "tests/tools/test_catalog.py::test_figures_of_other_test_images_do_not_count",
    ),
    "orderings stated for MNIST judged on mnist5k": (
        "common/experiment/findings.py",
        " and of_whole and isinstance(finding, Printed)",
        " and of_whole",
        "tests/experiment/test_findings.py::test_a_finding_stated_for_the_whole_is_not_judged_on_a_part",
    ),
    "test images augmented": (
        "common/ingredients/distortions.py",
        'if not training or self.kind == "none":',
        'if self.kind == "none":',
        "tests/ingredients/test_distortions.py::test_only_in_training",
    ),
    "validation images trained on": (
        "recipes/regularization/early_stopping.py",
        "model, x[:n], y[:n],",
        "model, x[:end], y[:end],",
        "tests/recipes/regularization/test_early_stopping.py::test_validation_images_are_training_images_that_follow",
    ),
    "held-out images measured on others": (
        "recipes/regularization/more_data.py",
        "x[-config.n_validation :]",
        "x[: config.n_validation]",
        "tests/recipes/regularization/test_more_data.py::test_every_size_takes_the_same_steps_and_validates_on_the_last_images",
    ),
    "programs of another model's weights": (
        "common/training/programs.py",
        "own = [everything[place] for place in places]",
        "own = found.captured_inputs",
        "tests/training/test_programs.py::test_models_that_are_alike_share_programs_to_the_bit",
    ),
    "functions of one's own share programs": (
        "common/training/programs.py",
        "isinstance(one, FunctionType | tf.Tensor)",
        "isinstance(one, tf.Tensor)",
        "tests/training/test_programs.py"
        "::test_a_model_with_parts_that_a_configuration_does_not_tell_shares_nothing",
    ),
    "losses that read what changes share programs": (
        "common/training/programs.py",
        "not all(isinstance(one, ModuleType) and _is_keras(one.__name__) for one in read)",
        "not read",
        "tests/training/test_programs.py"
        "::test_a_model_with_parts_that_a_configuration_does_not_tell_shares_nothing",
    ),
    "last mini-batch dropped in evaluation": (
        "common/training/loop.py",
        "run(np.arange(len(x), dtype=np.int32))",
        "run(np.arange(len(x) // batch_size * batch_size, dtype=np.int32))",
        "tests/training/test_loop.py::test_every_example_is_evaluated_once",
    ),
    "last mini-batch dropped in training": (
        "common/training/loop.py",
        "        if rest:\n",
        "        if False:\n",
        "tests/training/test_loop.py::test_equals_plain_fit",
    ),
    "every epoch in the same order": (
        "common/training/loop.py",
        "np.random.default_rng((seed, epoch))",
        "np.random.default_rng((seed, 0))",
        "tests/training/test_loop.py::test_order_is_a_permutation_of_seed_and_epoch",
    ),
    "sign of FGSM flipped": (
        "common/ingredients/attacks.py",
        "(1 - 2 * targeted)",
        "(2 * targeted - 1)",
        "tests/ingredients/test_attacks.py::test_softmax_regression_has_a_closed_form",
    ),
    "attack not kept within epsilon": (
        "common/ingredients/attacks.py",
        "np.float64(x), -epsilon, epsilon)",
        "np.float64(x), -2 * epsilon, 2 * epsilon)",
        "tests/ingredients/test_attacks.py::test_pgd_is_the_projected_walk_by_hand",
    ),
    "sigma' left in the cross-entropy's gradient": (
        "recipes/cost/slowdown.py",
        '"cross-entropy": lambda y, z: ops.sum(ops.binary_crossentropy(y, z, from_logits=True), axis=-1),',
        '"cross-entropy": lambda y, z: ops.sum(ops.square(ops.sigmoid(z) - y), axis=-1),',
        "tests/recipes/cost/test_slowdown.py::test_slopes_are_what_the_book_derives",
    ),
    "a gradient divided by n twice": (
        "recipes/cost/perceptron.py",
        "slope = slope / t.size * y * (1 - y)",
        "slope = slope / t.size / len(t) * y * (1 - y)",
        "tests/recipes/cost/test_perceptron.py::test_the_error_and_the_gradient_are_keras_s",
    ),
    "adversarial training forgets the attacked half": (
        "recipes/attack/adversarial_training.py",
        "a, b = self.alpha, 1 - self.alpha",
        "a, b = 1.0, 0.0",
        "tests/recipes/attack/test_adversarial_training.py::test_a_step_descends_the_mixed_loss",
    ),
    "response normalization divides alpha by n": (
        "common/ingredients/alexnet.py",
        "1e-4 * (np.abs",
        "1e-4 / 5 * (np.abs",
        "tests/ingredients/test_alexnet.py::test_response_normalization_is_the_formula",
    ),
    "mini-batches drawn with replacement": (
        "common/ingredients/noise.py",
        "replace=False",
        "replace=True",
        "tests/ingredients/test_noise.py::test_the_formula_is_the_variance_over_all_mini_batches",
    ),
    "a full gradient divided by n twice": (
        "common/ingredients/noise.py",
        "optimize=True) / len(a)",
        "optimize=True) / len(a) ** 2",
        "tests/ingredients/test_noise.py::test_noise_scales_are_those_of_autodiff",
    ),
    "momentum with the wrong sign": (
        "common/ingredients/optimizers.py",
        "v = mu * v - rate * g",
        "v = -mu * v - rate * g",
        "tests/ingredients/test_optimizers.py::test_a_hundred_steps_on_a_net_are_kerass",
    ),
    "Adam without bias correction": (
        "common/ingredients/optimizers.py",
        "corrected=True):",
        "corrected=False):",
        "tests/ingredients/test_optimizers.py::test_a_hundred_steps_on_a_net_are_kerass",
    ),
    "a backward without its transpose": (
        "common/ingredients/bricks.py",
        "dy @ kernel[i, j].T",
        "dy @ kernel[j, i].T",
        "tests/ingredients/test_bricks.py::test_scalar_products_backward",
    ),
    "max-margin that picks the true class": (
        "common/ingredients/bricks.py",
        "np.where(hot, -np.inf, x)",
        "np.where(hot, np.inf, x)",
        "tests/ingredients/test_bricks.py::test_losses_are_the_lectures",
    ),
    "a learning rate chosen on test images": (
        "recipes/cost/losses.py",
        "np.argmin(errors[0])",
        "np.argmin(errors[1])",
        "tests/recipes/cost/test_losses.py::test_the_learning_rate_is_chosen_on_validation_images",
    ),
    "directions not normalized": (
        "common/ingredients/landscape.py",
        "part = part * (length / drawn)",
        "pass",
        "tests/ingredients/test_landscape.py::test_filters_are_as_long_as_the_nets_own",
    ),
    "one curvature of the two on a surface": (
        "common/ingredients/landscape.py",
        "< np.hypot((xx - yy) / 2, xy)",
        "< 0",
        "tests/ingredients/test_landscape.py::test_a_saddle_bends_down_everywhere_and_a_bowl_nowhere",
    ),
    "one learning rate for all nets": (
        "common/ingredients/learning_rates.py",
        "ops.array(self.rates)",
        "ops.array(self.rates[:1] * len(self.rates))",
        "tests/ingredients/test_learning_rates.py::test_each_net_moves_as_if_it_were_trained_alone",
    ),
    "statistics from test images": (
        "recipes/optimization/preprocessing.py",
        'preprocess(arm["stage"], x[:n] / 255)',
        'preprocess(arm["stage"], x_test / 255)',
        "tests/recipes/optimization/test_preprocessing.py::test_test_images_are_only_tested_on",
    ),
    "ranked selection inverted": (
        "common/ingredients/orders.py",
        "np.argsort(-losses)",
        "np.argsort(losses)",
        "tests/ingredients/test_orders.py::test_the_probability_falls_geometrically_with_the_rank",
    ),
    "class-equal batches that are not": (
        "common/ingredients/orders.py",
        "np.stack([np.resize(one, equal) for one in classes], axis=1).ravel()",
        "np.stack([np.resize(one, equal) for one in classes], axis=0).ravel()",
        "tests/ingredients/test_orders.py::test_equal_classes_are_equal_in_each_batch",
    ),
    "resumed training forgets the optimizer": (
        "common/training/resume.py",
        "(*model.variables, *model.optimizer.variables)",
        "model.variables",
        "tests/training/test_resume.py::test_a_killed_training_ends_as_one_that_was_not",
    ),
    "orderings not paired over seeds": (
        "common/experiment/findings.py",
        "return arrays, pair[1] - pair[0]",
        "return arrays, pair[1] - pair[0][::-1]",
        "tests/experiment/test_findings.py::test_seeds_are_paired_even_if_they_vary_much",
    ),
    "a printed figure judged under the wrong preset": (
        "common/experiment/findings.py",
        "and (not at or set(at) & set(presets))",
        "",
        "tests/experiment/test_findings.py::test_a_printed_figure_is_compared_where_it_belongs",
    ),
    "a metric that moved called unchanged": (
        "common/experiment/record.py",
        "return by if test.pvalue < 1 - LEVEL else 0.0",
        "return 0.0",
        "tests/experiment/test_record.py::test_a_metric_that_moved_is_told_with_its_sign_and_the_largest_first",
    ),
    "Alike judged one-sided": (
        "common/experiment/findings.py",
        "bool(-finding.within <= low and high <= finding.within)",
        "bool(high <= finding.within)",
        "tests/experiment/test_findings.py::test_alike_is_refuted_on_either_side",
    ),
    "a copy that loses a callback": (
        "tools/standalone.py",
        "    for node in ast.walk(tree):\n        match node:\n            case ast.Call(func=ast.Name",
        '    for node in ast.walk(tree):\n        match node:\n            case ast.keyword(arg="callbacks"):\n                edits.append((begin(node.value), end(node.value), "[]"))\n            case ast.Call(func=ast.Name',
        "tests/tools/test_copying.py::test_what_a_copy_runs_is_what_the_recipe_says",
    ),
    "fit ignores validation_freq": (
        "common/training/loop.py",
        "(epoch + 1) % validation_freq == 0:",
        "True:",
        "tests/training/test_loop.py::test_validation_may_be_rarer_than_epochs",
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
    done = forks.run("pytest", "-x", "--hypothesis-profile=mutants", guard, folder=tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr  # of pytest: tests failed
    assert "FAILED" in done.stdout
