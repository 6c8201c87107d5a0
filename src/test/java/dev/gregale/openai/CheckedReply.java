package dev.gregale.openai;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import org.reactivestreams.Publisher;
import org.springframework.core.io.buffer.DataBuffer;
import org.springframework.http.HttpMethod;
import org.springframework.http.MediaType;
import org.springframework.http.server.reactive.ServerHttpRequest;
import org.springframework.http.server.reactive.ServerHttpResponse;
import org.springframework.http.server.reactive.ServerHttpResponseDecorator;
import reactor.core.publisher.Flux;
import reactor.core.publisher.Mono;

/** A reply under the contract: each document and each event is checked before it leaves. */
final class CheckedReply extends ServerHttpResponseDecorator {
  private final ServerHttpRequest request;
  private final Consumer<String> report;
  private final Runnable count;
  private final ByteArrayOutputStream pending = new ByteArrayOutputStream();
  private @Nullable String schema;
  private @Nullable StreamRules stream;
  private boolean begun;

  /**
   * @param report told of each violation
   * @param count told of each document or event that was checked
   */
  CheckedReply(
      ServerHttpRequest request,
      ServerHttpResponse response,
      Consumer<String> report,
      Runnable count) {
    super(response);
    this.request = request;
    this.report = report;
    this.count = count;
  }

  @Override
  public Mono<Void> writeWith(Publisher<? extends DataBuffer> body) {
    return super.writeWith(
        body
                instanceof
                Mono<? extends DataBuffer> whole // which is sent in one piece: so it must stay
            ? whole.doOnNext(this::accept).doOnSuccess(last -> end())
            : Flux.from(body).doOnNext(this::accept).doOnComplete(this::end));
  }

  @Override
  public Mono<Void> writeAndFlushWith(Publisher<? extends Publisher<? extends DataBuffer>> body) {
    return super.writeAndFlushWith(
        Flux.from(body)
            .map(part -> Flux.from(part).doOnNext(this::accept))
            .doOnComplete(this::end));
  }

  @Override
  public Mono<Void> setComplete() {
    if (!begun && isError() && request.getMethod() != HttpMethod.HEAD) {
      report("has no body");
    }
    return super.setComplete();
  }

  private boolean isError() {
    return getStatusCode() != null && getStatusCode().isError();
  }

  /** Only what is written says what the reply is: until then an error may replace it. */
  private void begin() {
    begun = true;
    MediaType type = getHeaders().getContentType();
    String path = request.getPath().pathWithinApplication().value();
    if (isError()) {
      schema = "error";
    } else {
      schema = Contract.schemaOf(path);
    }
    if (schema == null) {
      report("has no schema in this contract");
    } else if (MediaType.TEXT_EVENT_STREAM.isCompatibleWith(type) && !isError()) {
      schema += "-chunk";
      stream = new StreamRules(schema);
    } else if (!MediaType.APPLICATION_JSON.equals(type)) {
      report("is of type " + type);
    }
  }

  private void accept(DataBuffer buffer) {
    if (!begun) {
      begin();
    }
    ByteBuffer bytes = ByteBuffer.allocate(buffer.readableByteCount());
    buffer.toByteBuffer(buffer.readPosition(), bytes, 0, bytes.capacity());
    pending.writeBytes(bytes.array());
    if (stream != null) {
      events(stream);
    } else if (pending.size() == getHeaders().getContentLength()) {
      document(); // at once: whoever waits for these bytes may ask next whether they were right
    }
  }

  private void events(StreamRules stream) {
    String text = pending.toString(StandardCharsets.UTF_8);
    if (!text.endsWith("\n\n")) {
      return;
    }
    pending.reset();
    for (String event : text.substring(0, text.length() - 2).split("\n\n", -1)) {
      count.run();
      if (!event.startsWith("data: ") || event.contains("\n")) {
        report("has an event that is no single line of data: " + event);
        continue;
      }
      tell(stream.accept(event.substring("data: ".length())), event);
    }
  }

  private void document() {
    String text = pending.toString(StandardCharsets.UTF_8);
    pending.reset();
    if (schema != null) {
      count.run();
      tell(OpenAiSchemas.violations(schema, text), text);
    }
  }

  private void end() {
    if (stream != null) {
      tell(stream.end(), "");
    } else if (pending.size() > 0) {
      document();
    }
  }

  private void tell(List<String> violations, String text) {
    violations.forEach(violation -> report(violation + "\n  in " + text));
  }

  private void report(String violation) {
    report.accept(
        "%s %s answered %s, which %s"
            .formatted(request.getMethod(), request.getPath(), getStatusCode(), violation));
  }
}
