"""Speed side by side with what a user would pick instead."""

import recipes  # noqa: F401  starts TensorFlow quietly, before any of these imports Keras
