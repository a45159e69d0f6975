"""aiohttp alone: workers that call and forget. No file is read or written, nothing checked, nothing retried.

Arguments: calls, calls in flight. Says calls a second, between the second second and the last.
"""

import asyncio
import os
import sys
import time

import aiohttp
import uvloop

API, PROJECT = os.environ["HEALTHEX_API_URL"], os.environ["HEALTHEX_PROJECT_ID"]


async def main(calls: int, in_flight: int) -> None:
    numbers = iter(range(calls))
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        keys = {"apiKey": os.environ["HEALTHEX_API_KEY"], "apiSecret": os.environ["HEALTHEX_API_SECRET"]}
        async with session.post(f"{API}/v1/auth/token", json=keys) as answer:
            token = (await answer.json())["token"]
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}

        async def work() -> None:
            for number in numbers:
                body = {"externalId": str(10_000_000 + number)}
                async with session.post(f"{API}/v1/projects/{PROJECT}/link", json=body, headers=headers) as answer:
                    answer.raise_for_status()
                    await answer.json()
                done.append(time.monotonic())

        done: list[float] = []
        await asyncio.gather(*(work() for _ in range(in_flight)))
    settled = [moment for moment in done if moment >= done[0] + 1]
    print((len(settled) - 1) / (settled[-1] - settled[0]) if len(settled) > 1 else 0.0)


uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))
