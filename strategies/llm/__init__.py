"""Prompts for Claude, and the form of its answers.

Belongs here: prompts, the reference of the language in them, fencing of data, answers. Does not belong here: reaching
Claude (`blofin_resources.claude`), reading the text of a strategy (`strategies.untrusted`).
"""
