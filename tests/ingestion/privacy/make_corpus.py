"""Writes corpus.jsonl: labelled texts with private data, and with what merely looks like it.

    python -m tests.ingestion.privacy.make_corpus

The same file every time. Values are made from the rules of those who issue them (check digits, ranges, ways of
writing by country), never from the patterns that are judged with them. None is anybody's.
"""

# ruff: noqa: E501, RUF001, RUF005 - tables, and scripts of many languages

from __future__ import annotations

import base64
import json
import random
import string
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

CORPUS = Path(__file__).with_name("corpus.jsonl")
SEED = 20_240_817
PER_KIND = 170
NEGATIVES = 110  # of each sort

Maker = Callable[[random.Random], str]


def digits(rng: random.Random, count: int) -> str:
    return "".join(rng.choices(string.digits, k=count))


def letters(rng: random.Random, count: int, of: str = string.ascii_letters + string.digits) -> str:
    """Random signs with at least one digit, as in any key of that length."""
    return "".join(rng.choices(of, k=count - 1)) + rng.choice([sign for sign in of if sign.isdigit()] or of)


def filled(rng: random.Random, pattern: str) -> str:
    """The pattern with a digit for every 9."""
    return "".join(rng.choice(string.digits) if sign == "9" else sign for sign in pattern)


# E-mail

GIVEN = [
    "anna",
    "ben",
    "chloé",
    "david",
    "eva",
    "farid",
    "greta",
    "hiro",
    "ines",
    "jörg",
    "kim",
    "luis",
    "mara",
    "nils",
    "olga",
    "priya",
    "quentin",
    "rosa",
    "sam",
    "tariq",
]
FAMILY = [
    "smith",
    "müller",
    "garcía",
    "rossi",
    "novak",
    "silva",
    "tanaka",
    "kim",
    "dubois",
    "jensen",
    "kowalski",
    "ivanov",
    "o'brien",
    "van-dijk",
    "lee",
]
DOMAINS = [
    "example.com",
    "example.org",
    "mail.example.net",
    "corp.example.co.uk",
    "beispiel.de",
    "exemple.fr",
    "ejemplo.com.mx",
    "acme.io",
    "students.uni-example.edu",
    "xn--bcher-kva.example",
    "gov.example.in",
    "bücher.example",
    "sub.a-b.example.travel",
]


def email(rng: random.Random) -> str:
    one, other = rng.choice(GIVEN), rng.choice(FAMILY)
    local = rng.choice(
        [
            f"{one}.{other}",
            f"{one[0]}{other}",
            f"{one}_{other}{digits(rng, 2)}",
            f"{one}+{rng.choice(['news', 'x1'])}",
            one,
        ]
        + [f"{other}.{one}-{digits(rng, 4)}", f"{one.upper()}.{other.title()}"]
    )
    if "'" in local:
        local = local.replace("'", "") if rng.random() < 0.5 else local
    return f"{local}@{rng.choice(DOMAINS)}"


# Phones: the ways of writing that each country's people and directories use; ranges that are in use there.


def american(rng: random.Random) -> str:
    area = rng.choice(
        ["212", "305", "312", "415", "503", "617", "646", "702", "713", "808", "917", "416", "604", "514"]
    )
    line = f"{rng.choice('23456789')}{digits(rng, 2)}", digits(rng, 4)
    form = rng.choice(
        ["({}) {}-{}", "{}-{}-{}", "{}.{}.{}", "+1 {} {} {}", "+1-{}-{}-{}", "1-{}-{}-{}", "+1{}{}{}", "+1 ({}) {}-{}"]
        + ["({}){}-{}", "({}) {}-{} ext. 42", "{}-{}-{}x815"]
    )
    return form.format(area, *line)


