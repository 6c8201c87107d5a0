package dev.gregale.server;

import java.io.IOException;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.random.RandomGenerator;
import java.util.stream.Stream;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/** A server under load that is told to end at some moment: what its clients see of that. */
final class ShutdownRound {
  private static final int CLIENTS = 24;

  /** The server is told to end after fewer lines of answers than this, of all clients together. */
  private static final int MAX_LINES = 3_000;

  private static final Duration DRAIN = Duration.ofSeconds(1);
  private static final JsonMapper JSON = JsonMapper.shared();

  private final AtomicInteger whole = new AtomicInteger();
  private final AtomicInteger cutShort = new AtomicInteger();
  private final AtomicInteger refused = new AtomicInteger();
  private final AtomicInteger notConnected = new AtomicInteger();
  private final Collection<String> wrong = new ConcurrentLinkedQueue<>();
  private CountDownLatch lines = new CountDownLatch(0);
  private volatile boolean terminated;

  /**
   * How the requests of a round ended.
   *
   * @param whole with all of their answer
   * @param cutShort with an error, in the stream or instead of an answer, once it had begun to run
   * @param refused with 503 and Retry-After
   * @param notConnected without any answer, after the server had closed its port
   * @param wrong otherwise
   * @param exitMillis from SIGTERM to the end of the process
   */
  record Ends(
      int whole,
      int cutShort,
      int refused,
      int notConnected,
      Collection<String> wrong,
      long exitMillis) {}

  Ends run(Path log, RandomGenerator random) throws Exception {
    lines = new CountDownLatch(random.nextInt(MAX_LINES));
    try (ServerProcess server =
            new ServerProcess(
                log,
                Map.of(),
                "--gregale.engine.max-num-seqs=8",
                "--gregale.engine.drain-timeout=" + DRAIN.toMillis() + "ms");
        ExecutorService clients = Executors.newVirtualThreadPerTaskExecutor()) {
      for (int c = 0; c < CLIENTS; c++) {
        RandomGenerator own = ((RandomGenerator.SplittableGenerator) random).split();
        clients.submit(() -> client(server, own));
      }
      if (!lines.await(30, TimeUnit.SECONDS)) {
        wrong.add("no answers");
      }
      terminated = true;
      long start = System.nanoTime();
      server.terminate();
      int exit = server.awaitExit(DRAIN.plusSeconds(10));
      long exitMillis = (System.nanoTime() - start) / 1_000_000;
      clients.shutdown();
      if (exit != 143) {
        wrong.add("exit code " + exit + ":\n" + server.log());
      }
      if (!clients.awaitTermination(20, TimeUnit.SECONDS)) {
        wrong.add("a client still waits");
        clients.shutdownNow();
      }
      return new Ends(
          whole.get(),
          cutShort.get(),
          refused.get(),
          notConnected.get(),
          new ArrayList<>(wrong),
          exitMillis);
    }
  }

  /** One request after the other, until the server is gone. */
  private void client(ServerProcess server, RandomGenerator random) {
    while (true) {
      boolean stream = random.nextInt(4) != 0;
      Map<String, Object> request = new HashMap<>();
      request.put("model", "fairytale-moe-7m");
      request.put("prompt", "Once upon a time");
      request.put("max_tokens", random.nextInt(8) == 0 ? 4000 : random.nextInt(10, 400));
      request.put("ignore_eos", true);
      request.put("stream", stream);
      try {
        HttpResponse<Stream<String>> answer =
            server
                .client()
                .send(server.post("/v1/completions", request).build(), BodyHandlers.ofLines());
        judge(answer, stream);
      } catch (IOException e) {
        if (!terminated) {
          wrong.add("before SIGTERM: " + e);
        }
        notConnected.incrementAndGet();
        return;
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        return;
      }
    }
  }

  /** An answer that has begun must end as answers end. */
  private void judge(HttpResponse<Stream<String>> answer, boolean stream) {
    List<String> read = new ArrayList<>();
    try (Stream<String> body = answer.body()) {
      body.filter(line -> !line.isEmpty())
          .forEach(
              line -> {
                read.add(line);
                lines.countDown();
              });
    } catch (RuntimeException e) {
      wrong.add("cut off after " + read.size() + " lines: " + e);
      return;
    }
    if (answer.statusCode() == 503) {
      boolean right =
          JSON.readTree(read.getFirst()).path("error").size() == 4
              && answer.headers().firstValue("Retry-After").isPresent();
      (right ? refused : fail(read)).incrementAndGet();
    } else if (answer.statusCode() != 200) {
      fail(read);
    } else if (!stream) {
      boolean right = JSON.readTree(read.getFirst()).at("/choices/0/finish_reason").isString();
      (right ? whole : fail(read)).incrementAndGet();
    } else if (!read.getLast().equals("data: [DONE]")) {
      fail(read);
    } else {
      JsonNode last = JSON.readTree(read.get(read.size() - 2).substring("data: ".length()));
      boolean error = last.path("error").path("code").asString("").equals("engine_unavailable");
      boolean finished = last.at("/choices/0/finish_reason").isString();
      (error ? cutShort : finished ? whole : fail(read)).incrementAndGet();
    }
  }

  private AtomicInteger fail(List<String> lines) {
    wrong.add(String.join("\n", lines.subList(Math.max(0, lines.size() - 3), lines.size())));
    return new AtomicInteger();
  }
}
