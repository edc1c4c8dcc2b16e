"""Which orchestrators come with core?"""
