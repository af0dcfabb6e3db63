"""Convolution: AlexNet, what it is made of, and what it learned.

`cuda_convnet` is its small predecessor on CIFAR-10, `relu_vs_tanh` the activation that made it
fast. `alexnet` trains the stack, `alexnet_ablation` takes its parts away one by one,
`alexnet_features` and `alexnet_units` look inside, and `fine_tuning` starts from features learned
on ImageNet. The chapter follows the lecture of Darmstadt and Krizhevsky, Sutskever & Hinton (2012).
"""
