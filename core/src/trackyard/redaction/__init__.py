"""How are secrets kept out of what is written down?"""
