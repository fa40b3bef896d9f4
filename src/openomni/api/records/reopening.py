"""Who may open a live session of a given id: whoever began it, and who may add to it by what their token is for."""

from __future__ import annotations

from ..accounts.models import Token
from ..ground.caller import Caller
from . import writing
from .models import Session


def may_open(session_id: str, caller: Caller) -> bool:
    """Whether that id is nobody's, or a session that the caller may go on with: it is of what they are limited to, or
    they began it. One that was only announced, and names no place, is whose who opens it."""
    if writing.was_erased(caller.project_id, "session", session_id):
        return False  # nothing of it would be kept
    session = Session.objects.filter(pk=session_id).first()
    if session is None:
        return True
    if session.project_id != caller.project_id:
        return False
    if session.version:
        theirs = Session.objects.of_caller(caller).filter(pk=session_id).exists()
    else:
        theirs = not session.is_elsewhere(caller)
    return theirs or _same_person(session.made_by, caller)


def _same_person(maker: str, caller: Caller) -> bool:
    """Whether both tokens were made by one person for themself, on a page: another one of theirs is the same client."""
    if caller.site or caller.device or not caller.token_id:
        return False
    own = Token.objects.filter(project_id=caller.project_id, own=True).exclude(created_by=None)
    makers = dict(own.filter(pk__in={maker, caller.token_id}).values_list("pk", "created_by_id"))
    return maker in makers and makers[maker] == makers.get(caller.token_id)
