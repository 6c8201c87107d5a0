package dev.gregale.openai;

import java.util.List;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.atomic.AtomicLong;
import org.springframework.http.HttpMethod;
import org.springframework.http.server.reactive.HttpHandler;
import org.springframework.http.server.reactive.HttpHandlerDecoratorFactory;

/**
 * Holds every reply and every event of a server to {@link OpenAiSchemas}, whichever client asked:
 * it sits around the whole server, filters and error handlers included. {@link ReplyCheckSetup}
 * puts it into every server that a test starts, and fails the test that saw a violation.
 */
public final class ReplyCheck implements HttpHandlerDecoratorFactory {
  private final Queue<String> violations = new ConcurrentLinkedQueue<>();
  private final AtomicLong checked = new AtomicLong();

  @Override
  public HttpHandler apply(HttpHandler handler) {
    return (request, response) ->
        Contract.covers(request.getPath().pathWithinApplication().value())
                && request.getMethod() != HttpMethod.OPTIONS
            ? handler.handle(
                request,
                new CheckedReply(request, response, violations::add, checked::incrementAndGet))
            : handler.handle(request, response);
  }

  /** Documents and events that were checked so far. */
  public long checked() {
    return checked.get();
  }

  /** What was found since the last call. */
  public List<String> takeViolations() {
    List<String> taken = List.copyOf(violations);
    violations.removeAll(taken);
    return taken;
  }
}
