"""When what runs: the plan, jobs, schedules, the conductor, runs in this process, who is told of failures.

Belongs here: everything between the clock and the stages. Does not belong here: what a stage computes.
"""
