// What the page derives from the documents. Pure: it needs no browser.

const MOST_TICKS = 50, MOST_GENERATIONS = 40;

const niceStep = (span, most) => {
  const rough = span / Math.max(1, most);
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((k) => k * power).find((step) => step >= rough);
};

/** Round values from least to most, about as many as count. */
export function ticks(least, most, count) {
  if (!(most > least)) return [least];
  const step = niceStep(most - least, count);
  const found = [];
  for (let at = Math.ceil(least / step) * step; at <= most + step / 1e6 && found.length < MOST_TICKS; at += step) {
    found.push(at);
    if (!(at + step > at)) break; // The step is less than what a number of this size can tell.
  }
  return found;
}

/**
 * The students that a student's teachers were refined from, each with its own: a tree in which every
 * student is once, the nearest to the root. known: what each digest is.
 */
export function ancestry(student, known) {
  const seen = new Set([student.digest]);
  const root = { student, older: [] };
  let generation = [root];
  for (let depth = 0; depth < MOST_GENERATIONS && generation.length; depth += 1) {
    for (const one of generation) {
      for (const digest of one.student.teachers.flatMap((t) => known.get(t.digest)?.parents ?? [])) {
        const parent = known.get(digest);
        if (parent?.kind !== "student" || seen.has(digest)) continue;
        seen.add(digest);
        one.older.push({ student: parent, older: [] });
      }
    }
    generation = generation.flatMap((one) => one.older);
  }
  return root;
}

/** The problems without a known cause, each with those that follow from it. */
export const causes = (problems) => problems.filter((p) => !p.follows).map((cause) => ({
  ...cause, hence: problems.filter((p) => p.follows && p.follows.code === cause.code && p.follows.subject === cause.subject),
}));
