/** Figures of several runs by what was measured and of whom, and their medians. */
export class Figures {
  #figures = new Map();

  add(title, who, figure) {
    const key = JSON.stringify([title, who]);
    const known = this.#figures.get(key) ?? [];
    known.push(figure);
    this.#figures.set(key, known);
  }

  /** undefined: nobody measured it. */
  median(title, who) {
    const figures = this.#figures.get(JSON.stringify([title, who]));
    return figures && median(figures);
  }
}

/** The upper one of two in the middle. */
export function median(figures) {
  return figures.toSorted((a, b) => a - b)[Math.floor(figures.length / 2)];
}

/** A Markdown table: a column for each of `names`, and what the last but one is to the last. */
export function tableOf(figures, titles, names) {
  const [ours, theirs] = names.slice(-2);
  const rows = [['', ...names, `${ours} / ${theirs}`], ['---', ...names.map(() => '---:'), '---:']];
  for (const { title, digits } of titles) {
    const medians = names.map((name) => figures.median(title, name));
    const ratio = figures.median(title, ours) / figures.median(title, theirs);
    const cells = medians.map((figure) => (figure === undefined ? '-' : written(figure, digits)));
    rows.push([title, ...cells, Number.isFinite(ratio) ? ratio.toFixed(2) : '-']);
  }
  return rows.map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

function written(figure, digits) {
  return figure.toLocaleString('en-US', { minimumFractionDigits: digits, maximumFractionDigits: digits });
}
