"""How is Trackyard used from a shell? One file here for each group of commands."""

from trackyard.cli.main import main

__all__ = ["main"]
