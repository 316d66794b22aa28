"""A secured gateway as a process of its own, in front of the real networks."""

import asyncio
import json
import os
import re
import sys
from datetime import UTC, datetime

import pytest

from hemaserve.access import Role
from hemaserve.access.editing import change, revoked, with_key
from hemaserve.client import Client, Field, PermissionDeniedError, UnauthenticatedError

PATIENCE_S = 60


@pytest.fixture
def path(tmp_path):
    return tmp_path / "access.json"


def add(path, name, role):
    made = []

    def edit(access):
        changed, key = with_key(access, name, now=datetime.now(UTC), roles=[role])
        made.append(key)
        return changed

    change(path, edit)
    return made[0]


@pytest.fixture
async def gateway(behind, path, tmp_path):
    """Where a gateway listens that lets in the clients of the access file; at first there is one, `lab`."""
    key = add(path, "lab", Role.ANALYZE)
    told = behind | {"access": str(path), "audit_log": str(tmp_path / "audit.jsonl")}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "services.gateway", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"),
        env=os.environ | {f"HEMASERVE_GATEWAY_{name.upper()}": value for name, value in told.items()},
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            line = await process.stderr.readuntil(b"listening")
            line += await process.stderr.readline()
        reading = asyncio.create_task(process.stderr.read())
        yield re.search(r'"address": "([^"]+)"', line.decode())[1], key
        process.terminate()
        await process.wait()
        assert key not in (await reading).decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_a_key_opens_it_and_nothing_else_does(gateway, images, path, tmp_path):
    address, key = gateway
    async with Client(address, api_key=key) as client:
        assert (await client.analyze_field(images[0])).error is None
        result = await client.analyze_smear(
            [Field(image, f"FIELD-{n}") for n, image in enumerate(images[:3])]
        )
        assert result.fields_counted == 3
        with pytest.raises(PermissionDeniedError):
            await client.explain_cell(images[0])
        for wrong in (None, key[:-1] + ("A" if key[-1] != "A" else "B")):
            async with Client(address, api_key=wrong) as stranger:
                with pytest.raises(UnauthenticatedError):
                    await stranger.analyze_field(images[0])
                with pytest.raises(UnauthenticatedError):
                    await stranger.analyze_smear(images[:1])
                await stranger.health()
        successor = add(path, "lab", Role.ANALYZE)
        change(path, lambda access: revoked(access, key.split("_")[1], now=datetime.now(UTC)))
        with pytest.raises(UnauthenticatedError):
            await client.list_models()
    async with Client(address, api_key=successor) as client:
        assert (await client.analyze_field(images[0])).error is None
    audit = tmp_path / "audit.jsonl"
    async with asyncio.timeout(PATIENCE_S):
        # The last call of all is the successor's.
        # In a line that is written to its end; another process writes it.
        while f'"{successor.split("_")[1]}"' not in audit.read_text().rpartition("\n")[0]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    records = [json.loads(line) for line in audit.read_text().rpartition("\n")[0].splitlines()]
    smear = next(
        record for record in records if record["method"].endswith("AnalyzeSmear") and record["client"]
    )
    assert (smear["fields"], smear["code"]) == (3, "OK")
    assert smear["bytes"] > sum(map(len, images[:3]))
    reasons = {record["reason"] for record in records if record["code"] == "UNAUTHENTICATED"}
    assert reasons == {"missing", "wrong_secret", "revoked"}
    assert "FIELD-" not in audit.read_text()
