"""Comet as a Trackyard experiment tracker."""
