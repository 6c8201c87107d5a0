package dev.gregale.server;

import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.locks.LockSupport;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import tools.jackson.databind.JsonNode;
import tools.jackson.databind.json.JsonMapper;

/**
 * First as many requests as the server runs at a time, one after the other, so that it is busy and
 * nothing waits; then many times the rate that it managed, whatever it answers.
 */
final class Overload {
  static final int SEQS = 8;
  static final int QUEUE = 1;
  private static final int SEEDS = 16;

  /** One in so many is streamed. On two cores, streams would cost more than the small model. */
  private static final int STREAM_EVERY = 4;

  private static final Pattern WAITING = Pattern.compile("\ngregale_requests_waiting ([0-9.]+)");
  private static final JsonMapper JSON = JsonMapper.shared();

  private final ServerProcess server;
  private final Map<Integer, String> texts = new ConcurrentHashMap<>();
  private final Collection<String> wrong = new ConcurrentLinkedQueue<>();

  /**
   * What one phase brought.
   *
   * @param admitted time to the end of the answer
   * @param refused time to the refusal
   * @param perSecond completed
   * @param maxWaiting sequences that were seen waiting, at most
   * @param retries what Retry-After said, and how often
   */
  record Phase(
      Latencies admitted,
      Latencies refused,
      double perSecond,
      double maxWaiting,
      Map<String, Long> retries) {}

  Overload(ServerProcess server) {
    this.server = server;
  }

  /** What was lost, doubled or answered otherwise than it should be. */
  Collection<String> wrong() {
    return wrong;
  }

  /** Busy, but with an empty queue. */
  Phase unloaded(Duration time) throws InterruptedException {
    Recorder recorder = new Recorder();
    long end = System.nanoTime() + time.toNanos();
    try (ExecutorService clients = Executors.newVirtualThreadPerTaskExecutor()) {
      for (int c = 0; c < SEQS; c++) {
        int client = c;
        clients.submit(
            () -> {
              for (int i = client; System.nanoTime() < end; i += SEQS) {
                call(i % SEEDS, recorder);
              }
            });
      }
    }
    return recorder.phase(time);
  }

  /** An open loop: requests are sent when they are due, not when others have been answered. */
  Phase overloaded(double perSecond, Duration time) throws InterruptedException {
    Recorder recorder = new Recorder();
    int requests = (int) (perSecond * time.toMillis() / 1000);
    CountDownLatch answered = new CountDownLatch(requests);
    Semaphore inFlight = new Semaphore(2_000); // of the client's own sockets
    long start = System.nanoTime();
    try (ExecutorService clients = Executors.newVirtualThreadPerTaskExecutor()) {
      Thread watch = Thread.ofVirtual().start(() -> watchQueue(recorder, answered));
      for (int i = 0; i < requests; i++) {
        int seed = i % SEEDS;
        LockSupport.parkNanos(start + (long) (i * 1e9 / perSecond) - System.nanoTime());
        inFlight.acquire();
        clients.submit(
            () -> {
              call(seed, recorder);
              inFlight.release();
              answered.countDown();
            });
      }
      answered.await(2, TimeUnit.MINUTES);
      watch.join();
    }
    recorder.unanswered(answered.getCount());
    return recorder.phase(time);
  }

  private void watchQueue(Recorder recorder, CountDownLatch answered) {
    try {
      while (!answered.await(500, TimeUnit.MILLISECONDS)) {
        Matcher waiting = WAITING.matcher(server.get("/metrics").body());
        if (waiting.find()) {
          recorder.waiting(Double.parseDouble(waiting.group(1)));
        }
      }
    } catch (Exception e) {
      wrong.add("watching the queue: " + e);
    }
  }

  /** Of different lengths, else all that began together would end together, again and again. */
  private static int maxTokens(int seed) {
    return 600 + 100 * seed;
  }

  private void call(int seed, Recorder recorder) {
    Map<String, Object> request = new HashMap<>();
    request.put("model", "fairytale-moe-7m");
    request.put("prompt", "Once upon a time there was a fox");
    request.put("max_tokens", maxTokens(seed));
    request.put("ignore_eos", true);
    request.put("seed", seed);
    boolean stream = seed % STREAM_EVERY == 0;
    request.put("stream", stream);
    if (stream) {
      request.put("stream_options", Map.of("include_usage", true));
    }
    long start = System.nanoTime();
    try {
      HttpResponse<String> answer =
          server
              .client()
              .send(server.post("/v1/completions", request).build(), BodyHandlers.ofString());
      long nanos = System.nanoTime() - start;
      switch (answer.statusCode()) {
        case 200 -> {
          if (stream) {
            checkStream(seed, answer.body());
          } else {
            JsonNode completion = JSON.readTree(answer.body());
            check(seed, completion.at("/choices/0/text").asString(), completion);
          }
          recorder.admitted.add(nanos);
        }
        case 429, 503 -> {
          checkRefusal(answer);
          recorder.refused.add(nanos);
          recorder.retries.add(answer.headers().firstValue("Retry-After").orElse("none"));
        }
        default -> wrong.add("status " + answer.statusCode() + ": " + answer.body());
      }
    } catch (Exception e) {
      wrong.add(e.toString());
    }
  }

  /** The same seed gives the same text, and so tells what was lost or came twice. */
  private void checkStream(int seed, String stream) {
    List<String> frames = List.of(stream.strip().split("\n\n"));
    StringBuilder text = new StringBuilder();
    for (String frame : frames.subList(0, frames.size() - 1)) {
      JsonNode chunk = JSON.readTree(frame.substring("data: ".length()));
      text.append(chunk.at("/choices/0/text").asString(""));
    }
    JsonNode last = JSON.readTree(frames.get(frames.size() - 2).substring("data: ".length()));
    if (!frames.getLast().equals("data: [DONE]")) {
      wrong.add("stream without an end: " + stream);
    }
    check(seed, text.toString(), last);
  }

  private void check(int seed, String text, JsonNode usage) {
    String first = texts.putIfAbsent(seed, text);
    if (usage.at("/usage/completion_tokens").asInt() != maxTokens(seed)
        || (first != null && !first.equals(text))) {
      wrong.add("the answer to seed " + seed + " is " + text + ", not " + first);
    }
  }

  private void checkRefusal(HttpResponse<String> answer) {
    JsonNode error = JSON.readTree(answer.body()).path("error");
    if (error.size() != 4 || answer.headers().firstValue("Retry-After").isEmpty()) {
      wrong.add("refusal " + answer.headers().map() + answer.body());
    }
  }

  /** Collects what the clients of one phase see. */
  private final class Recorder {
    private final Collection<Long> admitted = new ConcurrentLinkedQueue<>();
    private final Collection<Long> refused = new ConcurrentLinkedQueue<>();
    private final Collection<String> retries = new ConcurrentLinkedQueue<>();
    private final AtomicInteger maxWaiting = new AtomicInteger();

    void waiting(double sequences) {
      maxWaiting.accumulateAndGet((int) sequences, Math::max);
    }

    void unanswered(long requests) {
      if (requests > 0) {
        wrong.add(requests + " requests were not answered");
      }
    }

    Phase phase(Duration time) {
      return new Phase(
          Latencies.of(admitted),
          Latencies.of(refused),
          admitted.size() * 1000.0 / time.toMillis(),
          maxWaiting.get(),
          retries.stream().collect(Collectors.groupingBy(r -> r, Collectors.counting())));
    }
  }
}
