package dev.gregale.config;

import dev.gregale.model.StepRunner;
import java.util.List;

/**
 * What runs the replicas of the model.
 *
 * @param all one for each replica
 */
record StepRunners(List<? extends StepRunner> all) {

  StepRunners {
    all = List.copyOf(all);
  }
}
