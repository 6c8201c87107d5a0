package dev.gregale.config;

import dev.gregale.GregaleApplication;
import dev.gregale.backend.BackendException;
import dev.gregale.model.StepOutput;
import dev.gregale.model.StepRunner;
import dev.gregale.scheduler.ScheduledBatch;
import org.springframework.boot.SpringApplication;
import org.springframework.context.annotation.Bean;
import org.springframework.context.annotation.Primary;

/** The server with a device that fails for good at the twentieth step. No test but run by one. */
public final class FaultyServer {
  private static final int GOOD_STEPS = 19;

  private FaultyServer() {}

  public static void main(String[] properties) {
    new SpringApplication(GregaleApplication.class, Wiring.class).run(properties);
  }

  /** Found by nobody but the main method above: it is no configuration to scan for. */
  static class Wiring {

    @Bean
    @Primary
    StepRunners faultyRunners(DeferredRunners model) {
      return new StepRunners(model.all().stream().map(FaultyRunner::new).toList());
    }
  }

  private static final class FaultyRunner implements StepRunner {
    private final StepRunner model;
    private int steps;

    FaultyRunner(StepRunner model) {
      this.model = model;
    }

    @Override
    public int maxInFlight() {
      return model.maxInFlight();
    }

    @Override
    public void submit(ScheduledBatch batch) {
      model.submit(batch);
    }

    @Override
    public StepOutput await() {
      if (steps++ == GOOD_STEPS) {
        throw new BackendException("waiting for a step: CUDA_ERROR_ILLEGAL_ADDRESS") {
          private static final long serialVersionUID = 1L;

          @Override
          public boolean isSticky() {
            return true;
          }
        };
      }
      return model.await();
    }
  }
}
