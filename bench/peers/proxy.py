"""A gateway with FastAPI and httpx, as such proxies are commonly written: keys in a dict, limits in memory, replies passed on
as they come, the request's JSON decoded to learn the model and to ask for usage, each event decoded to find it.

Environment: BENCH_UPSTREAM (http://...), BENCH_KEYS (a file of lines "KEY USER"), BENCH_LOG, BENCH_REQUESTS (a minute)."""
import json
import os
import time
from collections import defaultdict

import httpx
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response, StreamingResponse

with open(os.environ["BENCH_KEYS"], encoding="ascii") as lines:
    keys = dict(line.split() for line in lines)
limits = {"requests": int(os.environ["BENCH_REQUESTS"]), "tokens": 10**9, "running": 60000, "quota": 10**9}
log = open(os.environ["BENCH_LOG"], "a", buffering=1, encoding="utf-8")
client = httpx.AsyncClient(
    base_url=os.environ["BENCH_UPSTREAM"],
    timeout=600,
    limits=httpx.Limits(max_connections=None, max_keepalive_connections=256),
)
app = FastAPI()
hop_by_hop = {"connection", "keep-alive", "transfer-encoding", "content-length", "host"}


class Window:
    """What a key, a user, a model, an address, or all of them have used."""

    def __init__(self):
        self.minute = 0
        self.requests = self.tokens = self.running = self.quota = 0

    def admits(self, minute):
        if self.minute != minute:
            self.minute, self.requests, self.tokens = minute, 0, 0
        return (
            self.requests < limits["requests"]
            and self.tokens < limits["tokens"]
            and self.running < limits["running"]
            and self.quota < limits["quota"]
        )


windows = defaultdict(Window)


def refusal(status, kind, code, message):
    error = {"message": message, "type": kind, "param": None, "code": code}
    headers = {"Retry-After": "60"} if status == 429 else None
    return JSONResponse({"error": error}, status_code=status, headers=headers)


class Lease:
    def __init__(self, scopes, about):
        self.scopes, self.about, self.usage, self.begun = scopes, about, {}, time.time()
        for window in scopes:
            window.requests += 1
            window.running += 1

    def take(self, reply):
        usage = reply.get("usage")
        if usage:
            self.usage = usage
        return bool(usage)

    def settle(self, status):
        total = self.usage.get("total_tokens", 0)
        for window in self.scopes:
            window.running -= 1
            window.tokens += total
            window.quota += total
        line = {"time": self.begun, "status": status, "seconds": time.time() - self.begun, **self.about, **self.usage}
        log.write(json.dumps(line) + "\n")


async def events(reply, lease, strips):
    rest = b""
    try:
        async for chunk in reply.aiter_raw():
            *whole, rest = (rest + chunk).split(b"\n\n")
            for event in whole:
                counted = False
                if event.startswith(b"data: ") and event != b"data: [DONE]":
                    data = json.loads(event[6:])
                    counted = lease.take(data) and strips and not data.get("choices")
                if not counted:
                    yield event + b"\n\n"
        if rest:
            yield rest
    finally:
        await reply.aclose()
        lease.settle(reply.status_code)


@app.post("/v1/{path:path}")
async def proxy(path: str, request: Request):
    kind, _, key = request.headers.get("authorization", "").partition(" ")
    user = keys.get(key) if kind == "Bearer" else None
    if user is None:
        return refusal(401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided.")
    body = await request.body()
    try:
        asked = json.loads(body)
    except ValueError:
        return refusal(400, "invalid_request_error", None, "The body is not JSON.")
    model = asked.get("model")
    names = ("key", key), ("user", user), ("model", model), ("address", request.client.host), ("all", "")
    scopes = [windows[name] for name in names]
    minute = int(time.time() / 60)
    if not all([window.admits(minute) for window in scopes]):
        return refusal(429, "requests", "rate_limit_exceeded", "Rate limit reached.")
    strips = False
    if asked.get("stream") and not (asked.get("stream_options") or {}).get("include_usage"):
        asked["stream_options"] = {"include_usage": True}
        body = json.dumps(asked).encode()
        strips = True
    lease = Lease(scopes, {"user": user, "model": model, "uri": path})
    headers = {name: value for name, value in request.headers.items() if name not in hop_by_hop}
    headers["accept-encoding"] = "identity"
    upstream = client.build_request("POST", f"/v1/{path}", params=request.query_params, headers=headers, content=body)
    try:
        reply = await client.send(upstream, stream=True)
    except httpx.HTTPError:
        lease.settle(502)
        return refusal(502, "server_error", None, "The model server does not answer.")
    headers = {name: value for name, value in reply.headers.items() if name not in hop_by_hop}
    if asked.get("stream"):
        return StreamingResponse(events(reply, lease, strips), status_code=reply.status_code, headers=headers)
    content = await reply.aread()
    lease.take(json.loads(content))
    lease.settle(reply.status_code)
    return Response(content, status_code=reply.status_code, headers=headers)
