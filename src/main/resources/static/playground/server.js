// What the server is doing, from its metrics.

const INTERVAL_MILLIS = 1000;

/** Keeps the bars up to date for as long as the server lets this page read its metrics. */
export function watchServer(key, element) {
  let most = 1; // sequences seen so far: what the bars are scaled by
  const update = async () => {
    if (document.hidden) {
      return true;
    }
    const response = await fetch('/metrics', {
      headers: key() ? { Authorization: `Bearer ${key()}` } : {},
    });
    if (!response.ok) {
      return response.status >= 500;
    }
    const values = parse(await response.text());
    const running = values.get('gregale_requests_running') ?? 0;
    const waiting = values.get('gregale_requests_waiting') ?? 0;
    const used = values.get('gregale_kv_usage') ?? 0;
    most = Math.max(most, running, waiting);
    bar(element, 'kv', used, 1, `${(100 * used).toFixed(0)}%`);
    bar(element, 'running', running, most, String(running));
    bar(element, 'waiting', waiting, most, String(waiting));
    return true;
  };
  const loop = async () => {
    let goOn = true;
    try {
      goOn = await update();
    } catch {
      goOn = true; // a restart, perhaps
    }
    element('metrics-note').hidden = goOn;
    if (!goOn) {
      element('metrics-note').textContent =
        'The server shows its metrics to administrators only.';
    }
    setTimeout(loop, goOn ? INTERVAL_MILLIS : 10 * INTERVAL_MILLIS);
  };
  loop();
}

function bar(element, name, value, max, text) {
  element(name).max = max;
  element(name).value = value;
  element(`${name}-text`).textContent = text;
}

/** The samples without labels: name to value. */
function parse(text) {
  const values = new Map();
  for (const line of text.split('\n')) {
    const match = /^([a-z_:]+)(?:\{[^}]*\})? (\S+)$/.exec(line);
    if (match) {
      values.set(match[1], Number(match[2]));
    }
  }
  return values;
}
