"""The one error a person is meant to read."""


class UserError(Exception):
    """A mistake outside the code (setting, file, broker), told in one sentence that names the thing and the place.

    The command line prints it without a stack trace and exits with code 2.
    """
