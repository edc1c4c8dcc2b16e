"""trackio as a Trackyard experiment tracker."""
