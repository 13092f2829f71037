"""The client and the bank, against a local server that fails in every way that endpoints do."""

from __future__ import annotations

import json
import logging
import re
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from repro.aimfair.llm import Endpoint, EndpointError, Exchange, Limits
from repro.aimfair.prompt_bank import OFFLINE, BankError, PromptBank, UnusableError, prompt_bank
from repro.aimfair.prompt_checks import check_prompts
from repro.aimfair.prompt_form import CONTEXTUAL, PLAIN, POSED, Task, take_apart
from repro.aimfair.prompt_writer import write_offline
from repro.aimfair.prompts import answer_form, instruction
from repro.data.splits import GROUPS
from repro.names import UnknownNameError

KEY = 'sk-Zq7/fake+"key"-0123456789'  # with characters that JSON escapes
SECRETS = (KEY, json.dumps(KEY)[1:-1], KEY.replace("/", "\\/"), "fake+", "0123456789")
MODEL = "model-x"
TASK = Task("Smiling", "Male")
N = 3
FAST = Limits(timeout=10, retries=2, calls=30, patience=2)

Reply = tuple[int, dict[str, str], bytes]
Behaviour = Callable[[dict[str, Any]], Reply | None]


class Server(ThreadingHTTPServer):
    """Plays its script, one behaviour a request, and then answers as it should."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.script: list[Behaviour] = []
        self.asked: list[dict[str, Any]] = []
        self.keys: set[str] = set()

    def handle_error(self, *_: object) -> None:
        """A connection that a test cut is no news."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        assert self.path == "/v1/chat/completions"
        self.server.asked.append(body)
        self.server.keys.add(self.headers["Authorization"])
        self.close_connection = True
        reply = (self.server.script.pop(0) if self.server.script else good)(body)
        if reply is None:  # cut: no status line, nothing
            return
        status, headers, content = reply
        self.send_response(status)
        usual = {"Content-Type": "application/json", "Content-Length": str(len(content))}
        for name, value in {**usual, **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


def question(body: dict[str, Any]) -> str:
    return str(body["messages"][0]["content"])


def group_of(body: dict[str, Any]) -> tuple[int, int]:
    return next(group for group in GROUPS if f"one group: {TASK.plain(group)!r}" in question(body))


def wanted(body: dict[str, Any]) -> int:
    found = re.match(r"Describe (\d+)", question(body))
    assert found is not None
    return int(found[1])


def completion(content: Any, finish: str = "stop", **message: Any) -> Reply:
    message |= {"role": "assistant", "content": content}
    choice = {"index": 0, "finish_reason": finish, "message": message}
    told = {"id": "1", "object": "chat.completion", "created": 1, "model": "model-x-served"}
    usage = {"prompt_tokens": 70, "completion_tokens": 30, "total_tokens": 100}
    return 200, {}, json.dumps({**told, "choices": [choice], "usage": usage}).encode()


def fresh(body: dict[str, Any], count: int) -> list[dict[str, list[str]]]:
    """Return prompts with head poses that the question does not hold yet, by facet."""
    written = write_offline(TASK, group_of(body), 40, seed=5)
    parts = [take_apart(prompt) for prompt in written if prompt not in question(body)][:count]
    return [
        {
            **{"facial_features": list(part.context[:-1]), "hair": [], "accessories": []},
            **{"head_pose": [part.context[-1]]},
        }
        for part in parts
        if part is not None
    ]


def answered(body: dict[str, Any], count: int | None = None) -> str:
    return json.dumps({"prompts": fresh(body, wanted(body) if count is None else count)})


def good(body: dict[str, Any]) -> Reply:
    return completion(answered(body))


def says(make: Callable[[dict[str, Any]], Any], **more: Any) -> Behaviour:
    return lambda body: completion(make(body), **more)


def raw(content: bytes, status: int = 200, **headers: str) -> Behaviour:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda body: (status, named, content)


def fails(status: int, message: str = "no", **headers: str) -> Behaviour:
    told = {"error": {"message": message, "type": "x"}}
    return raw(json.dumps(told).encode(), status, **headers)


def hangs(body: dict[str, Any]) -> None:
    time.sleep(1)


def cuts(body: dict[str, Any]) -> None:
    return None


def cuts_midway(body: dict[str, Any]) -> Reply:
    status, _, content = good(body)
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
    assert not [form for form in SECRETS if form in text]


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
        checked = check_prompts(bank.prompts[group], TASK, group, bank.n, kind=bank.kind)
        assert checked.accepted == bank.prompts[group]
    assert_no_key(repr(bank) + bank.model_dump_json())


# What should happen


def test_a_model_is_asked_once_for_each_group(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "banks" / "bank.json"
    bank = bank_of(path=path)
    assert_right(bank)
    assert server.keys == {f"Bearer {KEY}"}  # it was really sent, so it could have leaked
    assert [group_of(body) for body in server.asked] == list(GROUPS)
    assert {body["model"] for body in server.asked} == {MODEL}
    for body in server.asked:
        form = body["response_format"]["json_schema"]
        assert form["strict"] is True
        (prompt,) = form["schema"]["$defs"].values()
        assert prompt["required"] == ["facial_features", "hair", "accessories", "head_pose"]
        assert prompt["additionalProperties"] is False
        assert body["max_completion_tokens"] == FAST.answer_tokens
        assert question(body) == instruction(TASK, group_of(body), N)
    assert bank.model == MODEL
    assert bank.date is not None
    assert (bank.seed, bank.vocabulary) == (None, None)
    assert bank.instructions == {group: instruction(TASK, group, N) for group in GROUPS}
    assert [exchange["model"] for exchange in bank.exchanges] == ["model-x-served"] * 4
    assert [exchange["tokens"] for exchange in bank.exchanges] == [100] * 4
    # What is recorded needs no endpoint and no key.
    assert PromptBank.load(path) == bank
    monkeypatch.delenv("OPENAI_API_KEY")
    assert bank_of(path=path) == bank
    assert len(server.asked) == 4


def test_large_sets_are_asked_for_in_batches(server: Server) -> None:
    bank = bank_of(n=7, limits=FAST.model_copy(update={"batch": 4}))
    assert_right(bank)
    assert [wanted(body) for body in server.asked] == [4, 3] * 4
    assert bank.prompts[0, 0][0] in question(server.asked[1])
    assert "written already" in question(server.asked[1])


@pytest.mark.parametrize(
    ("task", "kind", "item", "prompt"),
    [
        (
            TASK,
            CONTEXTUAL,
            '"facial_features": [], "hair": ["long red hair"], "accessories": ["a hat."]',
            "Portrait face photo of a smiling male with long red hair and a hat.",
        ),
        (
            Task("Young", "Male"),
            POSED,
            '"facial_features": ["freckles"], "hair": ["red hair"], "accessories": [], '
            '"head_pose": [], "expression": ["a soft smile"]',
            "Portrait face photo of a young male with freckles, red hair, and a soft smile.",
        ),
        (
            Task("Female", "White"),
            CONTEXTUAL,
            '"age": 81, "ancestry": "Hispanic", "expression": ["a kind look"], '
            '"hair": ["thin hair"], "facial_features": [], "accessories": []',
            "Face photo of an 81-year-old White female with a kind look and thin hair.",
        ),
    ],
)
def test_a_prompt_is_put_together_from_its_facets(
    server: Server, task: Task, kind: str, item: str, prompt: str
) -> None:
    server.script = [says(lambda body: f'{{"prompts": [{{{item}}}]}}')] * 4
    bank = prompt_bank(task, 1, kind=kind, model=MODEL, limits=FAST)
    assert bank.prompts[1, 1] == (prompt,)


# Endpoints that know less, and faults


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (400, "response_format is not supported"),
        (422, "Unrecognized argument: max_completion_tokens"),
    ],
)
def test_an_endpoint_without_schemas_is_asked_plainly(
    server: Server, status: int, words: str
) -> None:
    server.script = [fails(status, words)]
    assert_right(bank_of())
    assert ["response_format" in body for body in server.asked] == [True] + [False] * 4
    assert ["max_tokens" in body for body in server.asked] == [False] + [True] * 4


