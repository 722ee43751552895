"""The security boundary: everything that reads untrusted text, in one folder to audit.

Belongs here: the form of a text, the compilers of strategies and features, the bounds of their cost, the child process
in which a text is first evaluated. Does not belong here: the words of the language (`strategies.language`).
"""
