"""What does Trackyard's page consist of? `trackyard page` serves it."""

__version__ = "0.1.0"
