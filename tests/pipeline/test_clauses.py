"""What a voice is given of a written reply: where it is cut, and what is said of what is written."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from openomni.pipeline.clauses import LONGEST_WORDS, Clause, ClauseCutter


def cut(*pieces: str) -> list[Clause]:
    cutter = ClauseCutter()
    found = [clause for piece in pieces for clause in cutter.feed(piece)]
    return [*found, *cutter.rest()]


FIRST = "Well.\n"
"""The first clause is cut for speed; what comes after it is cut at its sentences."""


def said(text: str) -> list[str]:
    return [clause.spoken for clause in cut(FIRST + text)[1:]]


# ---- the first clause ----------------------------------------------------------------------------------------


def words(text: str) -> list[str]:
    return [f" {word}" if number else word for number, word in enumerate(text.split(" "))]


def test_a_long_beginning_is_cut_where_a_phrase_joins_it() -> None:
    first, rest = cut(*words("The largest planet in the solar system is Jupiter which is a gas giant."))
    assert (first.written, first.spoken) == ("The largest planet", "The largest planet,")
    assert rest.spoken == "in the solar system is Jupiter which is a gas giant."


def test_a_short_sentence_is_whole_and_ends_without_waiting_for_more() -> None:
    (clause,) = cut(*words("The capital of Italy is Rome."))
    assert clause.spoken == clause.written == "The capital of Italy is Rome."
    assert [clause.spoken for clause in ClauseCutter().feed("It is noon.")] == ["It is noon."]


def test_the_first_clause_may_end_at_a_comma_and_later_ones_do_not() -> None:
    assert [clause.spoken for clause in cut("Well now, it is noon, they say. Yes, it is.")] == [
        "Well now,",
        "it is noon, they say.",
        "Yes, it is.",
    ]


def test_no_breath_is_taken_after_a_word_that_was_shortened() -> None:
    (clause,) = cut(*words("It is about 5 p.m. on Monday."))
    assert clause.spoken == "It is about 5 p.m. on Monday."


@pytest.mark.parametrize("text", ["It costs 3.14", "Ask Dr. Miller", "That is it, e.g."])
def test_a_mark_inside_ends_nothing(text: str) -> None:
    assert [clause for clause in ClauseCutter().feed(text) if not clause.spoken.endswith(",")] == []


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("罗马是意大利的首都，也是最大的城市。", "罗马是意大利的首都，"),
        ("ローマはイタリアの首都で最大の都市です。", "ローマはイタリアの首都で"),
        ("本" * 100, "本" * 20 + "，"),
        ("กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย มีประชากรมาก", "กรุงเทพมหานครเป็นเมืองหลวงของประเทศไทย"),
        ("रोम इटली की राजधानी है। यह पुराना है।", "रोम इटली की राजधानी है।"),
    ],
)
def test_the_first_sound_does_not_wait_for_a_blank_that_never_comes(text: str, first: str) -> None:
    cutter = ClauseCutter()
    fed = ((number, clause) for number, letter in enumerate(text) for clause in cutter.feed(letter))
    number, clause = next(fed)
    assert clause.spoken.rstrip("，") == first.rstrip("，")
    assert number <= len(first.rstrip("，")) + 1, "as soon as it could be known"


# ---- sentences -----------------------------------------------------------------------------------------------

SENTENCES = [
    "It was made in the U.S. now.| It is sold.",
    "We meet at 5 p.m. on Monday.| Bring it.",
    "We meet at 5 p.m. Monday.| Bring it.",
    "We met at 5 p.m.| The end.",
    "She works at Acme Inc. in Ohio.| He does not.",
    "She works at Acme Inc.| The firm is old.",
    "J. R. R. Tolkien wrote it.| It is long.",
    "See No. 5 for more.| It is there.",
    "No.| It is not.",
    "Take fruit, e.g. Apples or pears.| Eat them.",
    "That is, i.e. the end.| Done.",
    "It costs 3.14 euros.| Pay it.",
    "It starts at 10.30 today.| Come.",
    "It starts at 10:30.| Come.",
    "Mr. Smith and Mrs. Jones came.| They left.",
    "Dr. No is a film.| It is old.",
    "St. Peter is in Rome.| See it.",
    "It is on Main St.| The shop is shut.",
    "Well... maybe not.| Who knows?",
    "Wait… what is it?| Tell me.",
    "It went on…| Then it stopped.",
    'He said "Stop!" and left.| She stayed.',
    '"Is it?" she asked.| It was.',
    "“It is.”| She left.",
    "He asked “Why?”| Nobody knew.",
    "(It is late.)| Go home.",
    "Really?!| Yes.",
    "George W. Bush was there.| He spoke.",
    "It is plan B.| We know it.",
    "Prof. Dr. Meier kommt.| Sie geht.",
    "Wir treffen uns am 3. Oktober um acht.| Bis dann.",
    "Im 20. Jahrhundert war es so.| Heute nicht.",
    "Der 2. Weltkrieg endete.| Es war Mai.",
    "Obst, z.B. Äpfel und z. B. Birnen.| Ja.",
    "Das ist Nr. 5 hier.| Gut.",
    "Äpfel, Birnen usw.| Das ist alles.",
    "Es sind ca. 30 Leute bzw. Kinder.| Gut.",
    "Ludwig XIV. war König.| Er starb.",
    "Le 3 mai, M. Dupont est venu.| Il est parti.",
    "C'est p. ex. Paris.| Oui.",
    "Ça va ?| Oui !| Bien.",
    "El Sr. García y la Sra. López viven en EE. UU. desde hoy.| Bien.",
    "¿Qué tal?| ¡Muy bien!| Gracias.",
    "Il sig. Rossi vive a Roma.| È bella.",
    "Mele, pere ecc.| Poi basta.",
    "De heer dr. Jansen komt, d.w.z. Morgen.| Goed.",
    "Ul. Długa, np. Dom nr 5.| Tak.",
    "А. С. Пушкин родился в 1799 г. в Москве.| Он умер.",
    "Это, т.е. Москва, город.| Да.",
    "In 1969.| The moon was near.",
    "There are 3.| Then one left.",
    "Use Node.js or example.org today.| It works.",
    "Version 2.0.1 is out.| Get it.",
    "The Ph.D. student left.| She came back.",
    "He has a Ph.D.| She has none.",
    "Martin Luther King Jr. was there.| He spoke.",
    "He was born in St. Louis, Mo. in 1901.| He left.",
    "Ft. Worth is far, 5 ft. or more.| Go.",
    "See ext. 5 and Sec. 4.| It is there.",
    "En 50 av. J.-C. et dans l'av. Foch.| Oui.",
    "See fig. 2 and p. 12 for it.| Done.",
    "It weighs 5 lbs. or so.| Lift it.",
    "It is Jan. 5 today.| Yes.",
    "Come in.| The door is open.",
    "Look at the art.| The frame is gold.",
    "你好。|今天天气很好！|是吗？|是的。",
    "你好!|今天天气很好.|是的.",
    "他说：“好。”|然后走了。",
    "版本3.5很好。|用它吧！",
    "そうですか？！|はい。|「いいえ。」|と言った。",
    "यह रोम है।| वह दिल्ली है।|अच्छा।",
    "هل أنت بخير؟| نعم، شكرا.| حسنا.",
    "یہ روم ہے۔| وہ دہلی ہے۔",
    "Ինչ է սա։| Այո։",
    "안녕하세요.| 오늘은 날씨가 좋아요.| 네.",
]


@pytest.mark.parametrize("entry", SENTENCES)
def test_a_sentence_is_cut_where_it_ends_and_nowhere_else(entry: str) -> None:
    text = FIRST + entry.replace("|", "")
    for pieces in ([text], text):
        found = [clause.written.strip() for clause in cut(*pieces)[1:]]
        assert found == [part.strip() for part in entry.split("|")]


def test_the_table_is_long_enough() -> None:
    assert len(SENTENCES) >= 60


# ---- what is said --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "spoken"),
    [
        ("**Rome** is *the* __big__ _city_, ~~not~~ `yes`.", ["Rome is the big city, not yes."]),
        ("It is **Rome.** It is ***old***!", ["It is Rome.", "It is old!"]),
        ("See [Rome](https://x.y/a_b.html?c=(d)) now.", ["See Rome now."]),
        ('See [the old city](https://x.y "Its title. Long") now.', ["See the old city now."]),
        ("See ![a cat](cat.png) and [Rome][1], too [2].", ["See a cat and Rome, too."]),
        ("Go to https://www.example.org/a/b?c=d#e. Or www.example.org!", ["Go to example.org.", "Or example.org!"]),
        ("(See https://user:pw@example.org:80/x), <https://x.org/y>.", ["(See example.org), x.org."]),
        ("Write to <jo@example.org> or mailto:jo@x.org.", ["Write to jo@example.org or jo@x.org."]),
        ("# The *city*\nIt is old.", ["The city.", "It is old."]),
        ("## 罗马\n很老。", ["罗马。", "很老。"]),
        ("- apples\n* pears\n+ plums.\n- [x] done\n- [ ] not yet", ["apples,", "pears,", "plums.", "done,", "not yet"]),
        ("1. Wash it.\n2) Cook it. 3. Eat it.", ["1, Wash it.", "2, Cook it.", "3. Eat it."]),
        ("> It is\n> > old.", ["It is,", "old."]),
        ("| City | Size |\n|:---|---:|\n| Rome | 5 % |\n", ["City, Size,", "Rome, 5 %,"]),
        ("```python\nprint(x)\n```\nDone.", ["print(x)", "Done."]),
        ("```a b``` is code.\nDone.", ["is code.", "Done."]),
        ("One.\n\n---\n\n***\nTwo.", ["One.", "Two."]),
        ("Then — a dash – and more.", ["Then — a dash – and more."]),
        ("Run `x[0]` now.", ["Run x 0 now."]),
        ("*smiles* Hello *waves*.", ["smiles Hello waves."]),
        ("[[Rome]] and [[həˈloʊ]] and [laughs].", ["Rome and həˈloʊ and laughs."]),
        ("It is nice 😀. 👍🏽 Good 🇮🇹!", ["It is nice.", "Good!"]),
        ("It is nice :-) and <3 good ;).", ["It is nice and good."]),
        ("Mail **jo_smith@example.org** :D !", ["Mail jo_smith@example.org!"]),
        ("x =3 and y == 3, x -> y, A → B.", ["x =3 and y == 3, x -> y, A, B."]),
        ("2 * 3 = 6, 2*3 < 7 and a > b.", ["2 × 3 = 6, 2×3 < 7 and a > b."]),
        ("snake_case and __init__ and C++ and #1.", ["snake case and init and C++ and #1."]),
        ("<b>Bold</b>, a<br/> <span class='x y'>word</span> AT&amp;T.", ["Bold, a word AT&T."]),
        ("क्‍ष और 1️⃣.", ["क्‍ष और 1."]),
        ("**罗马**很[大](https://x.y/罗马)。好", ["罗马很大。", "好"]),
    ],
)
def test_what_is_for_the_eye_is_not_said(text: str, spoken: list[str]) -> None:
    assert said(text) == spoken


def test_a_mark_alone_is_no_clause_and_stays_in_the_words_as_written() -> None:
    clauses = cut("😀 **\n\n---\nIt is noon. 👍 … Yes. 😀\n")
    assert [clause.spoken for clause in clauses] == ["It is noon.", "Yes."]
    assert [clause.written for clause in clauses] == ["😀 **\n\n---\nIt is noon.", " 👍 … Yes. 😀\n"]


def test_each_word_said_is_known_as_it_was_written() -> None:
    (clause,) = cut("**Rome** 😀 is [very old](https://x.y).")
    parts = [(0, 0), *clause.ends]
    pairs = [(clause.written[a:c], clause.spoken[b:d]) for (a, b), (c, d) in pairwise(parts)]
    assert pairs == [
        ("**Rome**", "Rome"),
        (" 😀", ""),
        (" is", " is"),
        (" [very", " very"),
        (" old](https://x.y).", " old."),
    ]


def test_a_text_without_any_mark_is_heard() -> None:
    for text, most in (("word " * 300, LONGEST_WORDS), ("本" * 300, 2 * LONGEST_WORDS), ("ก" * 600, 4 * LONGEST_WORDS)):
        clauses = cut(text)
        assert "".join(clause.written for clause in clauses) == text
        spoken = [clause.spoken.rstrip("，") for clause in clauses]
        assert max(len(clause.split() if " " in text else clause) for clause in spoken) <= most
    assert len(cut("x" * 5000)) > 5


def test_a_letter_is_never_cut_off_its_signs() -> None:
    for clause in cut("ที่นี่มีน้ำอยู่ใต้ต้นไม้เก่าแก่" * 20)[1:]:
        assert clause.written[0] not in "\u0e31\u0e33\u0e34\u0e35\u0e48\u0e49"


# ---- however it is streamed ----------------------------------------------------------------------------------

ATOMS = [
    " ", "  ", "\n", "\n\n", "\u00a0", "\u3000", " " * 201, ".", "!", "?", "...", "…", ",", ":", ";", "—",
    "。", "！", "，", "、", "।", "؟", '"', "”", ")", "(", "*", "**", "_", "`", "```", "[", "]", "](", "[[", "]]",
    "|", "#", "## ", "> ", "- ", "1. ", "---", "<", ">", "<b>", "<a ", "https://", "www.", "x.org/", "@", "\\",
    "&amp;", "😀", "\u200d", "word", "of", "and", "Rome", "The", "U.S.", "p.m.", "Dr.", "No.", "e.g.", "J.", "5",
    "42.", "罗马", "は", "カ", "กรุง", "เ", "ा", "하", "x" * 201,
]  # fmt: skip
BUSY = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A machine may be busy with other tests."""
REPLIES = st.lists(st.sampled_from(ATOMS), max_size=60).map("".join)


