"""What recipes are made of besides stock Keras: callbacks, losses, layers, AlexNet, attacks."""
