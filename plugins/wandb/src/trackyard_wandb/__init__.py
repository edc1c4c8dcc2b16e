"""Weights & Biases as a Trackyard experiment tracker."""
