"""The access file: JSON, for the command to write and for people to edit.

    {
      "format": "hemaserve.access.v1",
      "clients": {
        "analyzer-3": {
          "roles": ["analyze"],
          "quota": {"requests": 600, "fields": 120, "bytes": 1000000000},
          "certificates": ["analyzer-3.lab.example"],
          "keys": [{"id": "...", "sha256": "...", "created_at": "...", "expires_at": "...", "revoked_at": "..."}]
        }
      },
      "role_quotas": {"review": {"requests": 60}},
      "issuers": [{"issuer": "https://login.example", "audience": "hemaserve", "jwks": "https://login.example/keys"}]
    }

Quotas are per minute. A member that is not known is an error: what is misspelt in such a file must not be ignored.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit

from hemaserve.access.clients import SIGNATURE_ALGORITHMS, Access, ApiKey, Client, Issuer, Quota, Role
from hemaserve.access.keys import DIGEST_FORM, ID_FORM

FORMAT: Final = "hemaserve.access.v1"
MAX_BYTES: Final = 16 * 2**20
"""Largest file that is read: tens of thousands of clients."""

NAME_RULE: Final = "1 to 64 of a-z, 0-9, '.', '_' and '-', a letter or digit first, and not 'anonymous'"
_NAME: Final = re.compile(r"(?!anonymous$)[a-z0-9][a-z0-9._-]{0,63}")
_TEXT_RULE: Final = "1 to 1024 printable characters, no space first or last"
_LEEWAY_S: Final = 300.0
_MOST: Final = 1e15
_LOOPBACK: Final = ("127.0.0.1", "::1", "localhost")


class UnusableAccessFile(ValueError):
    """An access file that cannot be used; the message names the member, its value and what is allowed."""


def is_client_name(text: str) -> bool:
    """Whether a client can have this name, see `NAME_RULE`."""
    return _NAME.fullmatch(text) is not None


def from_text(text: str) -> Access:
    """What an access file says.

    Raises:
        UnusableAccessFile: it is not one, or a client's certificate or key is another's too.
    """
    try:
        found = json.loads(text, object_pairs_hook=_unique_members)
    except UnusableAccessFile:
        raise
    except (ValueError, RecursionError):
        raise UnusableAccessFile("the access file is not JSON") from None
    members = _members(found, "the file", {"format", "clients", "role_quotas", "issuers"})
    if members.get("format") != FORMAT:
        _refuse("format", members.get("format"), FORMAT)
    clients = tuple(
        _client(name, value) for name, value in _members(members.get("clients", {}), "clients").items()
    )
    _check_unique("keys", [key.key_id for client in clients for key in client.keys])
    _check_unique("certificates", [name for client in clients for name in client.certificates])
    issuers = tuple(
        _issuer(f"issuers[{number}]", value)
        for number, value in enumerate(_list(members.get("issuers", []), "issuers"))
    )
    _check_unique("issuers", [issuer.issuer for issuer in issuers])
    quotas = _members(members.get("role_quotas", {}), "role_quotas")
    return Access(
        clients,
        {_role(role, "role_quotas"): _quota(f"role_quotas.{role}", quota) for role, quota in quotas.items()},
        issuers,
    )


def to_text(access: Access) -> str:
    """The file that says this; `from_text` of it is equal."""
    content = {
        "format": FORMAT,
        "clients": {client.name: _client_json(client) for client in access.clients},
        "role_quotas": {role.value: _quota_json(quota) for role, quota in access.role_quotas.items()},
        "issuers": [
            {
                "issuer": issuer.issuer,
                "audience": issuer.audience,
                "jwks": issuer.jwks,
                "algorithms": list(issuer.algorithms),
                "roles_claim": issuer.roles_claim,
                "leeway_s": issuer.leeway_s,
            }
            for issuer in access.issuers
        ],
    }
    return json.dumps(content, indent=2) + "\n"


def _client(name: str, value: object) -> Client:
    path = f"clients.{name}"
    if not is_client_name(name):
        _refuse("clients", name, NAME_RULE)
    members = _members(value, path, {"roles", "quota", "certificates", "keys"})
    roles = _list(members.get("roles"), f"{path}.roles")
    if not roles:
        _refuse(f"{path}.roles", roles, "at least one role")
    return Client(
        name,
        frozenset(_role(role, f"{path}.roles") for role in roles),
        _quota(f"{path}.quota", members.get("quota", {})),
        tuple(
            _text(item, f"{path}.certificates")
            for item in _list(members.get("certificates", []), f"{path}.certificates")
        ),
        tuple(
            _key(f"{path}.keys[{number}]", item)
            for number, item in enumerate(_list(members.get("keys", []), f"{path}.keys"))
        ),
    )


def _key(path: str, value: object) -> ApiKey:
    members = _members(value, path, {"id", "sha256", "created_at", "expires_at", "revoked_at"})
    return ApiKey(
        _formed(members.get("id"), f"{path}.id", ID_FORM, "12 hexadecimal digits"),
        _formed(members.get("sha256"), f"{path}.sha256", DIGEST_FORM, "64 hexadecimal digits"),
        _time(members.get("created_at"), f"{path}.created_at"),
        _optional(_time, members.get("expires_at"), f"{path}.expires_at"),
        _optional(_time, members.get("revoked_at"), f"{path}.revoked_at"),
    )


def _issuer(path: str, value: object) -> Issuer:
    known = {"issuer", "audience", "jwks", "algorithms", "roles_claim", "leeway_s"}
    members = _members(value, path, known)
    default = Issuer("", "", "")
    algorithms = tuple(_list(members.get("algorithms", list(default.algorithms)), f"{path}.algorithms"))
    if not algorithms or not set(map(str, algorithms)) <= set(SIGNATURE_ALGORITHMS):
        _refuse(f"{path}.algorithms", list(algorithms), ", ".join(SIGNATURE_ALGORITHMS))
    leeway_s = _number(members.get("leeway_s", default.leeway_s), f"{path}.leeway_s")
    if leeway_s > _LEEWAY_S:
        _refuse(f"{path}.leeway_s", leeway_s, f"0 to {_LEEWAY_S:g}")
    jwks = _text(members.get("jwks"), f"{path}.jwks")
    address = urlsplit(jwks)
    # Keys that come over an open network could be anybody's.
    if address.scheme == "http" and address.hostname not in _LOOPBACK:
        _refuse(f"{path}.jwks", jwks, "an https address, or a file")
    return Issuer(
        _text(members.get("issuer"), f"{path}.issuer"),
        _text(members.get("audience"), f"{path}.audience"),
        jwks,
        algorithms,
        _text(members.get("roles_claim", default.roles_claim), f"{path}.roles_claim"),
        leeway_s,
    )


def _quota(path: str, value: object) -> Quota:
    members = _members(value, path, {"requests", "fields", "bytes"})
    limits = {name: _number(limit, f"{path}.{name}") for name, limit in members.items()}
    for name, limit in limits.items():
        if limit < 1:
            _refuse(f"{path}.{name}", limit, "at least 1 a minute")
    return Quota(**limits)


def _role(value: object, path: str) -> Role:
    try:
        return Role(str(value))
    except ValueError:
        _refuse(path, value, ", ".join(Role))


def _members(value: object, path: str, known: set[str] | None = None) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        _refuse(path, type(value).__name__, "an object")
    unknown = value.keys() - known if known is not None else set()
    if unknown:
        _refuse(path, min(unknown), ", ".join(sorted(known or ())))
    return value


def _unique_members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object; JSON's readers take the last of two members of one name, and an editor may have meant the first."""
    _check_unique("the file", [name for name, _ in pairs])
    return dict(pairs)


