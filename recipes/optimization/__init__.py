"""Optimization: how gradient descent finds its way, and how far a step may go.

`gradient_descent` compares single examples, mini-batches and the full batch: what each costs in
steps and in images. `edge_of_stability` measures the curvature of the cost while a net learns: it
comes to the value at which the learning rate is only just stable, and stays there. The chapter
follows the lecture of Duisburg-Essen.
"""
