"""The one exception that a user's mistake raises; the command line turns it into one line and exit code 2."""


class UserError(Exception):
    """Bad input from outside: says what is wrong, where, and what would be right."""
