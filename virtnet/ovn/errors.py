"""What can go wrong with a database, by what the caller does about it."""


class OvnError(Exception):
    """Base of all of them."""


class Fenced(OvnError):  # noqa: N818 - says what the writer is
    """The database's lock is another's: somebody else leads. Nothing was written. Stop writing."""


class Stale(OvnError):  # noqa: N818
    """The rows are not what the operations were decided from. Nothing was written. Decide again."""


class OvnRejected(OvnError):  # noqa: N818
    """The database refuses the operations as they are, for example a name that a foreign row has.

    Nothing was written. The same operations will fail again.
    """


class OvnUnavailable(OvnError, ConnectionError):  # noqa: N818
    """The database cannot be reached or does not answer. Try again.

    What was sent may have been written, or be written yet. So operations must come from a difference to what is
    observed (never "once more"), and ``on_change`` reports every key once the connection is back.
    """
