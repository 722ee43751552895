"""The books that come with the platform, one file each, named as the book in it.

Belongs here: a docstring with the bet, when it loses and where it comes from, parameters with ranges, and `weigh`. Does
not belong here: how a book is simulated (`backtester.simulation.books`), new words of the language
(`strategies.language`).
"""
