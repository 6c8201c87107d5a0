package dev.gregale.engine;

/** The same where the model takes a step ahead. */
class EngineOutputAheadTest extends EngineOutputTest {

  @Override
  int maxInFlight() {
    return 2;
  }
}
