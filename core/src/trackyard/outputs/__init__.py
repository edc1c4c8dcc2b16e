"""What steps return: where it is kept, and as what."""
