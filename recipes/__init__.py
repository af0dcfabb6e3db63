"""Recipes in chapters, in the order of a lecture.

A recipe is one file of stock Keras that states a published finding, trains it, and shows whether it
comes out. All have the same order: docstring, `Config`, `ARMS`, `build_model`, `train`, and, below
a rule, `FINDINGS`, `plot`, `RECIPE`. What stands above the rule is what a copy takes.

The chapters: `cost` (what is minimized, and why learning slows down), `optimization` (gradient
descent and its steps), `regularization` (a net that overfits, and what helps), `depth` (gradients,
initialization and normalization in deep nets), `convolution` (AlexNet and its parts), `attack`
(adversarial examples).

Importing the package starts TensorFlow without its notices, once the command line is answered.
"""

import sys

from common.early import answer

answer(sys.orig_argv)

import common.startup  # noqa: E402, F401
