"""The embedded search: a quality-diversity search over genomes.

Belongs here: genomes, their compiled signals, fitness, the archive of elites, texts made of genomes. Does not belong
here: the panel and the objective, which all designers share (`strategies.search`).
"""
