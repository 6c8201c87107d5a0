package dev.gregale.engine;

/** The same where the model takes a step ahead. */
class RoutedExpertsAheadTest extends RoutedExpertsTest {

  @Override
  int maxInFlight() {
    return 2;
  }
}
