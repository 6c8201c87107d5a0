package dev.gregale.backend.parallel;

import dev.gregale.backend.Collective;
import dev.gregale.backend.Readback;

/** What all ranks have alike, from the first of them, if they came to it together. */
record RankReadback(Readback ofFirst, Collective collective) implements Readback {

  @Override
  public void start(int count) {
    ofFirst.start(count);
  }

  @Override
  public void finish(int[] values) {
    ofFirst.finish(values);
    collective.requireHealthy();
  }

  @Override
  public void finish(float[] values) {
    ofFirst.finish(values);
    collective.requireHealthy();
  }
}