PHONE_FORMS = """
+44 20 7946 0999|+44 7700 900999|020 7946 0999|07700 900 999|0161 496 0999|+44 (0)20 7946 0999|0044 20 7946 0999
+49 30 901899|+49 (0)30 2345999|030 23125 999|0171 2345999|+49 171 2345999|0711/2345999|089 / 2345 999|+4915123456999
+33 1 42 68 53 99|01 42 68 53 99|06 12 34 56 99|+33612345699|0033 6 12 34 56 99
+39 06 6982 9999|06 6982 9999|+39 347 123 4999|347 123 4999
+34 912 345 999|+34 612 34 59 99|612 34 59 99|91 234 59 99
+31 20 123 4999|020 123 4999|06-12345999|+31612345999
+41 44 668 18 99|044 668 18 99|+41 79 123 45 99
+43 1 58858999|01 58858-999|+43 664 1234999
+48 22 123 49 99|+48 512 345 999|+420 222 123 999|+36 1 234 5999|+40 21 312 3999|+30 21 0123 4999
+46 8 123 459 99|08-123 459 99|070-123 45 99|+47 22 12 34 99|+45 32 12 34 99|+358 9 1234 599|+358 40 1234599
+7 495 123-45-99|8 (495) 123-45-99|+7 (916) 123-45-99|8 916 123-45-99|+380 44 123 4599
+90 212 123 45 99|0532 123 45 99|+972 3-123-4599|054-123-4599|+971 50 123 4599|+966 50 123 4599
+91 98765 43299|98765 43299|+91-22-2345-6799|022 2345 6799|+91 9876543299
+86 138 0013 8099|138 0013 8099|+86 10 6552 9999|010-6552-9999|+852 2345 6799|+886 2 2345 6799
+81 3-1234-5699|03-1234-5699|090-1234-5699|+81 90-1234-5699|+82 2-312-3499|02-312-3499|010-2345-6799|+82 10-2345-6799
+55 11 98765-4399|(11) 98765-4399|(21) 2345-6799|+54 9 11 2345-6799|+52 55 1234 5699|+57 601 234 5699|+56 2 2345 6799
+61 2 9374 4099|02 9374 4099|0412 345 699|+61 412 345 699|+64 9 887 6999|021 123 4599
+27 11 978 5399|011 978 5399|082 123 4599|+234 803 123 4599|0803 123 4599|+254 712 345699|+20 2 2345 6799
""".replace("\n", "|").strip("|")


def abroad(rng: random.Random) -> str:
    form = rng.choice(PHONE_FORMS.split("|"))
    head, tail = form[:-2], form[-2:]
    return head + filled(rng, tail)


def phone(rng: random.Random) -> str:
    return american(rng) if rng.random() < 0.3 else abroad(rng)


def called(rng: random.Random) -> str:
    """Digits that nothing but the words before them calls a phone number."""
    words = [
        "tel: ",
        "phone=",
        '"phone": "',
        "call ",
        "Mobile ",
        "fax ",
        "Telefon ",
        "тел. ",
        "电话",
        "手机：",
        "WhatsApp ",
    ]
    number = rng.choice(
        ["4152345699", "02079460999", "0171234599", "13800138099", "9876543299", "612345999", "2345 6799"]
    )
    return rng.choice(words) + "\0" + number[:-2] + digits(rng, 2) + "\0"


# Cards, IBANs and other numbers with check digits


def with_luhn(rng: random.Random, prefix: str, length: int) -> str:
    body = prefix + digits(rng, length - 1 - len(prefix))
    total = 0
    for place, sign in enumerate(reversed(body)):
        value = int(sign) * (2 if place % 2 == 0 else 1)
        total += value - 9 if value > 9 else value
    return body + str(-total % 10)


BRANDS = [
    ("4", 16),
    ("4", 16),
    ("51", 16),
    ("55", 16),
    ("2223", 16),
    ("2720", 16),
    ("34", 15),
    ("37", 15),
    ("6011", 16),
]
BRANDS += [
    ("65", 16),
    ("36", 14),
    ("305", 14),
    ("3530", 16),
    ("3566", 16),
    ("62", 16),
    ("62", 19),
    ("6759", 16),
    ("4", 13),
]


