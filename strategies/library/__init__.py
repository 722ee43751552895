"""The strategies that come with the platform, one class a file, the file named as the strategy.

Belongs here: strategies in the language, each with the edge it bets on and when it should fail. Does not belong
here: helpers, constants or anything else; `strategies.registry` refuses a file that is not one strategy.
"""
