"""One client for peers: what comes back is an answer, or a word for why there is none."""

import asyncio
import base64
import json

import pytest
from aiohttp import web

from benchmarks.peers.callers import DOORS, LATE, OK, REFUSED, Target, caller
from benchmarks.peers.catalogue import PEERS
from benchmarks.peers.checking import SHARES, agreement
from benchmarks.peers.settings import VARIABLE, Settings

ANSWER = {
    "cells": [
        {
            "box": [1.0, 2.0, 3.0, 4.0],
            "score": 0.9,
            "cell_type": "monocyte",
            "probability": 1.0,
            "identified": True,
        }
    ],
    "counts": {"wbc": 1},
}


@pytest.fixture
async def server():
    """A peer that answers with a status that the image names, and remembers what it was posted."""
    posted = []

    async def analyze(request):
        body = await request.read()
        posted.append((request.content_type, body))
        if body == b"slow":
            await asyncio.sleep(30)
        return web.json_response(ANSWER, status=int(body) if body.isdigit() else 200)

    async def infer(request):
        image = (await request.json())["inputs"][0]["data"][0]
        posted.append((request.content_type, base64.b64decode(image)))
        return web.json_response({"outputs": [{"data": [json.dumps(ANSWER)]}]})

    app = web.Application()
    app.router.add_post("/analyze", analyze)
    app.router.add_post("/v2/models/hemaserve/infer", infer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0]
    yield f"{host}:{port}", posted
    await runner.cleanup()


@pytest.mark.parametrize("name", ["fastapi", "mlserver"])
async def test_an_image_is_posted_as_the_peer_wants_it_and_its_answer_read(server, name):
    address, posted = server
    async with caller(Target(name, address)) as client:
        answer = await client.analyze(b"\x89image")
    assert answer.to_dict() == ANSWER | {"cells": [ANSWER["cells"][0] | {"box": (1.0, 2.0, 3.0, 4.0)}]}
    assert posted == [(DOORS[name].content_type, b"\x89image")]


@pytest.mark.parametrize(
    ("image", "outcome"), [(b"fine", OK), (b"429", REFUSED), (b"503", REFUSED), (b"500", "failed: 500")]
)
async def test_load_is_told_what_became_of_a_call(server, image, outcome):
    async with caller(Target("fastapi", server[0])) as client:
        assert await client.call(image) == outcome


async def test_load_is_told_that_nobody_answered_in_time(server):
    async with caller(Target("fastapi", server[0], deadline_s=0.2)) as client:
        assert await client.call(b"slow") == LATE


async def test_load_is_told_that_nobody_is_there(unused_tcp_port):
    async with caller(Target("fastapi", f"127.0.0.1:{unused_tcp_port}")) as client:
        assert (await client.call(b"fine")).startswith("failed: Client")


async def test_no_answer_is_an_error_with_what_was_said(server):
    async with caller(Target("fastapi", server[0])) as client:
        with pytest.raises(RuntimeError, match="answered 500"):
            await client.analyze(b"500")


def test_every_peer_can_be_asked_and_is_pinned():
    assert set(PEERS) == set(DOORS) == set(SHARES)
    for peer in PEERS.values():
        lines = peer.requirements.read_text().splitlines()
        assert lines
        assert all("==" in line and "+" not in line for line in lines), peer.environment


def test_settings_survive_their_way(monkeypatch):
    settings = Settings(
        processes=3, threads=2, max_batch=4, wait_ms=1.5, throughput=True, port=7, pipeline="p"
    )
    monkeypatch.setenv(VARIABLE, settings.to_json())
    assert Settings.from_environment() == settings


def test_agreement_counts_what_is_said_otherwise():
    from benchmarks.peers.answers import FieldAnswer

    answer = FieldAnswer.from_dict(ANSWER)
    found = agreement([answer, answer], [answer, FieldAnswer((), {"wbc": 0})])
    assert found.cells == 2
    assert found.disagreements == ("field 1: no cell at 1, 2, 3, 4",)
    assert found.share == 0.5
