package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.util.ArrayDeque;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;
import org.junit.jupiter.api.Test;

/** Whatever a client sends costs it a 4xx with an error object at worst, never a 5xx. */
class RequestMutationTest extends WebTest {
  private static final int MUTANTS = 3_000;
  private static final int IN_FLIGHT = 16;

  @Test
  void noBodyCausesAServerError() throws Exception {
    long seed = Long.getLong("gregale.test.seed", 20_261_123L);
    RandomGenerator random = RandomGeneratorFactory.of("L64X128MixRandom").create(seed);
    Queue<Call> calls = new ArrayDeque<>();
    int accepted = 0;
    for (int i = 0; i < MUTANTS; i++) {
      MutatedRequest mutant = MutatedRequest.next(random, "stub");
      HttpRequest request =
          request(mutant.path())
              .header("Content-Type", "application/json")
              .POST(BodyPublishers.ofByteArray(mutant.body()))
              .build();
      calls.add(new Call(i, mutant, CLIENT.sendAsync(request, BodyHandlers.ofString())));
      if (calls.size() >= IN_FLIGHT) {
        accepted += check(calls.remove(), seed) ? 1 : 0;
      }
    }
    while (!calls.isEmpty()) {
      accepted += check(calls.remove(), seed) ? 1 : 0;
    }
    // Neither all nor none: else the mutator tests nothing.
    assertThat(accepted).as("accepted, seed %d", seed).isBetween(MUTANTS / 50, MUTANTS * 9 / 10);
  }

  private record Call(
      int number, MutatedRequest mutant, CompletableFuture<HttpResponse<String>> answer) {}

  private static boolean check(Call call, long seed) throws Exception {
    HttpResponse<String> response = call.answer().get();
    String what =
        "seed %d, mutant %d: %s answered %d %s"
            .formatted(seed, call.number(), call.mutant(), response.statusCode(), response.body());
    if (response.statusCode() == 200) {
      assertThat(response.body()).as(what).doesNotContain("\"error\"");
      return true;
    }
    assertThat(response.statusCode()).as(what).isIn(400, 404);
    assertThat(error(response).get("message").asString()).as(what).isNotBlank();
    return false;
  }
}
