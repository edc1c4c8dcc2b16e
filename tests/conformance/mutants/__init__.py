"""Flavors with one fault each, and the correct flavor that they are made from."""
