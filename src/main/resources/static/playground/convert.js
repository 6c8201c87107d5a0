// The panel that converts checkpoints: orders a job, follows it, lists what there is.

import { headers, reason, serverSentData } from './stream.js';
import { bytes, describe, figures, LAST_STATES } from './conversion.js';

const PATH = '/admin/convert';
const RETRY_MILLIS = 5000;
const element = (id) => document.getElementById(`convert-${id}`);
const form = element('form');
const keyField = document.getElementById('form').elements.key;
let watching = null; // {job, stop: AbortController} of what is shown

const key = () => keyField.value.trim();

async function call(path, options = {}) {
  const response = await fetch(path, { ...options, headers: headers(key()) });
  if (!response.ok) {
    throw new Error(await reason(response));
  }
  return response;
}

/** Shows the panel if the server converts for this reader, else why it does not. */
async function open() {
  let why = null;
  try {
    const response = await fetch(PATH, { headers: headers(key()) });
    if (response.ok) {
      showJobs((await response.json()).conversions);
    } else {
      why = await refusal(response);
    }
  } catch {
    why = 'The server cannot be reached.';
    setTimeout(open, RETRY_MILLIS);
  }
  element('off').textContent = why ?? '';
  element('off').hidden = why === null;
  element('panel').hidden = why !== null;
}

async function refusal(response) {
  if (response.status === 401) {
    return 'Conversion is for administrators: enter an admin key above.';
  }
  const problem = await response.clone().json().catch(() => ({}));
  return problem.code === 'forbidden'
    ? 'Conversion is for administrators: this API key is no admin key.'
    : reason(response);
}

function order(isDryRun) {
  const fields = form.elements;
  const body = { source: fields.source.value.trim(), target: fields.target.value.trim() };
  for (const name of ['to', 'dtype', 'maxShardSize']) {
    const value = fields[name].value.trim();
    if (value !== '') {
      body[name] = value;
    }
  }
  const ranks = fields.expertParallelSize.value.trim();
  return {
    ...body,
    ...weights(fields.quantize.value),
    ...(ranks !== '' && { expertParallelSize: Number(ranks) }),
    ...(fields.verify.checked && { verify: 'logits' }),
    ...(fields.overwrite.checked && { overwrite: true }),
    ...(isDryRun && { dryRun: true }),
  };
}

function weights(choice) {
  if (choice === 'dequantize') {
    return { dequantize: true };
  }
  return choice === '' ? {} : { quantize: choice };
}

async function submit(isDryRun) {
  setBusy(true);
  say('');
  try {
    const response = await call(PATH, { method: 'POST', body: JSON.stringify(order(isDryRun)) });
    follow(await response.json());
  } catch (error) {
    complain(error);
  }
  setBusy(false);
}

function setBusy(busy) {
  element('run').disabled = busy;
  element('check').disabled = busy;
}

function say(text) {
  element('message').textContent = '';
  element('said').textContent = text;
}

function complain(error) {
  element('said').textContent = '';
  element('message').textContent = error.message;
}

/** Shows a job's progress until it ends or another is shown. */
async function follow(job) {
  watching?.stop.abort();
  const mine = { job, stop: new AbortController() };
  watching = mine;
  say(`${job.source} to ${job.target} has begun.`);
  showProgress(job);
  refresh();
  try {
    const response = await fetch(`${PATH}/${job.id}/events`, {
      headers: { ...headers(key()), Accept: 'text/event-stream' },
      signal: mine.stop.signal,
    });
    for await (const data of serverSentData(response)) {
      const latest = JSON.parse(data);
      showProgress(latest);
      if (LAST_STATES.includes(latest.state)) {
        tellEnd(latest);
      }
    }
  } catch (error) {
    if (error.name !== 'AbortError') {
      complain(error);
    }
  }
  if (watching === mine) {
    watching = null;
    element('job').hidden = true;
    refresh();
  }
}

function tellEnd(job) {
  if (job.state === 'failed') {
    complain(new Error(`${job.source} to ${job.target} failed: ${job.error}`));
  } else {
    say(describe(job));
  }
}

function showProgress(job) {
  const bar = element('bar');
  const { progress } = job;
  element('job').hidden = false;
  element('name').textContent = `${job.source} to ${job.target}`;
  if (progress?.phase === 'copy' || progress?.phase === 'check') {
    bar.max = Math.max(1, progress.bytesTotal);
    bar.value = progress.bytesDone;
    bar.textContent = `${bytes(progress.bytesDone)} of ${bytes(progress.bytesTotal)}`;
  } else {
    bar.removeAttribute('value'); // busy, for as long as it takes
  }
  element('figures').textContent = figures(job);
  element('tensor').textContent = progress?.tensor ?? '';
  element('cancel').disabled = job.state === 'cancelling' || LAST_STATES.includes(job.state);
}

async function refresh() {
  try {
    showJobs((await (await call(PATH)).json()).conversions);
  } catch (error) {
    complain(error);
  }
}

function showJobs(jobs) {
  element('none').hidden = jobs.length > 0;
  element('jobs').replaceChildren(...jobs.map(jobElement));
}

function jobElement(job) {
  const item = document.createElement('li');
  const about = document.createElement('span');
  about.className = `about ${job.state}`;
  about.textContent = describe(job);
  item.append(about);
  if (LAST_STATES.includes(job.state)) {
    item.append(button('Forget', job, () => remove(job, `${job.target} is forgotten here.`)));
  } else {
    item.append(
      button('Watch', job, () => follow(job)),
      button('Cancel', job, () => cancel(job)));
  }
  return item;
}

function button(text, job, action) {
  const made = document.createElement('button');
  made.type = 'button';
  made.textContent = text;
  made.setAttribute('aria-label', `${text}: ${job.source} to ${job.target}`);
  made.addEventListener('click', action);
  return made;
}

function cancel(job) {
  return remove(job, `${job.target} is being cancelled.`);
}

async function remove(job, said) {
  try {
    await call(`${PATH}/${job.id}`, { method: 'DELETE' });
    say(said);
  } catch (error) {
    complain(error);
  }
  await refresh();
}

form.addEventListener('submit', (event) => {
  event.preventDefault();
  submit(event.submitter?.name === 'dryRun');
});
element('cancel').addEventListener('click', () => {
  if (watching) {
    cancel(watching.job);
  }
});
keyField.addEventListener('change', open);
open();