def card(rng: random.Random) -> str:
    number = with_luhn(rng, *rng.choice(BRANDS))
    groups = {15: (4, 6, 5), 14: (4, 6, 4), 16: (4, 4, 4, 4), 19: (4, 4, 4, 4, 3)}.get(len(number))
    if groups is None or rng.random() < 0.35:
        return number
    parts, place = [], 0
    for size in groups:
        parts.append(number[place : place + size])
        place += size
    return rng.choice([" ", "-", " ", "\u00a0"]).join(parts)


# Country, and its account part: n digits, a capitals, c either (registry of IBAN formats).
ACCOUNTS = {
    "DE": "n18", "GB": "a4n14", "FR": "n10c11n2", "ES": "n20", "IT": "a1n10c12", "NL": "a4n10", "BE": "n12", "CH": "n5c12",
    "AT": "n16", "PL": "n24", "PT": "n21", "SE": "n20", "NO": "n11", "DK": "n14", "FI": "n14", "IE": "a4n14", "CZ": "n20",
    "GR": "n7c16", "SA": "n2c18", "AE": "n19", "TR": "n6c16", "BR": "n23a1c1", "MT": "a4n5c18", "RO": "a4c16", "UA": "n6c19",
    "IL": "n19", "LU": "n3c13", "HU": "n24", "HR": "n17", "SK": "n20",
}  # fmt: skip


def iban(rng: random.Random) -> str:
    country = rng.choice(sorted(ACCOUNTS))
    account, pattern = "", ACCOUNTS[country]
    while pattern:
        sort, count = pattern[0], 0
        pattern = pattern[1:]
        while pattern and pattern[0].isdigit():
            count, pattern = count * 10 + int(pattern[0]), pattern[1:]
        of = {"n": string.digits, "a": string.ascii_uppercase, "c": string.digits + string.ascii_uppercase}[sort]
        account += "".join(rng.choices(of, k=count))
    numbers = "".join(str(string.digits.find(s) if s.isdigit() else ord(s) - 55) for s in account + country + "00")
    whole = f"{country}{98 - int(numbers) % 97:02}{account}"
    form = rng.random()
    if form < 0.45:
        return " ".join(whole[place : place + 4] for place in range(0, len(whole), 4))
    if form < 0.55:
        return "-".join(whole[place : place + 4] for place in range(0, len(whole), 4))
    return whole.lower() if form < 0.62 else whole


def ssn(rng: random.Random) -> str:
    area = rng.choice([*range(1, 666), *range(667, 900)])
    return f"{area:03}-{rng.randint(1, 99):02}-{rng.randint(1, 9999):04}"


def ip(rng: random.Random) -> str:
    if rng.random() < 0.5:
        return ".".join(str(part) for part in (rng.randint(1, 126), *(rng.randint(0, 255) for _ in range(3))))
    groups = [f"{rng.getrandbits(16):x}" for _ in range(8)]
    groups[0] = rng.choice(["2001", "2a02", "fe80", "fd12"])
    form = rng.randrange(4)
    if form == 0:
        return ":".join(group.zfill(4) for group in groups)
    if form == 1:
        return ":".join(groups[:3]) + "::" + ":".join(groups[6:])
    return ":".join(groups).upper() if form == 2 else f"{groups[0]}:db8::{groups[7]}"


# Secrets of programs

