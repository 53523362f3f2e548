"""The commands about preload plans: `usage-analytics next`, `prewarm`, `plans` and `serve`."""

import errno
import socket
from typing import Annotated, Any

import typer

from usage_analytics.errors import UserError
from usage_analytics.settings import load_settings

NOT_HERE = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # the address is no one of this machine's

AT = (
    "A time of day in the plan's time zone, such as 09:15, of the next trading day that the plan tells prices of "
    "(default: now)."
)

plans_app = typer.Typer(help="The preload plans that there are; 'plans use NAME' lets another one answer.")


def next_command(
    asked: Annotated[list[str], typer.Argument(metavar="USER|MINI-APP", help="A user's identifier or pseudonym, or the "
                     "mini-apps that were opened in a user session, all of them, most recent last: "
                     "'quotes > charts', or one by one. First may be '(start)': then nothing was opened before them; "
                     "'(start)' alone asks what to preload as a user session begins.")],
    entity: Annotated[str | None, typer.Option(metavar="TEXT", help="What the user has in hand, as messages name "
                      "it.")] = None,
    at: Annotated[str | None, typer.Option(metavar="HH:MM", help=AT)] = None,
) -> None:  # fmt: skip
    """Show what would be preloaded for a user or after mini-apps, and why."""
    from usage_analytics.reporting.preload_plans import print_look_up
    from usage_analytics.serving.lookup import look_up

    print_look_up(look_up(load_settings(), asked, entity or None, at), asked)


def prewarm_command(
    user: Annotated[str | None, typer.Argument(metavar="[USER]", help="A user's identifier or pseudonym; without one, "
                    "the population's answer.")] = None,
    at: Annotated[str | None, typer.Option(metavar="HH:MM", help=AT)] = None,
) -> None:  # fmt: skip
    """Show what is to be fetched now because it will soon be too dear, at the market open say, and why.

    A client asks once a slot (a window of 15 minutes) for each user who is active, and fetches what is not fresh yet.
    Outside of the slots before dear ones there is nothing to fetch; then it says when there is.
    """
    from usage_analytics.reporting.preload_plans import print_prewarm
    from usage_analytics.serving.prewarm_lookup import look_up_prewarm

    print_prewarm(look_up_prewarm(load_settings(), user, at))


@plans_app.callback(invoke_without_command=True)
def plans_command(context: typer.Context) -> None:
    """List the preload plans, newest first, and say which one answers."""
    from usage_analytics import parts
    from usage_analytics.reporting.preload_plans import print_plans

    if context.invoked_subcommand is None:
        print_plans(parts.plan_folder(load_settings()))


@plans_app.command("use")
def use_command(name: Annotated[str, typer.Argument(help="Name of a plan, as 'plans' lists it.")]) -> None:
    """Let a plan answer from now on, until a newer one is published; running servers follow within seconds."""
    from usage_analytics import parts

    plan = parts.plan_folder(load_settings()).use(name)
    print(f"{plan.name} answers from now on")


def serve_command(
    host: Annotated[str, typer.Option(help="Address to listen at; the default is this machine's own.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port to listen at.")] = 8700,
) -> None:
    """Answer over HTTP what would be preloaded, from the plan that answers now: /next, /prewarm, /plan, /health.

    One process that needs one core; a plan that is swapped meanwhile is followed without a pause. With the platform's
    pseudonym key users may be asked for by identifier, else by pseudonym. Nobody is asked who they are: let only your
    own services reach the port.
    """
    from usage_analytics import parts

    settings = load_settings()
    try:
        from usage_analytics.serving.http import serve
        from usage_analytics.serving.live_plan import LivePlan
    except ModuleNotFoundError as error:
        raise UserError(f"'serve' needs {error.name}: pip install 'usage_analytics[serving]'") from None
    _refuse_taken(host, port)
    live = LivePlan(parts.plan_folder(settings))
    live.refresh()
    answers = f"plan {live.plan.name}" if live.plan else f"no plan yet: {live.trouble}"
    print(f"http://{f'[{host}]' if ':' in host else host}:{port}/ ({answers})", flush=True)
    serve(live, parts.lake_key_at_hand(settings), host, port)


def _refuse_taken(host: str, port: int) -> None:
    if not host:
        raise UserError("--host is empty, which would be every address of this machine: name one, or 0.0.0.0 for all")
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in found:  # the server listens at all of them
            if len(found) == 1 or _is_there(family):
                _listen(family, address)
    except UnicodeError:
        raise UserError(f"--host {host!r} cannot be the name of a machine: choose another one") from None
    except OSError as error:
        other = "--host" if isinstance(error, socket.gaierror) or error.errno in NOT_HERE else "--port"
        raise UserError(f"nobody can listen at {host}:{port} ({error.strerror}): choose another {other}") from None


def _is_there(family: int) -> bool:
    try:
        socket.socket(family).close()
    except OSError:
        return False
    return True


def _listen(family: int, address: Any) -> None:
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        probe.bind(address)