def _list(value: object, path: str) -> list[Any]:
    if not isinstance(value, list):
        _refuse(path, type(value).__name__, "a list")
    return value


def _text(value: object, path: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 1024 or not value.isprintable():
        _refuse(path, value, _TEXT_RULE)
    if value != value.strip():
        _refuse(path, value, _TEXT_RULE)
    return value


def _formed(value: object, path: str, form: "re.Pattern[str]", allowed: str) -> str:
    if not isinstance(value, str) or form.fullmatch(value) is None:
        # Not shown: it may be a key that was put where its digest belongs.
        _refuse(path, "something else", allowed)
    return value


def _number(value: object, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= _MOST:
        _refuse(path, value, f"a number from 0 to {_MOST:g}")
    return float(value)


def _time(value: object, path: str) -> datetime:
    try:
        time = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        time = None
    if time is None or time.tzinfo is None:
        _refuse(path, value, "a time like 2026-01-31T12:00:00Z")
    return time.astimezone(UTC)


def _optional(read: Callable[[object, str], datetime], value: object, path: str) -> datetime | None:
    return None if value is None else read(value, path)


def _check_unique(what: str, values: list[str]) -> None:
    value, count = next(iter(Counter(values).most_common(1)), ("", 0))
    if count > 1:
        _refuse(what, value, "each once")


def _refuse(path: str, value: object, allowed: str) -> NoReturn:
    shown = str(value)
    raise UnusableAccessFile(f"{path}: {shown[:80]!r}; allowed: {allowed}")


def _client_json(client: Client) -> dict[str, object]:
    content: dict[str, object] = {"roles": sorted(client.roles)}
    if client.quota != Quota():
        content["quota"] = _quota_json(client.quota)
    if client.certificates:
        content["certificates"] = list(client.certificates)
    content["keys"] = [_key_json(key) for key in client.keys]
    return content


def _quota_json(quota: Quota) -> dict[str, float]:
    limits = {"requests": quota.requests, "fields": quota.fields, "bytes": quota.bytes}
    return {name: limit for name, limit in limits.items() if limit is not None}


def _key_json(key: ApiKey) -> dict[str, str]:
    times = {"created_at": key.created_at, "expires_at": key.expires_at, "revoked_at": key.revoked_at}
    told = {name: time.isoformat() for name, time in times.items() if time is not None}
    return {"id": key.key_id, "sha256": key.sha256, **told}
