"""Where does a project's configuration stand, what may it say, and how is it changed?"""
