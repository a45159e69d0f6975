"""What most people write: pandas, httpx.AsyncClient, a task for each row, a semaphore, tenacity around every call.

Arguments: roster, results, calls in flight.
"""

import asyncio
import os
import sys

import httpx
import pandas
from tenacity import retry, stop_after_attempt, wait_exponential

API, PROJECT = os.environ["HEALTHEX_API_URL"], os.environ["HEALTHEX_PROJECT_ID"]


@retry(stop=stop_after_attempt(5), wait=wait_exponential())
async def fetch(client: httpx.AsyncClient, token: str, external_id: str) -> str:
    response = await client.post(
        f"{API}/v1/projects/{PROJECT}/link",
        json={"externalId": external_id},
        headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
    )
    response.raise_for_status()
    return str(response.json())


async def main(roster: str, results: str, in_flight: int) -> None:
    read = pandas.read_excel if roster.endswith(".xlsx") else pandas.read_csv
    frame = read(roster, dtype=str)
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    semaphore = asyncio.Semaphore(in_flight)
    async with httpx.AsyncClient(limits=limits, timeout=30) as client:
        keys = {"apiKey": os.environ["HEALTHEX_API_KEY"], "apiSecret": os.environ["HEALTHEX_API_SECRET"]}
        token = (await client.post(f"{API}/v1/auth/token", json=keys)).json()["token"]

        async def one(external_id: str) -> str:
            async with semaphore:
                return await fetch(client, token, external_id)

        frame["link"] = await asyncio.gather(*(one(external_id) for external_id in frame["MRN"]))
    frame.to_excel(results, index=False)


asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
