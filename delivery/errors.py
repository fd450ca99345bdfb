"""What a door answers when it cannot give what was asked for: the reason, and what would fit."""

from collections.abc import Iterable

from delivery.policy import alike, near


class DoorError(Exception):
    """A question that is not answered.

    Args:
        detail: why, for the person who asked; never a value of the data.
        names: what there is, where a name was misspelt; those that are like it are added.
        wanted: the misspelt name.
    """

    status = 500
    slug = "internal"
    title = "Something went wrong here"

    def __init__(self, detail: str, *, wanted: str | None = None, names: Iterable[str] = ()) -> None:
        names = list(names)
        self.alternatives = [] if wanted is None else alike(wanted, names)
        question = "" if wanted is None else near(wanted, names)
        super().__init__(detail + (question or ("" if detail.endswith((".", "?")) else ".")))


class UnknownNameError(DoorError):
    """There is no such metric, dimension, table, column, customer or category for this role."""

    status, slug, title = 404, "not-found", "There is no such thing"


class InvalidQuestionError(DoorError):
    """The question makes no sense."""

    status, slug, title = 422, "invalid-question", "The question cannot be understood"


class RefusedError(DoorError):
    """The role may not see that."""

    status, slug, title = 403, "refused", "Your role may not see this"


class GoneError(DoorError):
    """The publication that a cursor names is no longer there."""

    status, slug, title = 410, "publication-gone", "This publication is no longer there"


class TooSlowError(DoorError):
    """The answer took longer, or more memory, than is allowed."""

    status, slug, title = 503, "too-much", "The answer takes too much time or memory"


class NotPublishedError(DoorError):
    """There is nothing to ask yet."""

    status, slug, title = 503, "not-published", "Nothing is published yet"
