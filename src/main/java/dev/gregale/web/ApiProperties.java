package dev.gregale.web;

import java.time.Duration;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;
import org.springframework.util.unit.DataSize;

/**
 * Limits of the HTTP side.
 *
 * @param maxRequestSize largest request body
 * @param workerThreads threads that parse and tokenise requests
 * @param workerQueue requests that may wait for such a thread; more are refused with 429
 * @param streamBuffer events kept for each sequence of a client that reads its stream too slowly; a
 *     request that needs more is aborted
 * @param generationTimeout longest time that the engine may have a request, waiting included; what
 *     takes longer is aborted with an error
 * @param readTimeout longest pause between two pieces of a request
 * @param requestTimeout longest time for a whole request to arrive
 * @param writeTimeout a connection whose client takes nothing for this long is closed
 */
@ConfigurationProperties("gregale.api")
public record ApiProperties(
    @DefaultValue("2MB") DataSize maxRequestSize,
    @DefaultValue("2") int workerThreads,
    @DefaultValue("256") int workerQueue,
    @DefaultValue("1024") int streamBuffer,
    @DefaultValue("10m") Duration generationTimeout,
    @DefaultValue("20s") Duration readTimeout,
    @DefaultValue("60s") Duration requestTimeout,
    @DefaultValue("30s") Duration writeTimeout) {

  public ApiProperties {
    requirePositive("max-request-size", maxRequestSize.toBytes());
    requirePositive("worker-threads", workerThreads);
    requirePositive("worker-queue", workerQueue);
    requirePositive("stream-buffer", streamBuffer);
    requirePositive("generation-timeout", generationTimeout.toMillis());
    requirePositive("read-timeout", readTimeout.toMillis());
    requirePositive("request-timeout", requestTimeout.toMillis());
    requirePositive("write-timeout", writeTimeout.toMillis());
  }

  private static void requirePositive(String name, long value) {
    if (value <= 0) {
      throw new IllegalArgumentException(
          "gregale.api." + name + " must be above 0, but is " + value);
    }
  }
}
