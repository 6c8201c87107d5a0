package dev.gregale.server;

import java.util.List;
import java.util.Objects;
import org.springframework.http.MediaType;
import org.springframework.web.reactive.function.client.WebClient;
import org.springframework.web.reactive.function.client.WebClientResponseException;
import reactor.core.publisher.Flux;

/** Spring's WebClient. */
final class SpringWebClient implements ApiClient {
  private final WebClient client;

  SpringWebClient(String server) {
    client = WebClient.create(server);
  }

  private WebClient.ResponseSpec send(Ask ask, boolean stream) {
    return client
        .post()
        .uri(ask.path())
        .contentType(MediaType.APPLICATION_JSON)
        .bodyValue(ask.body(stream))
        .retrieve();
  }

  @Override
  public String complete(Ask ask) {
    return ApiClient.text(
        Objects.requireNonNull(send(ask, false).bodyToMono(String.class).block()));
  }

  private Flux<String> pieces(Ask ask) {
    return send(ask, true)
        .bodyToFlux(String.class)
        .takeUntil("[DONE]"::equals)
        .filter(data -> !data.equals("[DONE]"))
        .map(ApiClient::text);
  }

  @Override
  public List<String> stream(Ask ask) {
    return Objects.requireNonNull(pieces(ask).collectList().block());
  }

  @Override
  public void leave(Ask ask) {
    pieces(ask).take(PIECES).blockLast();
  }

  @Override
  public Refusal refuse(Ask ask) {
    try {
      throw new AssertionError("accepted: " + complete(ask));
    } catch (WebClientResponseException e) {
      return new Refusal(
          e.getStatusCode().value(),
          e.getClass().getSimpleName(),
          ApiClient.message(e.getResponseBodyAsString()));
    }
  }
}
