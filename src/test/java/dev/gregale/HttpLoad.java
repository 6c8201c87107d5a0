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
 * length; token ids are below 4,000. With their ids, tokens that add no text have chunks too.
 *
 * <ul>
 *   <li>{@code http-load URL MODEL STREAMS PROMPT OUTPUT [ROUNDS]}: all begin together, in each of
 *       3 (or so many) rounds; tells throughput while all are running, and how long first tokens
 *       took.
 *   <li>{@code http-load URL MODEL STREAMS PROMPT OUTPUT mixed SECONDS}: each stream is one request
 *       after another, prompts of half to one and a half times as many tokens, answers likewise, so
 *       that prompts and answers are computed side by side; the first third warms up.
 * </ul>
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
    if (arguments.length > 6) {
      mixed(url, model, streams, prompt, output, Duration.ofSeconds(Long.parseLong(arguments[6])));
      return;
    }
    int rounds = arguments.length > 5 ? Integer.parseInt(arguments[5]) : 3;
    List<Timing> warm = new ArrayList<>();
    try (HttpClient client = newClient()) {
      for (int round = 0; round < rounds; round++) { // the first warm both sides up
        List<Timing> all = run(client, url, model, streams, prompt, output);
        if (rounds <= 3) {
          report(all, output);
        }
        if (round >= rounds / 2) {
          warm.addAll(all);
        }
      }
    }
    System.out.println("second half of the rounds: " + latencies(warm));
  }

  private static void mixed(
      URI url, String model, int streams, int prompt, int output, Duration time)
      throws InterruptedException, ExecutionException {
    long begin = System.nanoTime();
    long end = begin + time.toNanos();
    long warm = begin + time.toNanos() / 3;
    List<Timing> all = new ArrayList<>();
    try (HttpClient client = newClient();
        ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<List<Timing>>> running = new ArrayList<>();
      for (int s = 0; s < streams; s++) {
        SplittableRandom random = new SplittableRandom();
        running.add(
            threads.submit(
                () -> {
                  List<Timing> mine = new ArrayList<>();
                  while (System.nanoTime() < end) {
                    int in = random.nextInt(prompt / 2, prompt * 3 / 2 + 1);
                    int out = random.nextInt(output / 2, output * 3 / 2 + 1);
                    mine.add(stream(client, url, body(model, random, in, out)));
                  }
                  return mine;
                }));
      }
      for (Future<List<Timing>> one : running) {
        one.get().stream().filter(t -> t.times().getFirst() > warm).forEach(all::add);
      }
    }
    System.out.printf("%d streams, mixed: %s%n", streams, latencies(all));
  }

  private static HttpClient newClient() {
    return HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
  }

  private static List<Timing> run(
      HttpClient client, URI url, String model, int streams, int prompt, int output)
      throws InterruptedException, ExecutionException {
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      List<Future<Timing>> running = new ArrayList<>();
      for (int s = 0; s < streams; s++) {
        String body = body(model, new SplittableRandom(), prompt, output); // no prefix is cached
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
    return "{\"model\":\"%s\",\"prompt\":[%s],\"max_tokens\":%d,\"ignore_eos\":true,\"temperature\":0,\"stream\":true,\"return_token_ids\":true}"
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
    System.out.printf(
        "%d streams: %.0f tokens/s while all run (%.0f ms); %s; %.2f chunks a token%n",
        all.size(),
        tokens / ((to - from) / 1e9),
        (to - from) / 1e6,
        latencies(all),
        all.stream().mapToInt(s -> s.times().size() - 1).average().orElse(0) / output);
  }

  private static String latencies(List<Timing> all) {
    double[] first =
        all.stream().mapToDouble(s -> (s.first() - s.times().getFirst()) / 1e6).sorted().toArray();
    double[] gaps = all.stream().flatMapToDouble(s -> gaps(s.times())).sorted().toArray();
    return "%d requests, first chunk p50 %.1f p99 %.1f ms; between chunks p50 %.2f p99 %.2f ms"
        .formatted(
            all.size(),
            first[first.length / 2],
            first[first.length * 99 / 100],
            gaps[gaps.length / 2],
            gaps[gaps.length * 99 / 100]);
  }

  private static DoubleStream gaps(List<Long> times) {
    double[] gaps = new double[Math.max(0, times.size() - 2)];
    Arrays.setAll(gaps, i -> (times.get(i + 2) - times.get(i + 1)) / 1e6);
    return Arrays.stream(gaps);
  }
}
