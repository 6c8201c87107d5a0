package dev.gregale.web;

import static org.assertj.core.api.Assertions.assertThat;

import dev.gregale.engine.GenerationEvent;
import dev.gregale.engine.GenerationEvent.Tokens;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.awaitility.Awaitility;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.springframework.boot.test.system.CapturedOutput;
import org.springframework.boot.test.system.OutputCaptureExtension;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Sinks;

/** What depends on the connection: cancelling, limits, refusals, clients' habits. */
@ExtendWith(OutputCaptureExtension.class)
class ConnectionTest extends WebTest {
  private static final String STREAM = "{\"model\":\"stub\",\"prompt\":\"Once\",\"stream\":true}";
  private static final String WHOLE = "{\"model\":\"stub\",\"prompt\":\"Once\"}";
  private static final GenerationEvent WORD = new Tokens(0, " time", List.of());

  @Test
  void disconnectCancelsAStream() throws Exception {
    CountDownLatch cancelled = new CountDownLatch(1);
    engine.answer =
        request ->
            Flux.interval(Duration.ofMillis(5)).map(i -> WORD).doOnCancel(cancelled::countDown);
    HttpResponse<InputStream> response =
        CLIENT.send(completion(STREAM), BodyHandlers.ofInputStream());
    assertThat(response.body().readNBytes(6)).asString().isEqualTo("data: ");
    response.body().close();
    assertThat(cancelled.await(5, TimeUnit.SECONDS)).isTrue();
  }

  /** Each event is read before the next one exists. */
  @Test
  void anEventLeavesAtOnce() throws Exception {
    Sinks.Many<GenerationEvent> hot = Sinks.many().unicast().onBackpressureBuffer();
    engine.answer = request -> hot.asFlux();
    CompletableFuture<HttpResponse<InputStream>> call =
        CLIENT.sendAsync(completion(STREAM), BodyHandlers.ofInputStream());
    hot.tryEmitNext(WORD);
    try (InputStream body = call.get(5, TimeUnit.SECONDS).body()) {
      for (int i = 0; i < 300; i++) { // past every buffer's size
        assertThat(event(body)).contains("\"text\":\" time\"");
        hot.tryEmitNext(WORD);
      }
    }
  }

  private static String event(InputStream body) {
    return CompletableFuture.supplyAsync(
            () -> {
              StringBuilder text = new StringBuilder();
              while (text.indexOf("\n\n") < 0) {
                try {
                  text.append((char) body.read());
                } catch (IOException e) {
                  throw new UncheckedIOException(e);
                }
              }
              return text.toString();
            })
        .orTimeout(5, TimeUnit.SECONDS)
        .join();
  }

  @Test
  void disconnectBeforeTheFirstTokenCancelsBothModes() throws Exception {
    for (String body : List.of(STREAM, WHOLE)) {
      CountDownLatch subscribed = new CountDownLatch(1);
      CountDownLatch cancelled = new CountDownLatch(1);
      engine.answer =
          request ->
              Flux.<GenerationEvent>never()
                  .doOnSubscribe(s -> subscribed.countDown())
                  .doOnCancel(cancelled::countDown);
      CompletableFuture<HttpResponse<String>> call =
          CLIENT.sendAsync(completion(body), BodyHandlers.ofString());
      assertThat(subscribed.await(5, TimeUnit.SECONDS)).isTrue();
      call.cancel(true);
      assertThat(cancelled.await(5, TimeUnit.SECONDS)).as(body).isTrue();
    }
  }

  @Test
  void disconnectCancelsAWholeReplyInTheMiddle() throws Exception {
    CountDownLatch begun = new CountDownLatch(1);
    CountDownLatch cancelled = new CountDownLatch(1);
    engine.answer =
        request ->
            Flux.interval(Duration.ofMillis(5))
                .map(i -> WORD)
                .doOnNext(e -> begun.countDown())
                .doOnCancel(cancelled::countDown);
    CompletableFuture<HttpResponse<String>> call =
        CLIENT.sendAsync(completion(WHOLE), BodyHandlers.ofString());
    assertThat(begun.await(5, TimeUnit.SECONDS)).isTrue();
    call.cancel(true);
    assertThat(cancelled.await(5, TimeUnit.SECONDS)).isTrue();
  }

