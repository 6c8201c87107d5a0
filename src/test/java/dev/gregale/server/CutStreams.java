package dev.gregale.server;

import java.io.IOException;
import java.io.InputStream;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.random.RandomGenerator;
import java.util.random.RandomGeneratorFactory;

/** Many streams at the same time, each cut off at a moment of its own. */
final class CutStreams {
  private static final int MAX_MILLIS = 3_000;

  /**
   * When they were cut.
   *
   * @param beforeAnything before any byte of an answer
   * @param inTheStream after it
   */
  record Cuts(int beforeAnything, int inTheStream) {}

  private CutStreams() {}

  /** Returns when the last is cut. */
  static Cuts cut(int port, int streams, long seed) {
    RandomGenerator random = RandomGeneratorFactory.of("L64X128MixRandom").create(seed);
    AtomicInteger before = new AtomicInteger();
    AtomicInteger in = new AtomicInteger();
    try (ExecutorService clients = Executors.newVirtualThreadPerTaskExecutor()) {
      for (int i = 0; i < streams; i++) {
        int millis = random.nextInt(1, MAX_MILLIS);
        boolean stream = random.nextInt(4) != 0;
        boolean reset = random.nextBoolean();
        clients.submit(() -> (cutOne(port, millis, stream, reset) ? in : before).incrementAndGet());
      }
    }
    return new Cuts(before.get(), in.get());
  }

  /** True if some of the answer had come. */
  private static boolean cutOne(int port, int millis, boolean stream, boolean reset)
      throws IOException {
    String body =
        "{\"model\":\"fairytale-moe-7m\",\"prompt\":\"Long ago\",\"max_tokens\":4000,"
            + "\"ignore_eos\":true,\"stream\":"
            + stream
            + "}";
    String request =
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            + "Content-Length: "
            + body.length()
            + "\r\n\r\n"
            + body;
    try (Socket socket = new Socket("127.0.0.1", port)) {
      if (reset) {
        socket.setSoLinger(true, 0);
      }
      socket.getOutputStream().write(request.getBytes(StandardCharsets.US_ASCII));
      return readUntil(System.nanoTime() + millis * 1_000_000L, socket);
    }
  }

  /** True if anything came before that time. */
  private static boolean readUntil(long end, Socket socket) throws IOException {
    InputStream answer = socket.getInputStream();
    byte[] buffer = new byte[8192];
    boolean any = false;
    for (long left = end - System.nanoTime(); left > 0; left = end - System.nanoTime()) {
      socket.setSoTimeout((int) Math.ceilDiv(left, 1_000_000L));
      try {
        if (answer.read(buffer) < 0) {
          return any;
        }
        any = true;
      } catch (SocketTimeoutException e) {
        return any;
      }
    }
    return any;
  }
}
