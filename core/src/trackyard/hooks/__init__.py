"""Which plugins are there, and do they keep the rules?"""
