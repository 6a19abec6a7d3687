"""One self-contained HTML page a run: what was tried, what won, how far it can be trusted.

`analysis` turns predictions and features into figures' numbers, `content` holds everything a page
may show, `figures` and `samples` draw it, and `page` writes the file.
"""