HEX = "0123456789abcdef"
URL_SAFE = string.ascii_letters + string.digits + "-_"
UPPER = string.ascii_uppercase + string.digits
KEYS: list[Maker] = [
    lambda r: "sk-" + letters(r, 48),
    lambda r: "sk-proj-" + letters(r, 64, URL_SAFE),
    lambda r: "sk-ant-api03-" + letters(r, 93, URL_SAFE) + "AA",
    lambda r: "sk-or-v1-" + letters(r, 64, HEX),
    lambda r: r.choice(["AKIA", "ASIA"]) + letters(r, 16, string.ascii_uppercase + "234567"),
    lambda r: "AIza" + letters(r, 35, URL_SAFE),
    lambda r: r.choice(["ghp_", "gho_", "ghs_"]) + letters(r, 36),
    lambda r: "github_pat_" + letters(r, 22) + "_" + letters(r, 59),
    lambda r: "glpat-" + letters(r, 20, URL_SAFE),
    lambda r: f"xoxb-{digits(r, 12)}-{digits(r, 13)}-{letters(r, 24)}",
    lambda r: r.choice(["sk_live_", "rk_live_", "sk_test_"]) + letters(r, 24),
    lambda r: "hf_" + letters(r, 34),
    lambda r: "gsk_" + letters(r, 52),
    lambda r: "xai-" + letters(r, 80),
    lambda r: "pplx-" + letters(r, 48),
    lambda r: "r8_" + letters(r, 37),
    lambda r: "nvapi-" + letters(r, 64, URL_SAFE),
    lambda r: "lsv2_pt_" + letters(r, 32, HEX) + "_" + letters(r, 10, HEX),
    lambda r: "dapi" + letters(r, 32, HEX),
    lambda r: f"SG.{letters(r, 22, URL_SAFE)}.{letters(r, 43, URL_SAFE)}",
    lambda r: "AC" + letters(r, 32, HEX),
    lambda r: "npm_" + letters(r, 36),
    lambda r: "GOCSPX-" + letters(r, 28, URL_SAFE),
    lambda r: f"{digits(r, 10)}:AA{letters(r, 33, URL_SAFE)}",
    lambda r: "hvs." + letters(r, 90),
    lambda r: "dop_v1_" + letters(r, 64, HEX),
]


def api_key(rng: random.Random) -> str:
    return rng.choice(KEYS)(rng)


def named_key(rng: random.Random) -> str:
    """Keys of vendors without a shape, known by what they are assigned to."""
    value = rng.choice(
        [letters(rng, 40), letters(rng, 32, HEX), letters(rng, 32), str(uuid.UUID(int=rng.getrandbits(128)))]
    )
    name = rng.choice(
        [
            "COHERE_API_KEY=",
            "api_key: ",
            '"apiKey": "',
            "x-api-key: ",
            "AZURE_OPENAI_API_KEY='",
            "access_token=",
            "mistral_api_key = ",
        ]
        + ["aws_secret_access_key = ", 'client_secret="', "api-key:"]
    )
    return f"{name}\0{value}\0"


def bearer(rng: random.Random) -> str:
    return "Authorization: Bearer \0" + letters(rng, rng.randint(24, 64), URL_SAFE + ".") + "\0"


def jwt(rng: random.Random) -> str:
    def part(value: dict[str, object]) -> str:
        return base64.urlsafe_b64encode(json.dumps(value, separators=(",", ":")).encode()).decode().rstrip("=")

    header: dict[str, object] = {"alg": rng.choice(["HS256", "RS256", "ES256"]), "typ": "JWT"}
    body: dict[str, object] = {
        "sub": digits(rng, 10),
        "iat": rng.randrange(10**9),
        "scope": rng.choice(["a b", "admin"]),
    }
    return f"{part(header)}.{part(body)}.{letters(rng, 43, URL_SAFE)}"


def private_key(rng: random.Random) -> str:
    sort = rng.choice(["RSA ", "EC ", "", "OPENSSH ", "ENCRYPTED ", "DSA "])
    line_end = rng.choice(["\n", "\\n", "\r\n"])
    body = line_end.join(
        letters(rng, 64, string.ascii_letters + string.digits + "+/") for _ in range(rng.randint(2, 5))
    )
    return f"-----BEGIN {sort}PRIVATE KEY-----{line_end}{body}{line_end}-----END {sort}PRIVATE KEY-----"


# What merely looks so


def wrong_card(rng: random.Random) -> str:
    number = with_luhn(rng, *rng.choice(BRANDS))
    return number[:-1] + str((int(number[-1]) + rng.randint(1, 9)) % 10)


