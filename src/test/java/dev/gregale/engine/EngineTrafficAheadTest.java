package dev.gregale.engine;

/** The same where the model takes a step ahead. */
class EngineTrafficAheadTest extends EngineTrafficTest {

  @Override
  int maxInFlight() {
    return 2;
  }
}
