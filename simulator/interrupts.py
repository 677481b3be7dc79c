"""The one owner of SIGINT and SIGTERM, from the first statement of a program to its exit.

    if __name__ == "__main__":
        interrupts.program(main)

What a signal does depends on where the program is:

    at first                    nothing has begun: one sentence, and the end, at once
    `with cleaning_up():`       KeyboardInterrupt, once; what comes while that unwinds is ignored
    `run(coroutine)`            the coroutine is cancelled; once its loop is closed: KeyboardInterrupt
    `with heard(callback):`     inside a coroutine: the callback, on the running loop
    `with held():`              as before the block, after the block
    the exit code is known      nothing

Exit code 130 and one sentence on standard error in every case, unless a callback ends the program otherwise.
One handler stays in place all the time and is never replaced, by a loop's least of all: between two handlers
is the default one, which ends the process where it stands. Children inherit no ignored signal.

Before the interpreter reaches `program` nothing can be done: a signal then is Python's, or the system's.
Outside of `program` (a library, a test) the signals are owned for as long as `run` and `heard` last.
"""

import contextlib
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Coroutine, Iterator
from types import FrameType
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

if TYPE_CHECKING:
    import asyncio

INTERRUPTED = 130
BOTH = (signal.SIGINT, signal.SIGTERM)
AGAIN_S = 0.001
MOST_CANCELLATIONS = 2
"""To end, and to hurry; clean-up is bounded, and must not be cut short without end."""

Listener = Callable[[signal.Signals], None]
T = TypeVar("T")


class _Owner:
    """What this process is at.

    ending: a signal was obeyed. raised: it became KeyboardInterrupt. said: the one sentence.
    """

    def __init__(self) -> None:
        self.name = "vouchstorm"
        self.owned = self.ending = self.raised = self.said = False
        self.listener: Listener = _leave


def _on_signal(number: int, frame: FrameType | None) -> None:
    # An alarm is an interrupt that comes again: see `_unraisable`.
    _owner.listener(signal.SIGINT if number == signal.SIGALRM else signal.Signals(number))


def _leave(number: signal.Signals) -> None:
    """Where nothing has begun there is nothing to unwind, and imports do not take exceptions well."""
    if not _owner.ending:
        with contextlib.suppress(OSError):
            os.write(2, f"{_owner.name}: Interrupted.\n".encode())
        os._exit(INTERRUPTED)


def _raise(number: signal.Signals) -> None:
    if not _owner.ending:
        _owner.ending = _owner.raised = True
        raise KeyboardInterrupt


def _ignore(number: signal.Signals) -> None:
    pass


_owner = _Owner()


# ------------------------------------------------------------------ the whole program


def program(main: Callable[[], object], name: str = "vouchstorm") -> NoReturn:
    """Run `main` as this process and exit with what it returns, or with the code of its SystemExit.

    To be called before anything is imported that takes time. name: begins the sentence of an interrupted
    program, which is said here unless `say` was called.
    """
    _owner.name = name
    _take()
    sys.unraisablehook = _unraisable
    code: object = INTERRUPTED
    try:
        try:
            code = main()
        except SystemExit as ended:
            code = ended.code
        _settle()
    except BaseException:
        if not _owner.raised:
            raise
        _settle()  # whatever the interrupt turned into on its way: it is one
    if _owner.raised:
        code = INTERRUPTED
    if code == INTERRUPTED:
        say("Interrupted.")
    sys.exit(code)  # type: ignore[arg-type]


def say(sentence: str) -> None:
    """How the program was interrupted, on standard error; only the first sentence is said."""
    if not _owner.said:
        _owner.said = True
        with contextlib.suppress(OSError, ValueError):
            print(f"{_owner.name}: {sentence}", file=sys.stderr, flush=True)  # noqa: T201


def _take() -> dict[signal.Signals, Any]:
    _owner.owned = True
    return {number: signal.signal(number, _on_signal) for number in BOTH}


def _settle() -> None:
    """The exit code is known: the interpreter takes its handlers away before the process has ended."""
    _owner.listener = _ignore
    signal.setitimer(signal.ITIMER_REAL, 0)
    for number in BOTH:
        signal.signal(number, signal.SIG_IGN)


