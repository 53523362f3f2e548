"""The preload plan over HTTP: a small ASGI application, and the server that runs it in one process."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from contextlib import asynccontextmanager
from dataclasses import asdict, fields
from datetime import UTC, datetime
from functools import partial
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from usage_analytics.errors import UserError
from usage_analytics.serving.askers import instant_of, pseudonym_of
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.live_plan import LivePlan
from usage_analytics.serving.lookup import context_of
from usage_analytics.serving.openapi import PARAMETERS, PREWARM_PARAMETERS, document, page
from usage_analytics.serving.plan.answer import Answer, Item
from usage_analytics.serving.plan.scope import MOST_ASKED
from usage_analytics.serving.preload_plan import PreloadPlan

LOOK_EVERY_S = 1.0  # at the folder's current plan
NEXT_NAMES, PREWARM_NAMES = (frozenset(name for name, *_ in each) for each in (PARAMETERS, PREWARM_PARAMETERS))
ITEM_FIELDS, ANSWER_FIELDS = ([field.name for field in fields(each)] for each in (Item, Answer))

Clock = Callable[[], datetime]


class NotReady(Exception):
    """There is no plan to answer with; says why."""


def application(live: LivePlan, pseudonym_key: bytes | None, now: Clock | None = None) -> Starlette:
    """The ASGI application. With a pseudonym key, users may be asked for by their identifiers.

    It looks for a swapped plan by itself, in a thread of its own, while the present one answers.
    """

    clock = now or partial(datetime.now, UTC)

    def user_of(request: Request, plan: PreloadPlan) -> str | None:
        user = request.query_params.get("user") or None
        return None if user is None else pseudonym_of(user, pseudonym_key, plan)

    async def next_(request: Request) -> Response:
        plan, query = _plan(live), request.query_params
        _refuse_others(request, NEXT_NAMES)
        pseudonym = user_of(request, plan)
        given = [text for text in query.getlist("context") if text]
        context = context_of(given, plan)
        if "" in context:
            raise UserError(f"context {given[0]!r} names no mini-app before or after a '>'")
        if len(context) > MOST_ASKED:
            raise UserError(f"context has at most {MOST_ASKED} mini-apps, found {len(context)}")
        entity = query.get("entity") or None
        at = instant_of(plan, query.get("at") or None, clock())
        return _json(answer_json(plan.next(pseudonym, context, _budget(request, plan), at, entity)))

    async def prewarm(request: Request) -> Response:
        plan = _plan(live)
        _refuse_others(request, PREWARM_NAMES)
        at = instant_of(plan, request.query_params.get("at") or None, clock())
        return _json(asdict(plan.prewarm(user_of(request, plan), at, _budget(request, plan))))

    async def plan(_: Request) -> Response:
        return _json(plan_json(_plan(live)))

    async def health(_: Request) -> Response:
        state = {"plan": live.plan.name if live.plan else None, "trouble": live.trouble}
        return _json(state, 200 if live.plan else 503)

    async def openapi(_: Request) -> Response:
        return _json(document())

    async def docs(_: Request) -> Response:
        return HTMLResponse(page(document()))

    paths = {
        "/next": next_, "/prewarm": prewarm, "/plan": plan, "/health": health, "/openapi.json": openapi, "/": docs,
    }  # fmt: skip
    return Starlette(
        routes=[Route(path, endpoint) for path, endpoint in paths.items()],
        exception_handlers={
            UserError: partial(_refusal, 400),
            NotReady: partial(_refusal, 503),
            HTTPException: partial(_no_such, sorted(paths)),
        },
        lifespan=partial(_watching, live),
    )


def serve(live: LivePlan, pseudonym_key: bytes | None, host: str, port: int) -> None:
    """Serve until the process is told to stop."""
    import uvicorn

    app = application(live, pseudonym_key)
    uvicorn.run(app, host=host, port=port, access_log=False, log_level="warning")


def answer_json(answer: Answer) -> dict[str, Any]:
    """An answer as JSON's own types; None in a context is the start of the user session."""
    told = {name: getattr(answer, name) for name in ANSWER_FIELDS}
    told["items"] = [{name: getattr(item, name) for name in ITEM_FIELDS} for item in answer.items]
    return told


def plan_json(plan: PreloadPlan) -> dict[str, Any]:
    """What a plan is, without its numbers."""
    tables = plan.tables
    facts = asdict(tables.facts)
    counts = {
        "contexts": len(tables.context_keys),
        "users": len(tables.user_keys),
        "user_classes": len(tables.class_factors) - 1,
        "entities": len(tables.entity_keys),
    }
    return {"plan": plan.name, **facts, "mini_apps": tables.mini_apps, **counts}


@asynccontextmanager
async def _watching(live: LivePlan, _: Starlette) -> AsyncIterator[None]:
    async def watch() -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            await asyncio.to_thread(live.refresh)

    await asyncio.to_thread(live.refresh)
    watcher = asyncio.create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()


def _plan(live: LivePlan) -> PreloadPlan:
    if live.plan is None:
        raise NotReady(live.trouble or "no preload plan is open yet")
    return live.plan


def _refuse_others(request: Request, names: AbstractSet[str]) -> None:
    for unknown in sorted(request.query_params.keys() - names):
        told = f"{unknown!r} is no parameter of {request.url.path}; they are {', '.join(sorted(names))}"
        raise UserError(told)
    for name in sorted(names - {"context"}):
        times = len(request.query_params.getlist(name))
        if times > 1:
            raise UserError(f"{name} is given {times} times: give it once")


def _budget(request: Request, plan: PreloadPlan) -> Budget:
    default = plan.tables.facts.budget
    return Budget(
        calls=int(_number(request, "calls", default.calls, whole=True)),
        bytes=_number(request, "bytes", default.bytes, whole=False),
    )


def _number(request: Request, name: str, default: float, whole: bool) -> float:
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        number = -1
    if not 0 <= number < float("inf"):
        raise UserError(f"{name} is a {'whole ' if whole else ''}number from 0 on, found {text!r}")
    return number


def _refusal(status: int, _: Request, error: Exception) -> Response:
    return _json({"error": str(error)}, status)


def _no_such(paths: Sequence[str], request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    why = f"there is no {request.url.path!r} here: ask for {', '.join(paths)}"
    if error.status_code == 405:
        why = f"{request.url.path} answers GET, not {request.method}"
    return _json({"error": why}, error.status_code, error.headers)


def _json(told: dict[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    content = json.dumps(told, allow_nan=False, default=str).encode()
    return Response(content, status, headers, media_type="application/json")
