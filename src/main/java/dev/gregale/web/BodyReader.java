package dev.gregale.web;

import io.netty.channel.ChannelException;
import java.io.ByteArrayOutputStream;
import org.springframework.core.io.buffer.DataBuffer;
import org.springframework.core.io.buffer.DataBufferUtils;
import org.springframework.http.HttpStatus;
import org.springframework.http.server.reactive.ServerHttpRequest;
import org.springframework.stereotype.Component;
import reactor.core.publisher.Mono;

/**
 * Reads a request body up to a limit. Copies each piece at once: Spring's own reader keeps the
 * pieces, and a body sent as millions of one-byte chunks would then weigh a hundred times its size.
 */
@Component
final class BodyReader {
  private final int maxBytes;

  BodyReader(ApiProperties properties) {
    this.maxBytes = Math.toIntExact(properties.maxRequestSize().toBytes());
  }

  /** The body; errors with 413 as soon as it is known to be too large, with 408 if it stalls. */
  Mono<byte[]> read(ServerHttpRequest request) {
    if (request.getHeaders().getContentLength() > maxBytes) {
      return Mono.error(tooLarge());
    }
    return request
        .getBody()
        .collect(ByteArrayOutputStream::new, this::append)
        .map(ByteArrayOutputStream::toByteArray)
        // Netty's and Reactor Netty's timeouts.
        .onErrorMap(ChannelException.class, e -> tooSlow());
  }

  private void append(ByteArrayOutputStream body, DataBuffer piece) {
    try {
      if (body.size() + piece.readableByteCount() > maxBytes) {
        throw tooLarge();
      }
      byte[] bytes = new byte[piece.readableByteCount()];
      piece.read(bytes);
      body.write(bytes, 0, bytes.length);
    } finally {
      DataBufferUtils.release(piece);
    }
  }

  private static ApiException tooSlow() {
    return ApiException.refused(
        HttpStatus.REQUEST_TIMEOUT,
        "The request did not arrive in time; send its body without long pauses",
        "request_timeout");
  }

  private ApiException tooLarge() {
    return ApiException.refused(
        HttpStatus.CONTENT_TOO_LARGE,
        "The request body is larger than " + maxBytes + " bytes, the limit of this server",
        "request_too_large");
  }
}