def _unraisable(told: "sys.UnraisableHookArgs") -> None:
    """An interrupt that hit a finaliser or a weak reference is lost there: it comes again in a moment."""
    if told.exc_type is KeyboardInterrupt and _owner.raised:
        signal.signal(signal.SIGALRM, _on_signal)
        signal.setitimer(signal.ITIMER_REAL, AGAIN_S)
        _owner.ending = False
    elif not (isinstance(told.exc_value, OSError) and "due to race condition" in str(told.exc_value)):
        # The exception: CPython's word for a signal that came while `_settle` was at work.
        sys.__unraisablehook__(told)


def _first_thread() -> bool:
    """The only one that signals reach."""
    return threading.current_thread() is threading.main_thread()


@contextlib.contextmanager
def _owned() -> Iterator[None]:
    """Own the signals for the block, as a library; nothing new where a program owns them."""
    if _owner.owned:
        yield
        return
    with _listening(_raise):
        before = _take()
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            _owner.owned = _owner.ending = _owner.raised = False


# ------------------------------------------------------------------ parts of it


@contextlib.contextmanager
def _listening(listener: Listener) -> Iterator[None]:
    outer, _owner.listener = _owner.listener, listener
    try:
        yield
    finally:
        _owner.listener = outer


def cleaning_up() -> contextlib.AbstractContextManager[None]:
    """In the block a signal raises KeyboardInterrupt: there is something to undo."""
    return _listening(_raise)


@contextlib.contextmanager
def held() -> Iterator[None]:
    """In the block, which must be short, signals wait for its end: for taking hold of a new process."""
    outer, waiting = _owner.listener, deque[signal.Signals]()
    try:
        with _listening(waiting.append):
            yield
    finally:
        for number in waiting:
            outer(number)


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run on an event loop of its own, which is closed when this returns.

    A signal cancels the work where it does not say otherwise (`heard`); the second hurries its clean-up.
    Raises KeyboardInterrupt then, whatever the work made of it.
    """
    import asyncio

    import uvloop

    if not _first_thread():
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(work)
    late: deque[signal.Signals] = deque()
    told: list[signal.Signals] = []
    with _owned():
        try:
            with _listening(late.append), asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                value = runner.run(_cancellable(work, late, told))
        except BaseException:
            if told:
                _owner.raised = True
                raise KeyboardInterrupt from None
            raise
        finally:
            for number in late:
                _raise(number)
        if told:
            _owner.raised = True
            raise KeyboardInterrupt
    return value


async def _cancellable(
    work: Coroutine[Any, Any, T], late: deque[signal.Signals], told: list[signal.Signals]
) -> T:
    """The work, and in `told` the signals that reached it; `late`: those that came before the loop."""
    import asyncio

    cancel = canceller(asyncio.current_task())

    def end(number: signal.Signals) -> None:
        told.append(number)
        cancel()

    with heard(end):
        _owner.ending = _owner.ending or bool(late)
        while late:
            end(late.popleft())
        return await work


def canceller(task: "asyncio.Task[Any] | None") -> Callable[[], None]:
    """A function that cancels the task; the first calls only, see `MOST_CANCELLATIONS`."""
    calls = 0

    def cancel() -> None:
        nonlocal calls
        calls += 1
        if task is not None and calls <= MOST_CANCELLATIONS:
            task.cancel()

    return cancel


@contextlib.contextmanager
def heard(callback: Listener) -> Iterator[None]:
    """Inside a coroutine: in the block every signal calls `callback` on the running loop.

    One that comes too late for that is told to whoever listens outside of the block.
    """
    import asyncio

    loop, waiting = asyncio.get_running_loop(), deque[signal.Signals]()

    def tell() -> None:
        if waiting:
            _owner.ending = True
            callback(waiting.popleft())

    def listen(number: signal.Signals) -> None:
        waiting.append(number)
        loop.call_soon_threadsafe(tell)

    if not _first_thread():
        yield
        return
    with _owned():
        outer = _owner.listener
        try:
            with _listening(listen):
                yield
        finally:
            left = list(waiting)
            waiting.clear()
            for number in left:
                outer(number)
