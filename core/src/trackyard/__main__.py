"""`python -m trackyard` is the same as `trackyard`."""

from trackyard.cli import main

if __name__ == "__main__":
    main()
