package dev.gregale.server;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** The JDK's HttpClient as it comes: it offers an upgrade to HTTP/2 with its first request. */
final class JdkClient implements ApiClient {
  private static final String DATA = "data: ";

  private final HttpClient client = HttpClient.newHttpClient();
  private final String server;

  JdkClient(String server) {
    this.server = server;
  }

  private HttpRequest request(Ask ask, boolean stream) {
    return HttpRequest.newBuilder(URI.create(server + ask.path()))
        .header("Content-Type", "application/json")
        .POST(BodyPublishers.ofString(ask.json(stream)))
        .build();
  }

  @Override
  public String complete(Ask ask) throws Exception {
    return ApiClient.text(client.send(request(ask, false), BodyHandlers.ofString()).body());
  }

  @Override
  public List<String> stream(Ask ask) throws Exception {
    return read(ask, Integer.MAX_VALUE);
  }

  @Override
  public void leave(Ask ask) throws Exception {
    var unused = read(ask, PIECES);
  }

  private List<String> read(Ask ask, int most) throws IOException, InterruptedException {
    HttpResponse<InputStream> response =
        client.send(request(ask, true), BodyHandlers.ofInputStream());
    try (BufferedReader reader =
        new BufferedReader(new InputStreamReader(response.body(), StandardCharsets.UTF_8))) {
      return pieces(reader, most);
    }
  }

  /** The texts of a stream's events, up to its end or to so many of them. */
  static List<String> pieces(BufferedReader reader, int most) throws IOException {
    List<String> pieces = new ArrayList<>();
    while (pieces.size() < most) {
      String line = reader.readLine();
      if (line == null) {
        throw new IOException("the stream ends without [DONE]");
      }
      if (line.equals(DATA + "[DONE]")) {
        break;
      }
      if (line.startsWith(DATA)) {
        pieces.add(ApiClient.text(line.substring(DATA.length())));
      }
    }
    return pieces;
  }

  @Override
  public Refusal refuse(Ask ask) throws Exception {
    HttpResponse<String> response = client.send(request(ask, false), BodyHandlers.ofString());
    return new Refusal(
        response.statusCode(), response.version().name(), ApiClient.message(response.body()));
  }

  @Override
  public void close() {
    client.close();
  }
}
