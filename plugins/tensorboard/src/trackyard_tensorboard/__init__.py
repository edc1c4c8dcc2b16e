"""TensorBoard as a Trackyard experiment tracker."""
