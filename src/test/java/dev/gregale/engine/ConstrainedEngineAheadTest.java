package dev.gregale.engine;

/** The same where the model takes a step ahead. */
class ConstrainedEngineAheadTest extends ConstrainedEngineTest {

  @Override
  int maxInFlight() {
    return 2;
  }
}
