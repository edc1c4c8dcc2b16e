"""Neptune as a Trackyard experiment tracker."""
