"""The pages of an API's answers: each is checked, and no page is asked for twice."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from dlt.common import jsonpath
from dlt.sources.helpers.rest_client.detector import PaginatorFactory
from dlt.sources.helpers.rest_client.paginators import BasePaginator, RangePaginator
from requests import Request, Response

from ingestion.raw_tables import LoadError


class PullAgainError(LoadError):
    """What was read of the pages is no whole; the same pull may succeed when it begins again."""


class CheckedPages(BasePaginator):
    """One of dlt's paginators, held to what a pull relies on.

    An answer must have the list that the endpoint declares, of objects. A page that was read before is not read again:
    not the same request, and not another request with the same records. The last page must not name a next one. A next
    page must be on the same server, for it is sent the credentials.

    It is also a response hook that does nothing, so that the session knows which page of what a request asks for.

    Args:
        pages: the paginator that the source declares.
        table: the raw table, for messages.
        data_selector: where in an answer the list is.

    Attributes:
        received: pages received so far.
        can_move: whether records that come or go while the pages are read move others to another page: pages by their
            number or by an offset.
    """

    def __init__(self, pages: BasePaginator, table: str, data_selector: str) -> None:
        super().__init__()
        self.pages = pages
        self.table = table
        self.data_selector = data_selector
        self.received = 0
        self.can_move = isinstance(pages, RangePaginator)
        self._path = ""
        self._server = ("", "")
        self._asked: set[str] = set()
        self._records: list[Any] | None = None

    def __call__(self, response: Response, *_: Any, **__: Any) -> None:
        """Change nothing; see the class."""

    @property
    def has_next_page(self) -> bool:
        """Whether there is a next page."""
        return bool(self.pages.has_next_page)

    def init_request(self, request: Request) -> None:
        """Prepare the request of the first page."""
        request.register_hook("response", self)
        self.pages.init_request(request)
        url = urlsplit(str(request.url))
        self._path, self._server = url.path, (url.scheme, url.netloc)
        self.received = 0
        self._asked = {_identity(request)}
        self._records = None

    def update_state(self, response: Response, data: list[Any] | None = None) -> None:
        """Check an answer, and find out whether there is a next page."""
        self.received += 1
        answer = response.json()
        found = jsonpath.find_values(self.data_selector, answer)
        # The answer itself may be the one record of an endpoint that has one.
        if self.data_selector == "$" and isinstance(answer, Mapping):
            found = [[answer]]
        if len(found) != 1 or not isinstance(found[0], list):
            self._fail(
                f"there is no list at `{self.data_selector}` but {_kind(found)}. The answer has {_names(answer)}. "
                "Declare in `data_selector` where the list is"
            )
        records = found[0]
        if not all(isinstance(record, dict) for record in records):
            self._fail(f"`{self.data_selector}` has entries that are no objects")
        if records and records == self._records:
            self._fail("it has the same records as the page before. The server does not go on to the next page")
        self._records = records
        try:
            self.pages.update_state(response, data)
        except ValueError:
            # The library's message has the whole answer in it.
            self._fail(f"it does not say whether there is another page as `paginator` declares: {_names(answer)}")
        if not self.has_next_page and records != [answer]:
            named, certainty = PaginatorFactory().create_paginator(response)
            if certainty == 1.0:
                self._fail(
                    f"it names a next page, which the declared paginator does not read. Declare {type(named).__name__}"
                )

    def update_request(self, request: Request) -> None:
        """Prepare the request of the next page."""
        self.pages.update_request(request)
        if not self.has_next_page:
            return
        url = urlsplit(str(request.url))
        if (url.scheme, url.netloc) != self._server:
            self._fail(
                f"it names a next page on another server, {url.scheme}://{url.netloc}. "
                "Declare that server in `base_url` if it is the right one"
            )
        identity = _identity(request)
        if identity in self._asked:
            self._fail("it names a next page that was read before. The server turns in circles")
        self._asked.add(identity)

    def _fail(self, what: str) -> None:
        raise LoadError(f"{self.table}: page {self.received} of {self._path}: {what}. Nothing was loaded.") from None


def _identity(request: Request) -> str:
    return repr((request.url, request.params, request.json, request.data))


def _kind(found: list[Any]) -> str:
    if not found:
        return "nothing"
    return "null" if found[0] is None else f"a {type(found[0]).__name__}"


def _names(answer: Any) -> str:
    return ", ".join(list(answer)[:20]) if isinstance(answer, Mapping) else f"a {type(answer).__name__}"
