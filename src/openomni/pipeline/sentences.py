"""Whether a word that ends in a mark ends its sentence: "at 5 p.m. on Monday" is not over, "at 5 p.m." may be.

A word alone often tells; where it does not, the one after it has to come first.
"""

from __future__ import annotations

import re
from enum import Enum, auto

CLOSERS = "\"'”’»)]}›」』）】》〉］｝"
OPENERS = "\"'“‘„«([{‹¿¡「『（【《〈［"

_TAIL = re.compile(rf"([.!?…。！？]+)([{re.escape(CLOSERS)}]*)$")
_DOTTED = re.compile(r"(?:[^\W\d_]{1,4}\.-?)+[^\W\d_]{1,4}")
_ELIDED = re.compile("^[^\\W\\d_]{1,2}['’]")
_NUMBER = re.compile(r"[(#]?(?:\d+|[IVXLC]{2,})")


class Ending(Enum):
    """What a word says of the sentence that it stands in."""

    NONE = auto()
    SENTENCE = auto()
    NEXT = auto()
    """The next word tells."""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Each without its last dot, in small letters.
_TITLES = _words("""
    mr mrs ms mx dr prof rev hon capt col lt sgt gen sen rep gov adm maj cmdr messrs mme mlle mgr hr fr frl sra srta dra
    ing dott avv sig dhr mevr drs dña tp pgs ts bpk डॉ प्रो श्री
""")
"""Names follow them. The last dot of a sentence is never theirs."""
_SMALL_TITLES = _words("mr mrs dr prof dhr mevr drs ing dott avv sig डॉ प्रो श्री")
_CONNECTING = _words("""
    e.g i.e vs cf approx viz ca circa z.b d.h u.a bzw vgl bspw sog evtl ggf inkl exkl zzgl p.ex p.ej p.es bijv d.w.z
    m.b.t np tzn tzw např tzv pl kb esim т.е f.eks t.ex bl.a env incl excl
""")
"""They go on."""
_AFTER_A_LETTER = _words("ex ej es")
"""They go on in "p. ex."."""
_NUMBERED = _words("""
    no nos nr nrs núm num fig figs art arts p pp vol vols ch chap sec sect eq ex para abs pág págs pag blz s str č kl
    jan feb mar apr jun jul aug sep sept oct okt nov dec dez рис стр п tab tel ext
""")
"""They go on where a number follows."""
_SHORTENED = _words("""
    inc ltd co corp llc plc bros dept univ assn est ave blvd rd ln mt ft st ste jr sr gmbh esq al hwy pkwy sq
    mio mrd geb jh chr hl av éd ed eds ee uu ud uds vd vds ej ul ds im ул им руб млн тыс млрд обл др пр см гг jl eng
    mwst
""")
_LISTING = _words("etc usw ecc enz itd itp osv stb vb dll dsb ym m.m т.д т.п u.s.w e.v")
"""Mostly the last of their sentence."""
_HOURS = _words("a.m p.m am pm")
_AFTER_HOURS = _words("""
    monday tuesday wednesday thursday friday saturday sunday mon tue wed thu fri sat sun
    eastern central mountain pacific est edt cst cdt mst mdt pst pdt gmt utc bst cet cest
""")
_UNITS = _words("in ft oz lb lbs min sec hr hrs mi yd gal pt qt std stk tsp tbsp sq")
_STATES = _words("""
    ala ariz ark calif colo conn del fla ga ill ind kan ky md mass mich minn miss mo mont neb nev okla ore pa tenn tex
    va vt wash wis wyo
""")
"""Of America, with a capital letter."""
_MONTHS = _words("""
    januar februar märz april mai juni juli august september oktober november dezember jänner january february march
    may june july october december
""")
_ORDINALS_AFTER = _words("der die das den dem des am im vom zum zur beim ab seit bis jeder jede und ludwig friedrich")
"""German words before a number with a dot that is an ordinal."""
_STARTERS = _words("""
    the an it it's he she we they you i i'm i'll i'd this that that's these those there here in on at if when but and so
    then what who how why where which my your his her our their its let do does did is are was were can could would will
    should not no yes for to from with by as after before while although however also now some many most all please
    maybe since because once unless until another each every both such today there's we're you're they're he's she's
    der die das ein eine er sie wir ihr ich und aber im wenn dann dies diese man was wer wie warum wo nicht auch da dort
    es sind ist hier heute elle il on nous vous ils elles je tu c'est ce cette ces et mais dans si alors
    él ella pero como esto este esta yo es una un è ma se ele ela mas em het een hij zij wij maar
    он она они мы вы я это и но в на если когда потом там
""")
"""Words that begin sentences and hardly names; none that stands between the parts of a name ("la", "de", "von")."""


def ending(word: str, before: str) -> Ending:
    """What a whole word, as it is spoken, says. `before` is the word in front of it."""
    tail = _TAIL.search(word)
    if tail is None:
        return Ending.NONE
    marks, closers = tail.groups()
    if marks == "." and (known := _dot(word[: tail.start()].lstrip(OPENERS), before)) is not None:
        return known
    ellipsis = "…" in marks or ".." in marks
    # A quote that ends in a mark may stand in mid-sentence.
    return Ending.NEXT if closers or ellipsis else Ending.SENTENCE


def _dot(stem: str, before: str) -> Ending | None:
    """What the stem before a single dot says; None where it is a word like others."""
    stem = _ELIDED.sub("", stem)
    small = stem.casefold()
    if small in _TITLES and (small in _SMALL_TITLES or stem[:1].isupper()):
        return Ending.NONE
    if small in _CONNECTING or (small in _AFTER_A_LETTER and len(before) == 2 and before[1] == "."):
        return Ending.NONE
    if len(small) == 1 and (small.isalpha() or small.isdigit()):
        return Ending.NEXT
    if small in _UNITS and before[-1:].isdigit():
        return Ending.NEXT
    if small in _STATES and stem[0].isupper():
        return Ending.NEXT
    known = small in _NUMBERED or small in _SHORTENED or small in _LISTING or small in _HOURS
    return Ending.NEXT if known or _NUMBER.fullmatch(stem) or _DOTTED.fullmatch(stem) else None


def goes_on(word: str, before: str, after: str) -> bool:
    """Whether a sentence goes on after a word of which `ending` says that the next one tells: `after`."""
    tail = _TAIL.search(word)
    next_word = after.lstrip(OPENERS)
    first = next_word[:1]
    if first.islower():
        return True
    if tail is None or tail[1] != "." or not (stem := _ELIDED.sub("", word[: tail.start()].lstrip(OPENERS))):
        return False
    if _dot(stem, before) is None:
        return False
    small, plain = stem.casefold(), next_word.rstrip(CLOSERS + ".,;:!?…").casefold()
    roman = len(stem) > 1 and stem.isalpha() and _NUMBER.fullmatch(stem)
    if roman or small in _STATES or (small in _UNITS and before[-1:].isdigit()):
        return False
    if _NUMBER.fullmatch(stem) and not stem.isalpha():
        ordinal = before.casefold() in _ORDINALS_AFTER and plain not in _STARTERS
        return ordinal or (len(small) <= 2 and plain in _MONTHS)
    if small in _LISTING or (small in _NUMBERED and len(small) > 1):
        return first.isdigit()
    if small in _HOURS:
        return plain in _AFTER_HOURS or first.isdigit()
    return plain not in _STARTERS or _is_initial(next_word)


def _is_initial(word: str) -> bool:
    """A letter between others that stand for names, as the second of "J. I. Smith"."""
    return len(word) == 2 and word[0].isupper() and word[1] == "."