@BUSY
@given(REPLIES, st.data())
@example("word word.Rome", None)
def test_a_reply_has_the_same_clauses_however_it_comes(text: str, data: st.DataObject | None) -> None:
    """After the first one, which ends sooner where a piece ends at its mark."""
    whole = cut(FIRST + text)
    marks = [] if data is None else sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=30)))
    ends = [0, *marks, len(text)]
    pieces = [text[a:b] for a, b in pairwise(ends)]
    assert cut(FIRST, *pieces) == whole
    assert "".join(clause.written for clause in whole) == FIRST + text
    assert not any("[" in clause.spoken or "]" in clause.spoken for clause in whole)


@BUSY
@given(REPLIES)
def test_no_word_is_lost_in_the_map_however_early_the_first_clause_ends(text: str) -> None:
    clauses = cut(*text)
    if clauses:
        assert "".join(clause.written for clause in clauses) == text
    for clause in clauses:
        assert list(clause.ends) == sorted(clause.ends)
        assert any(map(str.isalnum, clause.spoken))


@BUSY
@given(REPLIES.filter(lambda text: not any(mark in text for mark in ".!?。！।؟…,;:—")))
def test_without_a_mark_the_first_clause_is_the_same_too(text: str) -> None:
    assert cut(*text) == cut(text)


@BUSY
@given(REPLIES)
def test_in_whole_words_a_reply_has_the_same_clauses_from_the_first_one_on(text: str) -> None:
    assert cut(*re.findall(r"\s*\S+|\s+", text)) == cut(text)
