package dev.gregale.engine;

/** The same where the model takes a step ahead. */
class EngineStartAndEndAheadTest extends EngineStartAndEndTest {

  @Override
  int maxInFlight() {
    return 2;
  }
}
