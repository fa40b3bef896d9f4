"""Whether a sentence can end where its transcript does."""

from __future__ import annotations

import re

from ...events import NOTHING_KNOWN, Endings
from ...media import Audio
from ..registry import component

DANGLING = {
    "a", "about", "although", "an", "and", "another", "any", "are", "as", "at", "be", "because", "been", "before",
    "being", "between", "both", "but", "by", "can", "could", "did", "do", "does", "during", "each", "either", "else",
    "er", "erm", "every", "few", "for", "from", "had", "has", "have", "he", "he's", "her", "his", "hmm", "how",
    "however", "i", "i'd", "i'll", "i'm", "i've", "if", "in", "instead", "into", "is", "it's", "its", "just", "let's",
    "like", "many", "may", "might", "my", "neither", "no", "nor", "of", "on", "onto", "or", "our", "over", "per",
    "please", "quite", "rather", "shall", "she", "she's", "should", "since", "so", "some", "such", "than", "that's",
    "the", "their", "then", "there's", "these", "they", "they're", "this", "those", "though", "through", "to",
    "toward", "towards", "uh", "um", "unless", "until", "upon", "very", "via", "was", "we", "we're", "were", "what's",
    "when", "whenever", "where", "whereas", "whether", "which", "while", "who", "whom", "whose", "will", "with",
    "within", "without", "would", "you're", "your",
}  # fmt: skip
"""English words after which something has to follow, in lower case; many of them may end a question."""
NEVER_LAST = {
    "a", "although", "an", "and", "are", "because", "but", "can", "could", "every", "he's", "i'd", "i'll", "i'm",
    "i've", "if", "is", "it's", "its", "let's", "my", "nor", "or", "our", "shall", "she's", "should", "than",
    "that's", "the", "their", "there's", "they're", "uh", "um", "unless", "was", "we're", "were", "what's",
    "whether", "while", "will", "would", "you're", "your",
}  # fmt: skip
"""Those that hardly ever do. Recognisers put a question mark behind a pause, whatever was said."""
WHOLE = 0.95
OPEN = 0.05
UNKNOWN = 0.6
"""Neither a mark nor a dangling word says anything."""

_MARK = re.compile(r"[.!?。！？]['\")\]]*$")
_GOES_ON = re.compile(r"(\.\.\.|…|[,;:–—-])['\")\]]*$")


def finished_by_words(text: str) -> float:
    """The probability, 0…1, that nothing follows: roughly, for there is nothing to hear in a text."""
    text = text.strip()
    words = re.findall(r"[\w']+", text.lower().replace("’", "'"))
    if not words or _GOES_ON.search(text):
        return OPEN
    if words[-1] in NEVER_LAST or (words[-1] in DANGLING and not text.endswith(("?", "!"))):
        return OPEN
    return WHOLE if _MARK.search(text) else UNKNOWN


@component("turn", "words")
class Words:
    """Judges by the transcript alone: punctuation, and English words that leave a sentence open. No model, no wait."""

    def finished(self, audio: Audio, text: str, endings: Endings = NOTHING_KNOWN) -> float:
        return finished_by_words(text)
