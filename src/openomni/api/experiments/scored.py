"""Scores what an experiment ran, once all of it is over."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading

from django.db import close_old_connections, connections

from ...metrics.scorer import ScorerClosed
from . import scoring
from .models import Experiment

log = logging.getLogger("openomni.api")


async def until_scored(key: int) -> None:
    """Returns when it is scored, or could not be. The thread that does it holds up no server that stops."""
    loop, over = asyncio.get_running_loop(), asyncio.Event()

    def run() -> None:
        score(key)
        with contextlib.suppress(RuntimeError):  # nobody waits any more
            loop.call_soon_threadsafe(over.set)

    threading.Thread(target=run, name=f"scoring {key}", daemon=True).start()
    await over.wait()


def score(key: int) -> None:
    """By the metrics that were asked for, in the thread of whoever calls. What goes wrong is logged: scores are given
    again at will, and no cell is run again for that."""
    close_old_connections()
    try:
        experiment = Experiment.objects.filter(pk=key).first()
        if experiment is not None:
            scoring.score(experiment)
    except ScorerClosed:
        log.info("experiment %s is scored on when somebody asks for it: the server stops", key)
    except Exception:
        log.exception("experiment %s was not scored", key)
    finally:
        connections.close_all()
