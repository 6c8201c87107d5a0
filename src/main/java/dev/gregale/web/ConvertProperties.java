package dev.gregale.web;

import java.time.Duration;
import java.util.List;
import org.springframework.boot.context.properties.ConfigurationProperties;
import org.springframework.boot.context.properties.bind.DefaultValue;

/**
 * Conversion of checkpoints over HTTP.
 *
 * @param roots Directories in which sources and targets must lie; without any, /admin/convert is
 *     off. Nobody else should be able to write to them.
 * @param maxRunning Conversions at the same time.
 * @param maxQueued Conversions that may wait; more are refused with 429.
 * @param maxRemembered Ended conversions that are remembered.
 * @param progressInterval How often progress is told to those who listen to it.
 */
@ConfigurationProperties("gregale.convert")
public record ConvertProperties(
    @DefaultValue List<String> roots,
    @DefaultValue("1") int maxRunning,
    @DefaultValue("8") int maxQueued,
    @DefaultValue("100") int maxRemembered,
    @DefaultValue("500ms") Duration progressInterval) {

  public ConvertProperties {
    if (maxRunning < 1 || maxQueued < 1 || maxRemembered < 1 || !progressInterval.isPositive()) {
      throw new IllegalArgumentException("gregale.convert: every limit must be above 0");
    }
  }
}
