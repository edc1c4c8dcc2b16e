"""How is code tracked as a run, and what does it call to log into it?"""
