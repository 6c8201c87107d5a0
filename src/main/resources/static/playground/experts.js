// Which experts tokens go to: a table of layers by experts, shaded by how much each gets.

import { oncePerFrame } from './frames.js';

/** The heat map within an element that has a table, and a line to say the same in words. */
export class HeatMap {
  constructor(table, summary) {
    this.table = table;
    this.summary = summary;
    this.paintSoon = oncePerFrame(() => this.paint());
    this.clear();
  }

  clear() {
    this.tokens = 0;
    this.counts = null; // [L][E], made with the first tokens
    this.chosen = null; // the experts of one token, [L][K]
    this.table.tBodies[0].replaceChildren();
    this.table.tHead.rows[0].replaceChildren();
    this.table.hidden = true;
    this.summary.textContent = '';
  }

  /** Adds the tokens of an event; returns the experts of its last token, [L][K]. */
  add(base64) {
    const { layers, perToken, tokens, ids } = parseNpy(base64);
    const most = ids.reduce((a, b) => Math.max(a, b), 0) + 1;
    this.counts ??= Array.from({ length: layers }, () => []);
    for (let i = 0; i < ids.length; i++) {
      const row = this.counts[Math.floor(i / perToken) % layers];
      row[ids[i]] = (row[ids[i]] ?? 0) + 1;
    }
    this.tokens += tokens;
    this.widen(most);
    const last = ids.slice(ids.length - layers * perToken);
    this.choose(Array.from({ length: layers }, (_, l) => [...last.slice(l * perToken, (l + 1) * perToken)]));
    return this.chosen;
  }

  /** Outlines the experts of one token. */
  choose(experts) {
    this.chosen = experts;
    this.paintSoon();
  }

  /** Says in words what the colours say; for the end of an answer. */
  describe() {
    let best = { share: 0 };
    this.counts?.forEach((row, layer) => row.forEach((count, expert) => {
      if (count / this.tokens > best.share) {
        best = { share: count / this.tokens, layer, expert };
      }
    }));
    if (best.share > 0) {
      this.summary.textContent = `${this.tokens} tokens of prompt and answer. Busiest: `
        + `expert ${best.expert} of layer ${best.layer}, with ${percent(best.share)} of them.`;
    }
  }

  /** Makes the table's cells, as many columns as there are experts seen. */
  widen(experts) {
    const head = this.table.tHead.rows[0];
    const body = this.table.tBodies[0];
    if (head.cells.length === 0) {
      head.append(header('Layer', 'col'));
      this.counts.forEach((_, layer) => body.insertRow().append(header(String(layer), 'row')));
      this.table.hidden = false;
    }
    while (head.cells.length <= experts) {
      head.append(header(String(head.cells.length - 1), 'col'));
      for (const row of body.rows) {
        row.insertCell().textContent = '0';
      }
    }
  }

  paint() {
    const even = this.chosen?.[0].length / (this.table.tHead.rows[0].cells.length - 1);
    this.counts?.forEach((row, layer) => {
      const { cells } = this.table.tBodies[0].rows[layer];
      for (let expert = 0; expert + 1 < cells.length; expert++) {
        const share = (row[expert] ?? 0) / this.tokens;
        const cell = cells[expert + 1];
        cell.textContent = Math.round(100 * share);
        cell.style.setProperty('--heat', Math.min(1, share / (2 * even)));
        cell.classList.toggle('chosen', this.chosen?.[layer].includes(expert) ?? false);
      }
    });
  }
}

function header(text, scope) {
  const cell = document.createElement('th');
  cell.scope = scope;
  cell.textContent = text;
  return cell;
}

function percent(share) {
  return `${Math.round(100 * share)}%`;
}

/** NumPy's format 1.0, of small unsigned integers [tokens, layers, experts per token]. */
function parseNpy(base64) {
  const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
  const begin = 10 + bytes[8] + 256 * bytes[9];
  const text = new TextDecoder().decode(bytes.slice(10, begin));
  const [tokens, layers, perToken] = /\((\d+), (\d+), (\d+)\)/.exec(text).slice(1).map(Number);
  const data = bytes.slice(begin);
  const ids = text.includes("'<u2'") ? new Uint16Array(data.buffer) : data;
  return { tokens, layers, perToken, ids };
}
