package dev.gregale;

import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.stream.Collectors;
import java.util.stream.DoubleStream;
import java.util.stream.Stream;

/**
 * Streams completions of random prompts from a running server, so many at once, each to its full
 * length, and tells throughput while all are running: {@code http-load URL MODEL STREAMS PROMPT
 * OUTPUT}; token ids are below 4,000.
 */
public final class HttpLoad {

  /**
   * @param times of the chunks, in nanoseconds; first the request's own start
   */
  private record Timing(List<Long> times) {

    long first() {
      return times.get(1);
    }

    long last() {
      return times.getLast();
    }

    long chunksBetween(long from, long to) {
      return times.stream().skip(1).filter(t -> t > from && t <= to).count();
    }
  }

  private HttpLoad() {}

  public static void main(String[] arguments) throws Exception {
    URI url = URI.create(arguments[0] + "/v1/completions");
    String model = arguments[1];
    int streams = Integer.parseInt(arguments[2]);
    int prompt = Integer.parseInt(arguments[3]);
    int output = Integer.parseInt(arguments[4]);
    for (int round = 0; round < 3; round++) { // the first warms both sides up
      report(run(url, model, streams, prompt, output, round), output);
    }
  }

  private static List<Timing> run(
      URI url, String model, int streams, int prompt, int output, int round)
      throws InterruptedException, ExecutionException {
    try (HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
        ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<Timing>> running = new ArrayList<>();
      for (int s = 0; s < streams; s++) {
        String body = body(model, new SplittableRandom(1000L * round + s), prompt, output);
        running.add(threads.submit(() -> stream(client, url, body)));
      }
      List<Timing> all = new ArrayList<>();
      for (Future<Timing> one : running) {
        all.add(one.get());
      }
      return all;
    }
  }

  private static String body(String model, SplittableRandom random, int prompt, int output) {
    String ids =
        random.ints(prompt, 3, 4000).mapToObj(Integer::toString).collect(Collectors.joining(","));
    return "{\"model\":\"%s\",\"prompt\":[%s],\"max_tokens\":%d,\"ignore_eos\":true,\"temperature\":0,\"stream\":true}"
        .formatted(model, ids, output);
  }

  private static Timing stream(HttpClient client, URI url, String body)
      throws IOException, InterruptedException {
    List<Long> times = new ArrayList<>();
    times.add(System.nanoTime());
    HttpRequest request =
        HttpRequest.newBuilder(url)
            .timeout(Duration.ofMinutes(2))
            .header("Content-Type", "application/json")
            .POST(BodyPublishers.ofString(body))
            .build();
    try (Stream<String> lines = client.send(request, BodyHandlers.ofLines()).body()) {
      lines
          .peek(HttpLoad::failOnError)
          .filter(line -> line.startsWith("data: {"))
          .forEach(line -> times.add(System.nanoTime()));
    }
    return new Timing(times);
  }

  private static void failOnError(String line) {
    if (line.contains("\"error\"")) {
      throw new IllegalStateException(line);
    }
  }

  private static void report(List<Timing> all, int output) {
    long from = all.stream().mapToLong(Timing::first).max().orElseThrow();
    long to = all.stream().mapToLong(Timing::last).min().orElseThrow();
    double tokens = 0; // a chunk may hold several
    for (Timing one : all) {
      tokens += (double) output * one.chunksBetween(from, to) / (one.times().size() - 1);
    }
    double[] first =
        all.stream().mapToDouble(s -> (s.first() - s.times().getFirst()) / 1e6).sorted().toArray();
    double[] gaps = all.stream().flatMapToDouble(s -> gaps(s.times())).sorted().toArray();
    System.out.printf(
        "%d streams: %.0f tokens/s while all run (%.0f ms); first chunk p50 %.1f max %.1f ms;"
            + " between chunks p50 %.2f p99 %.2f ms; %.2f chunks a token%n",
        all.size(),
        tokens / ((to - from) / 1e9),
        (to - from) / 1e6,
        first[first.length / 2],
        first[first.length - 1],
        gaps[gaps.length / 2],
        gaps[gaps.length * 99 / 100],
        all.stream().mapToInt(s -> s.times().size() - 1).average().orElse(0) / output);
  }

  private static DoubleStream gaps(List<Long> times) {
    double[] gaps = new double[Math.max(0, times.size() - 2)];
    Arrays.setAll(gaps, i -> (times.get(i + 2) - times.get(i + 1)) / 1e6);
    return Arrays.stream(gaps);
  }
}
