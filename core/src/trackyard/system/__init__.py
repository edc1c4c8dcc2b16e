"""What Python and the operating system leave to do: files, locks, forks, signals, waiting."""