def wrong_iban(rng: random.Random) -> str:
    whole = iban(rng).replace(" ", "").replace("-", "")
    return whole[:2] + f"{(int(whole[2:4]) - 2 + rng.randint(1, 96)) % 97 + 2:02}" + whole[4:]


NEGATIVE: dict[str, Maker] = {
    "order": lambda r: f"{r.choice(['order', 'Order no.', 'Bestellnummer', 'pedido', 'invoice', 'ticket #'])} {digits(r, r.randint(6, 12))}",
    "order-dashed": lambda r: f"order {digits(r, 3)}-{digits(r, 7)}-{digits(r, 7)} shipped",
    "hash": lambda r: f"{r.choice(['sha256', 'md5', 'etag', 'digest'])} {letters(r, r.choice([32, 40, 64]), HEX)}",
    "git": lambda r: f"commit {letters(r, r.choice([7, 10, 40]), HEX)} on branch release/{r.randint(1, 9)}.{r.randint(0, 20)}",
    "uuid": lambda r: f"request {uuid.UUID(int=r.getrandbits(128), version=4)} done",
    "version": lambda r: f"{r.choice(['version', 'v', 'build ', 'driver version '])}{r.randint(1, 20)}.{r.randint(0, 99)}.{r.randint(0, 255)}.{r.randint(0, 255)}",
    "semver": lambda r: f"numpy=={r.randint(1, 9)}.{r.randint(0, 30)}.{r.randint(0, 30)} torch {r.randint(1, 3)}.{r.randint(0, 9)}.0+cu{r.randint(110, 130)}",
    "price": lambda r: f"{r.choice('$€£')}{r.randint(1, 999)},{digits(r, 3)},{digits(r, 3)}.{digits(r, 2)} or {r.randint(1, 9)} {digits(r, 3)} {digits(r, 3)} kr",
    "float": lambda r: f"loss {r.random()} lr {r.random() / 1000}",
    "time": lambda r: f"2024-{r.randint(10, 12)}-{r.randint(10, 28)}T{r.randint(10, 23)}:{r.randint(10, 59)}:{r.randint(10, 59)}.{digits(r, 6)}Z took {digits(r, 5)} ms",
    "epoch": lambda r: f"ts={r.randint(1_600_000_000, 1_790_000_000)} until {r.randint(1_600_000_000_000, 1_790_000_000_000)}",
    "model": lambda r: r.choice(["gpt-4o-2024-08-06", "claude-3-5-sonnet-20241022", "gemini-1.5-pro-002", "llama-3.1-405b-instruct", "mistral-large-2407", "text-embedding-3-large"]) + f" answered in {digits(r, 4)} tokens",
    "isbn": lambda r: f"ISBN 978-3-{digits(r, 2)}-{digits(r, 6)}-{digits(r, 1)} and 0-{digits(r, 3)}-{digits(r, 5)}-X",
    "tracking": lambda r: f"{r.choice(['1Z' + letters(r, 16, UPPER), 'RR' + digits(r, 9) + 'DE', 'JD' + digits(r, 18)])} is on its way",
    "mac": lambda r: "eth0 " + ":".join(letters(r, 2, HEX) for _ in range(6)),
    "code": lambda r: r.choice(["std::vector<int> a{1, 2};", "Foo::Bar::baz()", "x[1:10:2]", "a::b::c", "@decorator\ndef f(): ...", "SELECT a@>b", "npm i @types/node@20.1.0", "user@localhost", "git@github.com:org/repo.git"]) + f" // {digits(r, 3)}",
    "not-a-card": lambda r: f"number {wrong_card(r)} is refused",
    "not-an-iban": lambda r: f"reference {wrong_iban(r)} unknown",
    "not-an-ssn": lambda r: f"part {r.choice(['000', '666', '900', '999'])}-{digits(r, 2)}-{digits(r, 4)} in stock",
    "coordinates": lambda r: f"at {r.uniform(-90, 90):.6f}, {r.uniform(-180, 180):.6f} ({r.randint(1990, 2025)})",
    "words": lambda r: r.choice(["the bearer of good news", "a basic misunderstanding", "token count is high", "secret: none", "password is required", "sk-learn-like-api-of-many-words", "api_key: null", "the key: to read the docs"]) + f", {digits(r, 2)} times",
    "sizes": lambda r: f"{digits(r, 3)} x {digits(r, 4)} px, {digits(r, 2)}/{digits(r, 2)} pages, {r.randint(1, 999)} {digits(r, 3)} {digits(r, 3)} bytes",
}  # fmt: skip

