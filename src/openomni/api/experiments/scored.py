"""Scores what an experiment ran, once all of it is over."""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.util import find_spec

from django.db import close_old_connections, connections

from .models import Experiment

log = logging.getLogger("openomni.api")
SCORING = f"{__package__}.scoring"


def score(key: int) -> None:
    """By the metrics that were asked for, in the thread of whoever calls. What goes wrong is logged: scores are given
    again at will, and no cell is run again for that."""
    close_old_connections()
    try:
        experiment = Experiment.objects.filter(pk=key).first()
        if experiment is not None and find_spec(SCORING) is not None:
            import_module(SCORING).score(experiment, experiment.metrics)
    except Exception:
        log.exception("experiment %s was not scored", key)
    finally:
        connections.close_all()
