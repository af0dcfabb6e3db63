"""Optimization: how gradient descent finds its way, and how far a step may go.

`gradient_descent` compares single examples, mini-batches and the full batch: what each costs in
steps and in images. `learning_rate` shows rates that are too small, good and too large;
`learning_rate_limit` shows where "too large" begins: beyond 2 / h, h being the largest curvature.
`edge_of_stability` measures the curvature while a net learns: unless the rate is small, it comes to
2 / learning rate and stays there. `preprocessing` evens the ground: images minus their mean,
decorrelated, whitened. `example_order` shuffles, sorts, and shows hard examples more often.
`rate_decay` halves the learning rate when the validation error stalls. `optimizers` compares plain
steps, momentum, Nesterov's, AdaGrad, RMSProp and Adam. `straight_line` looks back from the end of a
training to its start, and `loss_landscape` around the end, where skip connections smooth the ground
and small batches widen it. The sources are the lectures of Duisburg-Essen, TU Darmstadt and
Technosphere Moscow.
"""
