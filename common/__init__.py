"""What recipes share: ingredients, data, training, experiments."""
