// What a conversion job says of itself, in words.

/** The states that a job does not leave. */
export const LAST_STATES = ['succeeded', 'failed', 'cancelled'];

const PHASES = {
  check: 'Reading again what was written before',
  copy: 'Copying',
  verify: 'Comparing the logits of both models',
  publish: 'Writing the last files',
};

const DIGITS = new Intl.NumberFormat('en', { maximumSignificantDigits: 3 });

/** How far a job is. */
export function figures(job) {
  const { progress } = job;
  if (job.state === 'queued') {
    return 'Waiting for its turn';
  }
  if (job.state === 'cancelling') {
    return 'Cancelling';
  }
  if (!progress) {
    return 'Reading the source';
  }
  const parts = [PHASES[progress.phase] ?? progress.phase];
  if (progress.bytesTotal > 0) {
    const percent = Math.floor((100 * progress.bytesDone) / progress.bytesTotal);
    parts.push(`${bytes(progress.bytesDone)} of ${bytes(progress.bytesTotal)} (${percent}%)`);
  }
  if (progress.bytesPerSecond > 0) {
    parts.push(`${bytes(progress.bytesPerSecond)}/s`);
  }
  if (progress.secondsLeft !== undefined) {
    parts.push(`${duration(progress.secondsLeft)} left`);
  }
  return parts.join(', ');
}

/** A job in one line. */
export function describe(job) {
  const what = `${job.source} to ${job.target}${job.dryRun ? ' (check only)' : ''}`;
  const { result } = job;
  if (job.state === 'failed') {
    return `${what}: failed. ${job.error}`;
  }
  if (job.state !== 'succeeded' || !result) {
    return `${what}: ${job.state}`;
  }
  const verb = job.dryRun ? 'would be written' : 'written';
  const files = result.shards === 1 ? '1 file' : `${result.shards} files`;
  const ranks = result.expertParallelSize === 1 ? '' : `, experts for ${result.expertParallelSize} ranks`;
  const compared = result.difference ? `; ${comparison(result.difference)}` : '';
  return `${what}: ${result.tensors} tensors, ${bytes(result.bytes)} in ${files}${ranks} ${verb}${compared}`;
}

function comparison(difference) {
  return difference.identical
    ? 'logits identical, bit for bit'
    : `logits differ by at most ${difference.maxAbsDifference.toPrecision(2)}`;
}

/** Bytes in the units that Data per file takes. */
export function bytes(count) {
  const units = ['bytes', 'kB', 'MB', 'GB', 'TB'];
  let unit = 0;
  let value = count;
  while (value >= 1000 && unit < units.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${DIGITS.format(value)} ${units[unit]}`;
}

function duration(seconds) {
  const minutes = Math.floor(seconds / 60);
  return minutes === 0 ? `${seconds} s` : `${minutes} min ${seconds % 60} s`;
}
