"""Running the service: the web application and, beside it, the dispatcher."""

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import uvicorn

from service.settings import Settings
from service.store.store import Store
from service.web.app import Application, create_app
from service.web.security import is_loopback

GRACE_SECONDS = 6
"""How long open requests may take to end when the server stops."""

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Server(uvicorn.Server):
    """uvicorn that tells the application first, so that open event streams end at once."""

    def __init__(self, config: uvicorn.Config, app: Application, started: Callable[[str], None]):
        super().__init__(config)
        self._application = app
        self._report = started
        self._owns_signals = False

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM, and leave it at that.

        uvicorn raises the signal again once it has stopped; that would kill the process before
        the dispatcher has given its jobs back.
        """
        if threading.current_thread() is not threading.main_thread():
            yield  # signals reach the main thread alone
            return
        before = {number: signal.signal(number, self.handle_exit) for number in SIGNALS}
        self._owns_signals = True
        try:
            yield
        finally:
            self._owns_signals = False
            for number, handler in before.items():
                signal.signal(number, handler)

    async def on_tick(self, counter: int) -> bool:
        """Every tenth of a second: keep the signals.

        Ray's core, started by the dispatcher in its own time, puts a handler of its own on
        SIGTERM, which ends the process with a stack dump.
        """
        if self._owns_signals:
            for number in SIGNALS:
                signal.signal(number, self.handle_exit)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Stop: event streams end, requests get their grace."""
        self.stop()
        super().handle_exit(sig, frame)

    def stop(self) -> None:
        """Stop serving soon; safe from any thread."""
        self._application.state.stopping.set()
        self.should_exit = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Bind, then say where."""
        await super().startup(sockets)
        if self.started:
            self._report(self.address())

    def address(self) -> str:
        """Return the URL people can open, with the port that was really bound."""
        port = self.servers[0].sockets[0].getsockname()[1]
        host = self.config.host
        if host in ("0.0.0.0", "::", ""):  # noqa: S104 - recognised, not bound
            host = "127.0.0.1"
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def web_server(
    store: Store,
    settings: Settings,
    started: Callable[[str], None] = lambda address: None,
    outage: Callable[[], str | None] = lambda: None,
) -> Server:
    """Return a server that is ready to `run()`.

    Args:
        store: An open, migrated store.
        settings: Host and port; port 0 takes a free one.
        started: Called with the address once the port is bound.
        outage: Says why no job can run now, for the readiness probe; None while they can.
    """
    app = create_app(store, settings, outage)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_level="warning",
        lifespan="off",
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_keep_alive=5,
        limit_concurrency=2048,
        h11_max_incomplete_event_size=16 * 1024,
    )
    return Server(config, app, started)


def listener(settings: Settings) -> socket.socket:
    """Return a socket that listens where the settings say.

    Raises:
        OSError: If it cannot, with what to do about it.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server(
            (settings.host.strip("[]"), settings.port), family=family, backlog=2048
        )
    except OSError as error:
        raise OSError(
            f"cannot listen on {settings.host}, port {settings.port}: {error.strerror}; "
            "choose another with --host and --port (port 0 takes a free one)"
        ) from error


def _announce(
    settings: Settings, store: Store, say: Callable[[str], None]
) -> Callable[[str], None]:
    def started(address: str) -> None:
        say(f"Rulesmith serves at {address}")
        if not is_loopback(settings.host) and not store.tokens_exist():
            say(
                f"{settings.host} is not a loopback address, so every request needs a token; "
                "make one with: rulesmith token create NAME"
            )

    return started


def serve(settings: Settings, *, dispatch: bool = True, say: Callable[[str], None] = print) -> None:
    """Migrate the store, start the dispatcher, serve until SIGINT or SIGTERM.

    Args:
        settings: See `service.settings`.
        dispatch: Whether jobs are run by this process; False where `rulesmith dispatch` does it.
        say: Told the address, and what to do about tokens.

    Raises:
        OSError: If the address cannot be listened on.
        SchemaError: If the database was written by a newer version, or is no database of ours.
        Owned: If another process owns the SQLite file.
    """
    # First, so that a taken port is told at once, and before Ray has started.
    with listener(settings) as listening:
        store = Store(settings.store_url())
        try:
            with store.owned():
                _serve(store, settings, listening, dispatch, say)
        finally:
            store.close()


def _serve(
    store: Store,
    settings: Settings,
    listening: socket.socket,
    dispatch: bool,
    say: Callable[[str], None],
) -> None:
    store.migrate()
    started = _announce(settings, store, say)
    if not dispatch:
        web_server(store, settings, started).run([listening])
        return
    # Here, because it loads Ray, which a server without a dispatcher does not need.
    from service.dispatcher import Dispatcher

    dispatcher = Dispatcher(store, settings)
    server = web_server(store, settings, started, lambda: dispatcher.outage)
    dispatcher.start()
    try:
        server.run([listening])
    finally:
        dispatcher.stop()


def dispatch(settings: Settings, *, say: Callable[[str], None] = print) -> None:
    """Run jobs, without serving, until SIGINT or SIGTERM.

    Raises:
        SchemaError: If the store is not at this version's schema; `rulesmith migrate` makes it so.
        Owned: If another process owns the SQLite file.
    """
    from service.dispatcher import Dispatcher

    stop = threading.Event()
    store = Store(settings.store_url())
    try:
        with store.owned():
            store.check()
            dispatcher = Dispatcher(store, settings)
            dispatcher.start()
            say("The dispatcher runs jobs; stop it with Ctrl-C.")
            try:
                _wait(stop)
            finally:
                dispatcher.stop()
    finally:
        store.close()


def _wait(stop: threading.Event) -> None:
    """Wait until a signal sets `stop`; see `Server.on_tick` for why the handlers are kept up."""

    def handle(number: int, frame: FrameType | None) -> None:
        stop.set()

    for number in SIGNALS:
        signal.signal(number, handle)
    while not stop.wait(0.1):
        for number in SIGNALS:
            signal.signal(number, handle)