  /** The engine runs ahead of a client that reads nothing; what waits for it must stay bounded. */
  @Test
  void aStalledReaderIsCutOff() throws Exception {
    Sinks.Many<GenerationEvent> hot = Sinks.many().unicast().onBackpressureBuffer();
    CountDownLatch cancelled = new CountDownLatch(1);
    engine.answer = request -> hot.asFlux().doOnCancel(cancelled::countDown);
    // What is buffered at the cut must be more than the sockets take, or it would all arrive.
    GenerationEvent big = new Tokens(0, "x".repeat(200_000), List.of());
    try (Socket socket = new Socket()) {
      socket.setReceiveBufferSize(4096);
      socket.connect(new InetSocketAddress("127.0.0.1", port));
      write(socket, head(STREAM.length()) + STREAM);
      assertThat(engine.requests.poll(5, TimeUnit.SECONDS)).isNotNull();
      assertThat(isClosedByPeer(socket)).isFalse();
      int sent = 0;
      while (sent < 10_000 && !cancelled.await(1, TimeUnit.MILLISECONDS)) {
        hot.tryEmitNext(big);
        sent++;
      }
      assertThat(cancelled.await(5, TimeUnit.SECONDS)).as("cancelled").isTrue();
      assertThat(sent).as("events until the cut").isBetween(64, 5_000);
      // The connection itself goes too, though its buffers are full and nobody reads.
      Awaitility.await().atMost(Duration.ofSeconds(10)).until(() -> isClosedByPeer(socket));
    }
  }

  private static String readAll(Socket socket) {
    try {
      return new String(socket.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
    } catch (SocketException reset) {
      return "";
    } catch (IOException e) {
      throw new AssertionError("the server kept the connection", e);
    }
  }

  /** A peer that has closed its end resets the connection when something is sent there. */
  private static boolean isClosedByPeer(Socket socket) throws IOException {
    try {
      socket.getOutputStream().write('\n');
      return false;
    } catch (SocketException reset) {
      return true;
    }
  }

  @Test
  void jdkClientInItsDefaultSettingsPostsSmallAndLargeBodies() throws Exception {
    HttpClient client = HttpClient.newHttpClient(); // offers an upgrade to h2c with its first POST
    HttpResponse<String> small = client.send(completion(WHOLE), BodyHandlers.ofString());
    assertThat(small.statusCode()).isEqualTo(200);
    assertThat(small.version()).isEqualTo(HttpClient.Version.HTTP_1_1);
    String large = WHOLE.replace("}", ",\"unknown\":\"" + "x".repeat(500_000) + "\"}");
    HttpClient another = HttpClient.newHttpClient();
    assertThat(another.send(completion(large), BodyHandlers.ofString()).statusCode())
        .isEqualTo(200);
  }

  @Test
  void aBodyAboveTheLimitIs413() throws Exception {
    String large = WHOLE.replace("}", ",\"unknown\":\"" + "x".repeat(2_100_000) + "\"}");
    HttpResponse<String> declared = complete(large);
    assertThat(declared.statusCode()).isEqualTo(413);
    assertThat(error(declared).get("code").asString()).isEqualTo("request_too_large");
    byte[] bytes = large.getBytes(StandardCharsets.UTF_8);
    HttpRequest chunked =
        request("/v1/completions")
            .header("Content-Type", "application/json")
            .POST(BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(bytes)))
            .build();
    HttpResponse<String> undeclared = send(chunked);
    assertThat(undeclared.statusCode()).isEqualTo(413);
    assertThat(error(undeclared).get("message").asString())
        .isEqualTo("The request body is larger than 2097152 bytes, the limit of this server");
    assertThat(engine.requests).isEmpty();
  }

