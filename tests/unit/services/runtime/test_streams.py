"""Streams of requests; what the gateway does with them is in its own tests."""

import pytest

from hemaserve.errors import InvalidArgument
from services.runtime.streams import only


async def test_the_stream_does_not_outlive_its_one_message():
    ended = []

    async def messages():
        try:
            yield "message"
        finally:
            ended.append(True)

    stream = messages()
    assert await only(stream) == "message"
    # gRPC's keeps the message, an image, as long as it is open, and it refers to itself.
    assert ended == [True]


async def test_a_stream_without_a_message_is_no_request():
    async def messages():
        return
        yield

    with pytest.raises(InvalidArgument, match="one message"):
        await only(messages())