AROUND = [
    "{}", "Please note {}.", "My contact is {}, thanks!", "({})", "<{}>", "{}\n", "before; {}; after", "* {}\n* next", "→ {} ←",
    "请记下{}。谢谢", "値は{}です", "Пишите: {}, спасибо", "Bitte an {} senden", "Contactez {} svp", "القيمة {} الآن",
    'log.info("sent to %s", "{}")', "user='{}' ok=true", "2024-11-06 10:25:00 ERROR failed for {} after 3 tries",
    "| {} | 12 |", "x = [{}]  # see below", "```\n{}\n```", "Hello,\nI am {}\nBye",
]  # fmt: skip


def marked(text: str) -> tuple[str, int, int]:
    """The text without its marks, and what they enclose; all of it where there are none."""
    if "\0" not in text:
        return text, 0, len(text)
    before, value, after = text.split("\0")
    return before + value + after, len(before), len(before) + len(value)


def placed(rng: random.Random, value: str) -> tuple[str, int, int]:
    """A value in a text as telemetry has it: prose of several languages, code, logs; JSON and URLs escape it."""
    text, start, end = marked(value)
    form = rng.random()
    if form < 0.12 and value == text:
        head = '{"role": "user", "content": "it is '
        return (
            f'{head}{json.dumps(text, ensure_ascii=False)[1:-1]} ok"}}',
            len(head),
            len(head) + len(json.dumps(text, ensure_ascii=False)) - 2,
        )
    if form < 0.18 and value == text and text.isascii() and len(text) < 100:
        head = f"https://app.example/search?page=2&q={quote('it is ')}"
        return f"{head}{quote(text, safe='')}&lang=en", len(head), len(head) + len(quote(text, safe=""))
    before, after = rng.choice(AROUND).split("{}")
    return before + text + after, len(before) + start, len(before) + end


POSITIVE: dict[str, list[tuple[Maker, int]]] = {
    "email": [(email, 2 * PER_KIND)],
    "phone": [(phone, 2 * PER_KIND), (called, PER_KIND // 3)],
    "card": [(card, 2 * PER_KIND)],
    "iban": [(iban, 2 * PER_KIND)],
    "ssn": [(ssn, PER_KIND)],
    "ip": [(ip, PER_KIND)],
    "api_key": [(api_key, 2 * PER_KIND), (named_key, PER_KIND // 2)],
    "bearer": [(bearer, PER_KIND // 2)],
    "jwt": [(jwt, PER_KIND // 2)],
    "private_key": [(private_key, PER_KIND // 3)],
}


def corpus(seed: int = SEED) -> list[dict[str, object]]:
    rng = random.Random(seed)
    samples: list[dict[str, object]] = []
    for kind, makers in POSITIVE.items():
        for make, count in makers:
            for _ in range(count):
                text, start, end = placed(rng, make(rng))
                samples.append({"text": text, "labels": [{"kind": kind, "start": start, "end": end}]})
    for make in NEGATIVE.values():
        samples += [{"text": placed(rng, make(rng))[0], "labels": []} for _ in range(NEGATIVES)]
    rng.shuffle(samples)
    return [{"id": f"s{number:04}", **sample} for number, sample in enumerate(samples)]


def main() -> None:
    lines = [json.dumps(sample, ensure_ascii=False) + "\n" for sample in corpus()]
    CORPUS.write_text("".join(lines), encoding="utf-8")
    print(f"{len(lines)} texts written to {CORPUS.name}")


if __name__ == "__main__":
    main()