  @Test
  void aBodyOfTinyChunksIsRead() throws Exception {
    String body = WHOLE + " ".repeat(20_000);
    StringBuilder chunks = new StringBuilder(head(-1));
    body.chars().forEach(c -> chunks.append("1\r\n").append((char) c).append("\r\n"));
    try (Socket socket = new Socket("127.0.0.1", port)) {
      socket.setSoTimeout(10_000);
      write(socket, chunks + "0\r\n\r\n");
      assertThat(new String(socket.getInputStream().readNBytes(15), StandardCharsets.US_ASCII))
          .isEqualTo("HTTP/1.1 200 OK");
    }
  }

  @Test
  void aRequestThatNeverEndsIsTimedOut() throws Exception {
    try (Socket socket = new Socket("127.0.0.1", port)) {
      socket.setSoTimeout(10_000);
      write(socket, head(1_000) + "{\"model\":");
      String answer = readAll(socket);
      assertThat(answer).startsWith("HTTP/1.1 408 ").contains("\"code\":\"request_timeout\"");
    }
  }

  @Test
  void aRequestThatTricklesIsTimedOut() throws Exception {
    try (Socket socket = new Socket("127.0.0.1", port)) {
      socket.setSoTimeout(500);
      write(socket, head(1_000));
      StringBuilder answer = new StringBuilder();
      for (int i = 0; i < 20 && answer.isEmpty(); i++) {
        write(socket, " ");
        try {
          byte[] bytes = new byte[1_000];
          int length = socket.getInputStream().read(bytes);
          answer.append(new String(bytes, 0, Math.max(0, length), StandardCharsets.UTF_8));
        } catch (SocketTimeoutException e) {
          // no answer yet
        }
      }
      assertThat(answer).startsWith("HTTP/1.1 408 ");
    }
  }

  @Test
  void aClientThatLeavesInTheMiddleOfItsRequestIsNoServerError(CapturedOutput output)
      throws Exception {
    try (Socket socket = new Socket("127.0.0.1", port)) {
      write(socket, head(1_000) + "{\"model\":");
    }
    Awaitility.await()
        .during(Duration.ofMillis(300))
        .atMost(Duration.ofSeconds(5))
        .until(() -> !output.getAll().contains("ERROR"));
  }

  @Test
  void headersAreLimited() throws Exception {
    HttpResponse<String> fits =
        send(request("/v1/models").header("X-Long", "x".repeat(15_000)).build());
    assertThat(fits.statusCode()).isEqualTo(200);
    HttpResponse<String> tooLarge =
        send(request("/v1/models").header("X-Long", "x".repeat(17_000)).build());
    assertThat(tooLarge.statusCode()).isEqualTo(431);
  }

  @Test
  void concurrentRequestsGetTheirOwnAnswers() throws Exception {
    engine.answer = request -> StubEngine.ramble(request).delaySubscription(Duration.ofMillis(20));
    List<CompletableFuture<HttpResponse<String>>> calls = new ArrayList<>();
    for (int i = 0; i < 100; i++) {
      String body =
          "{\"model\":\"stub\",\"prompt\":\"Once\",\"max_tokens\":%d,\"stream\":%s}"
              .formatted(i % 10, i % 2 == 0);
      calls.add(CLIENT.sendAsync(completion(body), BodyHandlers.ofString()));
    }
    for (int i = 0; i < 100; i++) {
      HttpResponse<String> response = calls.get(i).get(20, TimeUnit.SECONDS);
      assertThat(response.statusCode()).isEqualTo(200);
      assertThat(response.body().split(" time", -1)).hasSize(i % 10 + 1);
    }
  }

  private String head(int contentLength) {
    return "POST /v1/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        + (contentLength < 0
            ? "Transfer-Encoding: chunked\r\n"
            : "Content-Length: " + contentLength + "\r\n")
        + "\r\n";
  }

  private static void write(Socket socket, String text) throws Exception {
    OutputStream out = socket.getOutputStream();
    out.write(text.getBytes(StandardCharsets.US_ASCII));
    out.flush();
  }
}
