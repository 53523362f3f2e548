"""The errors that a person is meant to read."""


class UserError(Exception):
    """A mistake outside the code (setting, file, broker), told in one sentence that names the thing and the place.

    The command line prints it without a stack trace and exits with code 2.
    """


class TransientError(UserError):
    """One that may be gone when the same is done again, without anybody mending anything: runs try so by themselves."""
