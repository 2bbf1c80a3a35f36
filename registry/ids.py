"""What an id is: a text as it was written, without the spaces around it.

Training trims the ids that it reads, and the server those that it is asked for, by this one rule.
"""


def trimmed(text: str) -> str:
    """Return an id or a raw feature text without white space around it."""
    return text.strip()
