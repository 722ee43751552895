"""The report as a page: one HTML file that works offline and on a phone.

Belongs here: turning a document into HTML. Does not belong here: the content of the report (`sections`).
"""
