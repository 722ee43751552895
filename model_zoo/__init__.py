"""Models: the model interface, labels, folds, training, validation and the models themselves.

Belongs here: everything that is fitted to data. Does not belong here: features (`features`), fills and costs
(`backtester`), anything that reads a database or a network.
"""
