"""The client and the bank, against a local server that fails in every way that endpoints do."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from repro.aimfair import llm
from repro.aimfair.llm import (
    BankError,
    CeilingError,
    Endpoint,
    EndpointError,
    Limits,
    PromptBank,
    UnusableError,
    prompt_bank,
    prompts_in,
)
from repro.aimfair.prompt_checks import check_prompts
from repro.aimfair.prompts import (
    GROUPS,
    KINDS,
    OFFLINE,
    VOCABULARIES,
    Task,
    instruction,
    write_offline,
)
from repro.names import UnknownNameError

KEY = 'sk-Zq7/fake+"key"-0123456789'  # with characters that JSON escapes
MODEL = "model-x"
TASK = Task("Smiling", "Male")
N = 3
FAST = Limits(timeout=10, retries=2, calls=30, patience=2)

Reply = tuple[int, dict[str, str], bytes]
Behaviour = Callable[["Server", dict[str, Any]], Reply | None]


class Server(ThreadingHTTPServer):
    """Plays its script, one behaviour a request, and then answers as it should."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Behaviour] = []
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str] = set()
        self.released = threading.Event()

    def handle_error(self, *_: object) -> None:
        """A connection that a test cut is no news."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/v1/chat/completions"
        self.server.asked.append(body)
        self.server.keys.add(self.headers["Authorization"])
        behaviour = self.server.script.pop(0) if self.server.script else good
        reply = behaviour(self.server, body)
        if reply is None:  # cut: no status line, nothing
            self.close_connection = True
            return
        status, headers, content = reply
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        if "Content-Length" not in headers:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def question(body: dict[str, Any]) -> str:
    return str(body["messages"][0]["content"])


def group_of(body: dict[str, Any]) -> tuple[int, int]:
    return next(group for group in GROUPS if f"one group: {TASK.plain(group)!r}" in question(body))


def wanted(body: dict[str, Any]) -> int:
    found = re.match(r"Write (\d+)", question(body))
    assert found is not None
    return int(found[1])


def completion(content: Any, finish: str = "stop", **message: Any) -> Reply:
    told = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "model-x-served",
        "choices": [
            {
                "index": 0,
                "finish_reason": finish,
                "message": {"role": "assistant", "content": content, **message},
            }
        ],
        "usage": {"prompt_tokens": 70, "completion_tokens": 30, "total_tokens": 100},
    }
    return 200, {}, json.dumps(told).encode()


def fresh(body: dict[str, Any], count: int, group: tuple[int, int] | None = None) -> list[str]:
    """Return prompts that the question does not hold yet."""
    written = write_offline(TASK, group or group_of(body), 40, seed=5)
    return [prompt for prompt in written if prompt not in question(body)][:count]


def good(server: Server, body: dict[str, Any]) -> Reply:
    return completion(json.dumps({"prompts": fresh(body, wanted(body))}))


def says(make: Callable[[dict[str, Any]], Any], **more: Any) -> Behaviour:
    return lambda server, body: completion(make(body), **more)


def fails(status: int, message: str = "no", **headers: str) -> Behaviour:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda server, body: (
        status,
        named,
        json.dumps({"error": {"message": message, "type": "x"}}).encode(),
    )


def hangs(server: Server, body: dict[str, Any]) -> None:
    server.released.wait(10)


def cuts(server: Server, body: dict[str, Any]) -> None:
    return None


def cuts_midway(server: Server, body: dict[str, Any]) -> Reply:
    status, _, content = good(server, body)
    return status, {"Content-Length": str(len(content))}, content[:40]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    running = Server()
    thread = threading.Thread(target=running.serve_forever, args=(0.01,))
    thread.start()
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{running.server_port}/v1")
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    # The package waits half a second before it tries again; its rule is kept, its unit is not.
    monkeypatch.setattr("openai._base_client.INITIAL_RETRY_DELAY", 0.01)
    yield running
    running.released.set()
    running.shutdown()
    thread.join()
    running.server_close()


@pytest.fixture(autouse=True)
def no_key_anywhere(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[None]:
    """After every test: no log, output or file holds the key, at the finest level of logging."""
    caplog.set_level(logging.DEBUG)
    yield
    printed = capfd.readouterr()
    for text in (caplog.text, repr([vars(r) for r in caplog.records]), printed.out, printed.err):
        assert_no_key(text)
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert_no_key(path.read_text(encoding="utf-8"))


def assert_no_key(text: str) -> None:
    for form in (KEY, json.dumps(KEY)[1:-1], KEY.replace("/", "\\/"), "fake+", "0123456789"):
        assert form not in text


def assert_nothing_hidden(error: BaseException) -> None:
    """Walk an exception, all behind it, their attributes and the variables of their frames."""
    seen: list[BaseException] = []
    at: BaseException | None = error
    while at is not None and at not in seen:
        seen.append(at)
        assert_no_key(f"{at} {at!r} {at.args} {vars(at)}")
        for name in ("request", "response", "body"):
            assert not hasattr(at, name)
        at = at.__cause__ or at.__context__
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert_no_key("".join(shown.format(chain=True)))


def bank_of(**options: Any) -> PromptBank:
    return prompt_bank(TASK, options.pop("n", N), **{"model": MODEL, "limits": FAST} | options)


def refused(kind: type[Exception], **options: Any) -> str:
    with pytest.raises(kind) as caught:
        bank_of(**options)
    assert_nothing_hidden(caught.value)
    return str(caught.value)


def assert_right(bank: PromptBank) -> None:
    assert bank.complete
    for group in GROUPS:
        assert len(bank.prompts[group]) == bank.n
        checked = check_prompts(bank.prompts[group], TASK, group, kind=bank.kind, n=bank.n)
        assert checked.accepted == bank.prompts[group]
    assert_no_key(repr(bank) + json.dumps(bank.content()))


# What should happen


def test_a_model_is_asked_once_for_each_group(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "banks" / "bank.json"
    bank = bank_of(path=path)
    assert_right(bank)
    assert server.keys == {f"Bearer {KEY}"}  # it was really sent, so it could have leaked
    assert [group_of(body) for body in server.asked] == list(GROUPS)
    assert {body["model"] for body in server.asked} == {MODEL}
    for body in server.asked:
        assert body["response_format"]["type"] == "json_schema"
        assert body["response_format"]["json_schema"]["strict"] is True
        assert body["max_completion_tokens"] == FAST.answer_tokens
        assert question(body) == instruction(TASK, group_of(body), N)
    assert bank.model == MODEL
    assert bank.date is not None
    assert (bank.seed, bank.vocabulary) == (None, None)
    assert bank.instructions == {group: instruction(TASK, group, N) for group in GROUPS}
    assert [exchange["model"] for exchange in bank.exchanges] == ["model-x-served"] * 4
    assert [exchange["usage"]["total_tokens"] for exchange in bank.exchanges] == [100] * 4
    assert PromptBank.load(path) == bank


def test_a_recorded_bank_needs_no_endpoint_and_no_key(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bank.json"
    bank = bank_of(path=path)
    asked = len(server.asked)
    assert asked == 4
    monkeypatch.delenv("OPENAI_API_KEY")
    assert bank_of(path=path) == bank
    assert len(server.asked) == asked


def test_large_sets_are_asked_for_in_batches(server: Server) -> None:
    bank = bank_of(n=7, limits=FAST.model_copy(update={"batch": 4}))
    assert_right(bank)
    assert [wanted(body) for body in server.asked] == [4, 3] * 4
    assert bank.prompts[0, 0][0] in question(server.asked[1])
    assert "written already" in question(server.asked[1])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_asked_for(server: Server, kind: str) -> None:
    def answer(server: Server, body: dict[str, Any]) -> Reply:
        return completion(
            json.dumps({"prompts": write_offline(TASK, group_of(body), wanted(body), kind=kind)})
        )

    server.script = [answer] * 4
    bank = bank_of(kind=kind, n=1 if kind == KINDS[0] else N)
    assert bank.complete
    assert bank.kind == kind


# Endpoints that know less


def test_an_endpoint_without_schemas_is_asked_more_plainly(server: Server) -> None:
    no = fails(400, "response_format is not supported")
    server.script = [no, no]
    assert_right(bank_of())
    kinds = [body.get("response_format", {}).get("type") for body in server.asked]
    assert kinds == ["json_schema", "json_object", None, None, None, None]


def test_an_endpoint_that_knows_only_max_tokens(server: Server) -> None:
    server.script = [fails(400, "Unrecognized argument: max_completion_tokens")]
    assert_right(bank_of())
    assert ["max_completion_tokens" in body for body in server.asked] == [True] + [False] * 4
    assert all("max_tokens" in body for body in server.asked[1:])
    assert all(body["response_format"]["type"] == "json_schema" for body in server.asked)


def test_a_request_that_no_way_of_asking_helps_ends(server: Server) -> None:
    server.script = [fails(400, "the moon is full")] * 20
    assert "the moon is full" in refused(EndpointError)
    assert len(server.asked) == 5  # three formats, then two other names of the cap


# Faults


def test_rate_limits_wait_as_long_as_they_are_told(server: Server) -> None:
    server.script = [fails(429, "slow down", Retry_After="0.3")]
    began = time.monotonic()
    bank = bank_of()
    assert time.monotonic() - began >= 0.3  # against 0.01 s of its own
    assert_right(bank)
    assert len(server.asked) == 5
    assert bank.exchanges[0]["calls"] == 2


def test_rate_limits_that_ask_for_too_long_end(server: Server) -> None:
    server.script = [fails(429, "quota", Retry_After="7200")]
    assert "7200" in refused(EndpointError)
    assert len(server.asked) == 1


@pytest.mark.parametrize("fault", [fails(500), fails(503), cuts, cuts_midway])
def test_passing_faults_are_tried_again(server: Server, fault: Behaviour) -> None:
    server.script = [fault, good, fault, fault]
    bank = bank_of()
    assert_right(bank)
    assert len(server.asked) == 7
    assert sum(exchange["calls"] for exchange in bank.exchanges) == 7


def test_a_hang_is_tried_again_after_the_timeout(server: Server) -> None:
    server.script = [hangs]
    assert_right(bank_of(limits=FAST.model_copy(update={"timeout": 0.5})))
    assert len(server.asked) == 5


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (fails(500, "engine on fire"), "engine on fire"),
        (fails(429, "slow down"), "slow down"),
        (cuts, "cannot be reached, or broke off"),
        (cuts_midway, "cannot be reached, or broke off"),
        (hangs, "did not answer within 0.5 s"),
    ],
)
def test_lasting_faults_end_after_the_retries(
    server: Server, fault: Behaviour, told: str, tmp_path: Path
) -> None:
    server.script = [good, *[fault] * 20]
    path = tmp_path / "bank.json"
    message = refused(
        EndpointError, path=path, limits=FAST.model_copy(update={"timeout": 0.5, "retries": 1})
    )
    assert told in message
    assert str(path) in message
    assert len(server.asked) == 1 + 2
    kept = PromptBank.load(path)
    assert len(kept.prompts[0, 0]) == N  # what was answered is not lost
    assert told in kept.exchanges[-1]["error"]
    server.script = []
    assert_right(bank_of(path=path))
    assert len(server.asked) == 3 + 3  # the first group is not asked for again


def test_nobody_listens(monkeypatch: pytest.MonkeyPatch, server: Server) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert "OPENAI_BASE_URL" in refused(EndpointError)


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_ends_at_once_and_is_not_shown(server: Server, status: int) -> None:
    server.script = [fails(status, f"Incorrect API key provided: {KEY}; sk-Zq7***6789")]
    message = refused(EndpointError)
    assert "OPENAI_API_KEY" in message
    assert "sk-Zq7" not in message
    assert len(server.asked) == 1


@pytest.mark.parametrize("status", [400, 404, 422, 500])
def test_a_key_that_the_endpoint_repeats_is_hidden(
    server: Server, status: int, tmp_path: Path
) -> None:
    server.script = [fails(status, f"bad request with Bearer {KEY} and model")] * 30
    message = refused(EndpointError, path=tmp_path / "bank.json")
    assert "Bearer [key]" in message
    kept = PromptBank.load(tmp_path / "bank.json")
    assert "[key]" in kept.exchanges[0]["error"]


def test_a_key_in_an_answer_is_hidden(server: Server, tmp_path: Path) -> None:
    def leak(server: Server, body: dict[str, Any]) -> Reply:
        prompts = [f"Portrait with {KEY}", *fresh(body, N)]
        status, headers, content = completion(json.dumps({"prompts": prompts, "key": KEY}))
        return status, headers, content.replace(b"/", b"\\/")  # as some encoders escape it

    server.script = [
        leak,
        says(lambda body: None, refusal=f"no, {KEY}"),
        good,
        lambda server, body: (200, {}, f'{{"oops": "{KEY}'.encode()),
    ]
    bank = bank_of(path=tmp_path / "bank.json")
    assert_right(bank)
    kept = json.dumps(bank.content())
    assert kept.count("[key]") >= 3


def test_no_key(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in (None, "", "  \n"):
        if value is None:
            monkeypatch.delenv("OPENAI_API_KEY")
        else:
            monkeypatch.setenv("OPENAI_API_KEY", value)
        message = refused(EndpointError)
        assert "OPENAI_API_KEY" in message
        assert "offline" in message
    assert server.asked == []


@pytest.mark.parametrize("tail", ["\nX-Other: 1", " \u00fc"])
def test_a_key_that_cannot_be_sent_is_not_shown(
    server: Server, monkeypatch: pytest.MonkeyPatch, tail: str
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY + tail)
    assert "characters that no key has" in refused(EndpointError)
    assert server.asked == []


@pytest.mark.parametrize(
    "address", ["localhost:80", "ftp://host/v1", f"https://me:{KEY[:3]}0123456789@host/v1"]
)
def test_an_address_that_is_none(
    server: Server, monkeypatch: pytest.MonkeyPatch, address: str
) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", address)
    with pytest.raises(EndpointError, match="OPENAI_BASE_URL") as caught:
        Endpoint(MODEL, FAST)
    assert_no_key(f"{caught.value} {caught.value!r}")


def test_an_endpoint_that_redirects_is_not_followed(server: Server) -> None:
    server.script = [fails(307, "elsewhere", Location="http://127.0.0.1:9/v1/chat/completions")]
    assert "HTTP 307" in refused(EndpointError)


def test_an_unknown_model_is_named(server: Server) -> None:
    server.script = [fails(404, "no such model")]
    assert "'model-x'" in refused(EndpointError)


def test_the_endpoint_shows_no_key(server: Server) -> None:
    with Endpoint(MODEL, FAST) as endpoint:
        assert_no_key(f"{endpoint!r} {endpoint} {vars(endpoint)}")


# Answers that cannot be used


def cut_off(body: dict[str, Any]) -> str:
    return json.dumps({"prompts": fresh(body, N)})[:-25]


WRONG: dict[str, tuple[Behaviour, str]] = {
    "truncated JSON": (says(cut_off, finish="length"), "cut off"),
    "no JSON": (says(lambda body: "I would rather talk about birds."), ""),
    "broken JSON": (says(lambda body: '{"prompts": [["Port}'), ""),
    "JSON of another shape": (says(lambda body: '{"prompts": {"a": [1, null, true]}}'), ""),
    "too few": (says(lambda body: json.dumps({"prompts": fresh(body, 1)})), ""),
    "duplicates": (says(lambda body: json.dumps({"prompts": fresh(body, 1) * N})), "before"),
    "another group": (
        says(lambda body: json.dumps({"prompts": fresh(body, N, (1, 1))})),
        "shows 'smiling male'",
    ),
    "empty": (says(lambda body: ""), "empty"),
    "null": (says(lambda body: None), "empty"),
    "refusal": (says(lambda body: None, refusal="I cannot describe people."), "I cannot describe"),
    "content filter": (says(lambda body: "", finish="content_filter"), "content filter"),
    "no chat completion": (lambda server, body: (200, {}, b'{"choices": []}'), "no chat comp"),
    "no JSON in the body": (lambda server, body: (200, {}, b'{"choices": [{"mess'), "no chat comp"),
    "a web page": (
        lambda server, body: (200, {"Content-Type": "text/html"}, b"<p>Welcome</p>"),
        "no chat comp",
    ),
    "an error as an answer": (
        lambda server, body: (200, {}, b'{"error": {"message": "busy"}}'),
        "no chat comp",
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_missing_is_asked_for_again(server: Server, fault: str, tmp_path: Path) -> None:
    behaviour, told = WRONG[fault]
    server.script = [behaviour]
    bank = bank_of(path=tmp_path / "bank.json")
    assert_right(bank)
    assert [group_of(body) for body in server.asked] == [(0, 0), *GROUPS]
    again = question(server.asked[1])
    assert told in again or told in bank.exchanges[0]["error"]
    first = prompts_in(bank.exchanges[0]["answered"] or "")
    gained = check_prompts(first, TASK, (0, 0), n=N).accepted
    assert wanted(server.asked[1]) == N - len(gained)
    assert len(gained) == {"truncated JSON": N - 1, "too few": 1, "duplicates": 1}.get(fault, 0)
    # Nothing that was answered is lost.
    assert bank.prompts[0, 0][: len(gained)] == gained
    assert PromptBank.load(tmp_path / "bank.json") == bank


@pytest.mark.parametrize("fault", sorted(set(WRONG) - {"truncated JSON", "too few", "duplicates"}))
def test_what_cannot_be_repaired_ends_and_shows_why(
    server: Server, fault: str, tmp_path: Path
) -> None:
    behaviour, told = WRONG[fault]
    server.script = [behaviour] * FAST.patience
    path = tmp_path / "bank.json"
    message = refused(UnusableError, path=path)
    assert told in message
    assert "group (0, 0) has 0 of 3" in message
    assert str(path) in message
    assert len(server.asked) == FAST.patience
    assert_right(bank_of(path=path))  # and the same call goes on


def test_an_unusable_set_lists_its_prompts_and_reasons(server: Server) -> None:
    wrong = says(lambda body: json.dumps({"prompts": fresh(body, N, (1, 0))}))
    server.script = [good] + [wrong] * 5
    with pytest.raises(UnusableError, match=r"group \(0, 1\)") as caught:
        bank_of()
    assert caught.value.group == (0, 1)
    assert len(caught.value.rejected) == N * FAST.patience
    assert all("shows 'smiling female'" in r.reasons[0] for r in caught.value.rejected)
    assert caught.value.rejected[-1].prompt in str(caught.value)


def test_rejected_prompts_are_sent_back_with_their_reasons(server: Server) -> None:
    bearded = (
        "Portrait face photo of a female not smiling, with a full beard, a hat, and chin raised."
    )
    server.script = [
        says(lambda body: json.dumps({"prompts": [bearded, *fresh(body, N - 1)]})),
    ]
    assert_right(bank_of())
    again = question(server.asked[1])
    assert f"{bearded}: 'a full beard' is not said of a female face" in again
    assert wanted(server.asked[1]) == 1


@pytest.mark.parametrize(
    "form",
    [
        lambda prompts: "```json\n" + json.dumps({"prompts": prompts}) + "\n```",
        lambda prompts: "Here they are:\n" + json.dumps(prompts, indent=2) + "\nEnjoy!",
        lambda prompts: "\n".join(f"{i}. {p}." for i, p in enumerate(prompts, 1)),
        lambda prompts: "\n".join(f'- "{p}"' for p in prompts),
        lambda prompts: json.dumps([{"prompt": p} for p in prompts]),
        lambda prompts: json.dumps({"prompts": prompts})[:-1] + ", oops",
    ],
)
def test_prompts_are_found_in_other_forms(server: Server, form: Callable[[list[str]], str]) -> None:
    server.script = [says(lambda body: form(fresh(body, N)))] * 4
    assert_right(bank_of())
    assert len(server.asked) == 4


def test_content_in_parts_is_read(server: Server) -> None:
    def parts(body: dict[str, Any]) -> list[dict[str, str]]:
        return [{"type": "text", "text": json.dumps({"prompts": fresh(body, N)})}]

    server.script = [says(parts)] * 4
    assert_right(bank_of())
    assert len(server.asked) == 4


# Ceilings


@pytest.mark.parametrize("calls", [1, 2, 3, 5])
def test_no_more_calls_are_made_than_allowed(server: Server, calls: int) -> None:
    server.script = [fails(500)] * 50
    limits = FAST.model_copy(update={"calls": calls, "retries": 10})
    refused(EndpointError, limits=limits)
    assert len(server.asked) == calls


def test_the_ceiling_of_calls_keeps_what_there_is(server: Server, tmp_path: Path) -> None:
    path = tmp_path / "bank.json"
    limits = FAST.model_copy(update={"calls": 3})
    message = refused(CeilingError, limits=limits, path=path)
    assert "3 calls" in message
    assert "9 prompts so far are kept" in message
    assert len(server.asked) == 3
    assert_right(bank_of(limits=limits, path=path))
    assert len(server.asked) == 4


def test_the_ceiling_of_tokens(server: Server) -> None:
    tokens = 100 + len(instruction(TASK, (0, 0), N)) // 3 + 30
    message = refused(CeilingError, limits=FAST.model_copy(update={"tokens": tokens}))
    assert f"{tokens} tokens" in message
    assert len(server.asked) == 2  # the answers cost 100 each
    assert (
        server.asked[0]["max_completion_tokens"] == tokens - len(question(server.asked[0])) // 3 - 1
    )


def test_tokens_are_estimated_where_they_are_not_told(server: Server) -> None:
    def silent(server: Server, body: dict[str, Any]) -> Reply:
        status, headers, content = good(server, body)
        told = json.loads(content)
        told["usage"] = "many"
        return status, headers, json.dumps(told).encode()

    server.script = [silent]
    with Endpoint(MODEL, FAST) as endpoint:
        kept: list[dict[str, Any]] = []
        text = instruction(TASK, (0, 0), N)
        exchange = endpoint.ask(text, kept.append)
        assert kept == [exchange]
        assert endpoint.tokens > len(text) // 3
        assert endpoint.calls == 1


# The offline writer's bank, and files


def test_without_a_model_nobody_is_asked(server: Server) -> None:
    bank = prompt_bank(TASK, 25)
    assert server.asked == []
    assert bank.complete
    assert bank.model == OFFLINE
    assert "not an LLM" in repr(bank)
    assert (bank.seed, bank.vocabulary, bank.date) == (0, "stable-diffusion", None)
    assert (bank.instructions, bank.exchanges) == ({}, ())
    assert list(bank.prompts[1, 0]) == write_offline(TASK, (1, 0), 25)


def test_an_offline_bank_is_the_same_byte_for_byte(tmp_path: Path) -> None:
    for name in "ab":
        prompt_bank(TASK, 25, path=tmp_path / name, vocabulary="toyfaces", seed=4)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    other = prompt_bank(TASK, 25, vocabulary="toyfaces", seed=5)
    assert PromptBank.load(tmp_path / "a").sha256 != other.sha256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]  # nothing half-written
    assert "not an LLM" in (tmp_path / "a").read_text()


def test_a_bank_survives_a_file(tmp_path: Path) -> None:
    bank = prompt_bank(Task("Female", "White"), 2, kind=KINDS[1], facets=("hair", "clothing"))
    bank.save(tmp_path / "bank.json")
    assert PromptBank.load(tmp_path / "bank.json") == bank


def test_a_bank_that_was_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bank.json"
    prompt_bank(TASK, 1, kind=KINDS[0], path=path)
    text = path.read_text()
    assert "smiling" in text
    path.write_text(text.replace("smiling male", "smiling mole"))
    with pytest.raises(BankError, match="sha256 differs"):
        PromptBank.load(path)
    for broken in ("", "{", "[]", "3", "{}", text[: len(text) // 2], '{"sha256": "0"}'):
        path.write_text(broken)
        with pytest.raises(BankError, match="holds no bank"):
            PromptBank.load(path)
    with pytest.raises(FileNotFoundError):
        PromptBank.load(tmp_path / "none.json")


def test_a_bank_of_another_format_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bank.json"
    with monkeypatch.context() as later:
        later.setattr("repro.aimfair.prompt_record.FORMAT", 1)
        prompt_bank(TASK, 1, kind=KINDS[0], path=path)
    with pytest.raises(BankError, match="format 1"):
        PromptBank.load(path)


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"n": 4}, "n '3', not '4'"),
        ({"seed": 1}, "seed '0', not '1'"),
        ({"kind": KINDS[1]}, "kind"),
        ({"model": MODEL}, "model"),
        ({"vocabulary": "toyfaces"}, "vocabulary"),
        ({"nearest": 0.5}, "nearest"),
        ({"facets": ("hair",)}, "facets"),
    ],
)
def test_a_path_with_another_bank_is_refused(
    server: Server, tmp_path: Path, changed: dict[str, Any], named: str
) -> None:
    path = tmp_path / "bank.json"
    prompt_bank(TASK, 3, path=path)
    with pytest.raises(BankError, match="give another path") as caught:
        prompt_bank(TASK, **{"n": 3, "path": path, "limits": FAST} | changed)
    assert named in str(caught.value)
    assert server.asked == []


def test_given_phrases_are_told_apart(tmp_path: Path) -> None:
    toy = VOCABULARIES["toyfaces"]
    path = tmp_path / "bank.json"
    bank = prompt_bank(TASK, 3, vocabulary=toy, path=path)
    assert prompt_bank(TASK, 3, vocabulary=toy, path=path) == bank
    with pytest.raises(BankError, match="vocabulary"):
        prompt_bank(TASK, 3, vocabulary=toy[:-1], path=path)


def test_numbers_and_names_are_checked_before_anyone_is_asked(server: Server) -> None:
    with pytest.raises(ValueError, match="n must be"):
        bank_of(n=2, kind=KINDS[0])
    with pytest.raises(ValueError, match="n must be"):
        bank_of(n=0)
    with pytest.raises(UnknownNameError, match="did you mean"):
        bank_of(kind="plane")
    with pytest.raises(ValueError, match="calls"):
        Limits(calls=0)
    assert server.asked == []


def test_answers_in_a_recorded_bank_are_checked_again(server: Server, tmp_path: Path) -> None:
    """Prompts follow from the exchanges, so an interrupted bank needs nothing else."""
    path = tmp_path / "bank.json"
    limits = FAST.model_copy(update={"calls": 1, "batch": 1})
    refused(CeilingError, path=path, limits=limits)
    kept = PromptBank.load(path)
    assert len(kept.prompts[0, 0]) == 1
    done = bank_of(path=path)
    assert done.prompts[0, 0][0] == kept.prompts[0, 0][0]
    assert done.exchanges[0] == kept.exchanges[0]
    assert done.date == kept.date
    assert done.instructions[0, 0] == kept.instructions[0, 0]
    assert llm.prompts_in("") == []
