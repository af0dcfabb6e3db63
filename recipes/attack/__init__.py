"""Adversarial examples: small changes that fool a net, and training against them.

`fgsm_imagenet` makes a net trained on ImageNet take an espresso for a consomme. `fgsm` attacks four
nets on digits with one step along the sign of the gradient, `fgsm_picture` a digit of your own,
`fgsm_cifar10` a convolutional net on photographs. `fgsm_transfer` shows the images made against one
net to others, and `adversarial_training` trains against the attack. The chapter follows Goodfellow,
Shlens & Szegedy (2015) and the lecture of Darmstadt.
"""
