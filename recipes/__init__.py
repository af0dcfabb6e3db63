"""Recipes in chapters, in the order of a lecture.

A recipe is one file of stock Keras that states a published finding, trains nets to test it, and
shows the outcome. `ARMS` are the variants compared; `fit` is a faster `keras.Model.fit`. All have
the same order: docstring, `Config`, `ARMS`, `build_model`, `train`; below a line, `FINDINGS`,
`plot`, `RECIPE`. What is above that line is what `make copy-NAME` takes.

The chapters: `cost` (what is minimized, and why learning slows down), `optimization` (gradient
descent and its steps), `regularization` (a net that overfits, and what helps), `depth` (gradients,
initialization and normalization in deep nets), `convolution` (AlexNet and its parts), `attack`
(adversarial examples).

The lectures: Duisburg-Essen (O. Meyer); HTWG Konstanz (M. O. Franz, O. Dürr: Deep Learning, lecture
3); Pusan National University, Busan (Kim Howon: Improving the way neural networks learn);
Technosphere, Moscow (D. Polykovskiy: lecture 5, 2017); TU Darmstadt (Künstliche Intelligenz /
Maschinelles Lernen: Tiefes Lernen).

Importing the package answers --help and bad flags, then starts TensorFlow without log messages.
"""

import sys

from common.early import answer

answer(sys.orig_argv)

import common.startup  # noqa: E402, F401
