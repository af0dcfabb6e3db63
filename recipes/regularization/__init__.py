"""Regularization: a net that has learned its training images by heart, and what helps.

`overfitting` trains a small net on 1,000 images until it overfits; `more_data` trains it on more of
them. `early_stopping` ends the training in time, `l1_l2` penalizes weights, `dropout` drops units
at random, `dropout_rate` asks how many and where, `dropout_features` shows what that does to the
features, and `augmentation` makes new images of old ones. The chapter follows Nielsen (2015),
chapter 3, the lectures of Busan, Konstanz, Moscow and Darmstadt, and the papers named in each
recipe.
"""