def test_rate_limits_wait_as_long_as_they_are_told(server: Server) -> None:
    server.script = [fails(429, "slow down", Retry_After="0.3")]
    began = time.monotonic()
    bank = bank_of()
    assert time.monotonic() - began >= 0.3  # against 0.01 s of its own
    assert_right(bank)
    assert len(server.asked) == 5
    assert bank.exchanges[0]["calls"] == 2


@pytest.mark.parametrize("fault", [fails(500), fails(503), cuts, cuts_midway])
def test_passing_faults_are_tried_again(server: Server, fault: Behaviour) -> None:
    server.script = [fault, good, fault, fault]
    bank = bank_of()
    assert_right(bank)
    assert len(server.asked) == 7
    assert sum(exchange["calls"] for exchange in bank.exchanges) == 7


@pytest.mark.parametrize(
    ("behaviour", "calls", "message"),
    [
        (fails(400, "the moon is full"), 2, "the moon is full"),  # with a schema, then plainly
        (fails(429, "quota", Retry_After="7200"), 1, "it asks to wait 7200 s"),
        (fails(404, "no such model"), 1, "is 'model-x' a model of this endpoint"),
        (fails(307, "no", Location="http://127.0.0.1:9/v1/chat/completions"), 1, "HTTP 307"),
        (fails(401, f"Incorrect API key: {KEY}; sk-Zq7***6789"), 1, "check OPENAI_API_KEY"),
        (fails(403, f"Incorrect API key: {KEY}; sk-Zq7***6789"), 1, "check OPENAI_API_KEY"),
        *((fails(status, f"bad Bearer {KEY} and"), None, "[key]") for status in (400, 404, 422)),
        (fails(500, f"bad Bearer {KEY} and"), 3, "bad Bearer [key]"),
        (cuts, 3, "cannot be reached, or broke off"),
    ],
)
def test_what_asking_again_does_not_help_ends(
    server: Server, behaviour: Behaviour, calls: int | None, message: str, tmp_path: Path
) -> None:
    server.script = [behaviour] * 20
    path = tmp_path / "bank.json"
    told = refused(EndpointError, path=path)
    assert message in told
    assert "sk-Zq7" not in told
    assert "0 prompts so far are kept" in told
    assert calls in (None, len(server.asked))
    assert PromptBank.load(path).exchanges[-1]["error"] in told
    server.script = []
    assert_right(bank_of(path=path))  # and the same call goes on


