"""What the HTTP endpoint offers, as an OpenAPI document, and as a page that needs nothing from elsewhere."""

from dataclasses import fields
from html import escape
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

from usage_analytics.serving.plan.answer import Answer, Item, PrewarmAnswer, PrewarmItem

Schema = dict[str, Any]

PARAMETERS = (
    ("user", False, "string", "the user's pseudonym, 32 hexadecimal digits; or the identifier, where the server has "
     "the platform's pseudonym key. Without it, or if the plan does not know the user: the population's answer"),
    ("context", True, "string", "mini-apps opened in this user session, most recent last: given several times, or "
     "once with '>' between them. First may be (start): nothing was opened before them then; (start) alone asks what "
     "to preload as a user session begins. Those that the plan does not know are marked in the answer"),
    ("entity", False, "string", "what the user has in hand, an instrument for one, as messages name it. Without it, or "
     "if the plan does not know it, it makes no difference"),
    ("at", False, "string", "a time of day in the plan's time zone, such as 09:15, of the next trading day that the "
     "plan tells prices of; by default now"),
    ("calls", False, "integer", "how many mini-apps may be preloaded at most; by default the plan's own budget"),
    ("bytes", False, "number", "how many bytes they may have together; by default the plan's own budget"),
)  # fmt: skip
PREWARM_PARAMETERS = (
    PARAMETERS[0],
    ("at", False, "string", "a time of day in the plan's time zone, such as 09:15, of the next trading day that the "
     "plan tells prices of; by default now"),
    ("calls", False, "integer", "how many mini-apps may be fetched at most; the plan's own budget by default, which "
     "is never exceeded"),
    ("bytes", False, "number", "how many bytes they may have together; the plan's own budget by default, which is "
     "never exceeded"),
)  # fmt: skip
MEANINGS = {
    "plan": "name of the plan that answered",
    "items": "what to preload, best first",
    "context": "the part of the asked context that answered, its end; null: the start of the user session, (start)",
    "transitions": "how often that context was seen",
    "whole_context": "whether it is all that was asked, or as much as a plan's contexts have at most",
    "unknown_mini_apps": "those of the asked context that the plan does not know",
    "known_user": "whether the plan knows the user; else this is the population's answer",
    "known_entity": "whether the plan knows what the user has in hand; false if nothing was said of it",
    "price": "what the time of day multiplies costs by",
    "phase": "phase of the trading day for which it was answered; null outside its hours",
    "mini_app": "what to preload",
    "probability": "that it is opened next",
    "revisit_factor": "how its visits in this user session changed that; 1: not at all",
    "user_factor": "how the habits of users like this one changed that; 1: not at all",
    "phase_factor": "how the phase of the trading day changed that; 1: not at all",
    "entity_factor": "how what the user has in hand changed that; 1: not at all",
    "led": "the share of the probability that comes from what the user has in hand, which leads there by itself",
    "saved_ms": "milliseconds of waiting that it saves if it is opened next",
    "cost_ms": "what it costs in any case at price 1, in milliseconds of waiting",
    "value_ms": "probability * saved_ms - price * cost_ms",
    "payload_bytes": "bytes that it transfers",
}
PREWARM_MEANINGS = {
    **MEANINGS,
    "items": "what to fetch now, best first; what is still fresh need not be fetched again",
    "times": "the local times that it is for, in which preloading is dear",
    "price": "what costs are multiplied by; null where nothing is fetched ahead",
    "nothing_because": "why there is nothing to fetch; null where there is",
    "mini_app": "what to fetch",
    "chance": "that a user who is active now opens it in these times, and that nothing preloads it then",
    "saved_ms": "milliseconds of waiting that it saves if so",
    "value_ms": "chance * saved_ms - price * cost_ms",
}
PLAN_MEANINGS = {
    "plan": "name of the plan",
    "trading_day": "the last one that it learned from",
    "probabilities_of": "what its probabilities rest on, the counts or a challenger, and why",
    "transitions": "how many the model's counts were made of",
    "budget": "what an answer has at most, where nobody says otherwise",
    "created_at": "when it was made",
    "timezone": "of the slots",
    "first_slot": "local time at which the first slot begins",
    "slot_minutes": "how long each slot is",
    "holds_on": "the days, in that time zone, on which prices and phases of slots hold",
    "mini_apps": "those that it knows",
    "contexts": "how many it lists",
    "users": "how many it knows the class of",
    "user_classes": "how many it tells apart",
    "entities": "how many it knows",
}
SCHEMAS: dict[type, dict[str, str]] = {
    Answer: MEANINGS, Item: MEANINGS, PrewarmAnswer: PREWARM_MEANINGS, PrewarmItem: PREWARM_MEANINGS,
}  # fmt: skip
JSON_TYPES: dict[type, str] = {str: "string", int: "integer", float: "number", bool: "boolean", NoneType: "null"}


