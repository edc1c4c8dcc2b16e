"""How do runs reach their trackers that their own process did not deliver or finish?"""