def test_an_endpoint_that_does_not_answer(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    server.script = [hangs]
    message = refused(EndpointError, limits=FAST.model_copy(update={"timeout": 0.2, "retries": 0}))
    assert "did not answer within 0.2 s; raise 'limits.timeout'" in message
    assert "are lost, as no path was given" in message
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    assert "is OPENAI_BASE_URL right?" in refused(EndpointError)


# The key


def test_a_key_in_an_answer_is_hidden(server: Server, tmp_path: Path) -> None:
    def leak(body: dict[str, Any]) -> Reply:
        prompts = [f"Portrait with {KEY}", *fresh(body, N)]
        status, headers, content = completion(json.dumps({"prompts": prompts, "key": KEY}))
        return status, headers, content.replace(b"/", b"\\/")  # as some encoders escape it

    server.script = [
        leak,
        says(lambda body: None, refusal=f"no, {KEY}"),
        good,
        raw(f'{{"oops": "{KEY}'.encode()),
    ]
    bank = bank_of(path=tmp_path / "bank.json")
    assert_right(bank)
    assert bank.model_dump_json().count("[key]") >= 3


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("OPENAI_API_KEY", None, "no key for model 'model-x': .*OPENAI_API_KEY.*offline"),
        ("OPENAI_API_KEY", "", "no key"),
        ("OPENAI_API_KEY", "  \n", "no key"),
        ("OPENAI_API_KEY", "{key}\nX-Other: 1", "OPENAI_API_KEY holds characters that no key has"),
        ("OPENAI_API_KEY", "{key} \u00fc", "OPENAI_API_KEY holds characters that no key has"),
        ("OPENAI_BASE_URL", "localhost:80", "OPENAI_BASE_URL is no address"),
        ("OPENAI_BASE_URL", "ftp://host/v1", "OPENAI_BASE_URL is no address"),
        ("OPENAI_BASE_URL", "https://me:{key}@host/v1", "holds more than an addr"),
    ],
)
def test_what_no_endpoint_can_be_made_of(
    server: Server, monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, message: str
) -> None:
    monkeypatch.delenv(name)
    if value is not None:
        monkeypatch.setenv(name, value.format(key="sk-0123456789"))
    with pytest.raises(EndpointError, match=message) as caught:
        bank_of()
    assert_no_key(f"{caught.value} {caught.value!r}")
    if name == "OPENAI_API_KEY":
        assert_nothing_hidden(caught.value)
    assert server.asked == []


