"""What does one see of flavors, trackers and stacks, and how are they registered and tried?"""
