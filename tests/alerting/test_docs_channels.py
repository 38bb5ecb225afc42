"""What docs/channels.md tells people to run and to enter is true."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from alerting.channels import KINDS
from alerting.channels.samples import SAMPLES, template_problems
from alerting.channels.wording import context
from alerting.rules.payload import AnomalyData
from alerting.rules.signing import signature_headers
from alerting.rules.templates import BUILT_IN_FILTERS, render

DOCS = (Path(__file__).parents[2] / "docs" / "channels.md").read_text()
NEW = "whsec_" + base64.b64encode(b"n" * 32).decode()
OLD = "whsec_" + base64.b64encode(b"o" * 32).decode()
RAW = "a secret that is no base64"
AT = int(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp())
BODY = '{"title":"é ünïcödé"}'.encode()


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", DOCS, re.DOTALL)
    assert found is not None, language
    return found[1]


@dataclass(frozen=True)
class Case:
    """A request as a receiver sees it, and whether it is to be believed."""

    secret: str
    headers: dict[str, str]
    good: bool
    body: bytes = BODY
    now: int = AT

    def encoded(self) -> dict[str, object]:
        body = base64.b64encode(self.body).decode()
        return {"secret": self.secret, "headers": self.headers, "body": body, "now": self.now}


def signed(secret: str, body: bytes = BODY) -> dict[str, str]:
    return signature_headers(secret, "msg_1", AT, body)


CASES = {
    "signed": Case(NEW, signed(NEW), True),
    "signed with a raw secret": Case(RAW, signed(RAW), True),
    "rotating, the receiver has the new secret": Case(NEW, signed(f"{NEW}\n{OLD}"), True),
    "rotating, the receiver has the old secret": Case(OLD, signed(f"{NEW}\n{OLD}"), True),
    "an empty body": Case(NEW, signed(NEW, b""), True, body=b""),
    "five minutes later": Case(NEW, signed(NEW), True, now=AT + 300),
    "another secret": Case(OLD, signed(NEW), False),
    "a changed body": Case(NEW, signed(NEW), False, body=BODY + b" "),
    "a changed id": Case(NEW, signed(NEW) | {"webhook-id": "msg_2"}, False),
    "a changed time": Case(NEW, signed(NEW) | {"webhook-timestamp": str(AT + 1)}, False),
    "replayed later": Case(NEW, signed(NEW), False, now=AT + 301),
    "from the future": Case(NEW, signed(NEW), False, now=AT - 301),
    "a time that is none": Case(NEW, signed(NEW) | {"webhook-timestamp": "soon"}, False),
    "no signature": Case(NEW, {name: value for name, value in signed(NEW).items() if "signature" not in name}, False),
    "no headers": Case(NEW, {}, False),
    "an empty signature": Case(NEW, signed(NEW) | {"webhook-signature": ""}, False),
}
PYTHON = """
import json, sys
cases = json.load(sys.stdin)
print(json.dumps([verify(c["secret"], c["headers"], base64.b64decode(c["body"]), c["now"]) for c in cases]))
"""
JAVASCRIPT = """
import { readFileSync } from "node:fs";
import { verify } from "./verify.mjs";
const cases = JSON.parse(readFileSync(0, "utf8"));
console.log(JSON.stringify(cases.map((c) => verify(c.secret, c.headers, Buffer.from(c.body, "base64"), c.now))));
"""
GO = """
package main

import (
	"encoding/json"
	"net/http"
	"os"
	"time"
)

func main() {
	var cases []struct {
		Secret  string
		Headers map[string]string
		Body    []byte
		Now     int64
	}
	if err := json.NewDecoder(os.Stdin).Decode(&cases); err != nil {
		panic(err)
	}
	said := []bool{}
	for _, c := range cases {
		header := http.Header{}
		for name, value := range c.Headers {
			header.Set(name, value)
		}
		said = append(said, Verify(c.Secret, header, c.Body, time.Unix(c.Now, 0)))
	}
	json.NewEncoder(os.Stdout).Encode(said)
}
"""


def said(command: list[str], home: Path) -> dict[str, bool]:
    """What a program says of each case."""
    cases = json.dumps([case.encoded() for case in CASES.values()])
    environment = os.environ | {"GOFLAGS": "-mod=mod", "GO111MODULE": "on", "GOTOOLCHAIN": "local"}
    done = subprocess.run(
        command, cwd=home, input=cases, capture_output=True, text=True, timeout=170, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(CASES, json.loads(done.stdout), strict=True))


EXPECTED = {name: case.good for name, case in CASES.items()}


def installed(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        pytest.skip(f"{program} is not installed")
    return found


def test_the_python_receiver_believes_what_is_genuine_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "receiver.py").write_text(block("python") + PYTHON)
    assert said([sys.executable, "receiver.py"], tmp_path) == EXPECTED


def test_the_javascript_receiver_believes_what_is_genuine_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "verify.mjs").write_text(block("javascript"))
    (tmp_path / "receiver.mjs").write_text(JAVASCRIPT)
    assert said([installed("node"), "receiver.mjs"], tmp_path) == EXPECTED


@pytest.mark.timeout(200)
def test_the_go_receiver_believes_what_is_genuine_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module receiver\n\ngo 1.20\n")
    (tmp_path / "verify.go").write_text(block("go"))
    (tmp_path / "main.go").write_text(GO)
    assert said([installed("go"), "run", "."], tmp_path) == EXPECTED


def test_the_example_of_a_template_works() -> None:
    example = block("jinja")
    assert template_problems("", example) == {}
    assert "CRITICAL chat-api: 15,234 where 1,234 is usual" in render(example, context(SAMPLES["one anomaly"]))


def test_every_name_and_filter_of_templates_is_documented() -> None:
    names = set(context(SAMPLES["one anomaly"])) | set(AnomalyData.__struct_fields__) - {"id"}
    names |= set(BUILT_IN_FILTERS) - {"d", "count"} | {"number", "time", "join"}
    assert {name for name in names if f"`{name}`" not in DOCS} == set()


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_setting_of_every_kind_is_documented(kind: str) -> None:
    assert {setting.name for setting in KINDS[kind].settings if f"`{setting.name}`" not in DOCS} == set()
