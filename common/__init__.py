"""What all recipes share: data, training, experiments, claims, figures."""
