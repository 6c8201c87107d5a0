package dev.gregale.server;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.web.MutatedRequest;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** What docs/benchmarks.md says of the server under load: {@code mvn -Pload test}. */
@Tag("load")
class LoadTest {
  private static final long SEED = Long.getLong("gregale.test.seed", 20_261_123L);
  private static final Duration OVERLOAD =
      Duration.ofSeconds(Integer.getInteger("gregale.load.seconds", 120));
  private static final Duration WARM_UP = Duration.ofSeconds(20);
  private static final JsonMapper JSON = JsonMapper.shared();
  @TempDir private Path folder;

  private static RandomGenerator random() {
    return RandomGeneratorFactory.of("L64X128MixRandom").create(SEED);
  }

  @Test
  void tenTimesTheLoadForTwoMinutes() throws Exception {
    try (ServerProcess server =
        new ServerProcess(
            folder.resolve("log"),
            Map.of(),
            "--gregale.engine.threads=1",
            "--gregale.engine.max-num-seqs=" + Overload.SEQS,
            "--gregale.engine.max-queued-requests=" + Overload.QUEUE)) {
      Overload overload = new Overload(server);
      // Until both sides are compiled, what is refused as well as what is served.
      overload.overloaded(10 * overload.unloaded(WARM_UP).perSecond(), WARM_UP);
      Overload.Phase unloaded = overload.unloaded(Duration.ofMinutes(1));
      Overload.Phase loaded = overload.overloaded(10 * unloaded.perSecond(), OVERLOAD);
      System.out.printf(
          "overload: unloaded %.1f/s %s%n  10x: %.1f/s, admitted %s%n  refused %s%n"
              + "  waiting at most %.0f, Retry-After %s, wrong %d%n",
          unloaded.perSecond(),
          unloaded.admitted(),
          loaded.perSecond(),
          loaded.admitted(),
          loaded.refused(),
          loaded.maxWaiting(),
          loaded.retries(),
          overload.wrong().size());
      assertThat(overload.wrong()).isEmpty();
      assertThat(loaded.maxWaiting()).isLessThanOrEqualTo(Overload.QUEUE);
      assertThat(loaded.retries()).doesNotContainKey("none");
      assertThat(loaded.refused().quantile(.99)).isLessThan(50);
      assertThat(loaded.admitted().quantile(.99))
          .isLessThanOrEqualTo(1.3 * unloaded.admitted().quantile(.99));
    }
  }

  @Test
  void fiveHundredStreamsCutAtRandomMoments() throws Exception {
    try (ServerProcess server =
        new ServerProcess(
            folder.resolve("log"), Map.of(), "--gregale.engine.max-queued-requests=600")) {
      // Until what serves them is compiled, and what looks.
      CutStreams.cut(server.uri("/").getPort(), 500, SEED + 1);
      Awaitility.await().atMost(WARM_UP).until(() -> isIdle(server));
      CutStreams.Cuts cuts = CutStreams.cut(server.uri("/").getPort(), 500, SEED);
      long end = System.nanoTime();
      while (!isIdle(server)) {
        assertThat(System.nanoTime() - end).as("blocks are free").isLessThan(1_000_000_000L);
      }
      System.out.printf(
          "cut streams: %s, all blocks free after %.0f ms%n",
          cuts, (System.nanoTime() - end) / 1e6);
      assertThat(cuts.beforeAnything() + cuts.inTheStream()).isEqualTo(500);
    }
  }

  private static boolean isIdle(ServerProcess server) throws Exception {
    String metrics =
        server
            .get(
                "/actuator/prometheus?includedNames="
                    + "gregale_kv_usage,gregale_requests_running,gregale_requests_waiting")
            .body();
    return metrics.contains("\ngregale_kv_usage 0.0\n")
        && metrics.contains("\ngregale_requests_running 0.0\n")
        && metrics.contains("\ngregale_requests_waiting 0.0\n");
  }

  @Test
  void twentyThousandMutatedBodies() throws Exception {
    try (ServerProcess server =
        new ServerProcess(
            folder.resolve("log"),
            Map.of(),
            "--gregale.engine.max-model-len=256",
            "--gregale.engine.max-tokens-per-request=512")) {
      RandomGenerator random = random();
      Map<Integer, Integer> statuses = new TreeMap<>();
      Queue<Call> calls = new ArrayDeque<>();
      for (int i = 0; i < 20_000; i++) {
        MutatedRequest mutant = MutatedRequest.next(random, "fairytale-moe-7m");
        HttpRequest request =
            HttpRequest.newBuilder(server.uri(mutant.path()))
                .header("Content-Type", "application/json")
                .POST(BodyPublishers.ofByteArray(mutant.body()))
                .build();
        calls.add(new Call(i, mutant, server.client().sendAsync(request, BodyHandlers.ofString())));
        if (calls.size() >= 16) {
          statuses.merge(judge(calls.remove()), 1, Integer::sum);
        }
      }
      while (!calls.isEmpty()) {
        statuses.merge(judge(calls.remove()), 1, Integer::sum);
      }
      System.out.println("mutated bodies, statuses: " + statuses);
      assertThat(server.get("/health").statusCode()).isEqualTo(200);
      assertThat(statuses.get(200)).isBetween(500, 19_500);
    }
  }

  private record Call(
      int number, MutatedRequest mutant, CompletableFuture<HttpResponse<String>> answer) {}

  private static int judge(Call call) {
    HttpResponse<String> answer = call.answer().join();
    String what =
        "seed %d, mutant %d: %s answered %d %s"
            .formatted(SEED, call.number(), call.mutant(), answer.statusCode(), answer.body());
    if (answer.statusCode() == 200) {
      assertThat(answer.body()).as(what).doesNotContain("\"error\":{");
    } else {
      assertThat(answer.statusCode()).as(what).isBetween(400, 499);
      JsonNode error = JSON.readTree(answer.body()).get("error");
      assertThat(error.propertyNames())
          .as(what)
          .containsExactly("message", "type", "param", "code");
    }
    return answer.statusCode();
  }

  @Test
  void fiftyTimesSigtermUnderLoad() throws Exception {
    RandomGenerator random = random();
    List<ShutdownRound.Ends> all = new ArrayList<>();
    for (int round = 0; round < 50; round++) {
      ShutdownRound.Ends ends = new ShutdownRound().run(folder.resolve("log" + round), random);
      all.add(ends);
      assertThat(ends.wrong()).as("seed %d, round %d: %s", SEED, round, ends).isEmpty();
    }
    System.out.printf(
        "SIGTERM: 50 rounds, whole %d, ended by an error %d, refused %d, not connected %d; exit"
            + " after at most %d ms%n",
        all.stream().mapToInt(ShutdownRound.Ends::whole).sum(),
        all.stream().mapToInt(ShutdownRound.Ends::cutShort).sum(),
        all.stream().mapToInt(ShutdownRound.Ends::refused).sum(),
        all.stream().mapToInt(ShutdownRound.Ends::notConnected).sum(),
        all.stream().mapToLong(ShutdownRound.Ends::exitMillis).max().orElse(0));
  }
}
