"""What the OpenAPI document says of every operation alike: how it refuses, and what may come instead."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from sentinel_site.problems import CONTENT_TYPE

PROBLEM: dict[str, Any] = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string", "description": "the phrase of the status"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what is wrong with this very request, for people"},
        "instance": {"type": "string", "description": "the path that was asked for"},
        "errors": {
            "type": "object",
            "description": "messages by parameter or field, where some are wrong",
            "additionalProperties": {"type": "array", "items": {"type": "string"}},
        },
    },
    "required": ["type", "title", "status", "detail", "instance"],
}
RETRY_AFTER = {"Retry-After": {"description": "seconds", "schema": {"type": "integer", "minimum": 0}}}
CHALLENGE = {"WWW-Authenticate": {"description": "how to prove who one is", "schema": {"type": "string"}}}
ETAG = {"ETag": {"description": "to be sent as If-None-Match next time", "schema": {"type": "string"}}}

REFUSALS: dict[int, tuple[str, dict[str, Any]]] = {
    400: ("A parameter, a field or the body is wrong; `errors` says which, and what is allowed.", {}),
    401: ("No token, or one that is not valid or has expired.", CHALLENGE),
    403: ("The account or the token lacks the scope that this needs.", {}),
    404: ("There is no such object, or it belongs to a project that is not yours.", {}),
    406: ("None of the accepted media types can be given.", {}),
    409: ("What is there already forbids it.", {}),
    413: ("The body is larger than `api.max_body_size`.", {}),
    415: ("The body is of a media type that is not read here.", {}),
    429: ("More requests than `api.requests_per_minute`.", RETRY_AFTER),
    503: ("Something that this needs does not answer for now.", RETRY_AFTER),
}
ALWAYS = (400, 401, 403, 406, 429, 503)
UNCHANGED = {"description": "The client has this very answer already (If-None-Match).", "headers": ETAG}
METHODS = ("get", "post", "put", "patch", "delete")


def describe_refusals(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """A hook of drf-spectacular: adds to each operation the answers of all its kind, unless it says its own."""
    components = result.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM
    components["responses"] = {name(code): refusal(*said) for code, said in REFUSALS.items()}
    components["responses"]["Unchanged"] = UNCHANGED
    for path, operations in result["paths"].items():
        for method in METHODS:
            if method in operations:
                _complete(operations[method], method, "{" in path)
    return result


def name(code: int) -> str:
    """Of the component: `TooManyRequests`."""
    return HTTPStatus(code).phrase.title().replace(" ", "").replace("-", "")


def refusal(description: str, headers: dict[str, Any]) -> dict[str, Any]:
    content = {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": description, "content": content} | ({"headers": headers} if headers else {})


def codes(method: str, has_object: bool, has_body: bool) -> list[int]:
    """How an operation may refuse."""
    found = {*ALWAYS, *((404,) if has_object else ()), *((413, 415) if has_body else ())}
    return sorted(found | ({409} if method != "get" else set()))


def _complete(operation: dict[str, Any], method: str, has_object: bool) -> None:
    responses = operation["responses"]
    for code in codes(method, has_object, method in ("post", "put", "patch")):
        if "content" not in responses.get(str(code), {}):
            responses[str(code)] = {"$ref": f"#/components/responses/{name(code)}"}
    if method == "get":
        responses["304"] = {"$ref": "#/components/responses/Unchanged"}
        responses.get("200", {}).setdefault("headers", ETAG)