def document() -> Schema:
    """The OpenAPI document, version 3.1."""
    refused = _response("a parameter is wrong; says which", _object({"error": {"type": "string"}}))
    not_ready = _response("there is no plan yet; says why", _object({"error": {"type": "string"}}))
    state = _object({"plan": {"type": ["string", "null"]}, "trouble": {"type": ["string", "null"]}})
    return {
        "openapi": "3.1.0",
        "info": {"title": "Preload plan", "version": "1", "description": "What to fetch ahead for a user, and why."},
        "paths": {
            "/next": {"get": {
                "summary": "What to preload after some mini-apps, and why",
                "parameters": [_parameter(*each) for each in PARAMETERS],
                "responses": {"200": _response("the answer", _of_type(Answer)), "400": refused, "503": not_ready},
            }},
            "/prewarm": {"get": {
                "summary": "What to fetch now because it will soon be dear, and why; to be asked once a slot by who is "
                           "active",
                "parameters": [_parameter(*each) for each in PREWARM_PARAMETERS],
                "responses": {
                    "200": _response("the answer", _of_type(PrewarmAnswer)), "400": refused, "503": not_ready,
                },
            }},
            "/plan": {"get": {
                "summary": "The facts of the plan that answers",
                "responses": {"200": _response("the facts", _facts()), "503": not_ready},
            }},
            "/health": {"get": {
                "summary": "Whether there is a plan to answer with, and whether it is the folder's current one",
                "responses": {
                    "200": _response("trouble is null, or why the current plan is not the one that answers", state),
                    "503": _response("there is no plan", state),
                },
            }},
        },
        "components": {"schemas": {kind.__name__: _of_dataclass(kind) for kind in SCHEMAS}},
    }  # fmt: skip


def page(told: Schema) -> str:
    """An OpenAPI document as HTML to read: paths, parameters, what comes back."""
    sections = []
    for path, methods in told["paths"].items():
        asked = methods["get"]
        parameters = [(each["name"], each["description"]) for each in asked.get("parameters", [])]
        answers = [(status, each["description"]) for status, each in asked["responses"].items()]
        sections.append(f"<h2>GET {escape(path)}</h2><p>{escape(asked['summary'])}</p>{_list(parameters + answers)}")
    for name, schema in told["components"]["schemas"].items():
        described = [(field, each.get("description", "")) for field, each in schema["properties"].items()]
        sections.append(f"<h2>{escape(name)}</h2>{_list(described)}")
    info = told["info"]
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{escape(info['title'])}</title>"
        "<style>body{font:16px/1.5 sans-serif;max-width:50em;margin:2em auto;padding:0 1em}"
        "dt{font-family:monospace;font-weight:bold}</style>"
        f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])} As "
        f"<a href=/openapi.json>OpenAPI {escape(told['openapi'])}</a>.</p>{''.join(sections)}</html>"
    )


def _list(named: list[tuple[str, str]]) -> str:
    return f"<dl>{''.join(f'<dt>{escape(name)}<dd>{escape(text)}' for name, text in named)}</dl>"


def _parameter(name: str, several: bool, kind: str, description: str) -> Schema:
    one: Schema = {"type": kind} if kind == "string" else {"type": kind, "minimum": 0}
    schema = {"type": "array", "items": one} if several else one
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


def _response(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _object(properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _facts() -> Schema:
    number, text = {"type": "integer"}, {"type": "string"}
    counted = ("transitions", "slot_minutes", "contexts", "users", "user_classes", "entities")
    kinds: dict[str, Schema] = {
        **dict.fromkeys(PLAN_MEANINGS, text),
        **dict.fromkeys(counted, number),
        "budget": _object({"calls": number, "bytes": {"type": "number"}}),
        **{name: {"type": "array", "items": text} for name in ("mini_apps", "holds_on")},
    }
    return _object({name: {**kinds[name], "description": told} for name, told in PLAN_MEANINGS.items()})


def _of_dataclass(kind: type) -> Schema:
    hints = get_type_hints(kind)
    names = [field.name for field in fields(kind)]
    return _object({name: {**_of_type(hints[name]), "description": SCHEMAS[kind][name]} for name in names})


def _of_type(hint: Any) -> Schema:
    if hint in SCHEMAS:
        return {"$ref": f"#/components/schemas/{hint.__name__}"}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _of_type(get_args(hint)[0])}
    if isinstance(hint, UnionType):
        return {"type": [JSON_TYPES[each] for each in get_args(hint)]}
    return {"type": JSON_TYPES[hint]}
