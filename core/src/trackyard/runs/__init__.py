"""What does one see of the runs that were made, and what does one do with them?"""
