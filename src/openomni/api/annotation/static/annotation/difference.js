/* The difference of two texts, word by word: what was made, and what it should have been. */

/** `[{word, is: "same" | "gone" | "new"}]`, by the longest common sequence of words. */
export function difference(made, corrected) {
  const before = words(made), after = words(corrected);
  if (before.length * after.length > 1e6) return [...before.map((word) => ({ word, is: "gone" })), ...after.map((word) => ({ word, is: "new" }))];
  const long = Array.from({ length: before.length + 1 }, () => new Uint16Array(after.length + 1));
  for (let i = before.length - 1; i >= 0; i--) {
    for (let j = after.length - 1; j >= 0; j--) {
      long[i][j] = same(before[i], after[j]) ? long[i + 1][j + 1] + 1 : Math.max(long[i + 1][j], long[i][j + 1]);
    }
  }
  const found = [];
  let i = 0, j = 0;
  while (i < before.length || j < after.length) {
    if (i < before.length && j < after.length && same(before[i], after[j])) { found.push({ word: after[j++], is: "same" }); i++; }
    else if (j >= after.length || (i < before.length && long[i + 1][j] >= long[i][j + 1])) found.push({ word: before[i++], is: "gone" });
    else found.push({ word: after[j++], is: "new" });
  }
  return found;
}

function words(text) { return text.split(/\s+/).filter(Boolean); }

/** As the error rate counts it: without case and punctuation. */
function same(one, other) { return bare(one) === bare(other); }

function bare(word) { return word.toLowerCase().replace(/[^\p{L}\p{N}]/gu, "") || word; }
