"""Depth: why deep nets were hard to train, and what changed it.

`vanishing_chain` and `vanishing_gradient` show gradients that shrink from layer to layer,
`network_paralysis` images that look alike after a few layers, and `sigmoid_saturation` a last layer
that falls to 0 and returns late or never. `activations` shows what tanh, ReLU and leaky ReLU
change. `signal_propagation` measures how the initialization carries a signal through the layers;
`glorot_vs_he` trains nets of 22, 30 and 40 layers, `glorot_vs_he_limits` tests where the difference
ends. `batch_norm` normalizes each layer's inputs, `inception_batch_norm` does so in a net of
convolutions at learning rates up to thirty times as large, and `batch_norm_folding` folds it into
the weights for prediction. The chapter follows Nielsen (2015), chapter 5, and the lectures of
Moscow, Konstanz and Darmstadt.
"""
