"""Convolution: AlexNet, what it is made of, and what it learned.

`cuda_convnet` is its small predecessor on CIFAR-10, `relu_vs_tanh` compares its activation with
tanh. `alexnet` trains the stack, `alexnet_ablation` asks what dropout and augmentation are worth in
it, `alexnet_features` tells good first layers from bad ones. `imagenet_features` looks into a net
trained on ImageNet, and `fine_tuning` starts from its features. The chapter follows the lecture of
Darmstadt and Krizhevsky, Sutskever & Hinton (2012).
"""