# Answers that cannot be used


def grinning(body: dict[str, Any]) -> str:
    context = {"facial_features": ["a toothy grin"], "hair": [], "accessories": ["a hat"]}
    return json.dumps({"prompts": [context | {"head_pose": ["chin raised"]}] * N})


#: behaviour, what is said of it, how many prompts it gives all the same
WRONG: dict[str, tuple[Behaviour, str, int]] = {
    "truncated JSON": (says(lambda b: answered(b)[:-25], finish="length"), "cut off", N - 1),
    "truncated in silence": (says(lambda b: answered(b)[:-25]), "", N - 1),
    "no JSON": (says(lambda body: "I would rather talk about birds."), "", 0),
    "broken JSON": (says(lambda body: '{"prompts": [["Port}'), "", 0),
    "JSON of another shape": (says(lambda body: '{"prompts": {"a": [1, null]}}'), "", 0),
    "other fields": (says(lambda body: '{"prompts": [{"colour": "red"}]}'), "not of the form", 0),
    "too few": (says(lambda body: answered(body, 1)), "", 1),
    "duplicates": (
        says(lambda body: json.dumps({"prompts": fresh(body, 1) * N})),
        "written before",
        1,
    ),
    "another group": (
        says(grinning),
        "photo of a female not smiling, with a toothy grin, a hat, and chin raised.: "
        "'a toothy grin' is not said of a no-smiling face",
        0,
    ),
    "empty": (says(lambda body: ""), "empty", 0),
    "null": (says(lambda body: None), "empty", 0),
    "refusal": (says(lambda b: None, refusal="I cannot describe people."), "I cannot describe", 0),
    "content filter": (says(lambda body: "", finish="content_filter"), "content filter", 0),
    "no chat completion": (raw(b'{"choices": []}'), "no chat comp", 0),
    "no JSON in the body": (raw(b'{"choices": [{"mess'), "no chat comp", 0),
    "a web page": (raw(b"<p>Welcome</p>", Content_Type="text/html"), "no chat comp", 0),
    "an error as an answer": (raw(b'{"error": {"message": "busy"}}'), "no chat comp", 0),
}


@pytest.mark.parametrize("fault", WRONG)
def test_what_is_missing_is_asked_for_again(server: Server, fault: str, tmp_path: Path) -> None:
    behaviour, told, gained = WRONG[fault]
    path = tmp_path / "bank.json"
    server.script = [behaviour]
    bank = bank_of(path=path)
    assert_right(bank)
    assert [group_of(body) for body in server.asked] == [(0, 0), *GROUPS]
    again = question(server.asked[1])
    assert told in again or told in bank.exchanges[0]["error"]
    assert wanted(server.asked[1]) == N - gained
    # Nothing that was answered is lost.
    assert all(prompt in again for prompt in bank.prompts[0, 0][:gained])
    assert PromptBank.load(path) == bank
    if gained:
        return
    # Again and again, it ends, and shows why.
    path.unlink()
    server.script = [behaviour] * FAST.patience
    message = refused(UnusableError, path=path)
    assert told in message
    assert "group (0, 0) has 0 of 3 prompts, and 2 answers in a row held none" in message
    assert str(path) in message
    assert_right(bank_of(path=path))  # and the same call goes on


@pytest.mark.parametrize(
    "form",
    [
        lambda prompts: "```json\n" + json.dumps({"prompts": prompts}) + "\n```",
        lambda prompts: "Here they are:\n" + json.dumps(prompts, indent=2),
        lambda prompts: json.dumps({"prompts": prompts}).replace('"', "'"),
        lambda prompts: json.dumps({"prompts": prompts})[:-2] + ",]",
        lambda prompts: [{"type": "text", "text": json.dumps({"prompts": prompts})}],  # in parts
    ],
)
def test_prompts_are_found_in_other_forms(server: Server, form: Callable[..., Any]) -> None:
    server.script = [says(lambda body: form(fresh(body, N)))] * 4
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
    message = refused(EndpointError, limits=limits, path=path)
    assert "the 3 calls allowed are used up (3 calls, 300 tokens); raise 'limits.calls'" in message
    assert "9 prompts so far are kept" in message
    kept = PromptBank.load(path)
    done = bank_of(limits=limits, path=path)
    assert_right(done)
    assert len(server.asked) == 4
    # Prompts follow from the exchanges, so an interrupted bank needs nothing else.
    assert (done.exchanges[:3], done.date) == (kept.exchanges, kept.date)
    assert done.prompts[1, 0] == kept.prompts[1, 0]


