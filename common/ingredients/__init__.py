"""Building blocks of recipes besides stock Keras: callbacks, losses, layers, nets, attacks.

They import nothing else of this repository, so that `make copy-NAME` can write them into a script.
"""
