"""From signals to trades of one lane, and from weights to trades of a book: the kernels, their input and output.

Belongs here: bars, signals, mark prices and costs as arrays, the compiled kernel, results of a lane. Does not belong
here: results over several lanes (`backtester.evaluation`), statistics (`backtester.statistics`).
"""
