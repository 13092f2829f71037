"""A client of any endpoint that speaks OpenAI's chat completions.

``OPENAI_BASE_URL`` says where it is, ``OPENAI_API_KEY`` holds the key. Both are read from the
environment and from nowhere else, so that no notebook, profile or record can hold a key. The openai
package waits, times out and tries again; this module counts, and sees to it that the key is in
nothing that leaves it: no answer, message, record, or exception behind another.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, Field, SecretStr

from repro.settings import Rate, Strict

_SHORTEST_SECRET = 8  # "none" or "EMPTY", which local endpoints are given, are no secrets


class Limits(Strict):
    """How long to wait, how often to try, and when to stop; each run of a study has its own."""

    timeout: Rate = 120.0  # seconds without a byte from the endpoint
    retries: int = Field(default=4, ge=0)  # of a call that failed: 408, 409, 429, 5xx, no answer
    calls: int = Field(default=60, ge=1)  # requests that are sent, retries among them
    tokens: int = Field(default=300_000, ge=1)  # as the endpoint counts them, else estimated
    answer_tokens: int = Field(default=8_000, ge=16)  # of one answer
    batch: int = Field(default=50, ge=1)  # prompts that are asked for at once
    patience: int = Field(default=3, ge=1)  # answers in a row without one usable prompt


class EndpointError(RuntimeError):
    """An endpoint cannot be used, or no longer; the message says what to do."""


@dataclass
class Exchange:
    """One question, and what came of it."""

    asked: str
    calls: int  # requests, retries among them
    answered: str | None = None
    error: str | None = None
    model: str | None = None  # as the endpoint names it
    tokens: int | None = None  # as the endpoint counts them


class Endpoint:
    """A model behind an endpoint, and what was used of it.

    Parameters
    ----------
    model
        Its name, as the endpoint knows it.
    limits
        See `Limits`.

    Attributes
    ----------
    calls, tokens
        Used so far. A call that was cut off may have cost tokens that no answer tells of: they are
        estimated by what was asked.

    Raises
    ------
    EndpointError
        If there is no key, or the address or the key is none that can be used.
    """

    def __init__(self, model: str, limits: Limits) -> None:
        import openai  # late: only this class needs it, and it takes a second

        self.model, self.limits = model, limits
        self.calls = self.tokens = 0
        self._plain = False
        # Never in a variable of its own, which a traceback may show.
        self._key = SecretStr(os.environ.get("OPENAI_API_KEY", "").strip())
        if not self._key.get_secret_value():
            raise EndpointError(
                f"no key for model {model!r}: set the environment variable OPENAI_API_KEY (to any "
                "word where the endpoint asks for none), or give no model to have the prompts "
                "written offline"
            )
        if not re.fullmatch(r"[!-~]+", self._key.get_secret_value()):
            raise EndpointError("OPENAI_API_KEY holds characters that no key has; set it again")
        address = os.environ.get("OPENAI_BASE_URL", "").strip() or "https://api.openai.com/v1"
        parts = urlsplit(address)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise EndpointError("OPENAI_BASE_URL is no address such as https://host/v1")
        if parts.username or parts.password or parts.query:
            raise EndpointError(
                "OPENAI_BASE_URL holds more than an address; a key belongs in OPENAI_API_KEY"
            )
        self._client = openai.OpenAI(
            api_key=self._key.get_secret_value(),
            base_url=address,
            timeout=limits.timeout,
            http_client=openai.DefaultHttpxClient(
                timeout=limits.timeout,
                event_hooks={"request": [self._count]},
                follow_redirects=False,  # a key goes to the address that was set, to no other
            ),
        )

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def _count(self, request: object) -> None:
        self.calls += 1

    def ask(
        self, question: str, form: type[BaseModel], record: Callable[[Exchange], None]
    ) -> Exchange:
        """Ask once; plainly where the endpoint does not know structured outputs.

        Parameters
        ----------
        question
            The whole message.
        form
            What the answer should be, as JSON.
        record
            Is given every exchange as soon as it is over, failures included.

        Returns
        -------
        Exchange
            The last one. Its ``answered`` is None where the model refused, or where what came back
            is no chat completion: asking again may help.

        Raises
        ------
        EndpointError
            If the calls or tokens allowed are used up, or asking again does not help: a key or
            model that is not accepted, an endpoint that does not answer after all retries, or that
            asks to wait for longer than two minutes.
        """
        estimate = len(question) // 3 + 1  # tokens, rather too many than too few
        while True:
            room = {
                "calls": self.limits.calls - self.calls,
                "tokens": self.limits.tokens - self.tokens - estimate,
            }
            if spent := [what for what, left in room.items() if left < 1]:
                raise EndpointError(
                    f"the {getattr(self.limits, spent[0])} {spent[0]} allowed are used up "
                    f"({self.calls} calls, {self.tokens} tokens); raise 'limits.{spent[0]}'"
                )
            before, most = self.calls, min(self.limits.answer_tokens, room["tokens"])
            got, failure, status = self._send(question, form, most, room["calls"] - 1)
            exchange = Exchange(question, self.calls - before, error=failure)
            if failure is None:
                self._read(got, exchange)
            told = len(exchange.answered or "") // 3
            self.tokens += exchange.tokens or exchange.calls * (estimate + told)
            record(exchange)
            if failure is None:
                return exchange
            if self._plain or status not in (400, 422):
                raise EndpointError(failure)
            self._plain = True

    def _send(
        self, question: str, form: type[BaseModel], most: int, retries: int
    ) -> tuple[Any, str | None, int]:
        """Return the completion, or why there is none and the HTTP status."""
        import openai

        how: dict[str, Any] = {"max_tokens": most}  # what every endpoint knows
        if not self._plain:
            schema = {"name": "prompts", "strict": True, "schema": form.model_json_schema()}
            how = {
                "max_completion_tokens": most,
                "response_format": {"type": "json_schema", "json_schema": schema},
            }
        client = self._client.with_options(max_retries=min(self.limits.retries, retries))
        # Nothing is raised in here: an exception would carry the request, and so the key, as its
        # context.
        try:
            asked: Any = [{"role": "user", "content": question}]
            return client.chat.completions.create(model=self.model, messages=asked, **how), None, 0
        except openai.APIStatusError as error:
            return None, self._status(error), error.status_code
        except openai.APITimeoutError:
            failure = (
                f"the endpoint did not answer within {self.limits.timeout:g} s; raise "
                "'limits.timeout', or try again later"
            )
        except openai.APIConnectionError as error:
            failure = (
                "the endpoint cannot be reached, or broke off "
                f"({type(error.__cause__ or error).__name__}); is OPENAI_BASE_URL right?"
            )
        except ValueError:  # the body is no JSON
            return None, None, 0
        except openai.OpenAIError as error:
            failure = f"the endpoint's answer cannot be read ({type(error).__name__})"
        return None, failure, 0

    def _status(self, error: Any) -> str:
        """Return what an HTTP status means, with the endpoint's own words where they are safe."""
        status, body, headers = error.status_code, error.body, error.response.headers
        if status in (401, 403):  # their words may hold a part of the key
            return (
                f"the endpoint does not accept the key (HTTP {status}); check OPENAI_API_KEY and "
                "OPENAI_BASE_URL"
            )
        told = body.get("message", body) if isinstance(body, dict) else body
        remedy = f"; is {self.model!r} a model of this endpoint?" if status == 404 else ""
        wait = headers.get("retry-after", "")
        if status == 429 and re.fullmatch(r"[\w ,:.-]{1,40}", wait):
            remedy = f"; it asks to wait {self._hide(wait)} s"
        words = self._hide(str(told or "no reason given"))[:300]
        return f"the endpoint answered HTTP {status}: {words}{remedy}"

    def _read(self, completion: Any, exchange: Exchange) -> None:
        """Note what a chat completion says; every field may be absent or of another type."""
        try:
            choice = completion.choices[0]
            content, refusal = choice.message.content, choice.message.refusal
        except (AttributeError, IndexError, TypeError):
            exchange.error = "the answer is no chat completion"
            return
        if isinstance(content, list):  # in parts
            content = "".join(str(x.get("text", "")) for x in content if isinstance(x, dict))
        empty = not isinstance(content, str) or not content.strip()
        if refusal or choice.finish_reason == "content_filter":
            why = self._hide(str(refusal)) if refusal else "its content filter stopped it"
            exchange.error = f"the model refused: {why}"
        elif empty:
            exchange.error = "the answer is empty"
        elif choice.finish_reason == "length":
            exchange.error = "the answer was cut off at its limit of tokens"
        exchange.answered = None if empty or refusal else self._hide(content)
        exchange.model = self._hide(str(completion.model))
        tokens = getattr(completion.usage, "total_tokens", None)
        exchange.tokens = tokens if isinstance(tokens, int) else None

    def _hide(self, text: str) -> str:
        """Return a text without the key, as it stands or as JSON may write it."""
        if len(self._key) < _SHORTEST_SECRET:
            return text
        for form in (str, lambda key: json.dumps(key)[1:-1]):
            plain = form(self._key.get_secret_value())
            text = text.replace(plain, "[key]").replace(plain.replace("/", "\\/"), "[key]")
        return text
