"""A client of any endpoint that speaks OpenAI's chat completions.

``OPENAI_BASE_URL`` says where it is, ``OPENAI_API_KEY`` holds the key. Both are read from the
environment and from nowhere else, so that no notebook, profile or record can hold a key. The openai
package waits, times out and tries again; this module counts, reads the answers, and sees to it that
the key is in nothing that leaves it: no answer, message, record, or exception behind another.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from pydantic import Field, SecretStr

from repro.settings import Rate, Strict

_HIDDEN = "[key]"
_SHORTEST_SECRET = 8  # "none" or "EMPTY", which local endpoints are given, are no secrets
_SCHEMA = {
    "type": "object",
    "properties": {"prompts": {"type": "array", "items": {"type": "string"}}},
    "required": ["prompts"],
    "additionalProperties": False,
}
# Ways to ask for JSON, and to limit an answer, from the newest to what every endpoint knows.
_FORMATS: tuple[Mapping[str, Any] | None, ...] = (
    {
        "type": "json_schema",
        "json_schema": {"name": "prompts", "strict": True, "schema": _SCHEMA},
    },
    {"type": "json_object"},
    None,
)
_CAPS = ("max_completion_tokens", "max_tokens", None)


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


class CeilingError(EndpointError):
    """The calls or tokens allowed are used up."""


@dataclass(frozen=True)
class _Failure:
    """Why a call failed, in words without a key."""

    message: str
    status: int | None = None


Exchange = dict[str, Any]
"""One call: ``asked``, ``answered`` (or None), ``error`` (or None), and what the endpoint told."""


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
        self._format = self._cap = 0
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

    def __repr__(self) -> str:
        return f"Endpoint({self.model!r}, calls={self.calls}, tokens={self.tokens})"

    def __enter__(self) -> Endpoint:
        return self

    def __exit__(self, *exception: object) -> None:
        self._client.close()

    def _count(self, request: object) -> None:
        self.calls += 1

    def ask(self, question: str, record: Callable[[Exchange], None]) -> Exchange:
        """Ask once, in the best way that the endpoint knows.

        Parameters
        ----------
        question
            The whole message.
        record
            Is given every exchange as soon as it is over, failures included.

        Returns
        -------
        dict
            The last exchange. Its ``answered`` is None where the model refused, or where what came
            back is no chat completion: asking again may help.

        Raises
        ------
        CeilingError
            If the calls or tokens allowed are used up.
        EndpointError
            If asking again does not help: a key or model that is not accepted, an endpoint that
            does not answer after all retries, or that asks to wait for longer than two minutes.
        """
        while True:
            before = self.calls
            got = self._call(question)
            way = _FORMATS[self._format]
            exchange: Exchange = {
                "asked": question,
                "format": way["type"] if way else None,
                "calls": self.calls - before,
                "answered": None,
                "error": None,
            }
            if isinstance(got, _Failure):
                exchange["error"] = got.message
            else:
                exchange.update(self._read(got))
            used = (exchange.get("usage") or {}).get("total_tokens")
            text = question + str(exchange["answered"] or "")
            self.tokens += used if used is not None else exchange["calls"] * _estimate(text)
            record(exchange)
            if not isinstance(got, _Failure):
                return exchange
            if not self._another_way(got):
                raise EndpointError(got.message)

    def _call(self, question: str) -> str | _Failure:
        """Send a question; return the body that came back, or why none did."""
        import openai

        calls = self.limits.calls - self.calls
        tokens = self.limits.tokens - self.tokens - _estimate(question)
        if calls < 1 or tokens < 1:
            what = f"{self.limits.calls} calls" if calls < 1 else f"{self.limits.tokens} tokens"
            raise CeilingError(
                f"the {what} allowed are used up ({self.calls} calls, {self.tokens} tokens); "
                f"raise 'limits.{'calls' if calls < 1 else 'tokens'}'"
            )
        options: dict[str, Any] = {}
        if (way := _FORMATS[self._format]) is not None:
            options["response_format"] = way
        if (cap := _CAPS[self._cap]) is not None:
            options[cap] = min(self.limits.answer_tokens, tokens)
        client = self._client.with_options(max_retries=min(self.limits.retries, calls - 1))
        # Nothing is raised in here: an exception would carry the request, and so the key, as its
        # context.
        try:
            raw = client.chat.completions.with_raw_response.create(
                model=self.model, messages=[{"role": "user", "content": question}], **options
            )
            return self._hide(raw.text)
        except openai.APIStatusError as error:
            return self._status(error.status_code, error.body, error.response.headers)
        except openai.APITimeoutError:
            return _Failure(
                f"the endpoint did not answer within {self.limits.timeout:g} s; raise "
                "'limits.timeout', or try again later"
            )
        except openai.APIConnectionError as error:
            cause = type(error.__cause__ or error).__name__
            return _Failure(
                f"the endpoint cannot be reached, or broke off ({cause}); is OPENAI_BASE_URL right?"
            )
        except (openai.OpenAIError, ValueError, UnicodeError) as error:
            return _Failure(f"the endpoint's answer cannot be read ({type(error).__name__})")

    def _status(self, status: int, body: object, headers: Mapping[str, str]) -> _Failure:
        """Return what an HTTP status means, with the endpoint's own words where they are safe."""
        if status in (401, 403):  # their words may hold a part of the key
            return _Failure(
                f"the endpoint does not accept the key (HTTP {status}); check OPENAI_API_KEY and "
                "OPENAI_BASE_URL",
                status,
            )
        told = body.get("message", body) if isinstance(body, dict) else body
        words = self._hide(str(told or "no reason given"))[:300]
        remedy = {404: f"; is {self.model!r} a model of this endpoint?"}.get(status, "")
        wait = headers.get("retry-after", "")
        if status == 429 and re.fullmatch(r"[\w ,:.-]{1,40}", wait):
            remedy = f"; it asks to wait {self._hide(wait)} s"
        return _Failure(f"the endpoint answered HTTP {status}: {words}{remedy}", status)

    def _another_way(self, failure: _Failure) -> bool:
        """Turn to a plainer way of asking where a request was not understood, if there is one."""
        if failure.status not in (400, 422):
            return False
        capped = any(cap and cap in failure.message for cap in _CAPS)
        if (capped or self._format + 1 == len(_FORMATS)) and self._cap + 1 < len(_CAPS):
            self._cap += 1
        elif not capped and self._format + 1 < len(_FORMATS):
            self._format += 1
        else:
            return False
        return True

    def _read(self, body: str) -> Exchange:
        """Return what a chat completion says; every field may be absent or of another type."""
        try:
            told = self._hidden(json.loads(body))
            choice = told["choices"][0]
            message = choice["message"]
            content, refusal = message.get("content"), message.get("refusal")
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            return {"error": "the answer is no chat completion", "body": body[:2000]}
        if isinstance(content, list):  # in parts
            content = "".join(
                str(part.get("text", "")) for part in content if isinstance(part, dict)
            )
        usage = told.get("usage")
        counts = {
            name: usage[name]
            for name in ("prompt_tokens", "completion_tokens", "total_tokens")
            if isinstance(usage, dict) and isinstance(usage.get(name), int)
        }
        finish = choice.get("finish_reason")
        error = None
        if refusal or finish == "content_filter":
            error = f"the model refused: {refusal or 'its content filter stopped it'}"
        elif not isinstance(content, str) or not content.strip():
            error = "the answer is empty"
        elif finish == "length":
            error = "the answer was cut off at its limit of tokens"
        usable = isinstance(content, str) and bool(content.strip()) and not refusal
        return {
            "answered": content if usable else None,
            "error": error,
            "finish_reason": finish if isinstance(finish, str) else None,
            "model": told["model"] if isinstance(told.get("model"), str) else None,
            "usage": counts or None,
        }

    def _hide(self, text: str) -> str:
        """Return a text without the key, also where it is escaped once or more, as in JSON."""
        if len(self._key) < _SHORTEST_SECRET:
            return text
        return re.sub(
            "".join(
                rf"\\*(?:{re.escape(sign)}|u(?i:{ord(sign):04x}))"
                for sign in self._key.get_secret_value()
            ),
            _HIDDEN,
            text,
        )

    def _hidden(self, value: Any) -> Any:
        """Return JSON values with the key taken out of every text, however it was escaped."""
        if isinstance(value, str):
            return self._hide(value)
        if isinstance(value, list):
            return [self._hidden(item) for item in value]
        if isinstance(value, dict):
            return {self._hide(key): self._hidden(item) for key, item in value.items()}
        return value


def _estimate(text: str) -> int:
    """Return about how many tokens a text has, rather too many than too few."""
    return len(text) // 3 + 1
