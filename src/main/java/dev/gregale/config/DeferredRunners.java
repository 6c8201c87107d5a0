package dev.gregale.config;

import java.util.List;
import java.util.stream.Stream;

/**
 * The runners of all replicas, to be completed by {@link ModelStart}.
 *
 * @param all one for each replica
 */
record DeferredRunners(List<DeferredRunner> all) {

  DeferredRunners {
    all = List.copyOf(all);
  }

  static DeferredRunners of(int replicas) {
    return new DeferredRunners(Stream.generate(DeferredRunner::new).limit(replicas).toList());
  }
}
