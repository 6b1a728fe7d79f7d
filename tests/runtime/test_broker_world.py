"""The broker and a payload in a real sandbox, over the channel that its launcher used."""

from __future__ import annotations

import asyncio

import pytest

from lmboot.runtime.broker import Broker
from lmboot.runtime.operations import Notify, Time
from tests.runtime.brokers import Record, all_routes
from tests.runtime.guests import started

pytestmark = pytest.mark.sandbox


async def test_a_payload_asks_its_host_and_a_flip_stops_that() -> None:
    shown: list[str] = []
    routes = all_routes("HOST", {"fs.write_text": "EMULATE"})
    async with started(
        """
        import guest_sys
        input()
        print(guest_sys.call("notify", text="from inside"), guest_sys.write("a", "bc"))
        print(guest_sys.call("time")["unix"] > 1e9, flush=True)
        input()
        try:
            guest_sys.call("time")
        except PermissionError as error:
            print(error)
        """,
        routes=routes.table(),
    ) as guest:
        channel = guest.runtime._standby.channel
        broker = Broker(channel, routes, [Time(), Notify(shown.append)], Record())
        served = asyncio.create_task(broker.serve())
        await guest.runtime.send(b"\n")
        await guest.until(b"True\n")
        broker.flip("time", "DENY")
        await guest.runtime.send(b"\n")
        await guest.finish()

        assert guest.text == "{'shown': True} 2\nTrue\ntime is denied\n"
        assert guest.code == 0
        assert shown == ["from inside"]
        assert await served == "hung_up"
