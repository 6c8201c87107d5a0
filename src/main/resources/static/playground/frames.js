/**
 * Work that is done with the next frame, once, however often it was asked for: a fast model gives
 * hundreds of tokens between two, and laying the page out for each would leave no time for a click.
 */
export function oncePerFrame(work) {
  let waiting = null;
  return () => {
    waiting ??= requestAnimationFrame(() => {
      waiting = null;
      work();
    });
  };
}
