package dev.gregale.engine;

/** The same where the model takes a step ahead. */
class EngineLifeAheadTest extends EngineLifeTest {

  @Override
  int maxInFlight() {
    return 2;
  }
}