def test_the_ceiling_of_tokens(server: Server) -> None:
    estimate = len(instruction(TASK, (0, 0), N)) // 3 + 1
    tokens = 100 + estimate + 30
    message = refused(EndpointError, limits=FAST.model_copy(update={"tokens": tokens}))
    assert f"{tokens} tokens" in message
    assert len(server.asked) == 2  # the answers cost 100 each
    assert server.asked[0]["max_completion_tokens"] == tokens - estimate


def test_tokens_are_estimated_where_they_are_not_told(server: Server) -> None:
    server.script = [lambda body: (200, {}, good(body)[2].replace(b": 100}", b': "many"}'))]
    kept: list[Exchange] = []
    text = instruction(TASK, (0, 0), N)
    with Endpoint(MODEL, FAST) as endpoint:
        exchange = endpoint.ask(text, answer_form(TASK, CONTEXTUAL), kept.append)
        assert kept == [exchange]
        assert exchange.tokens is None
        assert endpoint.tokens > len(text) // 3
        assert endpoint.calls == 1
        assert_no_key(f"{endpoint!r} {endpoint} {vars(endpoint)}")


# The offline writer's bank, and files


def test_without_a_model_nobody_is_asked(server: Server, tmp_path: Path) -> None:
    banks = [prompt_bank(TASK, 25, path=tmp_path / name) for name in "ab"]
    assert banks == [prompt_bank(TASK, 25), PromptBank.load(tmp_path / "a")]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]  # nothing half-written
    bank = banks[0]
    assert bank.complete
    assert "not an LLM" in bank.model
    assert (bank.seed, bank.vocabulary, bank.date) == (0, "stable-diffusion", None)
    assert (bank.instructions, bank.exchanges) == ({}, ())
    assert list(bank.prompts[1, 0]) == write_offline(TASK, (1, 0), 25)
    # The digests of pools, and so the identities of runs, hold this one.
    assert bank.sha256 == "3f10be8309604254f45d3787eed50d1eb914fad870bc46207e358490ec9f843e"
    assert bank.sha256 != prompt_bank(TASK, 25, seed=5).sha256
    # Of plain prompts there is one, whoever is named.
    plain = bank_of(n=1, kind=PLAIN)
    assert plain.model == OFFLINE
    assert plain.prompts[1, 1] == ("Portrait face photo of a smiling male.",)
    assert server.asked == []


def test_a_bank_that_was_changed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "bank.json"
    prompt_bank(TASK, 1, kind=PLAIN, path=path)
    text = path.read_text()
    assert "smiling" in text
    path.write_text(text.replace("smiling male", "smiling mole"))
    with pytest.raises(BankError, match="sha256 differs"):
        PromptBank.load(path)
    for broken in ("", "{", "[]", "3", "{}", text[: len(text) // 2], '{"sha256": "0"}'):
        path.write_text(broken)
        with pytest.raises(BankError, match="holds no bank"):
            PromptBank.load(path)
    for change, message in (({"format": 1}, "format 1"), ({"n": "many"}, "holds no bank")):
        bank = prompt_bank(TASK, 1, kind=PLAIN)
        with pytest.warns(UserWarning, match="serialized") if "n" in change else nullcontext():
            bank.model_copy(update=change).save(path)
        with pytest.raises(BankError, match=message):
            PromptBank.load(path)
    with pytest.raises(FileNotFoundError):
        PromptBank.load(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"n": 4}, "n '3', not '4'"),
        ({"seed": 1}, "seed '0', not '1'"),
        ({"kind": CONTEXTUAL}, "kind"),
        ({"model": MODEL}, "model"),
        ({"vocabulary": "toyfaces"}, "vocabulary"),
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


def test_numbers_and_names_are_checked_before_anyone_is_asked(server: Server) -> None:
    for wrong in ({"n": 2, "kind": PLAIN}, {"n": 0}):
        with pytest.raises(ValueError, match="n must be"):
            bank_of(**wrong)
    with pytest.raises(UnknownNameError, match="did you mean"):
        bank_of(kind="plane")
    with pytest.raises(ValueError, match="calls"):
        Limits(calls=0)
    assert server.asked == []
